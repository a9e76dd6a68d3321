#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs a scenario on an emulated 64-CPU host and passes its TAP lines on:
run.py --build BUILD SCENARIO. One that hangs is ended, and the console's last
lines are shown.
"""

import argparse
import os
import resource
import sys
import time

sys.dont_write_bytecode = True
from emulator import Host, Missing  # noqa: E402

LIMIT_S = 900
DEMO_END = "--- that was it"


class Plan:
    """Whether the guest said all that it had promised."""

    def __init__(self):
        self.promised = self.said = self.bad = 0

    def note(self, line):
        if line.startswith("1.."):
            self.promised = int(line[3:].split()[0])
        elif line.startswith(("ok ", "not ok ")):
            self.said += 1
            self.bad += line.startswith("not")
        print(line, flush=True)

    def is_kept(self):
        return self.promised > 0 and self.said == self.promised


def explain(host, expired, seconds):
    print("# the emulated host %s after %.0f s; its last words:"
          % ("was ended" if expired else "ended", seconds))
    for line in host.last_words():
        print("#   " + line)
    print("# more is in " + host.results)


def show(host, limit):
    """For a person: the lines as they come, to the one that ends it."""
    print("An emulated host of 64 CPUs boots: a quarter of a minute, or two on a busy machine.", flush=True)
    last = []

    def note(line):
        last[:] = [line]
        print(line, flush=True)

    began = time.monotonic()
    try:
        _, expired = host.run(limit, note)
    except Missing as reason:
        print("It can not be shown here: %s" % reason)
        return 1
    if last != [DEMO_END]:
        explain(host, expired, time.monotonic() - began)
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
        _, expired = host.run(args.limit, plan.note)
    except Missing as reason:
        print("1..0 # SKIP %s" % reason)
        return 0
    seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print("# %s: %.0f s, %.0f s of CPU" % (args.scenario, seconds, used.ru_utime + used.ru_stime))
    if expired or not plan.is_kept():
        explain(host, expired, seconds)
        return 1
    return 1 if plan.bad else 0


if __name__ == "__main__":
    sys.exit(main())
