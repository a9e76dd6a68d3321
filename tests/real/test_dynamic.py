#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The policies dynamic and cluster, and switching between the three. What needs
an idle CPU is skipped on a machine that has none."""

import random
import threading
import time

from lab import SPIN, Skip, case, check, cpu_list, equal, main, wait_until
from lab.guests import THREE_QUARTERS
from lab.load import Hog, ToldUse, wait_quiet

SOON = 3.0
DYNAMIC = {"placement": {"sched-policy": "dynamic"}}
CLUSTER = {"placement": {"sched-policy": "cluster"}}


def some_rounds(lab, count=3):
    first = lab.daemon.status()["rounds"]
    wait_until(lambda: lab.daemon.status()["rounds"] >= first + count, 5 + 3 * count)


def only_cpu(vm):
    (cpu,) = vm.cpus()
    return cpu


def need_quiet(lab, cpus):
    if not wait_quiet(cpus):
        raise Skip("no idle CPU on this machine now")


@case("dynamic: placed as with static binding, and a crash and restart write nothing")
def as_static(lab):
    lab.daemon.start(settings=DYNAMIC)
    vm = lab.vm("a", vcpus=min(2, len(lab.cpus))).start()
    wait_until(vm.is_placed, SOON)
    equal(lab.daemon.verdict(vm), "PLACED", "verdict")
    equal(lab.daemon.status()["policy"], "dynamic", "policy")
    masks = vm.masks()
    some_rounds(lab)
    lab.daemon.kill()
    lab.daemon.start(settings=DYNAMIC)
    some_rounds(lab)
    equal((lab.daemon.writes(), vm.masks()), ([], masks), "writes and masks after the crash")
    lab.daemon.stop()
    equal(set(vm.masks().values()), {frozenset(lab.cpus)}, "masks after a clean stop")


def busy_vm(lab, told):
    """A dynamic VM that is busy three quarters of the time, alone; its home and another CPU."""
    lab.need_cpus(2)
    lab.daemon.start(settings=DYNAMIC)
    vm = lab.vm("busy", boot=THREE_QUARTERS).start(paused=False).wait_booted()
    wait_until(vm.is_placed, SOON)
    home = only_cpu(vm)
    for cpu in lab.cpus:
        told.use[cpu] = 0.75 if cpu == home else 0.0
    return vm, home


@case("dynamic: leaves its home for a CPU that is told to be idle, and returns; steady load, no more changes")
def leaves_told(lab):
    with ToldUse(lab.cpus) as told:
        vm, home = busy_vm(lab, told)
        before = len(lab.daemon.writes())
        with Hog(home):
            told.use[home] = 1.0
            began = time.monotonic()
            wait_until(lambda: only_cpu(vm) != home, 15, "it leaves")
            left = time.monotonic() - began
            told.use[only_cpu(vm)] = 0.6
            time.sleep(20)
            equal(len(lab.daemon.writes()) - before, 1, "mask changes under a steady load")
            equal(lab.daemon.verdict(vm), "PLACED", "verdict while away")
            equal(lab.daemon.status()["dynamic"]["away"], 1, "vCPUs away")
        told.use = {cpu: 0.0 for cpu in lab.cpus}
        began = time.monotonic()
        wait_until(lambda: only_cpu(vm) == home, 15, "it returns")
        print("#   left after %.2f s, returned after %.2f s" % (left, time.monotonic() - began))
        equal(len(lab.daemon.writes()) - before, 2, "mask changes in all")


@case("dynamic: stays where every CPU is told to be busy")
def stays_told(lab):
    with ToldUse(lab.cpus) as told:
        vm, home = busy_vm(lab, told)
        told.use = {cpu: 1.0 for cpu in lab.cpus}
        time.sleep(1)
        before = len(lab.daemon.writes())
        with Hog(home):
            time.sleep(10)
        equal((len(lab.daemon.writes()) - before, only_cpu(vm)), (0, home), "mask changes, CPU")


@case("dynamic: a load that is told to swing makes few mask changes")
def swings_told(lab):
    with ToldUse(lab.cpus) as told:
        vm, home = busy_vm(lab, told)
        other = next(c for c in lab.cpus if c != home)
        before = len(lab.daemon.writes())
        with Hog(home) as hog:
            for turn in range(12):
                away = only_cpu(vm) != home
                told.use = {c: 0.0 for c in lab.cpus}
                if turn % 2 == 0:
                    hog.go_on()
                    told.use[home] = 1.0
                else:
                    hog.pause()
                told.use[other] = 0.6 if away else 0.0
                time.sleep(4)
        changes = len(lab.daemon.writes()) - before
        print("#   %d mask changes in 48 s" % changes)
        check(1 <= changes <= 24, "mask changes in 48 s: %d", changes)


@case("dynamic: leaves a CPU that a hog takes, and returns when it is gone")
def leaves(lab):
    lab.need_cpus(2)
    lab.daemon.start(settings=DYNAMIC)
    vm = lab.vm("busy", boot=THREE_QUARTERS).start(paused=False).wait_booted()
    wait_until(vm.is_placed, SOON)
    home = only_cpu(vm)
    need_quiet(lab, [c for c in lab.cpus if c != home])
    with Hog(home):
        began = time.monotonic()
        wait_until(lambda: only_cpu(vm) != home, 10, "it leaves")
        left = time.monotonic() - began
        equal(lab.daemon.verdict(vm), "PLACED", "verdict while away")
        some_rounds(lab)
    began = time.monotonic()
    wait_until(lambda: only_cpu(vm) == home, 30, "it returns")
    print("#   left after %.2f s, returned after %.2f s" % (left, time.monotonic() - began))


@case("dynamic: a lone vCPU that is busy all the time never moves")
def lone(lab):
    lab.need_cpus(2)
    lab.daemon.start(settings=DYNAMIC)
    vm = lab.vm("spin", boot=SPIN).start(paused=False).wait_booted()
    wait_until(vm.is_placed, SOON)
    need_quiet(lab, [c for c in lab.cpus if c != only_cpu(vm)])
    before = len(lab.daemon.writes())
    time.sleep(8)
    if not wait_quiet([c for c in lab.cpus if c != only_cpu(vm)], patience=1.1):
        raise Skip("the machine did not stay quiet")
    equal(len(lab.daemon.writes()) - before, 0, "mask changes")


@case("cluster: every CPU of its clusters that no static VM owns")
def cluster(lab):
    pair = lab.pair()
    lab.daemon.start(settings=CLUSTER)
    vm = lab.vm("c", cpuset=cpu_list(pair)).start()
    wait_until(lambda: lab.daemon.verdict(vm) == "PLACED", SOON)
    mask = vm.masks()[0]
    check(mask <= frozenset(pair) and mask, "inside its range: %r", mask)
    check("Its policy is cluster" in lab.vasctl("explain", vm.name).out, "explain says so")
    some_rounds(lab)
    lab.daemon.kill()
    lab.daemon.start(settings=CLUSTER)
    some_rounds(lab)
    equal((lab.daemon.writes(), vm.masks()), ([], {0: mask}), "writes and masks after a crash")
    lab.daemon.stop()
    equal(vm.masks(), {0: frozenset(pair)}, "mask after a clean stop")


@case("layers: more dynamic vCPUs than CPUs have a home each, evenly; a crash writes nothing; all back when there is room")
def layers(lab):
    pair = lab.pair()
    lab.daemon.start(settings=DYNAMIC)
    vms = [lab.vm("l%d" % i, vcpus=2, cpuset=cpu_list(pair)).start() for i in range(3)]
    homes = lambda: [only for vm in vms for only in vm.masks().values()]
    wait_until(lambda: all(len(mask) == 1 for mask in homes()), SOON, "a home each")
    equal(sorted(lab.daemon.verdict(vm) for vm in vms), ["LAYERED", "LAYERED", "PLACED"], "verdicts")
    equal(sorted(min(mask) for mask in homes()), sorted(list(pair) * 3), "homes, evenly")
    some_rounds(lab)
    before = homes()
    lab.daemon.kill()
    lab.daemon.start(settings=DYNAMIC)
    some_rounds(lab)
    equal((lab.daemon.writes(), homes()), ([], before), "writes and homes after a crash")
    lab.daemon.stop()
    equal(set(homes()), {frozenset(pair)}, "masks after a clean stop")
    lab.daemon.start(settings=DYNAMIC)
    wait_until(lambda: homes() == before, SOON, "the homes that they had")
    for vm in [v for v in vms if lab.daemon.verdict(v) == "PLACED"] + vms[-1:]:
        if len(vms) > 1:
            vm.destroy()
            vms.remove(vm)
    wait_until(vms[0].is_placed, SOON, "a CPU of its own for each vCPU")
    equal(lab.daemon.verdict(vms[0]), "PLACED", "verdict when there is room")


class Watcher(threading.Thread):
    """Looks all the time whether a thread is outside its VM's range."""

    def __init__(self):
        super().__init__(daemon=True)
        self.vms, self.outside, self.looks, self.over = [], [], 0, False

    def run(self):
        while not self.over:
            for vm, allowed in list(self.vms):
                for number, mask in vm.masks().items():
                    if not mask or not mask <= allowed:
                        self.outside.append((vm.short, number, sorted(mask)))
                self.looks += 1


