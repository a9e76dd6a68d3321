# SPDX-License-Identifier: Apache-2.0
"""Load on chosen CPUs, and how busy CPUs and threads are."""

import os
import signal
import subprocess
import sys
import threading
import time

from . import sandbox


class Hog:
    """A process that burns one CPU."""

    def __init__(self, cpu):
        self.process = subprocess.Popen([sys.executable, "-c", "while True: pass"],
                                        preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.process.kill()
        self.process.wait()


def cpu_times():
    """(busy, all) ticks by CPU."""
    times = {}
    with open("/proc/stat", encoding="ascii") as f:
        for line in f:
            name, *ticks = line.split()
            if name.startswith("cpu") and name != "cpu":
                ticks = [int(t) for t in ticks[:8]]
                times[int(name[3:])] = (sum(ticks) - ticks[3] - ticks[4], sum(ticks))
    return times


def busy(seconds):
    """How busy each CPU is, 0..1, over so many seconds."""
    before = cpu_times()
    time.sleep(seconds)
    after = cpu_times()
    return {cpu: (after[cpu][0] - b) / max(1, after[cpu][1] - a) for cpu, (b, a) in before.items()}


def run_seconds(tid):
    """(on a CPU, waiting for one) of a thread since its start."""
    with open("/proc/%d/schedstat" % tid, encoding="ascii") as f:
        run, wait, _ = f.read().split()
    return int(run) / 1e9, int(wait) / 1e9


def wait_quiet(cpus, patience=20.0, limit=0.1):
    """Whether these CPUs came to be idle for a second in that time."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        now = busy(1.0)
        if all(now[cpu] < limit for cpu in cpus):
            return True
    return False


class ToldUse(threading.Thread):
    """The use of CPUs as a test tells it: a file over the sandbox's /proc/stat. So a test of what the daemon does
    about it does not depend on what else the machine has to do. Threads and their waiting stay real."""

    TICKS = 100  # a second

    def __init__(self, cpus):
        super().__init__(daemon=True)
        self.use = {cpu: 0.0 for cpu in cpus}
        self._busy = {cpu: 0.0 for cpu in cpus}
        self._all = 0.0
        self._over = False
        self._path = sandbox.LAB + "/stat"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)

    def __enter__(self):
        self._write()
        sandbox.bind(self._path, "/proc/stat")
        self.start()
        return self

    def __exit__(self, *_):
        self._over = True
        self.join()
        sandbox.unbind("/proc/stat")
        os.close(self._file)

    def _write(self):
        lines = ["cpu  0 0 0 0 0 0 0 0 0 0\n"]
        for cpu, busy_ticks in self._busy.items():
            lines.append("cpu%d %010d 0 0 %010d 0 0 0 0 0 0\n" % (cpu, busy_ticks, self._all - busy_ticks))
        os.pwrite(self._file, "".join(lines + ["intr 0\n"]).encode(), 0)

    def run(self):
        last = time.monotonic()
        while not self._over:
            time.sleep(0.02)
            now = time.monotonic()
            self._all += (now - last) * self.TICKS
            for cpu, use in self.use.items():
                self._busy[cpu] += (now - last) * self.TICKS * use
            last = now
            self._write()
