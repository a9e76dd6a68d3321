# SPDX-License-Identifier: Apache-2.0
"""A freshly installed Debian in a directory, and what is in it.

It is made once from the machine's own mirror, and kept; each run
works on a copy above it (overlayfs), in a mount, process and network namespace
of its own, so nothing that a package does reaches the machine.
"""

import hashlib
import os
import re
import stat
import subprocess
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../systems"))
import roots  # noqa: E402

# What package managers keep for themselves, and what the copy is made of.
NOT_OURS = re.compile(r"/(var/(lib/(dpkg|apt|rpm)|cache|log)|proc|sys|dev|tmp|root)(/|$)"
                      r"|/etc/ld\.so\.cache$|/(usr/lib/sysimage)(/|$)|/etc/(passwd|shadow|group|gshadow)-$"
                      r"|/etc/\.pwd\.lock$|/run/systemd/systemd-units-load$")


def run(words, check=True, **more):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          text=True, errors="replace", check=False, **more)
    if check and done.returncode:
        raise RuntimeError("%s: exit %d\n%s" % (" ".join(words), done.returncode, done.stdout[-4000:]))
    return done.stdout


def next_deb(deb, directory):
    """The same package under a higher version, made in directory."""
    tree, made = os.path.join(directory, "next"), os.path.join(directory, "next.deb")
    run(["dpkg-deb", "-R", deb, tree])
    run(["sed", "-i", "s/^Version: .*/&+next/", os.path.join(tree, "DEBIAN/control")])
    run(["dpkg-deb", "--root-owner-group", "-b", tree, made])
    run(["rm", "-rf", tree])
    return made


class FreshRoot:
    """Must be used inside namespaces of its own: it mounts."""

    def __init__(self, directory):
        self.base = os.path.join(directory, "fresh-" + roots.release())
        self.path = os.path.join(directory, "root")
        self.layer = os.path.join(directory, "layer")

    def make(self):
        """Debian's smallest system, once."""
        roots.make(self.base, roots.release(), run(["dpkg", "--print-architecture"]).strip())

    def mount(self):
        for path in (self.path, self.layer):
            os.makedirs(path, exist_ok=True)
        run(["mount", "-t", "tmpfs", "tmpfs", self.layer])
        for name in ("upper", "work"):
            os.makedirs(os.path.join(self.layer, name))
        options = "lowerdir=%s,upperdir=%s/upper,workdir=%s/work" % (self.base, self.layer, self.layer)
        run(["mount", "-t", "overlay", "-o", options, "overlay", self.path])
        run(["mount", "-t", "proc", "proc", self.path + "/proc"])
        run(["mount", "-t", "tmpfs", "tmpfs", self.path + "/tmp"])
        run(["mount", "--rbind", "/dev", self.path + "/dev"])

    def run(self, *words, check=True):
        """Runs words inside; returns what they said on stdout and stderr."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
        return run(["chroot", self.path, *words], check=check, env=environment, timeout=600)

    def put(self, source, name):
        run(["cp", source, os.path.join(self.path, "tmp", name)])
        return "/tmp/" + name

    def read(self, path):
        with open(self.path + path, encoding="utf-8") as f:
            return f.read()

    def write(self, path, text):
        with open(self.path + path, "w", encoding="utf-8") as f:
            f.write(text)

    def exists(self, path):
        return os.path.lexists(self.path + path)

    def inventory(self):
        """{path: what is there}, without what is not ours."""
        found = {}
        for directory, names, files in os.walk(self.path):
            here = directory[len(self.path):] or "/"
            names[:] = [n for n in names if not NOT_OURS.search(os.path.join(here, n))]
            for name in names + files:
                path = os.path.join(here, name)
                if not NOT_OURS.search(path):
                    found[path] = describe(self.path + path)
        return found


def describe(path):
    """Type, mode, owner and content of a file, so that two are compared."""
    status = os.lstat(path)
    facts = [stat.filemode(status.st_mode), status.st_uid, status.st_gid]
    if stat.S_ISLNK(status.st_mode):
        facts.append(os.readlink(path))
    elif stat.S_ISREG(status.st_mode):
        with open(path, "rb") as f:
            facts.append(hashlib.sha256(f.read()).hexdigest())
    return tuple(facts)


def difference(before, after):
    """Lines: what came (+), went (-) or is another (~)."""
    lines = ["+ " + path for path in after if path not in before]
    lines += ["- " + path for path in before if path not in after]
    lines += ["~ " + path for path in after if path in before and before[path] != after[path]]
    return sorted(lines, key=lambda line: line[2:])
