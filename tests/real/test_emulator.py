#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""QEMU's threads that are no vCPUs: left, placed, undone."""

import os

from lab import case, check, equal, main, threads, wait_until

SOON = 2.0
VCPU = "CPU "


def helpers(vm):
    """thread -> (name, mask) of all its process's threads that are no vCPUs."""
    return {t.tid: (t.comm, t.cpus) for t in threads.of_process(vm.pid) if not t.comm.startswith(VCPU)}


def are_on(vm, cpus):
    masks = [mask for _, mask in helpers(vm).values()]
    return len(masks) > 0 and all(mask == frozenset(cpus) for mask in masks)


def some_rounds(lab, count=3):
    first = lab.daemon.status()["rounds"]
    wait_until(lambda: lab.daemon.status()["rounds"] >= first + count, 2 + 1.5 * count)


def start(lab, how, **more):
    lab.daemon.start(settings={"placement": dict(more, **{"emulator-threads": how})})


def one_vcpu(lab, short="a", **how):
    """A VM whose vCPU has the first of two CPUs of its own; the second is left."""
    pair = lab.pair()
    return lab.vm(short, pins={0: str(pair[0])}, **how).start(), pair


@case("leave touches nothing")
def leave(lab):
    vm, _ = one_vcpu(lab)
    before = helpers(vm)
    lab.daemon.start()
    other = lab.vm("b", vcpus=1).start()
    wait_until(other.is_placed, SOON)
    some_rounds(lab)
    equal(helpers(vm), before, "the other threads' masks")
    others = set(helpers(vm)) | set(helpers(other))
    equal(sorted(others & set(lab.daemon.writes())), [], "written threads that are no vCPUs")


@case("cluster: what no vCPU owns; a stop undoes it, a start puts it back")
def cluster(lab):
    vm, pair = one_vcpu(lab)
    before = helpers(vm)
    start(lab, "cluster")
    left = set(lab.cpus) - {pair[0]}
    wait_until(lambda: are_on(vm, left), SOON, "the others run on what is left")
    some_rounds(lab)
    written = lab.daemon.writes()
    some_rounds(lab)
    equal(lab.daemon.writes(), written, "writes on a host where nothing happens")
    equal(vm.masks(), {0: frozenset([pair[0]])}, "the vCPU")
    lab.daemon.stop()
    equal(helpers(vm), before, "the masks after a stop")
    start(lab, "cluster")
    wait_until(lambda: are_on(vm, left), SOON, "the same again")
    equal(lab.vasctl("recover").code, 0, "recover")
    equal(helpers(vm), before, "the masks after recover")


@case("kill -9: the next start undoes nothing, and a stop all of it")
def crash(lab):
    vm, pair = one_vcpu(lab)
    before = helpers(vm)
    start(lab, "cluster")
    wait_until(lambda: are_on(vm, set(lab.cpus) - {pair[0]}), SOON)
    some_rounds(lab)
    lab.daemon.kill()
    start(lab, "cluster")
    some_rounds(lab)
    equal(lab.daemon.writes(), [], "threads written after the crash")
    lab.daemon.kill()
    equal(lab.daemon.run("recover").code, 0, "recover without a daemon")
    equal(helpers(vm), before, "the masks")


@case("housekeeping: on skip-cpuset, by request too, refused while that is empty")
def housekeeping(lab):
    pair = lab.pair()
    vm = lab.vm("a", vcpus=1).start()
    start(lab, "leave", **{"skip-cpuset": str(pair[0])})
    before = helpers(vm)
    wait_until(vm.is_placed, SOON)
    equal(lab.vasctl("set", "emulator-threads", "housekeeping").code, 0, "set")
    wait_until(lambda: are_on(vm, [pair[0]]), SOON)
    answer = lab.vasctl("set", "skip-cpuset", "")
    equal(answer.code, 1, "the last CPU taken out of skip-cpuset")
    check("housekeeping" in answer.err, "the reason: %r", answer.err)
    equal(lab.vasctl("set", "emulator-threads", "leave").code, 0, "set")
    wait_until(lambda: helpers(vm) == before, SOON, "undone")
    lab.daemon.stop()
    lab.daemon.configure({"placement": {"emulator-threads": "housekeeping"}})
    answer = lab.daemon.run("--check-config")
    equal(answer.code, 2, "--check-config")
    check("skip-cpuset" in answer.err and answer.err.count("\n") == 1, "the reason: %r", answer.err)


@case("an operator's emulatorpin wins, before and after")
def pins(lab):
    vm, pair = one_vcpu(lab)
    lab.virsh("emulatorpin", vm.name, str(pair[0]), "--live")
    start(lab, "cluster")
    some_rounds(lab)
    equal([tid for tid in lab.daemon.writes() if tid in helpers(vm)], [], "written threads of the pinned emulator")
    other, _ = one_vcpu(lab, "b")
    wait_until(lambda: are_on(other, set(lab.cpus) - {pair[0]}), SOON)
    lab.virsh("emulatorpin", other.name, str(pair[0]), "--live")
    wait_until(lambda: are_on(other, [pair[0]]), SOON, "the operator's pin holds")
    some_rounds(lab)
    check(are_on(other, [pair[0]]), "and goes on to hold: %r", helpers(other))
    lab.virsh("emulatorpin", other.name, "%d-%d" % (pair[0], pair[1]), "--live")
    wait_until(lambda: are_on(other, pair), SOON, "a wider pin reaches every thread: %r" % helpers(other))


@case("threads that start later have nothing of ours left after a stop")
def inherited(lab):
    pair = lab.pair()
    vm = lab.vm("a", vcpus=1, maximum=2, cpuset="%d,%d" % tuple(pair)).start()
    before = {mask for _, mask in helpers(vm).values()}
    start(lab, "cluster")
    wait_until(lambda: vm.is_placed() and all(len(mask) == 1 for _, mask in helpers(vm).values()), SOON)
    known = set(helpers(vm))
    lab.virsh("iothreadadd", vm.name, "7", "--live")
    wait_until(lambda: set(helpers(vm)) - known, SOON, "an I/O thread")
    lab.virsh("setvcpus", vm.name, "2", "--live")
    wait_until(lambda: len(vm.threads()) == 2 and vm.is_placed(), 5, "the new vCPU has its own CPU")
    some_rounds(lab)
    equal(lab.daemon.verdict(vm), "PLACED", "verdict")
    lab.daemon.stop()
    equal({mask for _, mask in helpers(vm).values()}, before, "masks after the stop")
    equal(set(vm.masks().values()), {frozenset(pair)}, "vCPUs after the stop")


@case("nothing but threads of QEMU is ever written")
def strangers(lab):
    vms = [lab.vm("v%d" % i, vcpus=1).start() for i in range(3)]
    start(lab, "cluster")
    some_rounds(lab, 5)
    ours = {int(tid) for vm in vms for tid in os.listdir("/proc/%d/task" % vm.pid)}
    equal(sorted(set(lab.daemon.writes()) - ours), [], "others that were written")


main(__file__)
