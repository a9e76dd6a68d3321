#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Things that happen at the worst moment: VMs that are back before their end was seen, ranges that change amid
writes, others that write the same masks, a libvirtd that is killed or silent, events that never come, another clock."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time

from lab import Skip, case, check, cpu_list, equal, main, patience, wait_until
from lab.libvirtd import URI

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


@contextlib.contextmanager
def standing_still(lab):
    lab.libvirtd.freeze()
    try:
        yield time.monotonic()
    finally:
        lab.libvirtd.thaw()


def check_says_that_it_hangs(lab, since):
    """Status answers at once, and tells what is the matter as soon as it can be known."""
    answer = lab.vasctl("status")
    check(answer.code == 0 and answer.seconds < patience(), "status after %.2f s: %s", answer.seconds, answer)
    seconds = time.monotonic() - since - answer.seconds
    if seconds > 6:  # a question is asked each second
        check("a question to it has been waiting for" in answer.out or "libvirt   down" in answer.out, "%s", answer)
    if seconds > 20:  # libvirt's keep-alive takes six, on a machine that has nothing else to do
        check(re.search(r"libvirt   down.*\n.*(does not answer|hangs)", answer.out), "after %d s: %s", seconds, answer)
    return answer.seconds


@case("libvirtd stands still for a minute: pins stay, status says so, what came meanwhile is placed")
def stands_still(lab):
    lab.daemon.start()
    (vm, other), pair = placed_pair(lab)
    where = other.masks()
    late = lab.vm("late", cpuset=cpu_list(pair)).define()
    written, changed, slowest = lab.daemon.writes(), False, 0
    with standing_still(lab) as began:
        starter = subprocess.Popen(["virsh", "-q", "-k", "0", "-c", URI, "start", late.name, "--paused"])
        os.kill(vm.pid, signal.SIGKILL)
        while time.monotonic() < began + 60:
            slowest = max(slowest, check_says_that_it_hangs(lab, began))
            equal(other.masks(), {0: frozenset(pair)} if changed else where, "masks meanwhile")
            if not changed and time.monotonic() > began + 30:
                os.sched_setaffinity(other.threads()[0].tid, pair)
                changed = True
            time.sleep(1)
        # Not even the mask that was changed: it could be the operator's new range, which only libvirt knows.
        equal(lab.daemon.writes(), written, "writes without libvirt")
    wait_until(lambda: other.masks() == where, 15, "the mask that somebody changed is put back")
    wait_until(lambda: late.is_placed() and other.masks() == where, 15, "the VM that was started meanwhile is placed")
    equal(starter.wait(10), 0, "virsh start")
    wait_until(lambda: lab.daemon.status()["vms"] == 2, RESYNC, "the dead one is forgotten")
    equal(lab.strangers(), [], "CPUs owned twice")
    print("# the slowest of vasctl status while libvirtd stood still: %.0f ms" % (slowest * 1e3))


@case("no event ever comes: VMs that start, go, or get another range are seen within a resync")
def no_events(lab):
    lab.daemon.start(drop_events="all")
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
    lab.daemon.start(drop_events="all")
    (vm, other), _ = placed_pair(lab, RESYNC)
    mine, wanted = vm.cpus()[0], other.cpus()[0]
    lab.virsh("vcpupin", vm.name, "0", str(wanted), "--live")
    wait_until(lambda: vm.masks() == {0: {wanted}} and other.masks() == {0: {mine}}, RESYNC, "its operator's pin wins")
    equal(lab.daemon.verdict(vm), "PINNED", "its verdict")


# Libvirt's numbers of the events that the daemon heeds in a VM's life.
STARTED, STOPPED = (0, 2), (0, 5)


def is_settled(lab, running):
    """All that runs is known and has a verdict, and as many as can have a CPU of their own."""
    verdicts = [lab.daemon.verdict(vm) for vm in running]
    return (lab.daemon.status()["vms"] == len(running) and sum(vm.is_placed() for vm in running) == 2 and
            sorted(verdicts) == ["PLACED"] * 2 + ["SHARED"] * (len(running) - 2))


