#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the planner with vas-sim and writes the tables into a document,
between the lines <!-- planner:begin --> and <!-- planner:end -->.

    bench/planner.py --sim build/src/sim/vas-sim [--into docs/performance.md] [--quick]

Quality figures are exact: the same on every machine. Times are this machine's."""

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import exact as exact_solver

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TRACES = os.path.join(TREE, "tests/traces")
BEGIN, END = "<!-- planner:begin -->", "<!-- planner:end -->"
SMT_HOST = "numa:2 l3:12 core:8 pu:2"
SIZES = [(128, "numa:4 l3:8 core:4 pu:1"), (320, "numa:4 l3:10 core:8 pu:1"),
         (1024, "numa:8 l3:16 core:8 pu:1"), (4096, "numa:16 l3:32 core:8 pu:1")]
RIVALS = ["random", "first-fit", "best-fit", "k8s-uncore", "nova", "vsched", "vsched-any"]
MUST_EXCESS, MUST_BAD = 0.1, 0.75


class Bench:
    def __init__(self, sim, quick):
        self.sim = sim
        self.events = 1500 if quick else 8000
        self.tmp = tempfile.mkdtemp(prefix="vas-bench-")
        self.names = sorted(n[:-6] for n in os.listdir(TRACES) if n.endswith(".trace"))
        with open(os.path.join(TREE, "bench/reference.json"), encoding="utf-8") as f:
            self.reference = json.load(f)

    def run(self, *args):
        out = subprocess.run([self.sim, *args, "--json"], capture_output=True, text=True, check=True).stdout
        return json.loads(out)

    def trace(self, name):
        """A trace's path; its beginning only when we are in a hurry."""
        path = os.path.join(TRACES, name + ".trace")
        if self.events >= 8000:
            return path
        short = os.path.join(self.tmp, name)
        with open(path, encoding="utf-8") as f, open(short, "w", encoding="utf-8") as out:
            out.writelines(f.readlines()[:self.events + 2])
        return short

    def generate(self, mix, host, occupancy, events=None, seed=1):
        path = os.path.join(self.tmp, "%s-%s-%s-%d" % (mix, re.sub(r"\W", "", host), occupancy, seed))
        with open(path, "w", encoding="utf-8") as f:
            subprocess.run([self.sim, "--generate", mix, "--topology", host, "--occupancy", str(occupancy),
                            "--events", str(events or self.events), "--seed", str(seed)], stdout=f, check=True)
        return path


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows]) + "\n"


def in_parallel(work, items):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, items))


def met(condition):
    return "yes" if condition else "**no**"


def quality(bench):
    """Excess, bad VMs and moves on every trace, beside the reference."""
    jobs = [(name, budget) for name in bench.names for budget in ("0.5", "1")]
    results = in_parallel(lambda job: bench.run("--trace", bench.trace(job[0]), "--budget", job[1]), jobs)
    rows, wrong = [], 0
    for (name, budget), f in zip(jobs, results):
        reference = bench.reference[name][budget]
        must = []
        if budget == "0.5" and int(name[-2:]) <= 85:
            must.append(f["excess_pct"] <= MUST_EXCESS)
        if budget == "1":
            must.append(f["bad_pct"] <= (reference["bad_pct"] if name == "k4-odd-90" else MUST_BAD))
            must.append(f["moves_per_event"] <= 1.1 * reference["moves_per_event"])
        wrong += f["violations"] + f["bad_plans"] + f["overlaps"]
        rows.append([name, budget, "%.3f" % f["excess_pct"], "%.2f" % reference["excess_pct"],
                     "%.3f" % f["bad_pct"], "%.2f" % reference["bad_pct"], "%.2f" % f["unplaced"],
                     "%.3f" % f["moves_per_event"], "%.3f" % reference["moves_per_event"],
                     "%.2f" % f["shared_cores"], "%.2f" % reference["shared_cores"],
                     met(all(must)) if must else "-"])
    head = ["trace", "credits/event", "excess %", "ref.", "bad %", "ref.", "unplaced", "moves/event", "ref.",
            "shared cores", "ref.", "must met"]
    return ("### Quality\n\nThe reference is a throw-away prototype that was to be beaten. Violations, unsound plans and moves onto "
            "a CPU that was still owned, over all rows: %d.\n\n" % wrong) + table(head, rows)


