#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vas-sim from the outside: what it prints, and how it exits. Arguments: the
program, the source tree, and `slow` for the one test that takes its time."""

import json
import os
import pty
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET

SIM, TREE = sys.argv[1], sys.argv[2]
SPEC = "numa:2 l3:2 core:4 pu:1"
TRACE = "# topology: %s\n" % SPEC + "".join(
    "%d create v%d 3 0-15\n%d create w%d 2 0-7\n%d destroy v%d\n%d destroy w%d\n"
    % (240 * i, i, 240 * i + 60, i, 240 * i + 120, i, 240 * i + 180, i) for i in range(50))
KEYS = """events vms excess_pct above_min_pct unplaced bad_pct node_excess moves_per_event
    cross_node_moves_per_event shared_cores violations place_p50_ns place_p99_ns make_room_p50_ns
    make_room_p99_ns defrag_p50_ns defrag_p99_ns plan_p50_ns plan_p99_ns""".split()


def sim(*args, text=None):
    return subprocess.run([SIM, *args], input=text, capture_output=True, text=True, timeout=60, check=False)


def check(condition, why=""):
    if not condition:
        raise AssertionError(why)


def refused(why, *args, text=None):
    run = sim(*args, text=text)
    check(run.returncode == 2, "%s: exit %d" % (args, run.returncode))
    check(run.stdout == "", "wrote to stdout")
    check(run.stderr.count("\n") == 1 and run.stderr.startswith("vas-sim: "), run.stderr)
    check(why in run.stderr, "%r does not say %r" % (run.stderr, why))


def helps():
    run = sim("--help")
    check(run.returncode == 0 and "--generate" in run.stdout and run.stderr == "")
    check(all(len(line) <= 110 for line in run.stdout.splitlines()))
    run = sim("--version")
    check(run.returncode == 0 and run.stdout.startswith("vas-sim "))


def names_what_is_wrong():
    refused("nothing to do")
    refused("/nonexistent: No such file", "--trace", "/nonexistent")
    refused("standard input:2: VM a is created twice", "--topology", SPEC, "--trace", "-",
            text="1 create a 1 0\n2 create a 1 0\n")
    refused("so --topology is needed", "--trace", "-", text="1 create a 1 0\n")
    refused("topology nonsense", "--topology", "nonsense", "--trace", "-", text=TRACE)
    refused("--reassign needs --capture", "--trace", "-", "--reassign", "all", text=TRACE)
    refused("--capture excludes --topology", "--capture", "x", "--topology", SPEC)
    refused("/nonexistent: No such file", "--capture", "/nonexistent")
    refused("exclude each other", "--capture", "x", "--trace", "-")
    refused("is not auto, true", "--trace", "-", "--smt", "maybe", text=TRACE)
    refused("/nonexistent/x.svg", "--trace", "-", "--svg", "/nonexistent/x.svg", text=TRACE)
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as f:
        f.write("<topology><object></topology>")
        f.flush()
        refused(f.name, "--topology", f.name, "--trace", "-", text=TRACE)


def reports_json():
    run = sim("--trace", "-", "--json", text=TRACE)
    check(run.returncode == 0 and run.stderr == "", run.stderr)
    figures = json.loads(run.stdout)
    check(not set(KEYS) - set(figures), set(KEYS) - set(figures))
    check(figures["events"] == 180 and figures["violations"] == 0)
    check(figures["excess_pct"] == 0 and figures["unplaced"] == 0)
    check(abs(figures["vms"] - 1.0) < 0.01, figures["vms"])
    # The last vCPU of a VM to be bound takes the rest of the host out of the union: once for each VM.
    check(figures["union_changes_per_event"] == 0.5, figures["union_changes_per_event"])
    several = json.loads(sim("--trace", "-", "--json", "--policy", "all", text=TRACE).stdout)
    check([f["policy"] for f in several][:2] == ["planner", "random"] and len(several) == 8)


def prints_tables():
    run = sim("--trace", "-", "--policy", "planner,nova", text=TRACE)
    lines = run.stdout.splitlines()
    check("4 clusters on 2 nodes, 16 CPUs" in lines[0], lines)
    check(lines[2].startswith("policy") and lines[3].startswith("planner") and lines[4].startswith("nova"), lines)
    check(run.stderr == "", "a progress bar without a terminal")


def places_snapshots():
    path = os.path.join(TREE, "tests/traces/k2-odd-95.snap")
    result = json.loads(sim("--snapshot", path, "--json").stdout)
    check([r["snapshot"] for r in result] == ["1500", "3000", "4500", "6000", "7500", "9000"], result)
    check(all(set(r) == {"snapshot", "vms", "excess", "unplaced", "violations"} for r in result))
    check(all(r["violations"] == 0 for r in result))
    check(len(sim("--snapshot", path).stdout.splitlines()) == 7)


def draws():
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "x.svg")
        check(sim("--trace", "-", "--svg", path, "--policy", "planner,nova", text=TRACE).returncode == 0)
        root = ET.parse(path).getroot()
        check(len(root.findall("{*}polyline")) == 5)
        with open(path, encoding="utf-8") as f:
            text = f.read().replace("http://www.w3.org/2000/svg", "")
        check("http" not in text and "<script" not in text)


def watches_without_a_terminal():
    run = sim("--trace", "-", "--watch", text=TRACE)
    check(run.returncode == 0 and run.stderr == "", run.stderr)
    check("\033" not in run.stdout)
    check("without VSched" in run.stdout and "0 of " in run.stdout, run.stdout)


def watches_on_a_terminal():
    """Ends by itself, in about 15 seconds."""
    with tempfile.NamedTemporaryFile("w", suffix=".trace") as f:
        f.write(TRACE)
        f.flush()
        parent, child = pty.openpty()
        began = time.monotonic()
        with subprocess.Popen([SIM, "--trace", f.name, "--watch"], stdout=child, stdin=child, stderr=child) as run:
            os.close(child)
            text = b""
            try:
                while chunk := os.read(parent, 65536):
                    text += chunk
            except OSError:  # the other end is closed
                pass
        took = time.monotonic() - began
    check(run.returncode == 0 and 14 < took < 25, "%d after %.1f s" % (run.returncode, took))
    check(b"without VSched" in text and b"\033[" in text)


def generates():
    args = ("--generate", "odd", "--topology", SPEC, "--events", "200", "--seed", "5", "--occupancy", "90")
    first = sim(*args)
    check(first.returncode == 0 and first.stdout == sim(*args).stdout)
    check(first.stdout.startswith("# topology: %s\n" % SPEC))
    check(json.loads(sim("--trace", "-", "--json", text=first.stdout).stdout)["events"] == 180)


def knows_files_of_hosts():
    host = os.path.join(TREE, "data/topologies/epyc-7702p.topo")
    trace = sim("--generate", "azure", "--topology", host, "--events", "100").stdout
    check(trace.startswith("# topology: package:1 numa:1 l3:16"), trace[:80])
    run = sim("--topology", os.path.join(TREE, "data/topologies/kunpeng-920.xml"), "--trace", "-", text=trace)
    check(run.stdout.startswith("32 clusters on 4 nodes, 128 CPUs"), run.stdout)


def needs_no_libvirt():
    out = subprocess.run(["ldd", SIM], capture_output=True, text=True, check=False).stdout
    check("libvirt" not in out)


TESTS = [helps, names_what_is_wrong, reports_json, prints_tables, places_snapshots, draws,
         watches_without_a_terminal, generates, knows_files_of_hosts, needs_no_libvirt]
if "slow" in sys.argv[3:]:
    TESTS = [watches_on_a_terminal]
print("1..%d" % len(TESTS))
failed = 0
for number, test in enumerate(TESTS, 1):
    try:
        test()
        print("ok %d - %s" % (number, test.__name__))
    except Exception as e:  # pylint: disable=broad-except
        failed += 1
        print("not ok %d - %s" % (number, test.__name__))
        print("# %s: %s" % (type(e).__name__, str(e).replace("\n", " | ")))
sys.exit(failed > 0)
