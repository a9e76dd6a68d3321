#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs a scenario on an emulated host of many CPUs and passes its TAP lines on:
run.py --build BUILD SCENARIO. One that hangs is ended, and the console's last
lines are shown. One that stands still before its first case (see stall.py) is
booted once again.
"""

import argparse
import os
import resource
import sys
import time

sys.dont_write_bytecode = True
from emulator import CRASHED, STALLED, Host, Missing, roots  # noqa: E402
from stall import AGAIN, GO_ON, longest_s, next_step  # noqa: E402

LIMIT_S = 900
DEMO_END = "--- that was it"


def say(line):
    print(line, flush=True)


class Plan:
    """Whether the guest said all that it had promised."""

    def __init__(self, pass_on=say):
        self.promised = self.said = self.bad = 0
        self.say = pass_on

    def note(self, line):
        if line.startswith("1.."):
            if self.promised:  # a second boot says again what was said
                return
            self.promised = int(line[3:].split()[0])
        elif line.startswith(("ok ", "not ok ")):
            self.said += 1
            self.bad += line.startswith("not")
        self.say(line)

    def is_kept(self):
        return self.promised > 0 and self.said == self.promised


def boot(host, plan, limit):
    """Boots it, and once again where it stands still, or QEMU crashes, before its
    first case; the limit is for both. Returns why it was ended, if it was."""
    deadline = time.monotonic() + limit
    for boots in (1, 2):
        began = time.monotonic()

        def step(console, boots=boots, began=began):
            return next_step(console, plan.said, boots, 0 if plan.promised else time.monotonic() - began)

        why = host.run(deadline - time.monotonic(), plan.note, lambda console, step=step: step(console) != GO_ON)
        console = host.console_text()
        if why == CRASHED and plan.said == 0 and boots == 1:
            plan.say("# QEMU itself crashed before any case: booted once again; it said: %s" % host.emulator_words())
            continue
        if why != STALLED or step(console) != AGAIN:
            break
        plan.say("# the emulated kernel stood still for %d s before any case: booted once again; its console: %s"
                 % (longest_s(console) or time.monotonic() - began, host.keep_console()))
    return why


def explain(host, why, seconds):
    say("# the emulated host %s after %.0f s; its last words:"
        % ("was ended (%s)" % why if why else "ended", seconds))
    for line in host.last_words():
        say("#   " + line)
    say("# more is in " + host.results)


def show(host, limit):
    """For a person: the lines as they come, to the one that ends it."""
    print("An emulated host of 64 CPUs boots: a quarter of a minute, or two on a busy machine.", flush=True)
    last = []

    def note(line):
        last[:] = [line]
        print(line, flush=True)

    began = time.monotonic()
    try:
        why = host.run(limit, note)
    except (Missing, roots.Missing, roots.Failed) as reason:
        print("It cannot be shown here: %s" % reason)
        return 1
    if last != [DEMO_END]:
        explain(host, why, time.monotonic() - began)
    return 0 if last == [DEMO_END] else 1


def main():
    parser = argparse.ArgumentParser(prog="run.py")
    parser.add_argument("--build", default="build")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds")
    parser.add_argument("scenario")
    args = parser.parse_args()
    host = Host(args.build, args.scenario)
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return 0
    if args.scenario == "demo":
        return show(host, args.limit)
    plan = Plan()
    began = time.monotonic()
    try:
        why = boot(host, plan, args.limit)
    except Missing as reason:
        print("1..0 # SKIP %s" % reason)
        return 0
    except (roots.Missing, roots.Failed) as reason:
        print("Bail out! %s" % reason)
        return 1
    seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("# %s: %.0f s, %.0f s of CPU" % (args.scenario, seconds, used.ru_utime + used.ru_stime))
    if why or not plan.is_kept():
        explain(host, why, seconds)
        return 1
    return 1 if plan.bad else 0


if __name__ == "__main__":
    sys.exit(main())
