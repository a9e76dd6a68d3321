#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each vCPU on a CPU of its own, inside what the operator allowed."""

import concurrent.futures
import os
import random
import signal
import time

from lab import case, check, cpu_list, equal, main, wait_until

SOON = 1.0  # what "at once" may take here; `make bench` measures it better


def is_placed_in(vm, cpus):
    return vm.is_placed() and set(vm.cpus()) <= set(cpus)


@case("a VM from before the daemon and one from after it, neither bound, get CPUs of their own")
def before_and_after(lab):
    early = lab.vm("early").start()
    equal(early.masks(), {0: frozenset(lab.cpus)}, "mask before the daemon")
    lab.daemon.start()
    wait_until(early.is_placed, SOON, "the early VM is placed")
    late = lab.vm("late").start()
    wait_until(late.is_placed, SOON, "the late VM is placed")
    equal(lab.strangers(), [], "CPUs owned twice")
    equal({lab.daemon.verdict(v) for v in (early, late)}, {"PLACED"}, "verdicts")
    equal(early.libvirt_pins(), {0: frozenset(lab.cpus)}, "the operator's range, which is not ours to change")


@case("a VM that starts running, not paused, is placed")
def running(lab):
    lab.daemon.start()
    vm = lab.vm("a").start(paused=False)
    wait_until(vm.is_placed, SOON)


@case("a range given by cpuset")
def by_cpuset(lab):
    pair = lab.pair()
    lab.daemon.start()
    vm = lab.vm("a", vcpus=2, cpuset=cpu_list(pair)).start()
    wait_until(lambda: is_placed_in(vm, pair), SOON)


@case("a range given by vcpupin")
def by_vcpupin(lab):
    pair = lab.pair()
    lab.daemon.start()
    vm = lab.vm("a", vcpus=2, pins={0: cpu_list(pair), 1: cpu_list(pair)}).start()
    wait_until(lambda: is_placed_in(vm, pair), SOON)


@case("a range that differs from vCPU to vCPU")
def by_vcpu(lab):
    pair = lab.pair()
    lab.daemon.start()
    vm = lab.vm("a", vcpus=2, pins={0: cpu_list(pair), 1: str(pair[0])}).start()
    wait_until(lambda: vm.masks() == {0: {pair[1]}, 1: {pair[0]}}, SOON)


@case("a part of a node as the range")
def part_of_node(lab):
    lab.need_cpus(3)
    part = lab.cpus[1:3]
    lab.daemon.start()
    vm = lab.vm("a", vcpus=2, cpuset=cpu_list(part)).start()
    wait_until(lambda: is_placed_in(vm, part), SOON)


@case("a vCPU that its operator pinned is left alone, and its CPU is given to nobody")
def operators_pin(lab):
    pair = lab.pair()
    pinned = lab.vm("pinned", pins={0: str(pair[0])}).start()
    lab.daemon.start()
    other = lab.vm("other", cpuset=cpu_list(pair)).start()
    wait_until(lambda: other.masks() == {0: {pair[1]}}, SOON)
    equal(pinned.masks(), {0: frozenset({pair[0]})}, "the pinned vCPU")
    check(pinned.threads()[0].tid not in lab.daemon.writes(), "the pinned vCPU was written")
    equal(lab.daemon.verdict(pinned), "PINNED", "verdict")


@case("a VM that starts pinned to another VM's CPU has it at once")
def pin_lands(lab):
    pair = lab.pair()
    lab.daemon.start()
    first = lab.vm("first", cpuset=cpu_list(pair)).start()
    wait_until(first.is_placed, SOON)
    wanted = first.cpus()[0]
    lab.vm("second", pins={0: str(wanted)}).start()
    wait_until(lambda: is_placed_in(first, set(pair) - {wanted}), SOON, "the first VM yields")


@case("virsh vcpupin to another VM's CPU wins within a second")
def vcpupin_lands(lab):
    pair = lab.pair()
    lab.daemon.start()
    first = lab.vm("first", cpuset=cpu_list(pair)).start()
    second = lab.vm("second", cpuset=cpu_list(pair)).start()
    wait_until(lambda: first.is_placed() and second.is_placed(), SOON)
    wanted, other = first.cpus()[0], second.cpus()[0]
    lab.virsh("vcpupin", second.name, "0", str(wanted), "--live")
    wait_until(lambda: first.masks() == {0: {other}} and second.masks() == {0: {wanted}}, SOON)


