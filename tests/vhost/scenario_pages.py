#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs inside an emulated arm64 machine whose kernel has larger pages than others:
the unit tests, with their own verdicts. Minutes, so it is no part of another
suite: tests/vhost/run.py --build build pages
"""

import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import furnish, mount_built  # noqa: E402

LIMIT_S = 600  # for one program
CASE = re.compile(r"^(not )?ok\b[ \t]*\d*[ \t]*(?:- )?([^#]*)(#\s*skip)?", re.I)


def run(number, test, directory):
    began = time.monotonic()
    if os.path.basename(test["cmd"][0]).startswith("python"):  # the build machine's
        test["cmd"][0] = sys.executable
    try:
        done = subprocess.run(test["cmd"], cwd=test["workdir"] or directory, env={**os.environ, **test["env"]},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
                              timeout=LIMIT_S)
        code, said, complaints = done.returncode, done.stdout, done.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        code, said, complaints = -1, "", str(error)
    cases = [found for found in map(CASE.match, said.splitlines()) if found]
    skipped = [found[2].strip() for found in cases if found[3] and not found[1]]
    failed = [found[2].strip() for found in cases if found[1]]
    good = not failed and code == 0
    print("%s %d - %s: %d passed, %d skipped, %.1f s" % (
        "ok" if good else "not ok", number, test["name"], len(cases) - len(skipped) - len(failed), len(skipped),
        time.monotonic() - began), flush=True)
    for line in skipped:
        print("#   skipped: " + line, flush=True)
    if not good:
        print("#   exit %s; failed: %s\n#   %s" % (code, "; ".join(failed),
              "\n#   ".join((said + complaints).splitlines()[-20:])), flush=True)


def main():
    furnish()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the shell that started this one ignores it, for all below
    plan = mount_built()
    print("# pages of %d bytes, Linux %s" % (os.sysconf("SC_PAGE_SIZE"), os.uname().release))
    print("1..%d" % len(plan["tests"]), flush=True)
    for number, test in enumerate(plan["tests"], 1):
        run(number, test, plan["built"])


if __name__ == "__main__":
    main()
