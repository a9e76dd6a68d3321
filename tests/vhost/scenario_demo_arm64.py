#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs inside an emulated arm64 machine: what `make demo` runs, as on an arm64
machine. Minutes, so it is no part of another suite:
tests/vhost/run.py --build build demo_arm64
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import furnish, mount_built  # noqa: E402

BUILD = "/var/lib/vhost-build"  # one that can be written to


def main():
    furnish()
    plan = mount_built()
    print("1..1", flush=True)
    os.makedirs(BUILD)
    for name in os.listdir(plan["built"]):
        os.symlink(os.path.join(plan["built"], name), os.path.join(BUILD, name))
    done = subprocess.run([sys.executable, plan["source"] + "/tests/real/demo.py", "--build", BUILD],
                          env={**os.environ, "VAS_PATIENCE": "20"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    for line in done.stdout.splitlines():
        print("#   " + line)
    is_true = done.returncode == 0 and "Everything was as said" in done.stdout
    print("%s 1 - every step of the demo is true on arm64" % ("ok" if is_true else "not ok"), flush=True)


if __name__ == "__main__":
    main()