@case("virsh vcpupin changes the range of a running VM, obeyed within a second")
def vcpupin_changes_range(lab):
    pair = lab.pair()
    lab.daemon.start()
    vm = lab.vm("a").start()
    wait_until(vm.is_placed, SOON)
    for chosen in pair:
        lab.virsh("vcpupin", vm.name, "0", str(chosen), "--live")
        wait_until(lambda: vm.masks() == {0: {chosen}}, SOON, "narrowed to %d" % chosen)
        lab.virsh("vcpupin", vm.name, "0", cpu_list(pair), "--live")
        wait_until(lambda: is_placed_in(vm, pair), SOON, "widened to %s" % pair)


@case("a mask that another program widened is put back")
def widened(lab):
    pair = lab.pair()
    lab.daemon.start()
    vm = lab.vm("a", cpuset=cpu_list(pair)).start()
    # Not before the write has been read back: that would be a failed write.
    wait_until(lambda: vm.is_placed() and lab.daemon.status()["moves_done"] >= 1, SOON)
    masks = vm.masks()
    os.sched_setaffinity(vm.threads()[0].tid, pair)
    equal(vm.masks(), {0: frozenset(pair)}, "the other program's mask")
    wait_until(lambda: vm.masks() == masks, 3, "put back within a resync")
    wait_until(lambda: lab.daemon.status()["drift_repaired"] >= 1, 2, "it is counted")


@case("a taskset from before the daemon is FOREIGN: left alone, its CPU given to nobody")
def foreign(lab):
    pair = lab.pair()
    vm = lab.vm("a", cpuset=cpu_list(pair)).start()
    thread = vm.threads()[0]
    os.sched_setaffinity(thread.tid, {pair[0]})
    lab.daemon.start()
    other = lab.vm("other", cpuset=cpu_list(pair)).start()
    wait_until(lambda: other.masks() == {0: {pair[1]}}, SOON)
    equal(vm.masks(), {0: frozenset({pair[0]})}, "the foreign mask")
    equal(lab.daemon.verdict(vm), "FOREIGN", "verdict")
    check(thread.tid not in lab.daemon.writes(), "the foreign thread was written")
    lab.vasctl("reassign", vm.name)
    wait_until(lambda: lab.daemon.verdict(vm) == "PLACED", SOON, "reassign by name takes it over")


@case("a VM without a CPU of its own is SHARED, never squeezed, and takes what a destroyed VM frees")
def shared_takes_over(lab):
    pair = lab.pair()
    lab.daemon.start()
    owner = lab.vm("owner", vcpus=2, cpuset=cpu_list(pair)).start()
    wait_until(owner.is_placed, SOON)
    guest = lab.vm("guest", cpuset=cpu_list(pair)).start()
    wait_until(lambda: lab.daemon.verdict(guest) == "SHARED", SOON)
    equal(guest.masks(), {0: frozenset(pair)}, "nothing is free: its whole range")
    owner.destroy()
    wait_until(lambda: is_placed_in(guest, pair), SOON, "it has a CPU of its own")
    equal(lab.daemon.verdict(guest), "PLACED", "verdict")


@case("SHARED VMs keep to the free CPUs only while these suffice")
def shared_on_free(lab):
    pair = lab.pair()
    lab.daemon.start()
    owner = lab.vm("owner", cpuset=cpu_list(pair)).start()
    wait_until(owner.is_placed, SOON)
    guest = lab.vm("guest", vcpus=2, cpuset=cpu_list(pair)).start()
    wait_until(lambda: lab.daemon.verdict(guest) == "SHARED", SOON)
    equal(guest.masks(), {0: frozenset(pair), 1: frozenset(pair)}, "two vCPUs on one free CPU would be squeezed")


@case("skip-cpuset is given to nobody")
def skipped(lab):
    pair = lab.pair()
    lab.daemon.start("--skip-cpuset", str(pair[0]))
    vm = lab.vm("a", cpuset=cpu_list(pair)).start()
    wait_until(lambda: vm.masks() == {0: {pair[1]}}, SOON)


@case("a host CPU that goes offline is left, and used again when it is back")
def host_hotplug(lab):
    pair = lab.pair()
    lab.daemon.start()
    vm = lab.vm("a", cpuset=cpu_list(pair)).start()
    wait_until(vm.is_placed, SOON)
    gone = vm.cpus()[0]
    with lab.kernel_says("online", set(lab.cpus) - {gone}):
        wait_until(lambda: vm.is_placed() and vm.cpus() != [gone], 3, "it leaves the CPU")
        equal(lab.daemon.status()["host_cpus"], len(lab.cpus) - 1, "CPUs of the host")
        other = lab.vm("other", cpuset=cpu_list(pair)).start()
        wait_until(lambda: lab.daemon.verdict(other) == "SHARED", SOON)
    wait_until(lambda: other.is_placed() and vm.is_placed(), 3, "the CPU is used again")
    equal(lab.strangers(), [], "CPUs owned twice")


