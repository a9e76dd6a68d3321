#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Things that happen at the worst moment: VMs that are back before their end was seen, ranges that change amid
writes, others that write the same masks, a libvirtd that is killed or silent, events that never come, another clock."""

import contextlib
import os
import random
import signal
import subprocess
import threading
import time

from lab import Skip, case, check, cpu_list, equal, main, wait_until

SOON = 1.0
# Without events a VM is found by the next resync, which SETTINGS has every second.
RESYNC = 2.5


def all_placed(vms):
    return all(vm.is_placed() for vm in vms)


def placed_pair(lab, within=SOON):
    """Two VMs of one vCPU, on the two CPUs of a pair."""
    pair = lab.pair()
    vms = [lab.vm(name, cpuset=cpu_list(pair)).start() for name in ("a", "b")]
    wait_until(lambda: all_placed(vms), within)
    return vms, pair


@case("a VM of the same name and UUID is back at once, again and again")
def back_at_once(lab):
    lab.daemon.start()
    (vm, other), pair = placed_pair(lab)
    where, dead = other.masks(), set()
    for _ in range(6):
        dead.add(vm.threads()[0].tid)
        lab.virsh("destroy", vm.name)
        lab.virsh("start", vm.name, "--paused")
        check(vm.threads()[0].tid not in dead, "a thread's number came back by itself")
    wait_until(lambda: vm.is_placed() and set(vm.cpus()) <= set(pair), SOON)
    equal(other.masks(), where, "the other VM")
    equal(lab.strangers(), [], "CPUs owned twice")
    equal(lab.daemon.verdict(vm), "PLACED", "verdict")


@case("a VM that is killed and started again while a write to it takes long")
def back_amid_writes(lab):
    pair = lab.pair()
    lab.daemon.start(write_delay_ms=400)
    vm = lab.vm("a", vcpus=2, cpuset=cpu_list(pair)).start()
    wait_until(lambda: len(lab.daemon.writes()) == 1, 3)
    lab.virsh("destroy", vm.name)
    lab.virsh("start", vm.name, "--paused")
    wait_until(vm.is_placed, 5)
    check(lab.daemon.is_running(), "vas-daemon ended")
    equal(lab.daemon.verdict(vm), "PLACED", "verdict")


@case("a range that changes between the plan and its writes: obeyed in the end, and never left")
def range_amid_writes(lab):
    pair = lab.pair()
    vm = lab.vm("a", vcpus=2, cpuset=cpu_list(pair))
    lab.daemon.start(write_delay_ms=400)
    vm.start()
    wait_until(lambda: len(lab.daemon.writes()) == 1, 3)
    later = next(n for n, mask in vm.masks().items() if len(mask) > 1)
    lab.virsh("vcpupin", vm.name, str(later), str(pair[0]), "--live")
    wait_until(lambda: vm.masks() == {later: {pair[0]}, 1 - later: {pair[1]}}, 5)
    for _ in range(20):
        equal(vm.masks()[later], frozenset({pair[0]}), "the vCPU that its operator pinned")
        time.sleep(0.05)


@contextlib.contextmanager
def somebody_writes(tid, cpus, pause):
    """Another program that wants another mask, all the time."""
    over = threading.Event()

    def write():
        while not over.wait(pause):
            os.sched_setaffinity(tid, cpus)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


@case("another program that writes a mask all the time: CONTESTED, no tug of war")
def tug_of_war(lab):
    lab.daemon.start()
    (vm, other), pair = placed_pair(lab)
    tid, where = vm.threads()[0].tid, other.masks()
    before = lab.daemon.writes().count(tid)
    with somebody_writes(tid, pair, 0.01):
        wait_until(lambda: lab.daemon.verdict(vm) == "CONTESTED", 10)
        spent = lab.daemon.writes().count(tid) - before
        check(spent <= 4, "it wrote %d times before it gave in", spent)
        time.sleep(5)
        equal(lab.daemon.writes().count(tid) - before, spent, "writes while it is CONTESTED")
    equal(other.masks(), where, "the other VM")
    check("CONTESTED" in lab.daemon.log(), "it does not say so")


@case("libvirtd killed and replaced, VMs going and coming meanwhile")
def replaced(lab):
    lab.daemon.start()
    (vm, other), pair = placed_pair(lab)
    where = other.masks()
    lab.libvirtd.process.kill()
    lab.libvirtd.process.wait()
    os.kill(vm.pid, signal.SIGKILL)
    time.sleep(0.3)
    equal(other.masks(), where, "masks without libvirt")
    lab.libvirtd.start()
    late = lab.vm("late", cpuset=cpu_list(pair)).start()
    wait_until(late.is_placed, 10)
    equal(other.masks(), where, "the VM that stayed")
    wait_until(lambda: lab.daemon.status()["vms"] == 2, 5, "the dead one is forgotten")
    equal(lab.strangers(), [], "CPUs owned twice")


@case("libvirtd stands still for seconds, again and again: pins stay, and what came meanwhile is placed")
def stands_still(lab):
    lab.daemon.start()
    (vm, other), pair = placed_pair(lab)
    where = other.masks()
    for _ in range(3):
        lab.libvirtd.freeze()
        time.sleep(2)
        equal(other.masks(), where, "masks meanwhile")
        lab.libvirtd.thaw()
    lab.libvirtd.freeze()
    os.sched_setaffinity(other.threads()[0].tid, pair)
    time.sleep(1)
    lab.libvirtd.thaw()
    wait_until(lambda: other.masks() == where, 6, "a mask that somebody changed meanwhile is put back")
    lab.virsh("destroy", vm.name)
    late = lab.vm("late", cpuset=cpu_list(pair)).start()
    wait_until(lambda: late.is_placed() and other.masks() == where, 15)


@case("no event ever comes: VMs that start, go, or get another range are seen within a resync")
def no_events(lab):
    lab.daemon.start(drop_events=True)
    pair = lab.pair()
    vms = [lab.vm(name, cpuset=cpu_list(pair)).start() for name in ("a", "b")]
    wait_until(lambda: all_placed(vms), RESYNC, "both are placed")
    late = lab.vm("late", cpuset=cpu_list(pair)).start()
    wait_until(lambda: lab.daemon.verdict(late) == "SHARED", RESYNC, "the third has no CPU")
    vms[0].destroy()
    wait_until(lambda: late.is_placed() and lab.daemon.status()["vms"] == 2, RESYNC, "it takes the one that is free")
    wanted, other = vms[1].cpus()[0], late.cpus()[0]
    lab.virsh("vcpupin", late.name, "0", str(wanted), "--live")
    wait_until(lambda: late.masks() == {0: {wanted}} and vms[1].masks() == {0: {other}}, RESYNC,
               "its operator's pin wins")


@case("no event ever comes, and no control group holds the VMs: a pin is obeyed, though our mask was put back over it")
def no_events_no_cgroups(lab):
    lab.libvirtd.stop()
    lab.libvirtd.start(qemu_conf="cgroup_controllers = [ ]\n")
    lab.daemon.start(drop_events=True)
    (vm, other), _ = placed_pair(lab, RESYNC)
    mine, wanted = vm.cpus()[0], other.cpus()[0]
    lab.virsh("vcpupin", vm.name, "0", str(wanted), "--live")
    wait_until(lambda: vm.masks() == {0: {wanted}} and other.masks() == {0: {mine}}, RESYNC, "its operator's pin wins")
    equal(lab.daemon.verdict(vm), "PINNED", "its verdict")


@case("some events are lost and others come twice, in a storm")
def storm_without_some(lab):
    """The daemon stands still, so that libvirt gives it up or tells it all at once."""
    lab.daemon.start()
    dice, pair = random.Random(5), lab.pair()
    vms = [lab.vm("v%d" % i, cpuset=cpu_list(pair)) for i in range(6)]
    for i, vm in enumerate(vms):
        if i % 2:
            lab.daemon.process.send_signal(signal.SIGSTOP)
        vm.start()
        if dice.random() < 0.4:
            vm.destroy()
            vm.start()
        lab.daemon.process.send_signal(signal.SIGCONT)
    wait_until(lambda: all(lab.daemon.verdict(vm) in ("PLACED", "SHARED") for vm in vms), 5)
    equal(sum(vm.is_placed() for vm in vms), 2, "VMs with a CPU of their own")
    equal(lab.strangers(), [], "CPUs owned twice")


@case("a clock that is three years ahead, and another after a restart: placed, adopted without a write")
def other_clock(lab):
    ahead = ["unshare", "--time", "--monotonic", "94608000", "--boottime", "94608000"]
    if subprocess.run([*ahead, "true"], capture_output=True, check=False).returncode != 0:
        raise Skip("no time namespaces here")
    vm = lab.vm("a").start()
    lab.daemon.start(before=ahead)
    wait_until(vm.is_placed, SOON)
    masks = vm.masks()
    lab.daemon.kill()
    lab.daemon.start(before=ahead)
    time.sleep(3)
    equal((lab.daemon.writes(), vm.masks()), ([], masks), "writes and masks after the restart")
    lab.daemon.kill()
    # Threads then seem to have started at another time: they are not taken for ours, and left alone.
    lab.daemon.start()
    time.sleep(3)
    equal((lab.daemon.writes(), vm.masks()), ([], masks), "writes and masks under the machine's clock")


main(__file__)
