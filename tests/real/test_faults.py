#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Calls of the real daemon that fail, and kills before and after one, one in each of its lives. In a life all is changed
that can be while it runs. Of each place in the code that calls something, the first call is tried and some later ones.
FAULT_CALLS: how many calls are tried, spread evenly over these (10; 0: all of them). FAULT_ONLY: calls of this function."""

import configparser
import os
import re
import signal
import subprocess
import time

from lab import Skip, Wrong, case, check, cpu_list, equal, main, patience, threads
from lab.daemon import CONF, LOG, RUNTIME
from lab.sandbox import LAB

NOTE = LAB + "/fault"
KEPT = "/var/lib/vas/settings.conf"
STATE = RUNTIME + "/state.json"
N_CALLS = int(os.environ.get("FAULT_CALLS", "10"))
ONLY = os.environ.get("FAULT_ONLY")
OF_A_PLACE = 4
SOON = 3
# What vasctl says when it does not know what became of a request.
LOST = ("without an answer", "has not answered", "answer is broken", "is not running", "Connection re", "Broken pipe")


def write_files():
    """Settings as each life finds them."""
    os.makedirs(os.path.dirname(KEPT), exist_ok=True)
    with open(KEPT, "w", encoding="ascii") as f:
        f.write("[defrag]\ncool-down = 70s\ncredits-per-event = 0.25\n")
    write_conf("80", "4")


def write_conf(thresh, layers):
    with open(CONF, "w", encoding="ascii") as f:
        f.write("[daemon]\nmode = act\n[defrag]\ninterval = 1s\nburst = 11\n"
                "[dynamic]\nutil-thresh = %s\novercommit-layers = %s\n" % (thresh, layers))


def kept_cool_down():
    """The one value in the kept file that is changed; the other is to be there all the time."""
    kept = configparser.ConfigParser(strict=False)
    kept.read(KEPT)
    check(sorted(kept.sections()) == ["defrag"] and sorted(kept["defrag"]) == ["cool-down", "credits-per-event"] and
          kept["defrag"]["credits-per-event"] == "0.25", "%s is not whole: %r", KEPT, dict(kept))
    return kept["defrag"]["cool-down"]


def failing(lab, at, kill=None):
    """The environment of a process in which the call at=(place, number) fails, or before or after which it is killed;
    of ("0", 0) none: it notes where it calls what."""
    with open(NOTE, "w", encoding="ascii"):
        pass
    preloaded = lab.daemon._install(lab.build, "tests/real/fail_call.so")
    return dict(os.environ, LD_PRELOAD=preloaded, VAS_FAIL_SITE=at[0], VAS_FAIL_AT=str(at[1]), VAS_FAIL_NOTE=NOTE,
                **({"VAS_FAIL_KILL": kill} if kill else {}))


def notes(word):
    with open(NOTE, encoding="ascii") as f:
        return [line.split()[1:] for line in f if line.startswith(word + " ")]


def struck():
    """The call that failed, or None."""
    return next((note[0] for note in notes("struck")), None)


def call_name(at, kill):
    return "call %d at %s (%s)%s" % (at[1], at[0], struck(), " killed " + kill if kill else "")


def places_noted():
    """(place, name of the call, how often) of each, after a life in which nothing failed."""
    return sorted((int(place, 16), name, int(n)) for name, place, n in notes("site"))


def chosen_calls(places):
    """(place, number) of each call that is tried."""
    calls = [("%x" % place, k) for place, name, n in places if ONLY in (None, name)
             for k in sorted({1 + i * n // OF_A_PLACE for i in range(OF_A_PLACE)})]
    return calls[::max(1, len(calls) // N_CALLS)] if N_CALLS else calls


def only_vcpus_are_bound(lab, vms, what):
    for vm in vms:
        for thread in threads.of_process(vm.pid):
            check(thread.comm.startswith("CPU ") or thread.cpus == frozenset(lab.cpus), "%s: %s was bound", what, thread)


def own_once(vms, what):
    cpus = [cpu for vm in vms for cpu in vm.cpus()]
    equal(len(cpus), len(set(cpus)), "%s: CPUs owned once of %s" % (what, cpus))


def are_restored(lab, vms):
    return all(set(vm.masks().values()) == {frozenset(lab.pair())} for vm in vms)


def kinds_tried(kinds, number):
    """Of the ways to strike at call number N of those chosen: all of them, or each in its turn."""
    return kinds if N_CALLS == 0 else (kinds[number % len(kinds)],)


class Strikes:
    """What was tried and what came of it. What is wrong is told at the end: a long run is to find more than one thing."""

    def __init__(self):
        self.tried, self.ended, self.names, self.wrong = 0, 0, [], []

    def note(self, ended):
        """After a life, or an errand."""
        self.tried += 1
        self.ended += ended
        self.names += [struck()] if struck() else []

    def note_wrong(self, text):
        self.wrong.append(text)
        print("# wrong: " + text.splitlines()[0], flush=True)

    def judge(self):
        check(not self.wrong, "%d were wrong:\n%s", len(self.wrong), "\n".join(self.wrong))
        check(2 * len(self.names) >= self.tried, "only %d of %d calls were struck", len(self.names), self.tried)

    def __str__(self):
        return ("%d were tried and %d struck (%d functions); %d ended it\n# %s" %
                (self.tried, len(self.names), len(set(self.names)), self.ended, " ".join(sorted(set(self.names)))))


class Ended(Exception):
    """The daemon has."""


class Life:
    """One life of the daemon, in which the call at=(place, number) fails; or before or after which it is killed. usual:
    what a life says in which nothing fails, in its log and as warnings."""

    def __init__(self, lab, vms, at=("0", 0), kill=None, usual=()):
        self.lab, self.vms, self.at, self.kill, self.usual = lab, vms, at, kill, set(usual)
        self.code = None
        self.paused = False  # it may be
        self.dynamic = False  # it may be
        self.expected = {}  # what is in force
        self.warnings = set()  # that status had
        self.kept = None  # what was said to be kept
        with open(LOG, "wb") as log:
            self.process = subprocess.Popen([lab.daemon.program, "start", "server"], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=failing(lab, at, kill))

    def live(self):
        """From start to end, with all of it between."""
        try:
            self.goes_on()
            self.own_once()
            for word in ("list", "check", "status"):
                self.ask(word)
            self.change_settings()
            self.pause_and_resume()
            self.reassign()
            self.be_dynamic()
            self.recover()
            self.goes_on()
            self.status()
        except Ended:
            pass
        return self.end()

    def live_shortly(self, may_be_paused):
        self.wait_for(self.has_looked)
        if self.status()["paused"]:
            check(may_be_paused, "%s: paused, and nobody asked for it", self)
            equal(self.ask("resume").code, 0, "resume")
        self.goes_on()
        return self.end()

    def end(self):
        self.own_once()
        if self.is_alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            self.code = self.process.wait(20 * patience())
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            check(False, "%s: SIGTERM does not end it", self)
        self.own_once()
        kept = kept_cool_down()
        check(self.kept in (None, kept), "%s: %s was said to be kept, and %s is", self, self.kept, kept)
        self.log = self.lab.daemon.log()
        return self

    # What changes while it runs.

    def change_settings(self):
        self.expected = self.settings()
        self.set("defrag.burst", "12")
        self.set("defrag.cool-down", "71s", "--persist")
        self.reload()

    def set(self, key, value, *how):
        answer = self.lab.vasctl("set", key, value, *how, timeout=60)
        before = self.expected[key]
        if how and answer.code == 0:
            self.kept = value
        self.judge(answer, lambda: self.now_is({key: value}), "set %s" % key)
        if how:
            cool_down = kept_cool_down()
            check(cool_down == self.expected[key] or (cool_down in (before, value) and not self.told(answer)),
                  "%s: in force is %s, kept is %s; vasctl: %r", self, self.expected[key], cool_down, answer)

    def now_is(self, change):
        """True: all settings are as they were, but for these; False: none is different."""
        now = self.settings()
        new = dict(self.expected, **change)
        check(now in (self.expected, new), "%s: half of %r is in force: %r", self, change,
              {k: (v, now.get(k)) for k, v in new.items() if now.get(k) != v})
        self.expected = now
        return now == new

    def settings(self):
        return {s["key"]: s["value"] for s in self.ask("get", "--json").json()}

    @staticmethod
    def told(answer):
        """It is known from the answer whether it was done."""
        return answer.code == 0 or not any(word in answer.err for word in LOST)

    def judge(self, answer, is_done, what):
        """What was done is what was said."""
        done = is_done()
        said = answer.code == 0 or " is in force" in answer.err or "resumed, but" in answer.err
        check(answer.code == 0 or answer.err.strip(), "%s: %s fails without a word", self, what)
        check(done == said or not self.told(answer), "%s: %s: done: %s, but vasctl: %r", self, what, done, answer)

    def reload(self):
        write_conf("81", "5")
        self.process.send_signal(signal.SIGHUP)
        said = re.compile("settings (read again|not changed: .)")
        self.wait_for(lambda: said.search(self.lab.daemon.log()))
        if not self.is_alive():
            raise Ended
        answer = said.search(self.lab.daemon.log())
        check(answer, "%s: nothing is said of SIGHUP", self)
        done = self.now_is({"dynamic.util-thresh": "81", "dynamic.overcommit-layers": "5"})
        check(done == (answer[1] == "read again"), "%s: %s, but done: %s", self, answer[0], done)
        shown = " ".join(self.ask("check").out.split())
        check(done or "not taken at the last reload" in shown,
              "%s: check says nothing of the settings that were not taken: %s", self, shown)

    def pause_and_resume(self):
        self.paused = True
        self.judge(self.lab.vasctl("pause"), lambda: self.status()["paused"], "pause")
        self.resume()

    def resume(self):
        for _ in range(2):
            answer = self.lab.vasctl("resume", timeout=60)
            self.judge(answer, lambda: not self.status()["paused"], "resume")
            self.paused = self.status()["paused"]
            if not self.paused:
                return
        check(False, "%s: it can not be resumed", self)

    def reassign(self):
        answer = self.lab.vasctl("reassign", "all", timeout=60)
        check(answer.code == 0 or answer.err.strip(), "%s: reassign fails without a word", self)
        self.own_once()

    def be_dynamic(self):
        self.dynamic = True
        self.set("placement.sched-policy", "dynamic")
        time.sleep(0.3)  # a pass of it
        self.own_once()

    def recover(self):
        self.paused = True
        answer = self.lab.vasctl("recover", timeout=60)
        check(answer.code != 0 or self.restored(), "%s: recovered, but: %s", self, [vm.masks() for vm in self.vms])
        check(answer.code == 0 or answer.err.strip(), "%s: recover fails without a word", self)
        self.resume()

    # What it says, and what is true.

    def __str__(self):
        return call_name(self.at, self.kill)

    def is_alive(self):
        return self.process.poll() is None

    def wait_for(self, condition):
        """Until it is so or the daemon has ended; False: it has not come to that."""
        deadline = time.monotonic() + SOON * patience()
        while self.is_alive() and not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def ask(self, *words):
        """Of two questions one is answered, unless it has ended: one call fails."""
        for _ in range(2):
            answer = self.lab.vasctl(*words)
            if answer.code == 0 or (words[0] == "check" and answer.out):
                break
            self.wait_for_end()
        else:
            if not self.is_alive():
                raise Ended
            # What is of VMs needs a round, and status says why there is none.
            check(words[0] == "list" and answer.err.strip() and self.explained(), "%s: %s is not answered: %r", self,
                  " ".join(words), answer)
        return answer

    def wait_for_end(self):
        """Whether it is the daemon's end that kept an answer from us."""
        deadline = time.monotonic() + 0.3
        while self.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)

    def status(self):
        status = self.ask("status", "--json").json()
        self.warnings |= {normal(warning) for warning in status["warnings"]}
        return status

    def has_looked(self):
        answer = self.lab.vasctl("status", "--json")
        return answer.code == 0 and answer.json()["rounds"] > 0

    def said(self):
        return {normal(line) for line in self.log.splitlines()} | self.warnings

    def unusual(self):
        """Lines that are no round's report and of no life in which nothing fails."""
        lines = self.lab.daemon.log().splitlines()
        return [line for line in lines if not line.startswith("vas-daemon: round ") and normal(line) not in self.usual]

    def explained(self):
        """Why it is not as it should be, as an operator finds it."""
        warnings = {normal(warning) for warning in self.status()["warnings"]}
        return warnings - self.usual or [line for line in self.unusual() if TROUBLE.search(line)]

    def goes_on(self):
        # Two of the VMs have a CPU each, or the third has both, as a life that was killed may have left it.
        def is_well():
            return self.has_looked() and {cpu for vm in self.vms for cpu in vm.cpus()} == set(self.lab.pair())

        check(self.wait_for(is_well) or self.explained(),
              "%s: it does not place the VMs, and does not say why: %s", self, self.lab.daemon.log())

    def own_once(self):
        # Where there is another layer, its VM has CPUs of its own there.
        for vms in ((self.vms[:2], self.vms[2:]) if self.dynamic else (self.vms,)):
            own_once(vms, self)
        only_vcpus_are_bound(self.lab, self.vms, self)

    def restored(self):
        return are_restored(self.lab, self.vms)

    def judge_end(self):
        """It ended well, or said with its last words why not."""
        last = self.log.splitlines()[-3:]
        if self.kill and struck():
            equal(self.code, -signal.SIGKILL, "%s: exit code" % self)
            return
        check(self.code in (0, 1, 2), "%s: exit code %d; %s", self, self.code, self.log)
        check(self.code == 0 or any(line in self.unusual() and TROUBLE.search(line) for line in last),
              "%s: it ended with %d and does not say why: %s", self, self.code, self.log)
        left = "stopped; bindings are kept (paused)" if self.paused else "some could not be"
        check(self.code != 0 or self.restored() or (last and left in last[-1]),
              "%s: masks are left, and it does not say so: %s", self, self.log)