@case("isolated CPUs are for VMs whose operator named them")
def isolated(lab):
    lab.need_cpus(2)
    *common, kept = lab.cpus
    with lab.kernel_says("isolated", {kept}):
        lab.daemon.start()
        unbound = [lab.vm("unbound%d" % i).start() for i in range(2 if len(common) == 1 else 1)]
        wait_until(lambda: all(lab.daemon.verdict(vm) in ("PLACED", "SHARED") for vm in unbound), SOON)
        named = lab.vm("named", cpuset=cpu_list(lab.cpus[-2:])).start()
        wait_until(lambda: lab.daemon.verdict(named) == "PLACED", SOON)
        if len(common) == 1:
            equal(named.cpus(), [kept], "the named VM")
        for vm in unbound:
            check(kept not in vm.cpus(), "an unbound VM is on the isolated CPU")


@case("20 VMs at once: each has a verdict, no CPU is owned twice")
def twenty(lab):
    lab.daemon.start()
    vms = [lab.vm("v%d" % i) for i in range(20)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda vm: vm.start(), vms))

    def all_judged():
        return all(lab.daemon.verdict(vm) in ("PLACED", "SHARED", "SPREAD") for vm in vms)

    wait_until(all_judged, 5)
    equal(lab.strangers(), [], "CPUs owned twice")
    placed = [vm for vm in vms if vm.is_placed()]
    check(len(placed) >= 1, "none of 20 VMs has a CPU of its own")
    for vm in vms:
        if vm not in placed:
            check(vm.masks()[0] <= frozenset(lab.cpus) and len(vm.masks()[0]) > 1, "%s: %s", vm.short, vm.masks())


@case("VMs that die while they are being pinned harm nobody")
def dying(lab):
    lab.daemon.start()
    dice = random.Random(7)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for i in range(8):
            vm = lab.vm("v%d" % i)
            starting = pool.submit(vm.start, paused=False)
            wait_until(vm.threads, 5, pause=0.0005)
            time.sleep(dice.random() * 0.04)
            os.kill(vm.pid, signal.SIGKILL)
            starting.exception()
    check(lab.daemon.is_running(), "vas-daemon died too")
    survivor = lab.vm("survivor").start()
    wait_until(survivor.is_placed, SOON)
    wait_until(lambda: lab.daemon.status()["vms"] == 1, 3, "the dead are forgotten")


def narrow_cpuset(thread, cpus):
    """What a program that binds vCPUs by their cpusets does, and may leave."""
    with open("/proc/%d/cgroup" % thread.tid, encoding="ascii") as f:
        lines = [line.rstrip("\n").split(":", 2) for line in f]
    v1 = [path for _, names, path in lines if "cpuset" in names.split(",")]
    v2 = [path for number, _, path in lines if number == "0"]
    group = "/sys/fs/cgroup/cpuset" + v1[0] if v1 else "/sys/fs/cgroup" + v2[0]
    check(os.path.basename(group).startswith("vcpu"), "not a vCPU's own cpuset: %s", group)
    with open(group + "/cpuset.cpus", "w", encoding="ascii") as f:
        f.write(cpus)


@case("a cpuset that another program left is named at the start, with what mends it")
def leftovers(lab):
    pair = lab.pair()
    vm, clean = lab.vm("left", vcpus=2).start(), lab.vm("clean").start()
    narrow_cpuset(vm.threads()[1], str(pair[1]))
    lab.daemon.start()
    found = [line for line in lab.daemon.log().splitlines() if "cpuset" in line]
    equal(len(found), 1, "lines about it")
    check("%s: the cpusets of 1 of its 2 vCPUs" % vm.name in found[0] and "vCPU 1 has %d of" % pair[1] in found[0],
          "%s", found[0])
    check(clean.name not in found[0], "%s", found[0])
    lab.daemon.stop()
    lab.virsh("vcpupin", vm.name, "1", cpu_list(lab.cpus), "--live")
    lab.daemon.start()
    check("cpuset" not in lab.daemon.log().split("started, mode")[-1], "what mends it does not")


main(__file__)
