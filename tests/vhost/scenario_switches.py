#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs inside the emulated host: a hundred switches among the policies. It takes
minutes, so `make check-vhost` has six instead (in the Kunpeng's story):
tests/vhost/run.py --build build switches
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import Guest, Vm, furnish  # noqa: E402
from steps import Steps, case, run  # noqa: E402
from switching import Switching  # noqa: E402

VMS = [Vm("free-large", 16), Vm("free-seven", 7), Vm("pinned", 2, pins={0: "5", 1: "38"}), Vm("free-node2", 3, cpuset="32-47"),
       Vm("free-across", 3, cpuset="14-19"), Vm("free-odd", 2, cpuset="1,3,17,49-51"), Vm("free-four", 4), Vm("free-one", 1)]


@case("8 VMs are placed")
def placed(host):
    host.start_vms(*VMS)
    host.daemon.configure(**host.GENEROUS)
    host.daemon.start()
    host.daemon.wait_ready()
    host.settle()


@case("100 switches among the policies while a VM comes and goes: no thread outside its range, nothing left behind")
def switches(host):
    switching = Switching(host, 100)
    switching.run()
    switching.end()


if __name__ == "__main__":
    furnish()
    run(Steps(Guest(), "l3"))