@case("100 switches between the policies under churn: never outside a range, nothing left behind")
def switching(lab):
    pair = lab.pair()
    dice = random.Random(11)
    lab.daemon.start()
    watcher = Watcher()
    vms = []
    for i in range(4):
        allowed = frozenset(pair if i else pair[:1])  # the first one is pinned by that
        vms.append((lab.vm("s%d" % i, vcpus=1 + i % 2, cpuset=cpu_list(allowed)).start(), allowed))
    watcher.vms = list(vms)
    watcher.start()
    visitor = None
    for turn in range(100):
        policy = ("affinity", "dynamicAffinity", "cluster")[dice.randrange(3)]
        equal(lab.vasctl("set", "config", "-sp", policy).code, 0, "switch %d to %s" % (turn, policy))
        if turn % 10 == 5:
            if visitor:
                visitor.destroy()
                visitor = None
            else:
                visitor = lab.vm("v%d" % turn, cpuset=cpu_list(pair)).start()
    watcher.over = True
    watcher.join()
    equal(watcher.outside, [], "threads seen outside their range in %d looks" % watcher.looks)
    check(watcher.looks > 100, "looked only %d times", watcher.looks)
    equal(lab.daemon.status()["writes_failed"], 0, "writes that failed")
    lab.daemon.stop()
    for vm, allowed in vms:
        equal(set(vm.masks().values()), {allowed}, "masks of %s after a clean stop" % vm.short)


main(__file__)
