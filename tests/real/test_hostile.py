#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who wishes harm: a user who imitates a VM, names that command a terminal, a crowd at the control socket."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from xml.sax.saxutils import escape

from lab import case, check, equal, main, patience, threads, wait_until
from lab.daemon import RUNTIME
from lab.sandbox import LAB, run_id

SOON = 1.0
HERE = os.path.dirname(os.path.abspath(__file__))
# What may not reach a terminal, in UTF-8: C0 but for the line's end, DEL, C1, broken text, what hides or turns text.
HARM = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\udc80-\udcff]")


def as_guest(command, **how):
    return subprocess.Popen(command, user="guest", group="guest", extra_groups=[], **how)


class Imitator:
    """A process of another user with a VM's own command line and thread names."""

    def __init__(self, lab, vm):
        program = LAB + "/bin/fake-qemu"
        if not os.path.exists(program):
            shutil.copy(os.path.join(lab.build, "tests/platform/fake-qemu"), program)
        with open("/proc/%d/cmdline" % vm.pid, "rb") as f:
            words = f.read().split(b"\0")[:-1]
        self.process = as_guest(words, executable=program, stdin=subprocess.DEVNULL,
                                env={"FAKE_QEMU_LENIENT": "1"})
        wait_until(lambda: threads.vcpus(self.process.pid).keys() == vm.threads().keys(), 5, "the imitator is ready")
        with open("/proc/%d/cmdline" % self.process.pid, "rb") as f:
            equal(f.read().split(b"\0")[:-1], words, "its command line")
        equal({t.comm for t in threads.vcpus(self.process.pid).values()}, {t.comm for t in vm.threads().values()},
              "its threads' names")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def tids(self):
        return {t.tid for t in threads.of_process(self.process.pid)}

    def masks(self):
        return {t.cpus for t in threads.of_process(self.process.pid)}


@case("a process with a VM's command line and thread names, of another user, is never touched")
def imitator(lab):
    vm = lab.vm("real", vcpus=2, cpuset=threads.cpu_list(lab.pair())).start()
    with Imitator(lab, vm) as before:
        lab.daemon.start()
        wait_until(vm.is_placed, SOON, "the VM is placed")
        with Imitator(lab, vm) as after:
            for _ in range(3):
                equal(lab.vasctl("reassign", "all").code, 0, "reassign")
            equal(lab.daemon.status()["vms"], 1, "VMs")
            check({t.tid for t in vm.threads().values()} <= set(lab.daemon.writes()), "the VM itself was not written")
            vm.destroy()
            wait_until(lambda: lab.daemon.status()["vms"] == 0, 5, "the VM has gone")
            lab.vasctl("reassign", "all")
            time.sleep(1.5)  # a resync
            for one in (before, after):
                equal(one.masks(), {frozenset(lab.cpus)}, "masks of the imitator")
                check(not one.tids() & set(lab.daemon.writes()), "a thread of the imitator was written")
            lab.daemon.stop()
            equal(before.masks() | after.masks(), {frozenset(lab.cpus)}, "masks after the stop")


def hostile_vm(lab, short, name):
    vm = lab.vm(short)
    xml = vm._xml.replace("<name>%s</name>" % vm.name, "<name>%s</name>" % escape(name))
    check(xml != vm._xml, "the name was not found")
    vm.name, vm._xml = name, xml
    return vm


@case("names that would command a terminal: placed as others are, shown harmlessly, in the log too")
def names(lab):
    ours = run_id()
    named = {"quotes": ours + "-\"a' `b` $(c) {d=\"e\"} \\n \\x1b[2J %s%n", "controls": ours + "-\x9b2J\x9d0;t\x9c\x85",
             "turned": ours + "-abc\u202egnp\u2066\u200b\ufeff", "wide": ours + "-\u4e2d\u6587\U0001f4bb\u0432",
             "long": (ours + "-" + "\u202e\x9bx" * 60)[:120]}
    lab.daemon.start()
    vms = {}
    for short, name in named.items():
        vm = hostile_vm(lab, short, name)
        vms[name] = vm.start()
    found = []

    def all_seen():
        found[:] = lab.vasctl("list", "--json").json()
        return len(found) == len(vms) and all(vm["verdict"] in ("PLACED", "SHARED") for vm in found)

    wait_until(all_seen, 5, "all have a verdict")
    equal({vm["name"] for vm in found}, set(named.values()), "names")
    questions = [["list"], ["list", "--json"], ["status"], ["map"], ["metrics"], ["query", "affinity", "-s", "all"]]
    for name, vm in vms.items():
        questions += [["show", name], ["explain", name], ["show", vm.uuid, "--json"]]
    for words in questions:
        answer = lab.vasctl(*words)
        check(answer.code == 0 and not HARM.search(answer.out + answer.err), "%s: %s", words, answer)
    check(not HARM.search(lab.daemon.log()), "the log: %r", lab.daemon.log()[-2000:])
    check(all(name.split("-")[0] in lab.daemon.log() for name in named.values()), "the log names no VM")


def memory_kb(pid):
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
        return int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M)[1])


@case("a thousand connections, a byte a second, 10 MB messages: VMs are placed and root is answered all the while")
def crowd(lab):
    lab.daemon.start()
    vm = lab.vm("first").start()
    wait_until(vm.is_placed, SOON)
    script = shutil.copy(os.path.join(HERE, "attacker.py"), LAB + "/bin/attacker.py")
    fds = "/proc/%d/fd" % lab.daemon.pid
    memory, n_fds = memory_kb(lab.daemon.pid), len(os.listdir(fds))
    crowd_process = as_guest([sys.executable, script, RUNTIME + "/vas.sock"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]})
    try:
        equal(crowd_process.stdout.readline(), "ready\n", "the attacker's first line")
        seconds, most_kb, most_fds = [], 0, 0
        for i in range(12):
            vm.destroy()
            vm = lab.vm("v%d" % i).start()
            wait_until(vm.is_placed, 3 * SOON, "a VM is placed amid the crowd")
            for _ in range(5):
                answer = lab.vasctl("status")
                equal(answer.code, 0, "%s" % answer)
                seconds.append(answer.seconds)
            most_kb = max(most_kb, memory_kb(lab.daemon.pid))
            most_fds = max(most_fds, len(os.listdir(fds)))
        out, _ = crowd_process.communicate("", timeout=20)
    finally:
        crowd_process.kill()
        crowd_process.wait()
    did = json.loads(out)
    print("# %s; status: median %.1f ms, slowest %.1f ms; PSS %d -> %d kB, descriptors %d -> %d" %
          (did, statistics.median(seconds) * 1e3, max(seconds) * 1e3, memory, most_kb, n_fds, most_fds))
    check(did["connected"] >= 1000 and did["bytes"] > 10 << 20 and did["ended"] > 0, "that was no attack: %s", did)
    check(statistics.median(seconds) < 0.1 * patience(), "status: median %.3f s", statistics.median(seconds))
    check(most_kb - memory < 32 * 1024, "PSS grew from %d to %d kB", memory, most_kb)
    check(most_fds < n_fds + 64 + 64, "descriptors grew from %d to %d", n_fds, most_fds)
    wait_until(lambda: len(os.listdir(fds)) <= n_fds + 8, 5, "descriptors are given back")
    equal(lab.strangers(), [], "CPUs owned twice")
    lab.daemon.stop()
    equal(vm.masks(), {0: frozenset(lab.cpus)}, "masks after the stop")


main(__file__)
