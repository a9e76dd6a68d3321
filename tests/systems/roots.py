# SPDX-License-Identifier: Apache-2.0
"""Debian systems in directories of the build directory, made by mmdebstrap and kept.

A *configured* one is a smallest system whose packages were installed: programs of this machine's own architecture run
in it. An *unpacked* one holds packages' files and nothing more, because their scripts were not run: it can be of any
architecture, and is what a cross compiler, qemu-user and an emulated machine read.
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess

HOOKS = "/usr/share/mmdebstrap/hooks/merged-usr"
DEFAULT_MIRROR = "http://deb.debian.org/debian"
LIMIT_S = 900
# Machine: Debian's name of the architecture, GNU's triplet, what kernels call it.
MACHINES = {"x86_64": ("amd64", "x86_64-linux-gnu"), "aarch64": ("arm64", "aarch64-linux-gnu"),
            "s390x": ("s390x", "s390x-linux-gnu")}


def native():
    """Debian's name of this machine's own architecture; None: one that is not in MACHINES."""
    return MACHINES.get(os.uname().machine, (None, None))[0]


class Missing(Exception):
    """Why this machine cannot make systems."""


class Failed(Exception):
    """Why one was not made."""


def release():
    """Debian's name of the release that this machine runs."""
    with open("/etc/os-release", encoding="utf-8") as f:
        found = re.search(r'^VERSION_CODENAME="?(\w+)', f.read(), re.M)
    if not found:
        raise Missing("/etc/os-release names no release")
    return found[1]


def mirror():
    """The first that apt uses, so that a local one is used here as well."""
    if not shutil.which("apt-get"):
        return DEFAULT_MIRROR
    done = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
                          capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("http") and line.rstrip("/").endswith("/debian") and "security" not in line:
            return line.strip()
    return DEFAULT_MIRROR


def _command(path, suite, arch, packages, unpacked):
    command = ["mmdebstrap", "--mode=root", "--format=directory", "--architectures=" + arch,
               "--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Retries 3",
               "--variant=" + ("extract" if unpacked else "minbase")]
    if packages:
        command.append("--include=" + ",".join(packages))
    # Debian before 13 makes the links /bin, /lib and /sbin in a script.
    if unpacked and os.path.isdir(HOOKS) and suite in ("bullseye", "bookworm"):
        command.append("--hook-dir=" + HOOKS)
    return command + [suite, path, mirror()]


def _unmount_below(path):
    """mmdebstrap undoes its mounts, unless it was killed; what is deleted below must be ours."""
    with open("/proc/self/mounts", encoding="utf-8") as f:
        points = [line.split()[1] for line in f]
    for point in reversed(points):
        if point.startswith(path + "/"):
            subprocess.run(["umount", "-l", point], check=True)


@contextlib.contextmanager
def _locked(path):
    with open(path + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _serves(stamp, kind, packages):
    """Whether what was made is of that kind, and was made with those packages at least."""
    if not os.path.exists(stamp):
        return False
    with open(stamp, encoding="ascii") as f:
        had_kind, *had = f.read().splitlines()
    return had_kind == kind and set(packages) <= set(had)


def make(path, suite, arch, packages=(), unpacked=False):
    """Makes that system at path, unless it is there already with those packages or more. Needs root and a mirror."""
    path = os.path.abspath(path)
    kind = "%s %s %s" % (suite, arch, "unpacked" if unpacked else "configured")
    stamp = path + ".made"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with _locked(path):
        if os.path.isdir(path) and _serves(stamp, kind, packages):
            return path
        if not shutil.which("mmdebstrap"):
            raise Missing("mmdebstrap is not installed")
        if os.geteuid() != 0:
            raise Missing("a Debian system can only be made by root")
        made = path + ".new"
        for old in (stamp, made, path):
            _unmount_below(old)
            if os.path.isdir(old):
                shutil.rmtree(old)
            elif os.path.exists(old):
                os.unlink(old)
        done = subprocess.run(_command(made, suite, arch, packages, unpacked), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              check=False, timeout=LIMIT_S)
        if done.returncode != 0:
            raise Failed("mmdebstrap %s %s: exit %d: %s" % (suite, arch, done.returncode,
                                                           "; ".join(done.stdout.strip().splitlines()[-6:])))
        os.rename(made, path)
        with open(stamp, "w", encoding="ascii") as f:
            f.write("\n".join([kind, *packages]) + "\n")
    return path
