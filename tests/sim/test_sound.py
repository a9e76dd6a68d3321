#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every plan is sound: all traces, and generated ones on every host, in all
modes, with and without faults. Arguments: the program, and the source tree."""

import concurrent.futures
import glob
import json
import os
import subprocess
import sys
import tempfile

SIM, TREE = sys.argv[1], sys.argv[2]
MODES = [[], ["--smt", "true"], ["--smt", "false"], ["--smt", "own-cores"], ["--layout", "spread"],
         ["--memory", "first-touch"], ["--ticks"], ["--budget", "0"], ["--budget", "1000"],
         ["--faults", "writes=3,deaths=2,ranges=5"], ["--faults", "ranges=50", "--memory", "first-touch"]]


def check(job):
    name, trace, mode = job
    run = subprocess.run([SIM, "--trace", trace, "--json", *mode], capture_output=True, text=True, check=False)
    what = "%s %s" % (name, " ".join(mode))
    if run.returncode != 0:
        return what, "exit %d: %s" % (run.returncode, run.stderr.strip())
    f = json.loads(run.stdout)
    bad = [k for k in ("violations", "bad_plans", "overlaps") if f[k]]
    if "first-touch" in mode and f["remote_vms"] and "--faults" not in mode:
        bad.append("remote_vms")
    if mode == ["--budget", "0"] and f["moves_per_event"]:
        bad.append("moves_per_event")
    if not bad:
        return what, None
    table = subprocess.run([SIM, "--trace", trace, *mode], capture_output=True, text=True, check=False).stdout
    return what, "%s; %s" % ({k: f[k] for k in bad}, " | ".join(table.splitlines()[4:]))


def jobs(tmp):
    for trace in sorted(glob.glob(os.path.join(TREE, "tests/traces/*.trace"))):
        short = os.path.join(tmp, os.path.basename(trace))
        with open(trace, encoding="utf-8") as f, open(short, "w", encoding="utf-8") as out:
            out.writelines(f.readlines()[:1502])
        for mode in MODES:
            yield os.path.basename(trace), short, mode
    hosts = sorted(glob.glob(os.path.join(TREE, "data/topologies/*.*")))
    for host in (h for h in hosts if h.endswith((".topo", ".xml"))):
        name = os.path.basename(host).rsplit(".", 1)[0]
        huge = "4096" in name
        for mix, occupancy in (("swing", 95),) if huge else (("odd", 95), ("azure", 60), ("swing", 90)):
            trace = os.path.join(tmp, "%s-%s" % (name, mix))
            with open(trace, "w", encoding="utf-8") as f:
                subprocess.run([SIM, "--generate", mix, "--topology", host, "--occupancy", str(occupancy), "--events",
                                "300" if huge else "1000", "--seed", str(occupancy)], stdout=f, check=True)
            for mode in MODES[::3] if huge else MODES:
                yield "%s %s" % (name, mix), trace, mode


def main():
    failed = []
    with tempfile.TemporaryDirectory() as tmp, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(check, jobs(tmp)))
    for what, why in results:
        if why:
            failed.append(what)
            print("# %s: %s" % (what, why))
    print("1..1")
    print("%s 1 - %d replays are sound" % ("not ok" if failed else "ok", len(results)))
    return len(failed) > 0


sys.exit(main())
