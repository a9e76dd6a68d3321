#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs inside the emulated host whose clusters are L3 caches: the whole story, and
CPUs that go offline and come back.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import story  # noqa: E402,F401
from guest import Guest, furnish  # noqa: E402
from steps import Steps, case, run  # noqa: E402


@case("CPUs go offline and come back under load: no vCPU on a dead CPU, and balance afterwards")
def offline(host):
    threads = host.guest.look.threads()
    host.cpus_go_and_come(threads["free-large"][0].cpu, threads["free-large"][1].cpu,
                          threads["free-node2"][0].cpu)


if __name__ == "__main__":
    furnish()
    run(Steps(Guest(), "l3"))
