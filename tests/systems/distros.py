#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The README's words in other releases of Debian: `make check-distros` (root, a Debian mirror).

distros.py [--directory DIR] [--system NAME]... [--part NAME]...

Each system is Debian's smallest with make, git and ca-certificates added, as a machine is on which somebody is about to
clone the project. HEAD is cloned into a copy of it, and the parts run there, in namespaces of their own, one after the
other: what the first one installs is there for the second. The copy is deleted in the end; the system itself and the
packages that were downloaded are kept in DIR for the next run, and so is what each part said.

The last lines are a table, and "N passed, N failed".
"""

import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import time
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
import roots  # noqa: E402

TREE = os.path.dirname(os.path.dirname(HERE))
FRESH = ("make", "git", "ca-certificates")
SOURCE = "/root/vsched"
OUTPUT_MAX = 60  # lines of a part that failed

# What each part's words are, and how many seconds they may take.
PARTS = {
    "unit": ("make deps unit", 900),
    "demo": ("make demo", 900),
    "check": ("make check", 3000),
    "packages": ("make check-packages", 1500),
}
SYSTEMS = {
    "trixie": ("Debian 13", ("demo", "check", "packages")),
    "bookworm": ("Debian 12", ("demo", "check")),
    "bullseye": ("Debian 11", ("unit", "demo")),
    "sid": ("Debian sid", ("unit", "demo")),
}
# What is still being made may break any day: only when asked for.
BY_DEFAULT = ("trixie", "bookworm", "bullseye")
# Debian 11's meson is older than what the project asks for: a system may have one package of a later release.
BORROWED = {"bullseye": ("meson", "bookworm")}
# The versions that decide.
VERSIONS = ("gcc", "meson", "libhwloc15", "libvirt0", "libjansson4", "qemu-system-x86", "qemu-system-arm", "systemd",
            "python3")

# Process 1 of a part. The copy becomes /, so that nothing in it is in a chroot; see pivot_root(8).
ENTER = """
set -e
mount --bind "$1" "$1"
mount --bind "$2" "$1/var/cache/apt/archives"
mount --rbind /dev "$1/dev"
mount --rbind /sys "$1/sys"
mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
mount -t tmpfs -o mode=755 tmpfs "$1/run"
cd "$1"
pivot_root . mnt
umount -l /mnt
cd "$3"
exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TERM=dumb sh -c "$4"
"""


class Result(NamedTuple):
    system: str
    arch: str
    words: str
    passed: int
    failed: int
    skipped: str
    seconds: float


def say(text=""):
    print(text, flush=True)


def count(part, code, lines):
    """(passed, failed, skipped) of a part, by its exit code and what it said."""
    counts = [re.fullmatch(r"(\d+) passed, (\d+) failed", line) for line in lines]
    counts = [(int(c[1]), int(c[2])) for c in counts if c]
    reasons = collections.Counter(line.rpartition(": ")[2] for line in lines if line.startswith("skipped: "))
    skipped = "; ".join("%d: %s" % (times, reason) for reason, times in reasons.items())
    if part == "demo":
        done = code == 0 and any("Everything was as said" in line for line in lines)
        return (1, 0, "") if done else (0, 1, "")
    if part == "packages":  # TAP, without a count of its own
        good = [line for line in lines if re.match(r"ok \d", line)]
        skips = [line.partition("# SKIP ")[2] for line in good if "# SKIP" in line]
        bad = sum(line.startswith("not ok") for line in lines)
        return len(good) - len(skips), bad or int(code != 0 or not good), "; ".join(skips)
    passed, failed = counts[-1] if counts else (0, 0)
    return passed, failed or int(code != 0 or not passed), skipped


class System:
    """A fresh system, and the copy of it that parts run in."""

    def __init__(self, name, directory):
        self.name = name
        self.title = SYSTEMS[name][0]
        self.arch = roots.native()
        self.directory = directory
        self.base = os.path.join(directory, "fresh-%s-%s" % (name, self.arch))
        self.copy = os.path.join(directory, "copy-%s-%s" % (name, self.arch))
        self.archives = os.path.join(directory, "archives-%s-%s" % (name, self.arch))

    def prepare(self):
        roots.make(self.base, self.name, self.arch, FRESH)
        os.makedirs(self.archives + "/partial", exist_ok=True)
        self.remove()
        subprocess.run(["cp", "-a", "--reflink=auto", self.base, self.copy], check=True)
        shutil.copy("/etc/resolv.conf", self.copy + "/etc/resolv.conf")
        subprocess.run(["git", "clone", "-q", "--depth", "1", "file://" + TREE, self.copy + SOURCE], check=True)

        if self.name in BORROWED:
            self._borrow(*BORROWED[self.name])

    def _borrow(self, package, release):
        """Has apt take that package, and no other, from that release."""
        with open(self.copy + "/etc/apt/sources.list.d/borrowed.list", "w", encoding="ascii") as f:
            f.write("deb %s %s main\n" % (roots.mirror(), release))
        with open(self.copy + "/etc/apt/preferences.d/borrowed", "w", encoding="ascii") as f:
            f.write("Package: *\nPin: release n=%s\nPin-Priority: -1\n\n" % release)
            f.write("Package: %s\nPin: release n=%s\nPin-Priority: 990\n" % (package, release))

    def remove(self):
        """Nothing is mounted below: that was in a part's namespace."""
        subprocess.run(["rm", "-rf", "--one-file-system", self.copy], check=True)

    def run(self, words, limit, log):
        """Exit code of words in the copy; None: they took too long. log: the file for what they say."""
        command = ["unshare", "-m", "-p", "-i", "-f", "--kill-child", "--propagation", "private", "sh", "-c", ENTER,
                   "sh", self.copy, self.archives, SOURCE, words]
        with open(log, "w", encoding="utf-8") as out:
            try:
                return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                      check=False, timeout=limit).returncode
            except subprocess.TimeoutExpired:
                return None

    def versions(self):
        done = subprocess.run(["dpkg-query", "--admindir", self.copy + "/var/lib/dpkg", "-W",
                               "-f", "${db:Status-Abbrev} ${Package} ${Version}\n", *VERSIONS],
                              capture_output=True, text=True, check=False)
        return [line.split(None, 1)[1] for line in done.stdout.splitlines() if line.startswith("ii")]

    def log(self, part):
        return os.path.join(self.directory, "%s-%s-%s.log" % (self.name, self.arch, part))


