#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the planner against an exact solver (CBC) on sets of VMs that fill a
host to 98-100 %.

    bench/exact.py --sim build/src/sim/vas-sim [--seconds 20] [SNAPSHOTS]...

The solver minimises, in this order, VMs without CPUs of their own, nodes and
clusters. CPUs of one cluster that the same VMs may use are one *atom*, of which
it counts how many each VM gets: which of them does not matter."""

import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import tempfile

HOSTS = [("numa:4 l3:10 core:8 pu:1", 98), ("numa:4 l3:10 core:8 pu:1", 100),
         ("numa:4 l3:8 core:4 pu:1", 98), ("numa:4 l3:8 core:4 pu:1", 100)]
SETS = 2                  # of each host
UNPLACED, NODE = 10000, 100  # weights beside 1 for a cluster

Host = collections.namedtuple("Host", "nodes clusters size")  # clusters of a node, CPUs of a cluster


def parse_host(text):
    sizes = {k: int(v) for k, v in re.findall(r"(\w+):(\d+)", text)}
    return Host(sizes["numa"], sizes["l3"], sizes["core"] * sizes.get("pu", 1))


def parse_list(text):
    cpus = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def read_snapshots(path):
    """(host text, [(name, [(vCPUs, range text)])])"""
    host, sets = None, []
    with open(path, encoding="utf-8") as f:
        for line in f:
            words = line.split()
            if line.startswith("# topology:"):
                host = line.split(":", 1)[1].strip()
            elif words and words[0] == "snapshot":
                sets.append((words[1], []))
            elif words and words[0] == "vm":
                sets[-1][1].append((int(words[1]), words[2]))
    return host, sets


def write_hard(sim, host, occupancy, path):
    """Sets of VMs that want so much of the host, out of generated churn."""
    spec = parse_host(host)
    cpus = spec.nodes * spec.clusters * spec.size
    text = subprocess.run([sim, "--generate", "odd", "--topology", host, "--occupancy", str(occupancy), "--events", "8000",
                           "--seed", str(occupancy)], capture_output=True, text=True, check=True).stdout
    alive, used, found, last = {}, 0, 0, 0
    with open(path, "w", encoding="utf-8") as f:
        f.write("# topology: %s\n" % host)
        for number, line in enumerate(text.splitlines()[2:]):
            words = line.split()
            if words[1] == "create":
                alive[words[2]] = (int(words[3]), words[4])
                used += int(words[3])
            else:
                used -= alive.pop(words[2])[0]
            if used >= (occupancy - 0.6) / 100 * cpus and number > last + 1500 and found < SETS:
                f.write("snapshot %d\n" % number + "".join("vm %d %s\n" % vm for vm in alive.values()))
                found, last = found + 1, number


def minimum(host, n, allowed):
    """Fewest clusters, in one node if one can hold it."""
    def parts(clusters):
        left, count = n, 0
        for free in sorted((len(allowed & c) for c in clusters), reverse=True):
            if left <= 0:
                break
            left, count = left - free, count + 1
        return count if left <= 0 else None
    per_node = [[set(range((node * host.clusters + i) * host.size, (node * host.clusters + i + 1) * host.size))
                 for i in range(host.clusters)] for node in range(host.nodes)]
    inside = [p for p in map(parts, per_node) if p]
    return min(inside) if inside else parts([c for node in per_node for c in node]) or 0


def write_lp(host, vms, path):
    """The problem in CPLEX's text form; returns the sum of the minima."""
    ranges = {text: parse_list(text) for _, text in vms}
    atoms = collections.defaultdict(int)
    for cpu in range(host.nodes * host.clusters * host.size):
        atoms[cpu // host.size, frozenset(t for t, cpus in ranges.items() if cpu in cpus)] += 1
    atoms = [(cluster, texts, size) for (cluster, texts), size in atoms.items()]
    goal, rules, bounds, whole, binary = [], [], [], [], []
    takers = collections.defaultdict(list)
    minima = 0
    for v, (n, text) in enumerate(vms):
        mine = [(a, atom) for a, atom in enumerate(atoms) if text in atom[1]]
        least = minimum(host, n, ranges[text])
        minima += least
        goal.append("%d u%d" % (UNPLACED, v))
        binary.append("u%d" % v)
        rules.append(" + ".join("x%d_%d" % (v, a) for a, _ in mine) + " + %d u%d = %d" % (n, v, n))
        per_cluster = collections.defaultdict(list)
        for a, (cluster, _, size) in mine:
            takers[a].append("x%d_%d" % (v, a))
            per_cluster[cluster].append((a, size))
            bounds.append("0 <= x%d_%d <= %d" % (v, a, min(n, size)))
            whole.append("x%d_%d" % (v, a))
        for cluster, parts in per_cluster.items():
            room = min(n, sum(size for _, size in parts))
            rules.append(" + ".join("x%d_%d" % (v, a) for a, _ in parts) + " - %d y%d_%d <= 0" % (room, v, cluster))
            rules.append("y%d_%d - z%d_%d <= 0" % (v, cluster, v, cluster // host.clusters))
            goal.append("y%d_%d" % (v, cluster))
            binary.append("y%d_%d" % (v, cluster))
        nodes = {cluster // host.clusters for cluster in per_cluster}
        goal.extend("%d z%d_%d" % (NODE, v, node) for node in nodes)
        binary.extend("z%d_%d" % (v, node) for node in nodes)
        rules.append(" + ".join("y%d_%d" % (v, c) for c in per_cluster) + " + %d u%d >= %d" % (least, v, least))
        rules.append(" + ".join("z%d_%d" % (v, node) for node in nodes) + " + u%d >= 1" % v)
    rules.extend(" + ".join(names) + " <= %d" % atoms[a][2] for a, names in takers.items())
    with open(path, "w", encoding="utf-8") as f:
        f.write("Minimize\n goal: " + "\n + ".join(goal) + "\nSubject To\n"
                + "".join(" r%d: %s\n" % (i, r) for i, r in enumerate(rules))
                + "Bounds\n " + "\n ".join(bounds) + "\nGenerals\n " + "\n ".join(whole)
                + "\nBinaries\n " + "\n ".join(binary) + "\nEnd\n")
    return minima


def solve(host, vms, seconds):
    """(proved, unplaced VMs, excess clusters of the placed ones), or None: nothing found."""
    with tempfile.TemporaryDirectory() as tmp:
        problem, solution = os.path.join(tmp, "p.lp"), os.path.join(tmp, "s.txt")
        write_lp(host, vms, problem)
        subprocess.run(["cbc", problem, "-seconds", str(seconds), "-solve", "-solution", solution],
                       capture_output=True, check=True)
        with open(solution, encoding="utf-8") as f:
            status, *lines = f.read().splitlines()
    values = {words[1]: float(words[2]) for words in map(str.split, lines) if len(words) >= 3 and words[0] != "**"}
    if not values or "nfeasible" in status:
        return None
    lost = {v for v in range(len(vms)) if values.get("u%d" % v, 0) > 0.5}
    clusters = sum(1 for name, value in values.items() if name[0] == "y" and value > 0.5)
    least = sum(minimum(host, n, parse_list(text)) for v, (n, text) in enumerate(vms) if v not in lost)
    return status.startswith("Optimal"), len(lost), clusters - least


def compare(sim, path, seconds):
    """One row a snapshot: what the planner and what the solver found."""
    text, sets = read_snapshots(path)
    host = parse_host(text)
    ours = json.loads(subprocess.run([sim, "--snapshot", path, "--smt", "true", "--json"], capture_output=True, text=True,
                                     check=True).stdout)
    for (name, vms), f in zip(sets, ours):
        exact = solve(host, vms, seconds)
        used = 100 * sum(n for n, _ in vms) / (host.nodes * host.clusters * host.size)
        yield [text, name, "%.1f" % used, len(vms), f["unplaced"], f["excess"],
               *(("-", "-", "nothing found") if exact is None else
                 (exact[1], exact[2], "proved" if exact[0] else "best in %d s" % seconds))]


HEAD = ["host", "set", "% wanted", "VMs", "unplaced", "excess", "solver: unplaced", "excess", ""]


def hard_rows(sim, seconds):
    """Rows for sets made here."""
    with tempfile.TemporaryDirectory() as tmp:
        for host, occupancy in HOSTS:
            path = os.path.join(tmp, "hard.snap")
            write_hard(sim, host, occupancy, path)
            yield from compare(sim, path, seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sim", required=True)
    parser.add_argument("--seconds", type=int, default=20, help="for each set")
    parser.add_argument("snapshots", nargs="*", help="files; default: hard sets made here")
    args = parser.parse_args()
    if not shutil.which("cbc"):
        raise SystemExit("exact.py: cbc is not installed (package coinor-cbc)")
    for path in args.snapshots:
        for row in compare(args.sim, path, args.seconds):
            print("\t".join(map(str, row)), flush=True)
    for row in () if args.snapshots else hard_rows(args.sim, args.seconds):
        print("\t".join(map(str, row)), flush=True)


if __name__ == "__main__":
    main()
