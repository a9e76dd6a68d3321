#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The shipped unit: its promises are in it, and systemd finds little to expose.

test_unit.py UNIT
"""

import collections
import re
import shutil
import subprocess
import sys

EXPOSURE_MAX = 1.2  # of systemd-analyze security; 10 is the worst

# What the documentation promises, setting by setting.
PROMISED = {
    "After": "libvirtd.service virtqemud.service",
    "Type": "notify",
    "User": "vas",
    "AmbientCapabilities": "CAP_SYS_NICE",
    "CapabilityBoundingSet": "CAP_SYS_NICE",
    "NoNewPrivileges": "yes",
    "Restart": "on-failure",
    "CPUQuota": "100%",
    "MemoryMax": "128M",
    # Without seccomp the daemon can not confine itself.
    "SystemCallFilter": "@system-service; ~@privileged @resources; sched_setaffinity seccomp",
    "ProtectSystem": "strict",
    "ReadOnlyPaths": "/run -/dev/shm -/dev/mqueue",
    "RestrictAddressFamilies": "AF_UNIX",
}
# Numbers, whose exact value is nobody's promise.
NUMBERS = ("TasksMax", "WatchdogSec", "TimeoutStopSec")
# They would hide the QEMUs, or void CAP_SYS_NICE on them.
NEVER = ("ProtectProc", "ProcSubset", "PrivateUsers", "PrivatePIDs")


def read_unit(path):
    settings = collections.defaultdict(list)
    with open(path, encoding="utf-8") as unit:
        for line in unit:
            key, separator, value = line.strip().partition("=")
            if separator and not key.startswith("#"):
                settings[key].append(value)
    return settings


def broken_promises(settings):
    for key, value in PROMISED.items():
        if "; ".join(settings[key]) != value:
            yield "%s is %r, promised is %r" % (key, settings[key], value)
    for key in NUMBERS:
        if not settings[key] or not re.match("[1-9]", settings[key][0]):
            yield "%s is %r, promised is a limit" % (key, settings[key])
    for key in NEVER:
        if settings[key]:
            yield "%s must not be set" % key


def over_exposed(path):
    """systemd's own judgement; None where systemd can not judge a file."""
    tool = shutil.which("systemd-analyze")
    if not tool:
        return None
    done = subprocess.run([tool, "security", "--offline=true", "--no-pager", path],
                          capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    if not found:  # older than 250: no --offline
        return None
    level = float(found[1])
    return ["exposure is %.1f, allowed is %.1f" % (level, EXPOSURE_MAX)] if level > EXPOSURE_MAX else []


def say(number, title, wrong):
    for line in wrong or []:
        print("#   " + line)
    skip = " # SKIP no systemd-analyze with --offline" if wrong is None else ""
    print("%s %d - %s%s" % ("not ok" if wrong else "ok", number, title, skip))
    return bool(wrong)


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    print("1..2")
    bad = say(1, "the unit has what is promised", list(broken_promises(read_unit(sys.argv[1]))))
    bad += say(2, "systemd finds little to expose", over_exposed(sys.argv[1]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
