#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
How often the dynamic binding changes a mask over minutes of a load, and how long
a vCPU takes to leave and to return: a real guest that is busy three quarters of
the time, a real hog on its home. One JSON object at the end; fails when a bound
was not kept.

VAS_MINUTES: how long (10). VAS_ON, VAS_OFF: seconds with the hog and without it
(20, 20); VAS_OFF=0: the hog stays, from the first five seconds on.
VAS_TOLD=1: what is told as the use of CPUs is that of guest and hog alone. On a
machine that has other things to do no CPU would be idle; the waiting is real, so
other work still counts where the guest has to wait for it.
"""

import json
import os
import statistics
import time

from lab import main, wait_until
from lab.guests import THREE_QUARTERS
from lab.load import Hog, ToldUse, busy

MINUTES = float(os.environ.get("VAS_MINUTES", "10"))
ON_S, OFF_S = float(os.environ.get("VAS_ON", "20")), float(os.environ.get("VAS_OFF", "20"))
TOLD = os.environ.get("VAS_TOLD") == "1"
DWELL_S = 2.0  # what the daemon keeps between two changes of a vCPU
SETTLE_S = 5.0
LOOK_S = 0.02
GUEST_USE = 0.75
DYNAMIC = {"placement": {"sched-policy": "dynamic"}, "defrag": {"interval": "1s"}}


def hog_is_on(second):
    """Whether the hog runs so long after the begin."""
    if second < SETTLE_S:
        return False
    return OFF_S == 0 or (second - SETTLE_S) % (ON_S + OFF_S) < ON_S


class Watch:
    """Who is where, looked at all the time."""

    def __init__(self, vm, home):
        (thread,) = vm.threads().values()
        self.tid, self.home, self.at = thread.tid, home, home
        self.left, self.returned = [], []  # seconds from the hog's coming or going
        self.turned = None  # when the hog came or went, until there was an answer to it

    def look(self, now):
        at = next(iter(os.sched_getaffinity(self.tid)))
        if at != self.at and self.turned is not None and self.home in (at, self.at):
            (self.returned if at == self.home else self.left).append(now - self.turned)
            self.turned = None
        self.at = at


def tell(told, watch, hog_on):
    """The use of CPUs that guest and hog make."""
    use = {cpu: 0.0 for cpu in told.use}
    use[watch.at] += GUEST_USE
    use[watch.home] += 1.0 if hog_on else 0.0
    told.use = {cpu: min(1.0, u) for cpu, u in use.items()}


def play(watch, hog, told):
    """Hog and looks, for as long as it takes. Returns the turns of the hog."""
    began, was_on, turns = time.monotonic(), False, 0
    while (now := time.monotonic()) - began < MINUTES * 60:
        on = hog_is_on(now - began)
        if on != was_on:
            (hog.go_on if on else hog.pause)()
            # A turn finds the guest where it should leave from, or come back from.
            watch.turned = now if (watch.at == watch.home) == on else None
            was_on, turns = on, turns + 1
        watch.look(now)
        if told:
            tell(told, watch, on)
        time.sleep(LOOK_S)
    return turns


def middle(seconds):
    return {"count": len(seconds), "median_s": round(statistics.median(seconds), 2),
            "least_s": round(min(seconds), 2), "most_s": round(max(seconds), 2)} if seconds else {"count": 0}


def report(lab, watch, turns, others):
    times = [at for tid, at in lab.daemon.timed_writes() if tid == watch.tid][1:]  # the first one placed it
    gaps = [b - a for a, b in zip(times, times[1:])]
    said = lab.daemon.status()["dynamic"]
    print(json.dumps({
        "minutes": MINUTES, "on_s": ON_S, "off_s": OFF_S, "told": TOLD, "turns_of_the_hog": turns,
        "busy_before": round(others, 3), "load_average": os.getloadavg()[1],
        "mask_changes": len(times), "bound": int(MINUTES * 60 / DWELL_S),
        "least_gap_s": round(min(gaps), 2) if gaps else None,
        "moves": {name: said[name] for name in ("left", "moved_on", "returned", "failed")},
        "to_leave": middle(watch.left), "to_return": middle(watch.returned)}), flush=True)
    # A write is timed where it is made, a change where it was decided.
    return 0 if len(times) <= MINUTES * 60 / DWELL_S and all(gap >= DWELL_S - 0.1 for gap in gaps) else 1


def measure(lab, _args):
    lab.need_cpus(2)
    others = statistics.mean(busy(2.0).values())
    told = ToldUse(lab.cpus) if TOLD else None
    if told:
        told.__enter__()
    lab.daemon.start(settings=DYNAMIC)
    vm = lab.vm("bench", boot=THREE_QUARTERS).start(paused=False).wait_booted()
    wait_until(vm.is_placed, 10)
    (home,) = vm.cpus()
    hog = Hog(home)
    try:
        hog.pause()
        watch = Watch(vm, home)
        return report(lab, watch, play(watch, hog, told), others)
    finally:
        hog.stop()
        if told:
            told.__exit__()


main(__file__, measure)
