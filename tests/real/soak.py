#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Hundreds of real VMs, started all at once and then churned for a long time:
what the daemon costs, how soon a VM is pinned, and whether anything is lost.

In the storm the policy is dynamic with as many layers as it takes, so that
every VM gets a CPU, and so a write, however few CPUs this machine has. Then all
is as it is by default. Most guests are paused, some run and halt: they are to
cost little.

    SOAK_MINUTES  how long to churn (30)
    SOAK_IDLE     how long to do nothing before, in minutes (10): all that the daemon
                  does now and then, such as reading everything anew, is in them
    SOAK_VMS      how many VMs (200)
    SOAK_PAUSE    seconds between two changes (0.5)
    SOAK_SEED     of what is changed (1)
"""

import concurrent.futures
import os
import random
import re
import statistics
import subprocess
import threading
import time
from datetime import datetime

from lab import cpu_list, main, wait_until
from lab.guests import HALT
from lab.libvirtd import URI

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
VMS = int(os.environ.get("SOAK_VMS", "200"))
IDLE_MINUTES = float(os.environ.get("SOAK_IDLE", "10"))
PAUSE = float(os.environ.get("SOAK_PAUSE", "0.5"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
STARTERS = 4  # libvirt is asked by so many at once
STARTED = re.compile(r"^(\S+ \S+?): event 'lifecycle' for domain '?(.+?)'?: Started")

# What the documentation promises.
AVERAGE, IDLE, PEAK, PSS_KIB, SLOPE_KIB_MIN = 1.0, 0.1, 100.0, 24 * 1024, 8.0


def cpu_ns(pid):
    """CPU time of all its threads, to the nanosecond."""
    total = 0
    for tid in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/schedstat" % (pid, tid), encoding="ascii") as f:
                total += int(f.read().split()[0])
        except OSError:
            pass
    return total


def memory_kib(pid):
    """PSS, and how much of it the process has allocated: the rest are pages of programs and libraries, which the kernel
    may drop while nobody reads them, and whose shares depend on who else has libvirt's library open."""
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
        sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB", f.read(), re.M))
    return int(sizes["Pss"]), int(sizes["Anonymous"])


def slope(points):
    """Of a line through (minutes, KiB), by least squares, without the first fifth."""
    points = points[len(points) // 5:]
    x0, y0 = statistics.mean(x for x, _ in points), statistics.mean(y for _, y in points)
    width = sum((x - x0) ** 2 for x, _ in points)
    return sum((x - x0) * (y - y0) for x, y in points) / width if width else 0.0


class Meter(threading.Thread):
    """Looks at the daemon each second, and at its memory every fifth."""

    def __init__(self, daemon, asks=True):
        super().__init__(daemon=True)
        self.daemon_under_test = daemon
        self.asks = asks  # also how long rounds take, which costs the daemon an answer
        self.cpu, self.memory, self.round_us = [], [], []  # (when, CPU ns), (minute, PSS, anonymous), us
        self._over = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()

    def run(self):
        began, pid = time.monotonic(), self.daemon_under_test.pid
        while not self._over.wait(1.0 if self.cpu else 0):
            now = time.monotonic()
            self.cpu.append((now, cpu_ns(pid)))
            if len(self.cpu) % 5 == 1:
                self.memory.append(((now - began) / 60, *memory_kib(pid)))
            if self.asks and len(self.cpu) % 10 == 1:
                self.round_us.append(self.daemon_under_test.status()["last_round_us"])

    def average(self):
        (t0, c0), (t1, c1) = self.cpu[0], self.cpu[-1]
        return (c1 - c0) / (t1 - t0) / 1e7

    def peak(self):
        return max((c1 - c0) / (t1 - t0) / 1e7 for (t0, c0), (t1, c1) in zip(self.cpu, self.cpu[1:]))


class Events:
    """libvirt's own word of when each VM had started."""

    def __init__(self):
        self.process = subprocess.Popen(["stdbuf", "-oL", "virsh", "-q", "-c", URI, "event", "--event", "lifecycle", "--loop",
                                         "--timestamp"], stdout=subprocess.PIPE, text=True)
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True)
        self.reader.start()

    def started(self):
        """(name, seconds since the epoch); of each stamp the middle of its millisecond."""
        for match in filter(None, map(STARTED.match, list(self.lines))):
            yield match[2], datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S.%f%z").timestamp() + 0.0005

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.reader.join(5)


