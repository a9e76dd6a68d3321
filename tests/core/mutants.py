#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Plants mistakes in the planner, one at a time, and runs its tests: each must be
caught. Run by hand from anywhere: tests/core/mutants.py [NUMBER ...]
Needs a C compiler and cmocka; builds in a temporary directory.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTS = ["plan", "fit", "holes", "random", "brute", "topology", "layers"]

# file, what stands there, what is planted
MUTANTS = [
    ("allowed.c", "cpuset_subtract(ret, &policy->skip);", ";"),
    ("allowed.c", "if (!snapshot->vm[v->vm].range_named)", "if (snapshot->vm[v->vm].range_named)"),
    ("allowed.c", "if (needed < best)", "if (needed > best)"),
    ("board.c", "slot_set_free(work, slot, false);", ";"),
    ("board.c", "while (board->n_journal > mark) {", "while (board->n_journal > mark + 1) {"),
    ("classify.c", "cpuset_subtract(&must, &work->snapshot->fresh);", ";"),
    ("classify.c", "v->drift >= 2", "v->drift >= 1"),
    ("classify.c", "v->range == v->range_then ? MOVE_REPAIR : MOVE_YIELD", "MOVE_REPAIR"),
    ("classify.c", "work->snapshot->vm[vm].policy.manage == MANAGE_YES ||", ""),
    ("classify.c", "if (census.pinned == v->n_vcpus)", "if (census.pinned > 0)"),
    ("seat.c", "w->why = MOVE_YIELD;", ";"),
    ("seat.c", "if (missing && !known)", "if (missing && known)"),
    ("fit.c", "if (a->room != b->room)\n                return a->room < b->room;",
     "if (a->room != b->room)\n                return a->room > b->room;"),
    ("fit.c", "ret->span_more += !option[i].base;", "ret->span_more += 1;"),
    ("fit.c", "option[i].room + top >= n", "option[i].room + top > n"),
    ("holes.c", "top < n ? n - top : 1, spread", "top < n ? n : 1, spread"),
    ("fit.c", "return a->strangers < b->strangers ? -1 : 1;", "return a->strangers > b->strangers ? -1 : 1;"),
    ("place.c", "if (!work->defragging && left < work->policy->burst_milli && limit > most)", "if (false)"),
    ("place.c", "if (work->vm[group->vm].crowded)", "if (false)"),
    ("room.c", "return vw->kind == VERDICT_PLACED && vw->exclusive && !vw->locked", "return true"),
    ("room.c", "done = cost < level->best_milli &&", "done ="),
    ("room.c", "after.nodes <= before.nodes && after.clusters <= before.clusters", "true"),
    ("defrag.c", "if (vm_is_cooling(work, vm)) {", "if (false) {"),
    ("defrag.c", "span.nodes <= vw->min_nodes && span.clusters > vw->min_clusters", "false"),
    ("place.c", "return work->history->credits_milli - work->spent_milli - work_cost(work);", "return 64000;"),
    ("place.c", "vm_unseat(work, vm);\n                vw->forced = true;", "vw->forced = true;"),
    ("share.c", "a->squeezed = unowned > 0 && unowned >= users;", "a->squeezed = unowned > 0;"),
    ("share.c", "slots_have(&work->allowed[allowed].slots, slot) && slots_have(&work->unowned, slot)",
     "slots_have(&work->allowed[allowed].slots, slot)"),
    ("layers.c", "work->sharers[slot] < work->policy->overcommit_layers", "work->sharers[slot] < 100"),
    ("layers.c", "policy.sched == SCHED_STATIC || work->vm[vm].crowded", "policy.sched == SCHED_CLUSTER"),
    ("layers.c", "vm_keep_homes(work, vm);", ";"),
    ("layers.c", "moved |= vcpu_sink(work, i, most);", ";"),
    ("tidy.c", "if (!done || change >= 0 || cost_milli > limit_milli) {", "if (!done || cost_milli > limit_milli) {"),
    ("tidy.c", "work->spent_milli += cost_milli;", ";"),
    ("order.c", "else if (home_is_held(work, i))", "else if (false)"),
    ("order.c", "while (!work->emitted[vcpu] && work->holder[work->vcpu[vcpu].seat] == NOBODY)",
     "while (!work->emitted[vcpu])"),
    ("order.c", "emit_leavers(work);", ";"),
    ("history.c", "if (history->credits_milli > policy->burst_milli)", "if (false)"),
    ("history.c", "return appeared + disappeared;", "return appeared;"),
    ("memory.c", "open_by_memory(work, v, vw);", ";"),
    ("minimum.c", "host_minimum(work, v->n_vcpus, &clusters, &nodes);", ";"),
    ("verdict.c", "span.nodes > vw->min_nodes || span.clusters > vw->min_clusters", "span.nodes > vw->min_nodes"),
    ("topology.c", "if (rows[end].fact.os < low)", "if (false)"),
]


