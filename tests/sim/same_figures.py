#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Replays traces with several builds of vas-sim: all figures but times and
memory must be equal, whatever the compiler and its optimisation.  same_figures.py VAS-SIM VAS-SIM ..."""

import json
import pathlib
import subprocess
import sys

TRACES = pathlib.Path(__file__).resolve().parents[1] / "traces"
NAMES = ["e1-odd-95", "k4-odd-90"]  # one with SMT, one without


def figures(sim, name):
    out = subprocess.run([sim, "--trace", TRACES / (name + ".trace"), "--json"], capture_output=True, check=True).stdout
    return {key: value for key, value in json.loads(out).items() if not key.endswith(("_ns", "_kib"))}


def main():
    first, *others = sys.argv[1:]
    for name in NAMES:
        expected = figures(first, name)
        for other in others:
            found = figures(other, name)
            for key, value in expected.items():
                if found[key] != value:
                    sys.exit("%s: %s is %s with %s and %s with %s" % (name, key, value, first, found[key], other))
    print("the same figures on %s with %d builds" % (", ".join(NAMES), len(others) + 1))


if __name__ == "__main__":
    main()
