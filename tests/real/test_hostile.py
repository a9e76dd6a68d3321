#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who wishes harm: a user who imitates a VM, names that command a terminal, a crowd at the control socket."""

import contextlib
import json
import os
import re
import select
import shutil
import statistics
import subprocess
import threading
import time
from xml.sax.saxutils import escape

from lab import case, check, equal, main, patience, threads, wait_until
from lab.daemon import RUNTIME
from lab.sandbox import LAB, run_id

SOON = 1.0
# Neither root nor the user who attacks.
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")
CONNECTIONS_MAX = 64  # that the daemon takes, as SECURITY.md says
AMID_A_CROWD = 0.3  # the kernel puts a newcomer behind the thousand that wait; some ten thousand are served in a second
OF_A_ROUND = 16  # descriptors that a round opens for a moment
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


class Descriptors:
    """Counts what a process has open, all the while: of all kinds, and sockets."""

    def __init__(self, pid):
        self.path = "/proc/%d/fd" % pid
        self.before = self.most = self.now()
        self.n_looks = 0
        self.over = threading.Event()
        self.watcher = threading.Thread(target=self.watch)

    def now(self):
        links = []
        for fd in os.listdir(self.path):
            with contextlib.suppress(OSError):  # closed since
                links.append(os.readlink("%s/%s" % (self.path, fd)))
        return len(links), sum(link.startswith("socket:") for link in links)

    def watch(self):
        while not self.over.wait(0.005):
            self.most = tuple(map(max, self.most, self.now()))
            self.n_looks += 1

    def __enter__(self):
        self.watcher.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.watcher.join()


@contextlib.contextmanager
def attacked(lab):
    """While a thousand connections of one user are held or waited for; yields what they did, when it is over."""
    program = shutil.copy(os.path.join(lab.build, "tests/real/attacker"), LAB + "/bin/")
    process = as_guest([program, RUNTIME + "/vas.sock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    did = {}
    try:
        check(select.select([process.stdout], [], [], 20 * patience())[0], "the attacker is not ready")
        equal(process.stdout.readline(), "ready\n", "the attacker's first line")
        yield did
        did.update(json.loads(process.communicate("", timeout=20)[0]))
    finally:
        process.kill()
        process.wait()


def figures(seconds):
    return "median %.1f ms, slowest %.1f ms" % (statistics.median(seconds) * 1e3, max(seconds) * 1e3)


@case("a thousand connections at once, a byte a second, 10 MB messages: VMs are placed, root and others are answered")
def crowd(lab):
    lab.daemon.start()
    vm = lab.vm("first").start()
    wait_until(vm.is_placed, SOON)
    memory = most_kb = memory_kb(lab.daemon.pid)
    waited = {"root": [], "another user": []}
    slow = lab.daemon.is_sanitized()
    descriptors = Descriptors(lab.daemon.pid)
    with attacked(lab) as did, descriptors:
        for i in range(6):
            vm.destroy()
            vm = lab.vm("v%d" % i).start()
            wait_until(vm.is_placed, 3 * SOON, "a VM is placed amid the crowd")
            for _ in range(10):
                for who, before in (("root", ()), ("another user", AS_NOBODY)):
                    answer = lab.vasctl("status", before=before, timeout=120 if slow else 20)
                    check(answer.code == 0 and answer.out.startswith("Daemon"), "%s: %s", who, answer)
                    waited[who].append(answer.seconds)
            most_kb = max(most_kb, memory_kb(lab.daemon.pid))
    print("# %s; PSS %d -> %d kB; descriptors, and sockets of them: %s -> %s in %d looks" %
          (did, memory, most_kb, descriptors.before, descriptors.most, descriptors.n_looks))
    for who, seconds in waited.items():
        print("# vasctl status of %s: %s" % (who, figures(seconds)))
        check(slow or statistics.median(seconds) < AMID_A_CROWD * patience() and max(seconds) < patience(), "%s waited", who)
    check(did["most"] >= 1000 and did["middle"] >= 900, "not a thousand at once: %s", did)
    check(did["bytes"] > 10 << 20 and did["ended"] > 1000, "that was no attack: %s", did)
    check(most_kb - memory < 32 * 1024, "PSS grew from %d to %d kB", memory, most_kb)
    check(descriptors.n_looks > 100, "only %d looks at the descriptors", descriptors.n_looks)
    # One more is accepted before another has to go; a number can also change hands amid a look.
    explained = [n + CONNECTIONS_MAX + 1 + OF_A_ROUND for n in descriptors.before]
    check(descriptors.most[1] <= explained[1], "sockets: %d, explained are %d", descriptors.most[1], explained[1])
    check(descriptors.most[0] <= explained[0], "descriptors: %d, explained are %d", descriptors.most[0], explained[0])
    wait_until(lambda: descriptors.now()[0] <= descriptors.before[0] + 8, 5, "descriptors are given back")
    equal(lab.strangers(), [], "CPUs owned twice")
    lab.daemon.stop()
    equal(vm.masks(), {0: frozenset(lab.cpus)}, "masks after the stop")


main(__file__)