def rivals(bench):
    """Every policy on the same events, at 1 credit/event."""
    results = in_parallel(
        lambda name: bench.run("--trace", bench.trace(name), "--policy", "planner," + ",".join(RIVALS)), bench.names)
    rows = [[policy] + ["%.2f / %.2f" % (r[i]["excess_pct"], r[i]["bad_pct"]) for r in results]
            for i, policy in enumerate(["planner"] + RIVALS)]
    return "### Beside other policies (excess % / bad %)\n\n" + table(["policy"] + bench.names, rows)


def snapshots(bench):
    rows = []
    for name in sorted(n for n in os.listdir(TRACES) if n.endswith(".snap")):
        result = bench.run("--snapshot", os.path.join(TRACES, name))
        rows.append([name[:-5], len(result), sum(r["vms"] for r in result), sum(r["excess"] for r in result),
                     sum(r["unplaced"] for r in result), sum(r["violations"] for r in result)])
    return ("### Snapshots, placed from scratch (an exact solver: all placed, excess 0)\n\n"
            + table(["set", "snapshots", "VMs", "excess clusters", "unplaced VMs", "violations"], rows))


def memory_nodes(bench):
    """VMs that stay with their memory."""
    def both(name):
        return [bench.run("--trace", bench.trace(name), "--memory", m) for m in ("none", "first-touch")]
    rows = [[name, "%.3f" % none["bad_pct"], "%.3f" % touch["bad_pct"], "%.3f" % touch["remote_vms"],
             "%.3f" % touch["cross_node_moves_per_event"]]
            for name, (none, touch) in zip(bench.names, in_parallel(both, bench.names))]
    return ("### Memory that stays where the VM first ran (1 credit/event)\n\n"
            + table(["trace", "bad %, movable", "bad %, first touch", "VMs off their memory", "crossing moves/event"], rows))


def smt(bench):
    """Lightly loaded SMT hosts, and load that swings across the regimes."""
    rows = []
    for mix, occupancy in (("azure", 10), ("azure", 30), ("azure", 50), ("odd", 30), ("odd", 50), ("swing", 80)):
        f = bench.run("--trace", bench.generate(mix, SMT_HOST, occupancy))
        rows.append([mix, occupancy, "%.1f" % f["occupancy_pct"], "%.3f" % f["doubled_cores"],
                     "%.3f" % f["shared_cores"], "%.3f" % f["bad_pct"], "%.3f" % f["moves_per_event"]])
    return ("### SMT with the defaults (%s)\n\n" % SMT_HOST
            + table(["mix", "occupancy, at most", "mean %", "doubled cores", "shared cores", "bad %", "moves/event"], rows))


def idle_moves(bench, name):
    """Moves of all, after an idle hour, and after 1,000 more rounds."""
    with open(os.path.join(TRACES, name + ".trace"), encoding="utf-8") as f:
        lines = f.readlines()[:602]
    moves = []
    for idle_s in (0, 3600, 3600 + 5000):
        path = os.path.join(bench.tmp, "idle-" + name)
        last = int(lines[-1].split()[0])
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(lines + ["%d create last 1 0\n" % (last + idle_s)])
        f = bench.run("--trace", path, "--ticks")
        moves.append(round(f["moves_per_event"] * f["events"]))
    return moves


def balanced(bench):
    """Moves in 1,000 further rounds once nothing happens any more."""
    rows = [[name, moves[1] - moves[0], moves[2] - moves[1]] for name, moves in
            zip(bench.names, in_parallel(lambda name: idle_moves(bench, name), bench.names))]
    return ("### A host on which nothing happens (`--ticks`)\n\n"
            + table(["trace", "moves in the first hour", "moves in 1,000 further rounds"], rows))