def compile_object(source, file, out):
    """Whether it compiles."""
    command = [os.environ.get("CC", "cc"), "-c", "-O1", "-w", "-std=gnu17", "-D_GNU_SOURCE", "-I", str(source / "src"),
               "-I", str(source / "tests/core"), str(file), "-o", str(out)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def compile_all(source, out):
    """The objects of the planner as it is, by file name, and of its tests."""
    core = {file.name: out / f"{file.stem}.o" for file in sorted((source / "src/core").glob("*.c"))}
    tests = {name: out / f"{name}.o" for name in ["model", "oracle", "oracle_layers", *(f"test_{test}" for test in TESTS)]}
    done = [compile_object(source, source / "src/core" / name, o) for name, o in core.items()]
    done += [compile_object(source, source / "tests/core" / f"{name}.c", o) for name, o in tests.items()]
    if not all(done):
        sys.exit("the planner or its tests do not compile")
    return core, tests


def run_tests(core, tests, out):
    """None when every test passes; else the name of the one that does not."""
    helpers = [tests["model"], tests["oracle"], tests["oracle_layers"]]
    for name in TESTS:
        exe = out / name
        objects = [str(o) for o in (tests[f"test_{name}"], *helpers, *core.values())]
        subprocess.run([os.environ.get("CC", "cc"), *objects, "-lcmocka", "-o", str(exe)], check=True)
        try:
            if subprocess.run([str(exe)], capture_output=True, timeout=120, check=False).returncode:
                return name
        except subprocess.TimeoutExpired:
            return f"{name} (time)"
    return None


def main():
    wanted = [int(a) for a in sys.argv[1:]] or range(len(MUTANTS))
    survivors = 0
    with tempfile.TemporaryDirectory() as directory:
        source, out = pathlib.Path(directory) / "source", pathlib.Path(directory)
        for part in ("src/core", "tests/core"):
            shutil.copytree(ROOT / part, source / part)
        core, tests = compile_all(source, out)
        for number in wanted:
            name, old, new = MUTANTS[number]
            text = (source / "src/core" / name).read_text()
            if old not in text:
                print(f"{number:2} {name}: the place has gone: {old[:60]!r}")
                survivors += 1
                continue
            mutant = source / "src/core" / f"mutant_{name}"
            mutant.write_text(text.replace(old, new, 1))
            if compile_object(source, mutant, out / "mutant.o"):
                caught = run_tests({**core, name: out / "mutant.o"}, tests, out)
            else:
                caught = "the compiler"
            print(f"{number:2} {name}: {'caught by ' + caught if caught else 'SURVIVED: ' + repr(old[:60])}", flush=True)
            survivors += caught is None or caught == "the compiler"
    print(f"{len(list(wanted)) - survivors} of {len(list(wanted))} caught")
    return survivors > 0


sys.exit(main())
