#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
How much a busy guest runs beside a hog on its CPU: static binding, dynamic
binding and no binding, in turns on the same guest, one JSON object at the end.

Figures are shares of wall time that the vCPU thread was on a CPU. idle_before
says how much of the machine was idle just before: on a machine that is busy
with other things the figures say little.

VAS_PAIRS: rounds of all three (15). VAS_SECONDS: seconds measured each (4).
VAS_HOGS=all: a hog on every CPU. Nothing can be won then; it fails when dynamic
binding lost more than 3 % against static binding, beyond what static binding
differs from itself in the same run.
"""

import json
import os
import statistics
import time

from lab import main, wait_until
from lab.guests import THREE_QUARTERS
from lab.load import Hog, busy, run_seconds

PAIRS = int(os.environ.get("VAS_PAIRS", "15"))
SECONDS = float(os.environ.get("VAS_SECONDS", "4"))
LOSS_MAX = 0.03
EVERYWHERE = os.environ.get("VAS_HOGS") == "all"


def bind(lab, vm, way):
    if way == "unpinned":
        lab.vasctl("opt", "recover")
        return
    lab.vasctl("resume")
    lab.vasctl("set", "config", "-sp", "dynamicAffinity" if way == "dynamic" else "affinity")
    wait_until(vm.is_placed, 10)


def share(vm, home, cpus):
    (thread,) = vm.threads().values()
    hogs = [Hog(cpu) for cpu in (cpus if EVERYWHERE else [home])]
    try:
        time.sleep(2.0)
        began, (run, wait) = time.monotonic(), run_seconds(thread.tid)
        time.sleep(SECONDS)
        run_after, wait_after = run_seconds(thread.tid)
        wall = time.monotonic() - began
        return (run_after - run) / wall, (wait_after - wait) / wall
    finally:
        for hog in hogs:
            hog.stop()


def loss(runs):
    """How much less than with static binding it ran with dynamic binding, and how
    much static binding differs from itself; both as shares."""
    median = {way: statistics.median(values) for way, values in runs.items()}
    static = statistics.median(runs["static"] + runs["static_again"])
    return 1 - median["dynamic"] / static, abs(median["static"] - median["static_again"]) / static


def measure(lab, _args):
    lab.daemon.start()
    vm = lab.vm("bench", boot=THREE_QUARTERS).start(paused=False).wait_booted()
    wait_until(vm.is_placed, 10)
    home = vm.cpus()[0]
    ways = ["static", "dynamic", "unpinned", "static_again"]
    runs, waits, idle, changes = {w: [] for w in ways}, {w: [] for w in ways}, [], 0
    for turn in range(PAIRS):
        for way in ways if turn % 2 == 0 else ways[::-1]:
            bind(lab, vm, "static" if way == "static_again" else way)
            time.sleep(1.5)
            idle.append(1 - statistics.mean(busy(0.5).values()))
            written = len(lab.daemon.writes())
            run, wait = share(vm, home, lab.cpus)
            changes += len(lab.daemon.writes()) - written if way == "dynamic" else 0
            runs[way].append(round(run, 4))
            waits[way].append(round(wait, 4))
    worse, spread = loss(runs)
    static = [(a + b) / 2 for a, b in zip(runs["static"], runs["static_again"])]
    print(json.dumps({
        "paired_ratio_median": {w: round(statistics.median(r / s for r, s in zip(v, static)), 4) for w, v in runs.items()},
        "dynamic_mask_changes": changes,
        "loss": round(worse, 4), "static_spread": round(spread, 4), "load_average": os.getloadavg()[1],
        "pairs": PAIRS, "seconds": SECONDS, "hogs": "all" if EVERYWHERE else "home",
        "idle_before": round(statistics.mean(idle), 3),
        "run_median": {w: statistics.median(v) for w, v in runs.items()},
        "wait_median": {w: statistics.median(v) for w, v in waits.items()},
        "runs": runs}))
    return 1 if EVERYWHERE and worse > spread + LOSS_MAX else 0


main(__file__, measure)
