#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs inside an emulated arm64 machine: what `make demo` runs there, and tests on
real VMs. Each is in a sandbox of its own, with a libvirtd of its own.
"""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import furnish, mount_built  # noqa: E402

BUILD = "/var/lib/vhost-build"  # one that can be written to
PROGRAMS = ["demo", "test_lab", "test_place"]
PATIENCE = "20"  # how many times longer things take than on a machine that is none of QEMU's


def run(number, name, source):
    done = subprocess.run([sys.executable, "%s/tests/real/%s.py" % (source, name), "--build", BUILD],
                          env={**os.environ, "VAS_PATIENCE": PATIENCE}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    good = done.returncode == 0 and re.search("^Everything was as said|^ok ", done.stdout, re.M)
    for line in done.stdout.splitlines():
        print("#   " + line)
    print("%s %d - tests/real/%s.py on arm64" % ("ok" if good else "not ok", number, name), flush=True)


def main():
    furnish()
    plan = mount_built()
    os.makedirs(BUILD)
    for name in os.listdir(plan["built"]):
        os.symlink(os.path.join(plan["built"], name), os.path.join(BUILD, name))
    print("1..%d" % len(PROGRAMS), flush=True)
    for number, name in enumerate(PROGRAMS, 1):
        run(number, name, plan["source"])


if __name__ == "__main__":
    main()
