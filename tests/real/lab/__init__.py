# SPDX-License-Identifier: Apache-2.0
"""
The laboratory of the tests against a real libvirtd and real QEMUs.

A test file is a list of cases:

    from lab import case, check, main

    @case("a VM started before the daemon is pinned")
    def vm_before(lab):
        vm = lab.vm("early").start()
        lab.daemon.start()
        lab.wait_until(vm.is_placed)

    main(__file__)

Each file gets a sandbox and a libvirtd; each case starts without VMs and
without a daemon, and looks at /proc for what is true.
"""

import argparse
import contextlib
import os
import shutil
import sys

from . import guests, sandbox, threads
from .daemon import LOG, Daemon
from .guests import SPIN, UNPLUG
from .libvirtd import Libvirtd
from .tap import Skip, Wrong, case, check, equal, patience, run_cases, wait_until
from .threads import cpu_list, parse_cpus

__all__ = ["Lab", "SPIN", "UNPLUG", "Skip", "Wrong", "case", "check", "cpu_list", "equal", "main",
           "parse_cpus", "patience", "threads", "wait_until"]


class Lab:
    """What a case works with."""

    def __init__(self, build):
        self.build = build
        self.cpus = threads.host_cpus()
        self.libvirtd = Libvirtd()
        self.daemon = Daemon(build)

    def vm(self, short, **how):
        return self.libvirtd.vm(short, **how)

    def virsh(self, *args, **how):
        return self.libvirtd.virsh(*args, **how)

    def vasctl(self, *args, **how):
        return self.daemon.vasctl(*args, **how)

    def need_cpus(self, count):
        if len(self.cpus) < count:
            raise Skip("needs %d CPUs, here are %d" % (count, len(self.cpus)))

    def pair(self):
        """Two CPUs, as a range: tests that fill a range need no more, however
        large the machine is."""
        self.need_cpus(2)
        return self.cpus[-2:]

    @staticmethod
    @contextlib.contextmanager
    def kernel_says(word, cpus):
        """Which CPUs are online, or isolated, for programs in this sandbox. To take
        CPUs from the machine itself would reach outside."""
        path = sandbox.LAB + "/" + word
        with open(path, "w", encoding="ascii") as f:
            f.write(cpu_list(cpus) + "\n")
        with sandbox.file_in_place_of("/sys/devices/system/cpu/" + word, path):
            yield

    def strangers(self):
        """CPUs that are the only CPU of two vCPUs."""
        cpus = sorted(c for vm in self.libvirtd.vms for c in vm.cpus())
        return [a for a, b in zip(cpus, cpus[1:]) if a == b]

    def evidence(self):
        """What may explain a failure."""
        parts = []
        for vm in self.libvirtd.vms:
            masks = {n: cpu_list(m) for n, m in vm.masks().items()}
            parts.append("VM %s (%s) pid %d: %s" % (vm.short, vm.uuid, vm.pid, masks))
        try:
            with open(LOG, encoding="utf-8", errors="replace") as f:
                parts += ["vas-daemon: " + line.rstrip() for line in f.readlines()[-60:]]
        except OSError:
            pass
        return "\n".join(parts)

    def clean(self):
        self.daemon.clean()
        self.libvirtd.clean()


def missing():
    """Why real tests can not run here; None: they can."""
    if os.geteuid() != 0:
        return "needs root"
    if guests.ARCH not in guests.SHAPES:
        return "no VM is described for %s" % guests.ARCH
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for program in ("unshare", "virsh", "libvirtd", "setpriv"):
        if not shutil.which(program, path=path):
            return "%s is not installed" % program
    return None


def main(file, subject=None):
    """Runs a test file's cases, or subject(lab, arguments), in a sandbox."""
    parser = argparse.ArgumentParser(prog=os.path.basename(file))
    parser.add_argument("--build", default=os.environ.get("VAS_BUILD", "build"), help="the build directory")
    parser.add_argument("only", nargs="?", help="run only the cases whose title holds this")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    reason = missing()
    if reason:
        print("%s: %s" % (parser.prog, reason) if subject else "1..0 # SKIP %s" % reason)
        sys.exit(1 if subject else 0)

    def inside():
        lab = Lab(build)
        try:
            lab.libvirtd.start()
        except Wrong as reason:
            print("%s: %s" % (parser.prog, reason) if subject else "Bail out! %s" % reason)
            return 1
        return subject(lab, args) if subject else run_cases(lab, args.only)

    sandbox.run(inside, os.path.join(build, "qemu-capabilities"))
