#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Calls of the real daemon that fail, and kills, one in each of its lives. FAULT_CALLS: how many calls are tried, spread
evenly over all that a life has (10; 0: every one)."""

import os
import signal
import subprocess
import time

from lab import Skip, case, check, cpu_list, equal, main, patience, threads
from lab.daemon import LOG
from lab.sandbox import LAB

NOTE = LAB + "/fault"
N_CALLS = int(os.environ.get("FAULT_CALLS", "10"))


class Life:
    """One life of the daemon, in which call number at fails."""

    def __init__(self, lab, vms, at, kill=False):
        self.lab, self.vms, self.at = lab, vms, at
        with open(NOTE, "w", encoding="ascii"):
            pass
        environment = dict(os.environ, LD_PRELOAD=lab.daemon._install(lab.build, "tests/real/fail_call.so"),
                           VAS_FAIL_AT=str(at), VAS_FAIL_NOTE=NOTE)
        if kill:
            environment["VAS_FAIL_KILL"] = "1"
        with open(LOG, "wb") as log:
            self.process = subprocess.Popen([lab.daemon.program, "start", "server"], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=environment)
        self.live()
        self.log = lab.daemon.log()

    def live(self):
        deadline = time.monotonic() + 2 * patience()
        while self.process.poll() is None and not (self.has_looked() and all(vm.is_placed() for vm in self.vms[:2])):
            if time.monotonic() > deadline:
                break  # it goes on, without having placed all: judged is what it leaves
            time.sleep(0.02)
        self.own_once()
        self.lab.vasctl("list")
        self.lab.vasctl("status")
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.code = self.process.wait(20 * patience())
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            check(False, "call %d (%s): SIGTERM does not end it", self.at, self.call())
        self.own_once()

    def has_looked(self):
        answer = self.lab.vasctl("status", "--json")
        return answer.code == 0 and answer.json()["rounds"] > 0

    @staticmethod
    def notes():
        with open(NOTE, encoding="ascii") as f:
            return [line.split() for line in f]

    def call(self):
        return next((name for name, _ in self.notes() if name != "calls"), None)

    def n_calls(self):
        return next((int(n) for name, n in self.notes() if name == "calls"), 0)

    def own_once(self):
        equal(self.lab.strangers(), [], "CPUs owned twice with call %d (%s)" % (self.at, self.call()))
        for vm in self.vms:
            for thread in threads.of_process(vm.pid):
                check(thread.comm.startswith("CPU ") or thread.cpus == frozenset(self.lab.cpus),
                      "call %d (%s): %s was bound", self.at, self.call(), thread)

    def restored(self):
        return all(set(vm.masks().values()) == {frozenset(self.lab.pair())} for vm in self.vms)


def some_vms(lab):
    with open(lab.daemon.program, "rb") as f:
        if b"__asan_init" in f.read() or not os.path.exists(os.path.join(lab.build, "tests/real/fail_call.so")):
            raise Skip("a sanitizer's allocations can not be taken over")
    pair = cpu_list(lab.pair())
    vms = [lab.vm("a", cpuset=pair).start(), lab.vm("b", cpuset=pair).start(), lab.vm("c", vcpus=2, cpuset=pair).start()]
    lab.daemon.configure()
    return vms


def chosen_calls(total):
    step = max(1, total // N_CALLS) if N_CALLS else 1
    return range(1, total + 1, step)


def next_life(lab, vms):
    life = Life(lab, vms, 0)
    equal(life.code, 0, "the next life's exit code; its log: %s" % life.log)
    check(life.restored(), "the next life leaves masks: %s; its log: %s", [vm.masks() for vm in vms], life.log)
    check("PLACED" in life.log, "the next life places nobody: %s", life.log)
    return life


@case("a call that fails: the daemon goes on or ends with a clear line, and the next start is right")
def failures(lab):
    vms = some_vms(lab)
    total, names, ended = next_life(lab, vms).n_calls(), set(), 0
    check(total > 300, "only %d calls were counted", total)
    for at in chosen_calls(total):
        life = Life(lab, vms, at)
        names.add(life.call())
        said = [line for line in life.log.splitlines() if line.startswith("vas-daemon: ")]
        check(life.code in (0, 1, 2), "call %d (%s): exit code %d; %s", at, life.call(), life.code, life.log)
        check(life.code == 0 or said, "call %d (%s): it ended without a word", at, life.call())
        ended += life.code != 0
        check(life.code != 0 or life.restored() or "could not" in life.log or "can not" in life.log,
              "call %d (%s): masks are left, and it does not say so: %s", at, life.call(), life.log)
        next_life(lab, vms)
    print("# %d of %d calls failed (%d functions); %d ended the daemon" %
          (len(chosen_calls(total)), total, len(names - {None}), ended))


@case("a kill at a call: the next start is right")
def kills(lab):
    vms = some_vms(lab)
    total, killed = next_life(lab, vms).n_calls(), 0
    for at in chosen_calls(total):
        life = Life(lab, vms, at, kill=True)
        check(life.code in (0, -signal.SIGKILL), "call %d (%s): exit code %d; %s", at, life.call(), life.code, life.log)
        killed += life.code != 0
        next_life(lab, vms)
    print("# killed at %d of %d calls" % (killed, total))
    check(killed > 0, "nothing was killed")


main(__file__)
