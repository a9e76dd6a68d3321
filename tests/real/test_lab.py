#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The laboratory itself: what the other tests stand on."""

import os

from lab import SPIN, UNPLUG, case, check, equal, main, wait_until
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


@case("a spinning guest burns its CPU")
def spin(lab):
    vm = lab.vm("a", boot=SPIN).start(paused=False)

    def ticks():
        with open("/proc/%d/task/%d/stat" % (vm.pid, vm.threads()[0].tid), encoding="ascii") as f:
            return int(f.read().rpartition(")")[2].split()[11])

    before = ticks()
    wait_until(lambda: ticks() > before + 200, 10, "2 s of CPU time are burnt", pause=0.2)


@case("vCPUs can be plugged and unplugged in a guest without an operating system")
def hotplug(lab):
    vm = lab.vm("a", vcpus=1, maximum=2, boot=UNPLUG).start(paused=False).wait_booted()
    lab.virsh("setvcpus", vm.name, "2", "--live")
    equal(sorted(vm.threads()), [0, 1], "vCPUs after plugging")
    vm.unplug(1)
    equal(sorted(vm.threads()), [0], "vCPUs after unplugging")


main(__file__)
