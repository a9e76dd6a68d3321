#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a busy host's rounds cost: CPU time per round and memory, with many
real vCPU threads, after an hour's worth of rounds."""

import concurrent.futures
import os
import re
import time

from lab import main, wait_until

VMS = int(os.environ.get("VMS", "125"))
VCPUS = 4
ROUNDS_AN_HOUR = 720  # at the default interval
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_kib(pid):
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
        return dict(re.findall(r"^(Rss|Pss):\s+(\d+) kB", f.read(), re.M))


def quiet_rounds(lab, seconds):
    """(rounds, CPU seconds) while nothing happens."""
    rounds, cpu = lab.daemon.status()["rounds"], cpu_seconds(lab.daemon.pid)
    time.sleep(seconds)
    return lab.daemon.status()["rounds"] - rounds, cpu_seconds(lab.daemon.pid) - cpu


def bench(lab, _args):
    vms = [lab.vm("v%d" % i, vcpus=VCPUS) for i in range(VMS)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda vm: vm.start(), vms))
    lab.daemon.start()
    wait_until(lambda: lab.daemon.status()["vms"] == VMS, 10)
    rounds, cpu = quiet_rounds(lab, 30)
    print("%d vCPU threads: %.2f ms CPU time per round, over %d rounds; the last took %d us"
          % (VMS * VCPUS, cpu / rounds * 1e3, rounds, lab.daemon.status()["last_round_us"]))
    first = memory_kib(lab.daemon.pid)
    before = lab.daemon.status()["rounds"]
    while lab.daemon.status()["rounds"] < before + ROUNDS_AN_HOUR:
        lab.vasctl("reassign", "all")
    last = memory_kib(lab.daemon.pid)
    print("memory: RSS %s KiB, PSS %s KiB; after %d more rounds RSS %s KiB, PSS %s KiB"
          % (first["Rss"], first["Pss"], ROUNDS_AN_HOUR, last["Rss"], last["Pss"]))
    lab.clean()
    return 0


main(__file__, bench)
