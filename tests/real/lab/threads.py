# SPDX-License-Identifier: Apache-2.0
"""What /proc says of a VM's threads: the truth that tests look at."""

import os
import re
from typing import NamedTuple

_VCPU = re.compile(r"^CPU (\d+)/(KVM|TCG)$")


class Thread(NamedTuple):
    tid: int
    comm: str
    cpus: frozenset


def parse_cpus(text):
    """"0-2,5" -> {0, 1, 2, 5}"""
    cpus = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def cpu_list(cpus):
    """{0, 1, 2, 5} -> "0-2,5" """
    runs = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else "%d-%d" % (a, b) for a, b in runs)


def _read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def of_process(pid):
    """Every thread of a process."""
    threads = []
    try:
        tids = os.listdir("/proc/%d/task" % pid)
    except OSError:
        return threads
    for tid in tids:
        try:
            comm = _read("/proc/%d/task/%s/comm" % (pid, tid)).strip()
            status = _read("/proc/%d/task/%s/status" % (pid, tid))
        except OSError:  # it ended while we looked
            continue
        cpus = re.search(r"^Cpus_allowed_list:\s*(\S+)", status, re.M)
        threads.append(Thread(int(tid), comm, parse_cpus(cpus[1])))
    return threads


def vcpus(pid):
    """A VM's vCPU threads by vCPU number."""
    found = {}
    for thread in of_process(pid):
        match = _VCPU.match(thread.comm)
        if match:
            found[int(match[1])] = thread
    return dict(sorted(found.items()))


def host_cpus():
    """The CPUs that this process, and so the VMs, may use."""
    return sorted(os.sched_getaffinity(0))


def is_alive(pid):
    try:
        return _read("/proc/%d/stat" % pid).rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