class Crowd:
    """The VMs, and what became of their starts."""

    def __init__(self, lab, dice):
        self.lab, self.dice = lab, dice
        self.vms = [lab.vm("v%d" % i, memory=16, boot=HALT) for i in range(VMS)]
        self.starts = []  # (VM's name, thread)
        self.changes = 0

    def start(self, vm, paused=True):
        vm.start(paused=paused)
        self.starts.append((vm.name, vm.threads()[0].tid))

    def start_all(self):
        with concurrent.futures.ThreadPoolExecutor(STARTERS) as pool:
            list(pool.map(self.start, self.vms))

    def change(self):
        """One thing that an operator does."""
        vm, lot = self.dice.choice(self.vms), self.dice.random()
        self.changes += 1
        if lot < 0.70:
            vm.destroy()
            self.start(vm, paused=self.dice.random() < 0.9)
        elif lot < 0.95:
            self.lab.virsh("resume" if self.dice.random() < 0.2 else "suspend", vm.name, ok=False)
        else:
            self.lab.virsh("vcpupin", vm.name, "0", str(self.dice.choice(self.lab.cpus)), "--live")
            time.sleep(self.dice.random())
            self.lab.virsh("vcpupin", vm.name, "0", cpu_list(self.lab.cpus), "--live")

    def churn(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            self.change()
            time.sleep(max(0.0, began + PAUSE - time.monotonic()))

    def delays_ms(self, events, writes):
        """From each start's event to its thread's first mask; and how many starts never got one."""
        first = {}
        for tid, when in writes:
            first.setdefault(tid, when)
        came = {}
        for name, when in events:
            came.setdefault(name, []).append(when)
        delays, lost = [], 0
        for name, tid in self.starts:
            event = came[name].pop(0)
            if tid in first:
                delays.append((first[tid] - event) * 1e3)
            else:
                lost += 1
        return sorted(delays), lost


def not_settled(lab, crowd):
    """VMs whose verdict is missing, or is not true of their masks."""
    known = {vm["uuid"]: vm["verdict"] for vm in lab.vasctl("list", "--json").json()}
    one_cpu = {"PLACED": True, "LAYERED": True, "PINNED": True, "SHARED": False}
    return [vm.short for vm in crowd.vms if one_cpu.get(known.get(vm.uuid)) != vm.is_placed()]


def idle_percent(lab, minutes):
    with Meter(lab.daemon, asks=False) as meter:
        time.sleep(60 * minutes)
    return meter.average()


def rounds_failed(lab):
    return int(float(re.search(r"^vsched_rounds_failed_total (\S+)", lab.vasctl("metrics").out, re.M)[1]))


def not_restored(lab, crowd):
    """VMs whose masks are not their operators' ranges."""
    answer = lab.vasctl("opt", "recover")
    if answer.code != 0:
        return ["recover: %r" % answer]
    return [vm.short for vm in crowd.vms if vm.masks() != vm.libvirt_pins()]


class Table:
    def __init__(self):
        self.failed = 0

    def row(self, what, value, unit, limit=None):
        bad = limit is not None and value > limit
        self.failed += bad
        print("%-46s %10.2f %-8s %s" % (what, value, unit, "" if limit is None else
                                        "%s (at most %g)" % ("TOO MUCH" if bad else "ok", limit)), flush=True)


def delay_rows(table, delays):
    if delays:
        table.row("storm: event to pin, median", statistics.median(delays), "ms")
        table.row("storm: event to pin, p95", delays[int(len(delays) * 0.95)], "ms")
        table.row("storm: event to pin, maximum", delays[-1], "ms")


def storm(lab, crowd, table):
    events = Events()
    time.sleep(0.5)  # it listens
    with Meter(lab.daemon) as meter:
        began = time.monotonic()
        crowd.start_all()
        took = time.monotonic() - began
        wait_until(lambda: not not_settled(lab, crowd), 30, "every VM has its verdict after the storm", pause=1)
    events.stop()
    delays, lost = crowd.delays_ms(events.started(), lab.daemon.timed_writes())
    crowd.starts.clear()
    table.row("storm: VMs started", len(crowd.vms), "")
    table.row("storm: it took", took, "s")
    delay_rows(table, delays)
    table.row("storm: CPU, average", meter.average(), "%")
    table.row("storm: CPU, busiest second", meter.peak(), "%", PEAK)
    table.row("storm: starts without a pin", lost, "", 0)


def churn(lab, crowd, table):
    """Static VMs that are more than the CPUs share them, without a write: how soon they are pinned is the storm's."""
    writes = len(lab.daemon.timed_writes())
    with Meter(lab.daemon) as meter:
        crowd.churn(MINUTES * 60)
        wait_until(lambda: not not_settled(lab, crowd), 30, "every VM has its verdict after the churn", pause=1)
    table.row("churn: minutes", MINUTES, "")
    table.row("churn: changes (starts, stops, pins)", crowd.changes, "")
    table.row("churn: masks written", len(lab.daemon.timed_writes()) - writes, "")
    table.row("churn: CPU, average", meter.average(), "%", AVERAGE)
    table.row("churn: CPU, busiest second", meter.peak(), "%", PEAK)
    table.row("churn: round, median", statistics.median(meter.round_us) / 1e3, "ms")
    table.row("churn: round, longest seen", max(meter.round_us) / 1e3, "ms")
    table.row("memory: PSS, largest", max(pss for _, pss, _ in meter.memory) / 1024, "MiB", PSS_KIB / 1024)
    table.row("memory: PSS, slope", slope([(t, pss) for t, pss, _ in meter.memory]), "KiB/min")
    table.row("memory: allocated, largest", max(own for _, _, own in meter.memory) / 1024, "MiB")
    table.row("memory: allocated, slope", slope([(t, own) for t, _, own in meter.memory]), "KiB/min", SLOPE_KIB_MIN)


def soak(lab, _args):
    table = Table()
    crowd = Crowd(lab, random.Random(SEED))
    lab.daemon.start(settings={"placement": {"sched-policy": "dynamic"}, "dynamic": {"overcommit-layers": "100"},
                               "defrag": {"interval": "5s"}})
    pid = lab.daemon.pid
    storm(lab, crowd, table)
    table.row("idle: CPU, policy dynamic", idle_percent(lab, min(IDLE_MINUTES, 1)), "%")
    lab.vasctl("set", "config", "-sp", "affinity")
    time.sleep(10)
    table.row("idle: CPU", idle_percent(lab, IDLE_MINUTES), "%", IDLE)
    churn(lab, crowd, table)
    status = lab.daemon.status()
    table.row("VMs lost", abs(status["vms"] - len(crowd.vms)), "", 0)
    table.row("rounds", status["rounds"], "")
    table.row("rounds that failed", rounds_failed(lab), "", 0)
    table.row("after recover: masks that are not the range", len(not_restored(lab, crowd)), "", 0)
    table.row("daemon ended or started anew", int(not lab.daemon.is_running() or lab.daemon.pid != pid), "", 0)
    lab.clean()
    return 1 if table.failed else 0


if __name__ == "__main__":
    main(__file__, soak)