# Each error line has a reason of the system's or a word of ours.
TROUBLE = re.compile(r"^vas-daemon: .*(can not|could not|failed|no libvirt|confine|[oO]ut of memory|: \S.* \S)")


def normal(line):
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+", "#", line)


class Fate:
    """What becomes of three VMs under many lives of a daemon, each of which is followed by one in which nothing fails."""

    def __init__(self, lab):
        self.lab = lab
        self.vms = some_vms(lab)
        self.usual, self.strikes = set(), Strikes()
        write_files()
        first = Life(lab, self.vms).live()
        equal(first.code, 0, "the first life's exit code; its log: %s" % first.log)
        check(first.kept == "71s" and not first.paused and first.dynamic and
              first.expected["dynamic.util-thresh"] == "81" and first.expected["defrag.burst"] == "12",
              "the first life did not do all that it was to do: %r; its log: %s", first.expected, first.log)
        self.total = int(notes("calls")[0][0])
        self.places = places_noted()
        check(self.total > 2000 and len(self.places) > 200, "%d calls from %d places", self.total, len(self.places))
        self.usual = first.said()
        self.next_life(first)

    def strike(self, at, kill=None):
        """A life, and the next."""
        write_files()
        life = Life(self.lab, self.vms, at, kill, self.usual)
        try:
            life.live().judge_end()
        except Wrong as wrong:
            self.strikes.note_wrong(str(wrong))
        finally:
            life.process.kill()
            life.process.wait()
        self.strikes.note(life.code != 0)
        self.next_life(life)

    def next_life(self, before):
        check(kept_cool_down() in ("70s", "71s"), "%s: kept is %s", before, kept_cool_down())
        life = Life(self.lab, self.vms).live_shortly(before.paused)
        equal(life.code, 0, "the next life's exit code after %s; its log: %s" % (before, life.log))
        check(life.restored(), "the next life leaves masks: %s; its log: %s", [vm.masks() for vm in self.vms], life.log)
        check("PLACED" in life.log, "the next life places nobody: %s", life.log)
        self.usual |= life.said()

    def report(self):
        print("# a life has %d calls from %d places; %s" % (self.total, len(self.places), self.strikes))
        self.strikes.judge()


