#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs inside the emulated host, for a person to watch: VMs come to a host of 64
CPUs, go, leave holes, and are put together again. What is shown is vasctl's.
"""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import Guest, Vm, furnish, set_quiet  # noqa: E402
from steps import Steps  # noqa: E402

FIRST = [Vm("free-database", 16), Vm("free-web", 7), Vm("free-build", 12), Vm("free-stream", 10),
         Vm("free-mail", 3, cpuset="32-47")] + \
    [Vm("free-small-%d" % n, 1) for n in range(1, 9)]


def tell(text):
    print("\n--- " + text, flush=True)


def vasctl(*words):
    print("$ vasctl " + " ".join(words), flush=True)
    done = subprocess.run(["vasctl", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout.rstrip(), flush=True)


def story(host):
    tell("%d VMs of %d vCPUs start; nobody tells them where" % (len(FIRST), sum(v.vcpus for v in FIRST)))
    host.start_vms(*FIRST)
    tell("vas-daemon starts: each vCPU gets a CPU of its own, each VM few clusters")
    host.daemon.configure(**host.STINGY)
    host.daemon.start()
    host.daemon.wait_ready()
    host.settle()
    vasctl("map")
    tell("with no credits for moves, the host fills up, and a VM comes to the holes that are left")
    host.scatter("free-torn")
    vasctl("map")
    vasctl("explain", "free-torn")
    tell("a third of the VMs go")
    host.destroy_third("free-torn")
    vasctl("map")
    tell("now the daemon may move vCPUs: it puts together what was torn")
    began = time.monotonic()
    host.defragment()
    tell("%.1f s later" % (time.monotonic() - began))
    vasctl("map")
    vasctl("status")


if __name__ == "__main__":
    set_quiet()
    print("64 CPUs are up, libvirtd starts", flush=True)
    furnish()
    story(Steps(Guest(), "l3"))
    tell("that was it")
