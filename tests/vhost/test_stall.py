#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""When an emulated host that stands still is booted once again, without one."""

import os
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [HERE, HERE + "/../real"]
from lab.tap import case, equal, run_cases  # noqa: E402
from emulator import CRASHED  # noqa: E402
from run import LIMIT_S, Plan, boot  # noqa: E402
from stall import AGAIN, END, GO_ON, SILENT_S, longest_s, next_step  # noqa: E402

BOOT = "[    3.102934] Run /init as init process\n"


def lockup(seconds):
    return "[  %d.5] watchdog: BUG: soft lockup - CPU#21 stuck for %ds! [rpc-libvirtd:612]\n" % (40 + seconds, seconds)


def rcu(jiffies):
    return ("[  99.1] rcu: INFO: rcu_preempt self-detected stall on CPU\n"
            "[  99.1] rcu: \t21-....: (5249 ticks this GP) idle=8b4c/1/0x4000000000000000 softirq=77/77 fqs=2618\n"
            "[  99.1] \t(t=%d jiffies g=2441 q=18 ncpus=64)\n" % jiffies)


@case("the longest stall on a console, as the watchdog and RCU tell of it")
def seconds(_):
    equal(longest_s(""), 0, "nothing said")
    equal(longest_s(BOOT + "[ 5.0] clocksource: t=20000 jiffies\n"), 0, "no stall")
    equal(longest_s(BOOT + lockup(26) + lockup(52)), 52, "the watchdog")
    equal(longest_s(rcu(5250) + rcu(15758)), 63, "RCU")
    equal(longest_s(rcu(5250).replace("(t=", "(detected by 3, t=")), 21, "RCU, seen by another CPU")
    equal(longest_s(lockup(52) + lockup(22)), 52, "the longest, not the last")


@case("booted again once, for a long stall or silence before any case; never after one was said")
def steps(_):
    stalled = BOOT + lockup(26) + lockup(52)
    equal(next_step(BOOT, 0, 1), GO_ON, "no stall")
    equal(next_step(BOOT + lockup(26), 0, 1), GO_ON, "a short one")
    equal(next_step(lockup(40), 0, 1), AGAIN, "as long as it takes")
    equal(next_step(stalled, 0, 1), AGAIN, "the first boot")
    equal(next_step(stalled, 0, 2), END, "the second boot")
    equal([next_step(stalled, 1, boots) for boots in (1, 2)], [GO_ON, GO_ON], "after a case")
    equal([next_step("", 0, boots, SILENT_S) for boots in (1, 2)], [AGAIN, END], "without a word")
    equal([next_step("", 0, 1, SILENT_S - 1), next_step("", 1, 1, SILENT_S)], [GO_ON, GO_ON], "not so long, or after a case")


class FakeHost:
    """Boots that say these lines; console: what the kernel said meanwhile."""

    def __init__(self, *boots):
        self.boots, self.limits, self.text, self.kept = list(boots), [], "", 0

    def run(self, limit, say, is_hopeless):
        self.limits.append(limit)
        self.text, lines = self.boots.pop(0)
        for line in lines:
            say(line)
        if self.text is CRASHED:
            return CRASHED
        return "stall" if is_hopeless(self.text) else None

    def emulator_words(self):
        return "Assertion failed"

    def console_text(self):
        return self.text

    def keep_console(self):
        self.kept += 1
        return "console-stalled.log"


def played(*boots):
    host, said = FakeHost(*boots), []
    plan = Plan(said.append)
    why = boot(host, plan, LIMIT_S)
    return host, plan, why, said


@case("a stall, then a boot that works: its cases count, the plan is said once, a line tells of the second boot")
def works(_):
    host, plan, why, said = played((lockup(52), ["1..2"]), (BOOT, ["1..2", "ok 1 - a", "ok 2 - b"]))
    equal((why, plan.is_kept(), host.kept), (None, True, 1), "end, plan kept, consoles kept")
    equal(len(host.limits), 2, "boots")
    equal(host.limits[1] <= host.limits[0] <= LIMIT_S, True, "one limit over both boots: %s" % host.limits)
    equal([line for line in said if not line.startswith("#")], ["1..2", "ok 1 - a", "ok 2 - b"], "lines")
    equal([("52 s" in line, "once again" in line) for line in said if line.startswith("#")], [(True, True)], "note")


@case("two stalls: ended, not booted a third time; one after a case: as without all this")
def fails(_):
    host, plan, why, _ = played((lockup(52), ["1..2"]), (lockup(44), ["1..2"]))
    equal((why, plan.is_kept(), len(host.limits)), ("stall", False, 2), "two stalls")
    host, plan, why, _ = played((lockup(52), ["1..2", "ok 1 - a"]))
    equal((why, plan.is_kept(), len(host.limits)), (None, False, 1), "after a case")


@case("QEMU crashes before any case: booted again once; after one, or a second time: not")
def crashes(_):
    host, plan, why, said = played((CRASHED, []), (BOOT, ["1..1", "ok 1 - a"]))
    equal((why, plan.is_kept(), len(host.limits)), (None, True, 2), "one crash")
    equal("Assertion failed" in said[0], True, "what QEMU said is passed on: %s" % said)
    host, plan, why, _ = played((CRASHED, []), (CRASHED, []))
    equal((why, plan.is_kept(), len(host.limits)), (CRASHED, False, 2), "two crashes")
    host, plan, why, _ = played((CRASHED, ["1..2", "ok 1 - a"]))
    equal((why, plan.is_kept(), len(host.limits)), (CRASHED, False, 1), "after a case")


class Nothing:
    def clean(self):
        pass

    def evidence(self):
        return ""


sys.exit(run_cases(Nothing()))