def some_vms(lab):
    if lab.daemon.is_sanitized():
        raise Skip("a sanitizer's allocations can not be taken over")
    pair = cpu_list(lab.pair())
    return [lab.vm("a", cpuset=pair).start(), lab.vm("b", cpuset=pair).start(), lab.vm("c", vcpus=2, cpuset=pair).start()]


@case("a call that fails: the daemon goes on or ends with a clear line, what it says is true, and the next start is right")
def failures(lab):
    fate = Fate(lab)
    for at in chosen_calls(fate.places):
        fate.strike(at)
    fate.report()


@case("a kill before or after a call: the next start is right")
def kills(lab):
    fate = Fate(lab)
    for number, at in enumerate(chosen_calls(fate.places)):
        for kill in kinds_tried(("before", "after"), number):
            fate.strike(at, kill)
    fate.report()


class Errand:
    """What vas-daemon does without staying: `--oneshot` or `recover`."""

    def __init__(self, lab, vms, words, at=("0", 0), kill=None):
        self.lab, self.vms, self.words, self.at, self.kill = lab, vms, words, at, kill
        self.code = None  # it has not ended

    def run(self):
        done = subprocess.run([self.lab.daemon.program, self.words], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=60 * patience(),
                              env=failing(self.lab, self.at, self.kill))
        self.code, self.err = done.returncode, done.stderr
        self.judge()

    def __str__(self):
        return "%s, %s" % (self.words, call_name(self.at, self.kill))

    def is_done(self):
        if self.words == "recover":
            return are_restored(self.lab, self.vms)
        with open(STATE, encoding="utf-8") as f:
            return all(vm.is_placed() for vm in self.vms[:2]) and '"intended":"' not in f.read()

    def judge(self):
        own_once(self.vms, self)
        only_vcpus_are_bound(self.lab, self.vms, self)
        if self.kill and struck():
            equal(self.code, -signal.SIGKILL, "%s: exit code" % self)
        elif self.code == 0:
            check(self.is_done(), "%s: it ended with 0, but: %s; %s", self, [vm.masks() for vm in self.vms], self.err)
        else:
            check(self.code in (1, 2, 5), "%s: exit code %d; %s", self, self.code, self.err)
            check(any(TROUBLE.search(line) for line in self.err.splitlines()[-3:]), "%s: it ended with %d and does not "
                  "say why: %r", self, self.code, self.err)


