#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs inside the emulated host that says it is a Kunpeng: clusters of the kernel,
no L3 cache. The files that say so were read in an emulated arm64 machine. The
whole story, a dynamic vCPU that leaves its CPU for another of its cluster, and
switches among the policies.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import story  # noqa: E402,F401
from guest import BIND, Guest, furnish, mount  # noqa: E402
from steps import Steps, case, run  # noqa: E402
from switching import Switching  # noqa: E402


@case("dynamic: a busy vCPU leaves a hog for an idle core of its own cluster, and comes back when the hog is gone")
def dynamic(host):
    host.leave_and_return("dynamic", "44-47", "32-47")


@case("switches among the policies while a VM comes and goes: no thread outside its range, nothing left behind")
def switches(host):
    switching = Switching(host, 6)
    switching.run()
    switching.end()


if __name__ == "__main__":
    furnish()
    mount("/usr/lib/vhost/arm64/sys/devices/system", "/sys/devices/system", None, flags=BIND)
    run(Steps(Guest(), "cluster"))