def read_lines(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read().splitlines()


def show_failure(lines, log):
    """From the first failing program on, as tools/run-tests shows it; else the end."""
    first = next((n for n, line in enumerate(lines) if re.match(r"--- |not ok", line)), len(lines) - OUTPUT_MAX)
    for line in lines[max(0, first):][:OUTPUT_MAX * 4]:
        say("    " + line)
    say("    (all of it is in %s)" % log)


def run_part(system, part):
    words, limit = PARTS[part]
    log = system.log(part)
    say("%s %s: %s" % (system.title, system.arch, words))
    began = time.monotonic()
    code = system.run(words, limit, log)
    seconds = time.monotonic() - began
    lines = read_lines(log)
    passed, failed, skipped = count(part, code, lines)
    say("  %d passed, %d failed in %.0f s%s%s" % (passed, failed, seconds, "; skipped: " + skipped if skipped else "",
                                                 "; ended at its limit" if code is None else ""))
    if failed:
        show_failure(lines, log)
    return Result(system.title, system.arch, words, passed, failed, skipped, seconds)


def run_system(name, parts, directory):
    system = System(name, directory)
    try:
        began = time.monotonic()
        system.prepare()
        say("%s %s: fresh, with HEAD cloned into it, in %.0f s" % (system.title, system.arch, time.monotonic() - began))
        results = [run_part(system, part) for part in parts]
        say("  with %s" % ", ".join(system.versions()))
        return results
    finally:
        system.remove()


def print_table(results):
    rows = [("SYSTEM", "ARCH", "WORDS", "PASSED", "FAILED", "SECONDS", "SKIPPED")]
    rows += [(r.system, r.arch, r.words, str(r.passed), str(r.failed), "%.0f" % r.seconds, r.skipped or "-")
             for r in results]
    widths = [max(map(len, column)) for column in zip(*rows)][:-1]
    for row in rows:
        say("  ".join([cell.ljust(width) for cell, width in zip(row, widths)] + [row[-1]]))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", default="build/systems", help="where systems and logs are kept")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="by default %s" % ", ".join(BY_DEFAULT))
    parser.add_argument("--part", action="append", choices=PARTS, help="by default those that the system has")
    return parser.parse_args()


def main():
    args = parse()
    results, broken = [], 0
    directory = os.path.abspath(args.directory)
    os.makedirs(directory, exist_ok=True)
    for name in args.system or BY_DEFAULT:
        try:
            results += run_system(name, args.part or SYSTEMS[name][1], directory)
        except (roots.Missing, roots.Failed, subprocess.SubprocessError) as error:
            say("%s: %s" % (SYSTEMS[name][0], error))
            broken += 1
    say()
    print_table(results)
    passed, failed = sum(r.passed for r in results), sum(r.failed for r in results) + broken
    say("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