class Errands:
    """Many of one kind, each on three VMs that are as it finds them usually, and mended after."""

    def __init__(self, lab, vms, words):
        self.lab, self.vms, self.words = lab, vms, words
        self.strikes = Strikes()
        self.prepare()
        first = Errand(lab, vms, words)
        first.run()
        equal(first.code, 0, words)
        self.places = places_noted()
        check(len(self.places) > 50, "%d places", len(self.places))
        self.undo(first)

    def prepare(self):
        if self.words == "recover":
            answer = self.lab.daemon.run("--oneshot")
            check(answer.code == 0 and all(vm.is_placed() for vm in self.vms[:2]), "there is nothing to recover: %s", answer)

    def undo(self, errand):
        """Also what a fault has left."""
        answer = self.lab.daemon.run("recover", timeout=60)
        check(answer.code == 0 and are_restored(self.lab, self.vms), "recover after %s: exit %d, masks %s: %s", errand,
              answer.code, [vm.masks() for vm in self.vms], answer.err)
        os.unlink(STATE)  # in which it is paused

    def strike(self, at, kill):
        self.prepare()
        errand = Errand(self.lab, self.vms, self.words, at, kill)
        try:
            errand.run()
        except (Wrong, subprocess.TimeoutExpired) as what:
            self.strikes.note_wrong(str(what) if isinstance(what, Wrong) else "%s: %s" % (errand, what))
        self.strikes.note(errand.code != 0)
        self.undo(errand)

    def strike_all(self):
        for number, at in enumerate(chosen_calls(self.places)):
            for kill in kinds_tried((None, "before", "after"), number):
                self.strike(at, kill)
        print("# %s: %s" % (self.words, self.strikes))
        self.strikes.judge()


@case("the same of --oneshot and of recover: it is done, or it says why not; and recover is right after it")
def errands(lab):
    vms = some_vms(lab)
    write_files()
    for words in ("--oneshot", "recover"):
        Errands(lab, vms, words).strike_all()


main(__file__)
