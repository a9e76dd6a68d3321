#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long vasctl takes from exec to exit.

    bench/start_up.py VASCTL [--runs 1000]

Each run is of one thread that does nothing but start it and wait, with all its output
thrown away. `--help` is all that needs no daemon; `status` fails because none is there,
which takes all the way but the answer. /bin/true beside it is what the machine itself takes."""

import argparse
import os
import statistics
import time


def run_us(command, null):
    began = time.perf_counter_ns()
    pid = os.posix_spawn(command[0], command, {"PATH": "/usr/bin:/bin", "VAS_SOCKET": "/nonexistent/vas.sock"},
                         file_actions=[(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)])
    os.waitpid(pid, 0)
    return (time.perf_counter_ns() - began) / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vasctl")
    parser.add_argument("--runs", type=int, default=1000)
    args = parser.parse_args()
    vasctl, null = os.path.abspath(args.vasctl), os.open("/dev/null", os.O_WRONLY)
    print("%d runs each, %d CPUs, load %.1f\n" % (args.runs, os.cpu_count(), os.getloadavg()[0]))
    print("| command | median us | p99 us | fastest us |\n|---|---|---|---|")
    commands = [["/bin/true"], [vasctl, "--help"], [vasctl, "status"]]
    times = {i: [] for i in range(len(commands))}
    for _ in range(args.runs):  # in turn, so that all see the same machine
        for i, command in enumerate(commands):
            times[i].append(run_us(command, null))
    for i, command in enumerate(commands):
        found = sorted(times[i])
        print("| %s | %.0f | %.0f | %.0f |" % (" ".join([os.path.basename(command[0]), *command[1:]]),
                                             statistics.median(found), found[int(len(found) * 0.99)], found[0]))


main()
