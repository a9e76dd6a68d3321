#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The laboratory itself: what the other tests stand on."""

import os
import shutil
import time

from lab import SPIN, UNPLUG, Skip, Wrong, case, check, equal, main, patience, wait_until
from lab.guests import HALT, SHAPES, THREE_QUARTERS
from lab.load import run_seconds
from lab.sandbox import run_id


@case("a VM starts, has named vCPU threads and stops")
def vm_life(lab):
    vm = lab.vm("a", vcpus=2).start()
    equal(sorted(vm.threads()), [0, 1], "vCPU threads")
    equal(set(vm.masks().values()), {frozenset(lab.cpus)}, "masks of an unbound VM")
    vm.destroy()
    wait_until(lambda: not vm.threads(), 3, "the VM is gone")


@case("only this run's VMs are seen")
def isolation(lab):
    lab.vm("a").start()
    names = lab.virsh("list", "--all", "--name").split()
    check(all(n.endswith(run_id()) for n in names), "strangers among %s", names)
    pids = [int(p) for p in os.listdir("/proc") if p.isdigit()]
    check(len(pids) < 40, "this is not a PID namespace of its own: %d processes", len(pids))


@case("libvirt's pins reach the threads' masks")
def pins(lab):
    last = lab.cpus[-1]
    vm = lab.vm("a", vcpus=2, pins={0: str(last)}).start()
    equal(vm.masks(), {0: frozenset({last}), 1: frozenset(lab.cpus)}, "masks")
    equal(vm.libvirt_pins(), vm.masks(), "virsh vcpupin")


@case("libvirtd restarts and the VM goes on")
def restart(lab):
    vm = lab.vm("a").start()
    before = vm.threads()
    lab.libvirtd.stop()
    equal(vm.threads(), before, "threads without a libvirtd")
    lab.libvirtd.start()
    equal(lab.virsh("domstate", vm.name).strip(), "paused", "state")


@case("a libvirtd without a driver for QEMU is named at once")
def no_driver(lab):
    lab.libvirtd.stop()
    os.environ["LIBVIRT_DRIVER_DIR"] = "/nonexistent"
    began = time.monotonic()
    try:
        lab.libvirtd.start()
        said = "nothing"
    except Wrong as reason:
        said = str(reason)
    finally:
        del os.environ["LIBVIRT_DRIVER_DIR"]
        lab.libvirtd.stop()
        lab.libvirtd.start()
    check("libvirt-daemon-driver-qemu" in said, "it said %s", said)
    check(time.monotonic() - began < 5 * patience(), "it took %.1f s to say so", time.monotonic() - began)


@case("a spinning guest burns its CPU")
def spin(lab):
    vm = lab.vm("a", boot=SPIN).start(paused=False)

    def ticks():
        with open("/proc/%d/task/%d/stat" % (vm.pid, vm.threads()[0].tid), encoding="ascii") as f:
            return int(f.read().rpartition(")")[2].split()[11])

    before = ticks()
    wait_until(lambda: ticks() > before + 200, 10, "2 s of CPU time are burnt", pause=0.2)


def wanted_share(vm, seconds):
    """How much of that time a VM's vCPU ran or waited for a CPU: what it wants of one, on a busy machine too."""
    tid = vm.threads()[0].tid
    began, before = time.monotonic(), sum(run_seconds(tid))
    time.sleep(seconds)
    return (sum(run_seconds(tid)) - before) / (time.monotonic() - began)


def guests_of(arch):
    @case("%s: guests that halt, spin and do both do so, and are placed" % arch)
    def guests(lab):
        if not shutil.which("qemu-system-" + arch):
            raise Skip("qemu-system-%s is not installed" % arch)
        lab.daemon.start()
        shares = (("halt", HALT, 0, 0.3), ("both", THREE_QUARTERS, 0.6, 0.9), ("spin", SPIN, 0.95, 1.1))
        for short, code, least, most in shares:
            vm = lab.vm(short, boot=code, arch=arch).start(paused=False).wait_booted()
            wait_until(vm.is_placed, 2, "it is placed")
            wait_until(lambda vm=vm, least=least, most=most: least <= wanted_share(vm, 2) <= most, 20,
                       "%s wants %g to %g of a CPU" % (short, least, most))
            vm.destroy()


for known in SHAPES:
    guests_of(known)


@case("vCPUs can be plugged and unplugged in a guest without an operating system")
def hotplug(lab):
    vm = lab.vm("a", vcpus=1, maximum=2, boot=UNPLUG).start(paused=False).wait_booted()
    lab.virsh("setvcpus", vm.name, "2", "--live")
    equal(sorted(vm.threads()), [0, 1], "vCPUs after plugging")
    vm.unplug(1)
    equal(sorted(vm.threads()), [0], "vCPUs after unplugging")


main(__file__)