@case("half of the events are lost and others come twice, in a storm: a resync later all is as if none were")
def storm_without_some(lab):
    """The daemon also stands still, so that libvirt gives it up or tells it all at once. What must hold within the next
    resync, which asks libvirt for all there is: VMs that run are known, those that ended are not, also where both were
    lost of one that is back under its UUID; CPUs that became free are given out; and nothing is written any more."""
    lab.daemon.start(drop_events=5)
    pair = lab.pair()
    vms = [lab.vm("v%d" % i, cpuset=cpu_list(pair)) for i in range(6)]
    for i, vm in enumerate(vms):
        if i % 2:
            lab.daemon.process.send_signal(signal.SIGSTOP)
        vm.start()
        if i % 3 == 0:
            vm.destroy()
            vm.start()
        lab.daemon.process.send_signal(signal.SIGCONT)
    wait_until(lambda: is_settled(lab, vms), RESYNC, "all six are known, two of them placed")
    for vm in [vm for vm in vms if vm.is_placed()]:
        vm.destroy()
        vms.remove(vm)
    wait_until(lambda: is_settled(lab, vms), RESYNC, "two others have the CPUs of those that ended")
    written = lab.daemon.writes()
    time.sleep(RESYNC)
    equal(lab.daemon.writes(), written, "writes when all is settled")
    equal(lab.strangers(), [], "CPUs owned twice")
    events = lab.daemon.delivered()
    heeded = [n for n, *what in events if tuple(what) in (STARTED, STOPPED)]
    check(heeded.count(0) >= 3 and heeded.count(2) >= 2, "too few were lost, or came twice: %s of %s", heeded, events)
    print("# of %d starts and stops %d were lost, %d came twice" % (len(heeded), heeded.count(0), heeded.count(2)))


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


def check_no_age_is_absurd(value, key=""):
    """Of all that an answer holds: spans of time are neither negative nor longer than this test."""
    if isinstance(value, dict):
        for inner_key, inner in value.items():
            check_no_age_is_absurd(inner, inner_key)
    elif isinstance(value, list):
        for inner in value:
            check_no_age_is_absurd(inner, key)
    elif key.endswith("_s") and value is not None:
        check(0 <= value < 600, "%s is %s", key, value)


def check_answers_are_sane(lab, ahead):
    """None hangs, no age is negative, and what happens now has the time of the daemon's clock."""
    for words in (["status"], ["list"], ["events"], ["check"], ["metrics"], ["top"], ["report", "-o", "-"]):
        answer = lab.vasctl(*words)
        check(answer.code == 0 and answer.seconds < 2 * patience(), "%s, %.2f s: %s", words, answer.seconds, answer)
    out = lab.vasctl("status").out
    check(not re.search(r"(^|[ (])-[0-9]|days", out, re.M), "an age in %s", out)
    check_no_age_is_absurd(lab.vasctl("status", "--json").json())
    events = lab.vasctl("events", "--json").json()["events"]
    last_s = events[-1]["time_us"] / 1e6 - time.time() - ahead
    check(-60 < last_s <= 1, "the last event is %.1f s off the daemon's clock", last_s)
    check(lab.vasctl("events", "-n", "1").out.startswith(time.strftime("%Y-", time.localtime(time.time() + ahead))),
          "the last event's year")


YEARS = 365 * 86400


@case("the clock jumps while the daemon runs, three years ahead and back by six: nothing is done otherwise")
def clock_jumps(lab):
    lab.daemon.start(own_clock=True)
    pair, ahead, written = lab.pair(), 0, 0

    def jump():
        nonlocal ahead
        ahead = -3 * YEARS if ahead > 0 else 3 * YEARS
        lab.daemon.set_clock(ahead)

    def stays(condition, writes, what, more=0):
        """It takes so many writes, or a few more, and a resync later there was none more."""
        nonlocal written
        wait_until(condition, SOON, what)
        time.sleep(1.2)
        check(condition(), "not any more: %s", what)
        new = len(lab.daemon.writes()) - written
        check(writes <= new <= writes + more, "%d writes until %s", new, what)
        written += new

    a, b = (lab.vm(name, cpuset=cpu_list(pair)).define() for name in ("a", "b"))
    jump()
    a.start()
    stays(a.is_placed, 1, "the first is placed")
    jump()
    b.start()
    stays(lambda: all_placed([a, b]), 1, "the second is placed")
    mine, other = a.cpus()[0], b.cpus()[0]
    jump()
    lab.virsh("vcpupin", a.name, "0", str(other), "--live")
    stays(lambda: (a.masks(), b.masks()) == ({0: {other}}, {0: {mine}}), 1, "its operator's pin wins",
          more=2)  # a round may come between libvirt's write and its event
    for _ in range(2):
        jump()
        equal(lab.vasctl("reassign", "all").code, 0, "reassign")
        stays(lambda: (a.masks(), b.masks()) == ({0: {other}}, {0: {mine}}), 0, "nothing was to be done")
        check_answers_are_sane(lab, ahead)


main(__file__)
