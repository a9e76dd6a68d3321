#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The golden figures: what vas-sim says of every trace and snapshot of the tree, with many options.

test_figures.py VAS-SIM             compares them with golden_figures.jsonl, to the last digit; VAS-SIM may be a command
                                    with its words, such as an emulator's
test_figures.py --quick VAS-SIM     the default options only: seconds, also for a build without optimization
test_figures.py --write VAS-SIM     writes golden_figures.jsonl, after a change that is meant to change them

Times and memory are left out: they are no figures of the planner's.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TRACES = HERE.parent / "traces"
GOLDEN = HERE / "golden_figures.jsonl"
OPTIONS = ["", "--smt true", "--smt false", "--smt own-cores", "--sched-policy cluster", "--sched-policy dynamic",
           "--memory first-touch", "--faults writes=2,deaths=2,ranges=2", "--ticks"]
NOT_FIGURES = ("_ns", "_kib")


def every_run(options_of_all):
    return [(path.name, options) for options in options_of_all for path in sorted(TRACES.iterdir())
            if path.suffix in (".trace", ".snap")]


def strip(found):
    if isinstance(found, list):
        return [strip(entry) for entry in found]
    return {key: value for key, value in found.items() if not key.endswith(NOT_FIGURES)}


def figures(sim, run):
    name, options = run
    kind = "--snapshot" if name.endswith(".snap") else "--trace"
    done = subprocess.run([*sim, kind, str(TRACES / name), "--json", *options.split()], capture_output=True, text=True,
                          check=False)
    return strip(json.loads(done.stdout)) if done.returncode == 0 else "exit %d: %s" % (done.returncode, done.stderr.strip())


def differences(expected, found):
    """One line for each figure that differs."""
    if type(expected) is not type(found) or isinstance(expected, str):
        return [] if expected == found else ["expected %s, found %s" % (expected, found)]
    if isinstance(expected, list):
        lines = [] if len(expected) == len(found) else ["%d entries, expected %d" % (len(found), len(expected))]
        return lines + [line for pair in zip(expected, found) for line in differences(*pair)]
    return ["%s: expected %s, found %s" % (key, expected.get(key), found.get(key))
            for key in sorted(expected.keys() | found.keys()) if expected.get(key) != found.get(key)]


def judge(runs, found):
    with open(GOLDEN, encoding="utf-8") as f:
        golden = {(entry["file"], entry["options"]): entry["figures"] for entry in map(json.loads, f)}
    print("1..%d" % len(runs))
    bad = 0
    for number, (run, now) in enumerate(zip(runs, found), 1):
        wrong = differences(golden[run], now) if run in golden else ["no golden figures: write them"]
        bad += bool(wrong)
        print("%s %d - %s" % ("not ok" if wrong else "ok", number, " ".join(run).strip()))
        for line in wrong[:10]:
            print("#   " + line)
    return 1 if bad else 0


def write(runs, found):
    with open(GOLDEN, "w", encoding="utf-8") as f:
        for (name, options), now in zip(runs, found):
            f.write(json.dumps({"file": name, "options": options, "figures": now}) + "\n")
    print("%d runs written to %s" % (len(runs), GOLDEN))
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("sim", metavar="VAS-SIM")
    args = parser.parse_args()
    runs = every_run(OPTIONS[:1] if args.quick else OPTIONS)
    sim = shlex.split(args.sim)
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = list(pool.map(lambda run: figures(sim, run), runs))
    return write(runs, found) if args.write else judge(runs, found)


if __name__ == "__main__":
    sys.exit(main())
