# SPDX-License-Identifier: Apache-2.0
"""A machine of one NUMA node, shown to the programs of a sandbox as one of two. Its memory stays where the kernel has
it, on node 0: only what /sys says of CPUs and nodes is made up."""

import contextlib
import os
import re
import shutil
import stat

from . import sandbox, threads
from .tap import Skip
from .threads import cpu_list

SYSTEM = "/sys/devices/system"
# Of each CPU: what it shares with the others of its node, as a mask and as a list.
SHARED = {"topology/package_cpus": "topology/package_cpus_list",
          "topology/core_siblings": "topology/core_siblings_list",
          "topology/die_cpus": "topology/die_cpus_list",
          "cache/index3/shared_cpu_map": "cache/index3/shared_cpu_list"}


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:  # some have nothing to say
        return None


def _write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text + "\n")


def _copy(source, target):
    """Files and directories, as they read now."""
    os.makedirs(target)
    for entry in os.scandir(source):
        into = os.path.join(target, entry.name)
        if entry.is_dir(follow_symlinks=False):
            _copy(entry.path, into)
        elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            text = _read(entry.path)
            if text is not None:
                with open(into, "w", encoding="utf-8") as f:
                    f.write(text)


def _mask(cpus):
    """{0, 33} -> 00000002,00000001"""
    words = [sum(1 << cpu % 32 for cpu in cpus if cpu // 32 == word) for word in range(max(cpus) // 32 + 1)]
    return ",".join("%08x" % word for word in reversed(words))


def _write_cpu(path, node, number):
    for mask, listed in SHARED.items():
        if os.path.exists(os.path.join(path, mask)):
            _write(os.path.join(path, mask), _mask(node))
        if os.path.exists(os.path.join(path, listed)):
            _write(os.path.join(path, listed), cpu_list(node))
    _write(path + "/topology/physical_package_id", str(number))


def _write_node(path, node, number):
    _write(path + "/cpumap", _mask(node))
    _write(path + "/cpulist", cpu_list(node))
    _write(path + "/distance", " ".join("10" if other == number else "20" for other in range(2)))
    text = _read(path + "/meminfo")
    _write(path + "/meminfo", re.sub(r"^Node \d+", "Node %d" % number, text, flags=re.M).rstrip())


def _make_tree(tree, nodes):
    for name in ("cpu", "node"):
        _copy(os.path.join(SYSTEM, name), os.path.join(tree, name))
    shutil.copytree(tree + "/node/node0", tree + "/node/node1")
    for name in ("online", "possible", "has_cpu", "has_memory", "has_normal_memory"):
        _write("%s/node/%s" % (tree, name), "0-1")
    for number, node in enumerate(nodes):
        _write_node("%s/node/node%d" % (tree, number), node, number)
        for cpu in node:
            _write_cpu("%s/cpu/cpu%d" % (tree, cpu), node, number)


def _online():
    return sorted(threads.parse_cpus(_read(SYSTEM + "/cpu/online")))


@contextlib.contextmanager
def two_nodes(first=True):
    """Half of the CPUs in each. first: the lower half is in node 0, where the memory is, else the upper one."""
    if _read(SYSTEM + "/node/online") != "0\n":
        raise Skip("this machine has nodes of its own")
    cpus = _online()
    halves = [cpus[:len(cpus) // 2], cpus[len(cpus) // 2:]]
    tree = sandbox.LAB + "/nodes"
    shutil.rmtree(tree, ignore_errors=True)
    _make_tree(tree, halves if first else halves[::-1])
    with contextlib.ExitStack() as shown:
        for name in ("cpu", "node"):
            for path in (os.path.join(SYSTEM, name), "/sys/bus/%s/devices" % name):
                if os.path.isdir(path):
                    shown.enter_context(sandbox.file_in_place_of(path, os.path.join(tree, name)))
        yield