def microseconds(ns):
    return "%.1f" % (ns / 1000)


def latency(bench):
    """Times, with nothing else running here."""
    rows = []
    for cpus, host in SIZES:
        for mix in ("odd", "azure"):
            path = bench.generate(mix, host, 85, min(bench.events, 4000))
            f = bench.run("--trace", path)
            rows.append([cpus, mix, "%.0f" % f["vms"]]
                        + ["%s / %s" % (microseconds(f[k + "_p50_ns"]), microseconds(f[k + "_p99_ns"]))
                           for k in ("place", "make_room", "defrag", "plan")]
                        + ["%.1f" % (f["peak_kib"] / 1024), "%.2f" % f["bad_pct"]])
    return ("### Time (p50 / p99, us) and memory by CPU and VM count\n\n85 % occupancy, 1 credit/event. " + LATENCY_NOTE
            + "\n\n" + table(["CPUs", "mix", "VMs", "place", "make room", "defrag", "whole plan", "peak MiB of vas-sim",
                              "bad %"], rows))


LATENCY_NOTE = ("Place: one placement without ejection on the finished index, wall time, the best of three. Make room and "
                "defrag: whole rounds in which that happened, index and all. Rounds are in processor time, so that other "
                "programs do not count. Memory is the peak of the simulator, trace and all.")


def instructions(bench):
    """A count that does not depend on the machine's load."""
    if not shutil.which("valgrind"):
        return "### Instructions\n\nvalgrind is not installed here.\n"
    rows = []
    for name in ("k1-odd-95", "e1-odd-95", "k4-odd-90"):
        path = os.path.join(bench.tmp, "short")
        with open(os.path.join(TRACES, name + ".trace"), encoding="utf-8") as f, open(path, "w", encoding="utf-8") as out:
            out.writelines(f.readlines()[:502])
        run = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=plan_make",
                              bench.sim, "--trace", path, "--json"], capture_output=True, text=True, check=True)
        total = int(re.search(r"Collected : (\d+)", run.stderr).group(1))
        rows.append([name, 500, "{:,}".format(total), "{:,}".format(total // 500)])
    return ("### Instructions of `plan_make` (callgrind, first 500 events)\n\n"
            + table(["trace", "rounds", "instructions", "per round"], rows))


def exact(bench):
    """Hard sets beside an exact solver."""
    title = "### Sets that fill a host, against an exact solver (CBC, 20 s each)\n\n"
    if not shutil.which("cbc"):
        return title + "cbc (package coinor-cbc) is not installed here.\n"
    return title + table(exact_solver.HEAD, exact_solver.hard_rows(bench.sim, 5 if bench.events < 8000 else 20))


def write_into(path, text):
    old = "# Performance\n\n%s\n%s\n" % (BEGIN, END)
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            old = f.read()
    if BEGIN not in old:
        old += "\n%s\n%s\n" % (BEGIN, END)
    head, rest = old.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(head + BEGIN + "\n" + text + END + tail)
    os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sim", required=True)
    parser.add_argument("--into", help="the document; default: standard output")
    parser.add_argument("--quick", action="store_true", help="shorter traces: for trying the script out")
    parser.add_argument("--only", help="some parts, separated by commas: quality, rivals, snapshots, memory_nodes, smt, balanced, latency, instructions, exact")
    args = parser.parse_args()
    bench = Bench(os.path.abspath(args.sim), args.quick)
    parts = [quality, rivals, snapshots, memory_nodes, smt, balanced, latency, instructions, exact]
    text = "## The planner\n\nWritten by `bench/planner.py`. Terms and metrics: vas-sim(1).\n"
    try:
        for part in parts:
            if args.only and part.__name__ not in args.only.split(","):
                continue
            print("# %s" % part.__name__, file=sys.stderr, flush=True)
            text += "\n" + part(bench)
    finally:
        shutil.rmtree(bench.tmp)
    if args.into:
        write_into(args.into, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
