#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""vasctl's answers, to the letter."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess

from lab import SPIN, case, check, cpu_list, equal, main, wait_until

SOON = 1.0
FAILED = "Failed to execute command.\n"
NO_INFORMATION = "No affinity information available\n"
NO_VM = "Virtual machine needs to reassign cpu does not exist\n"
NOBODY = "6f1c2f0e-0000-4000-8000-000000000000"


def said(lab, *words, before=()):
    """(exit code, stdout, stderr)"""
    answer = lab.vasctl(*words, before=before)
    return answer.code, answer.out, answer.err


def check_failed(lab, code, *words):
    answer = lab.vasctl(*words)
    equal((answer.code, answer.out), (code, FAILED), " ".join(words))
    equal(len(answer.err.splitlines()), 1, "lines on stderr (%r) of %s" % (answer.err, " ".join(words)))
    return answer.err


def placed(lab, **how):
    lab.daemon.start()
    vm = lab.vm("a", **how).start()
    wait_until(vm.is_placed, SOON)
    return vm


@case("set config")
def set_config(lab):
    lab.daemon.start()
    for option in ("-sp", "--sched-policy"):
        for policy in ("affinity", "static", "affinity"):
            equal(said(lab, "set", "config", option, policy), (0, "Success to execute command.\n", ""), policy)
    equal(said(lab, "set", "config", "--sched-policy=affinity")[0], 0, "--option=value")


@case("a policy that can not be had is refused with the reason, never silently static")
def set_unavailable(lab):
    lab.daemon.start(settings={"dynamic": {"emulate": "never"}})
    code, out, err = said(lab, "set", "config", "-sp", "dynamicAffinity")
    equal((code, out), (1, "Failed to execute command.\n"), "answer")
    check("emulate = never" in err and err.count("\n") == 1, "one line with the reason: %r", err)
    equal(lab.daemon.status()["policy"], "static", "the policy in force")


@case("plan: what would happen if, in observe mode too; and then nothing has happened")
def plan(lab):
    lab.daemon.start(settings={"daemon": {"mode": "observe"}})
    vm = lab.vm("a", vcpus=1).start()
    wait_until(lambda: lab.daemon.status()["vms"] == 1, SOON)
    before = vm.masks()
    code, out, err = said(lab, "plan", "--json", "--add", "1", "--remove", vm.name)
    equal((code, err), (0, ""), "answer")
    changes = {change["name"]: change for change in json.loads(out)["changes"]}
    equal((changes[vm.name]["change"], changes["(new)"]["after"]["verdict"]), ("removed", "PLACED"), "changes")
    equal(json.loads(said(lab, "plan", "--json")[1])["before"]["unplaced"], 1, "VMs without a CPU of their own")
    equal(vm.masks(), before, "masks")
    check("node77" in check_failed(lab, 1, "plan", "--add", "1:node77"), "the node is not named")
    check_failed(lab, 3, "plan", "--remove", NOBODY)


@case("check: what is missing is named with what mends it")
def check_verb(lab):
    code, out, _ = said(lab, "check", "--json")
    equal((code, json.loads(out)[0]["name"], json.loads(out)[0]["state"]), (4, "daemon", "problem"), "without a daemon")
    placed(lab, vcpus=1)
    code, out, err = said(lab, "check", "--json")
    states = {one["name"]: one["state"] for one in json.loads(out)}
    equal((code, err, states["libvirt"], states["rights"], states["vms"], states["state"]), (0, "", "ok", "ok", "ok", "ok"),
          "all is well")


@case("check and status say when no CPU is left for the host itself")
def no_cpu_for_the_host(lab):
    placed(lab, vcpus=len(lab.cpus))
    states = {one["name"]: one["state"] for one in json.loads(said(lab, "check", "--json")[1])}
    equal(states["host"], "warning", "check")
    check(any("no CPU is left" in warning for warning in lab.daemon.status()["warnings"]), "status: %s", lab.daemon.status())


@case("events: a VM's life as sentences, followed while it is lived")
def events(lab):
    lab.daemon.start()
    with subprocess.Popen([lab.daemon.ctl, "events", "-f", "--json"], stdout=subprocess.PIPE, text=True) as follower:
        try:
            equal(json.loads(follower.stdout.readline())["kind"], "started", "the first event")
            vm = lab.vm("a", vcpus=1).start()
            wait_until(vm.is_placed, SOON)
            said(lab, "pause")
            said(lab, "resume")
            said(lab, "set", "layout", "pack")
            vm.destroy()
            seen = []
            while not seen or seen[-1]["kind"] != "went":
                seen.append(json.loads(follower.stdout.readline()))
        finally:
            follower.kill()
    kinds = [event["kind"] for event in seen if event["kind"] not in ("libvirt", "verdict")]
    equal(kinds, ["came", "moved", "paused", "resumed", "settings", "went"], "kinds")
    equal({event["name"] for event in seen if event["vm"]}, {vm.name}, "VMs")
    code, out, err = said(lab, "events")
    equal((code, err), (0, ""), "answer")
    for part in (vm.name + ": came with 1 vCPU", "placement.layout = pack, was auto (run time)", "connected to libvirt"):
        check(part in out, "%r is not in %r", part, out)


@case("measure: a vCPU that spins runs on its own CPU's cluster, all the time")
def measure_verb(lab):
    lab.daemon.start()
    vm = lab.vm("a", vcpus=1, boot=SPIN).start(paused=False)
    wait_until(vm.is_placed, SOON)
    code, out, err = said(lab, "measure", "2", "--json")
    equal((code, err), (0, ""), "answer")
    found = json.loads(out)
    mine = found["vms"][0]
    check(found["passes"] > 2 and found["cpu_percent"] <= 2.5, "passes and what they cost: %s", found)
    equal((mine["name"], mine["measured"], len(mine["clusters"]), mine["outside_permille"]), (vm.name, 1, 1, 0), "where it ran")
    check(mine["ran_ms"] > 100, "it has hardly run: %s", mine)


@case("top off a terminal: one screen, with the run delay that the kernel counts")
def top(lab):
    vm = placed(lab, vcpus=2)
    code, out, err = said(lab, "top", "--json")
    equal((code, err), (0, ""), "answer")
    found = json.loads(out)
    equal((found["status"]["vms"], [one["name"] for one in found["vms"]]), (1, [vm.name]), "VMs")
    for vcpu in found["vms"][0]["vcpu"]:
        waited = int(read("/proc/%d/task/%d/schedstat" % (vm.pid, vcpu["thread"])).split()[1]) / 1e6
        check(0 <= vcpu["run_delay_ms"] <= waited, "run delay %s of at most %s", vcpu["run_delay_ms"], waited)
    check(vm.name in said(lab, "top")[1], "the screen does not name the VM")


@case("report: a page that names the VM, its CPU and what happened")
def report(lab):
    vm = placed(lab, vcpus=1)
    path = "/run/vas/report.html"
    equal(said(lab, "report", "-o", path), (0, "Written to %s\n" % path, ""), "answer")
    page = read(path)
    for part in (vm.name, "PLACED", "CPU %d\n%s, vCPU 0 (placed)" % (vm.cpus()[0], vm.name), "came with 1 vCPU"):
        check(part in page, "%r is not in it", part)


def moves_of(plan):
    return [tuple(move[key] for key in ("vm", "vcpu", "kind", "from", "to")) for move in plan["moves"]]


def sim(lab, path, *options):
    done = subprocess.run([lab.daemon.sim, "--capture", path, "--json", *options],
                          capture_output=True, text=True, check=False, timeout=60)
    equal((done.returncode, done.stderr), (0, ""), "vas-sim")
    return json.loads(done.stdout)


@case("capture: vas-sim plans from it what the daemon plans")
def capture(lab):
    # No credits by time: nothing changes between two questions.
    lab.daemon.start(settings={"daemon": {"mode": "observe"}, "defrag": {"credits-per-10s": "0"}})
    vms = [lab.vm(name, vcpus=vcpus).start() for name, vcpus in (("a", 1), ("b", 1), ("c", 2))]
    wait_until(lambda: json.loads(said(lab, "reassign", "all", "--dry-run", "--json")[1]).get("vms") == 3 and
               "UNSEEN" not in lab.daemon.status()["verdicts"], 3 * SOON)
    for options in ((), ("--hash-names",)):
        path = "/run/capture.json"
        equal(said(lab, "capture", path, *options)[::2], (0, ""), "capture")
        equal((os.stat(path).st_mode & 0o777, os.stat(path).st_uid), (0o600, os.geteuid()), "mode and owner")
        text = read(path)
        check("HostName" not in text or not options, "the machine's name is in it")
        check((vms[0].name in text) != bool(options), "VMs' names")
        for how, live in (((), ("plan",)), (("--reassign", "all"), ("reassign", "all", "--dry-run"))):
            found = sim(lab, path, *how)
            equal((found["same"], found["vms"], found["vcpus"]), (True, 3, 4), "what vas-sim says")
            planned = json.loads(said(lab, *live, "--json")[1])
            check(planned["moves"], "there is nothing to compare: %s", planned)
            mine = moves_of(found["plan"])
            if options:
                equal([move[1:] for move in mine], [move[1:] for move in moves_of(planned)], "moves")
            else:
                equal(mine, moves_of(planned), "moves")
            equal((found["plan"]["before"], found["plan"]["after"]), (planned["before"], planned["after"]), "scores")
        os.unlink(path)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    equal(said(lab, "capture", "/tmp/c", before=nobody)[0], 5, "somebody else's")


@case("query affinity of a placed VM: one line of JSON that agrees with /proc")
def query(lab):
    vm = placed(lab, vcpus=2)
    for scope in ("all", vm.uuid, vm.name):
        for option in ("-s", "--scope"):
            code, out, err = said(lab, "query", "affinity", option, scope)
            equal((code, err, out.count("\n")), (0, "", 1), scope)
            check_affinity(vm, json.loads(out))
            check(": " not in out and ", " not in out, "not compact: %s", out)


def check_affinity(vm, answer):
    equal(list(answer), [vm.uuid], "VMs")
    found = answer[vm.uuid]
    equal((found["uuid"], found["name"], found["tgid"]), (vm.uuid, vm.name, vm.pid), "who")
    equal(found["ioThreadIds"], [], "I/O threads")
    vcpus = {}
    for node, domain in found["domainAffinityMap"].items():
        equal(str(domain["numaId"]), node, "NUMA id")
        for entry in domain["vcpuAffinityInfoMap"].values() if isinstance(
                domain["vcpuAffinityInfoMap"], dict) else domain["vcpuAffinityInfoMap"]:
            vcpus[entry["vcpu"]] = (entry["pid"], entry["cpuIdx"])
        check_groups(domain["groups"], vm)
    equal(vcpus, {n: (t.tid, min(t.cpus)) for n, t in vm.threads().items()}, "vCPUs as in /proc")


def check_groups(groups, vm):
    groups = list(groups.values()) if isinstance(groups, dict) else groups
    check(groups, "no groups")
    for group in groups:
        equal(set(group), {"id", "clusterId", "layerId", "start", "nrCpus", "usedBitmap", "entityPids"}, "a group's keys")
        equal(set(group["usedBitmap"]) <= {"0", "1"}, True, "usedBitmap %s" % group["usedBitmap"])
        equal(group["usedBitmap"].count("1"), group["nrCpus"], "CPUs in usedBitmap")
        check(group["id"].startswith(vm.uuid + "_"), "group id %s", group["id"])
        equal(group["layerId"], 0, "layer")


@case("query affinity all without a VM")
def query_none(lab):
    lab.daemon.start()
    equal(said(lab, "query", "affinity", "-s", "all"), (0, NO_INFORMATION, ""), "answer")


@case("query affinity of an unknown VM")
def query_unknown(lab):
    lab.daemon.start()
    for scope in ("nobody", NOBODY):
        code, out, _ = said(lab, "query", "affinity", "--scope", scope)
        equal((code, out), (3, NO_INFORMATION), scope)


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def figures(text):
    """Name with labels -> value."""
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


@case("metrics: file and answer tell what happened; the file goes with the daemon")
def metrics(lab):
    path = "/run/vas/vsched.prom"
    lab.daemon.start(settings={"daemon": {"metrics-file": path}})
    vm = lab.vm("a", vcpus=2).start()
    wait_until(vm.is_placed, SOON)
    wait_until(lambda: 'vsched_vms{verdict="PLACED"} 1' in read(path), 2 * SOON)
    text = read(path)
    found = figures(text)
    equal((found['vsched_vms{verdict="PLACED"}'], found["vsched_acting"], found["vsched_libvirt_up"],
           found["vsched_owned_cpus"]), (1, 1, 1, 2), "one VM of two vCPUs")
    check(found['vsched_moves_total{kind="place"}'] >= 2, "moves: %s", found)
    check(found["vsched_round_duration_seconds_count"] == found["vsched_rounds_total"] > 0, "rounds: %s", found)
    code, out, err = said(lab, "metrics")
    equal((code, err, figures(out).keys()), (0, "", found.keys()), "vasctl metrics")
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        equal((done.returncode, done.stderr), (0, ""), "promtool")
    lab.daemon.configure({"daemon": {"metrics-file": path + ".other"}})
    os.kill(lab.daemon.pid, signal.SIGHUP)
    wait_until(lambda: os.path.exists(path + ".other") and not os.path.exists(path), 3 * SOON, "the file has moved")
    lab.daemon.stop()
    check(not os.path.exists(path + ".other"), "the file is still there")


@case("metrics: a file that can not be written is a warning, not an end")
def metrics_refused(lab):
    path = "/nonexistent/vsched.prom"
    lab.daemon.start(settings={"daemon": {"metrics-file": path}})
    vm = lab.vm("a").start()
    wait_until(vm.is_placed, SOON)
    check(any(path in warning for warning in lab.daemon.status()["warnings"]), "status warns: %s", lab.daemon.status())


@case("opt reassign")
def reassign(lab):
    vm = placed(lab)
    for scope in ("all", vm.uuid, vm.name):
        equal(said(lab, "opt", "reassign", "-s", scope), (0, "ReAssign success\n", ""), scope)
    check(vm.is_placed(), "not placed: %s", vm.masks())


@case("opt reassign all without a VM")
def reassign_none(lab):
    lab.daemon.start()
    equal(said(lab, "opt", "reassign", "--scope", "all"), (0, NO_VM, ""), "answer")


@case("opt reassign of an unknown VM")
def reassign_unknown(lab):
    lab.daemon.start()
    for scope in ("nobody", NOBODY):
        equal(said(lab, "opt", "reassign", "-s", scope),
              (3, NO_VM, "vasctl: no running VM has the name or UUID '%s'\n" % scope), scope)
    check("reassign" not in said(lab, "events")[1], "an event tells of what was not done")


@case("opt recover")
def recover(lab):
    vm = placed(lab)
    equal(said(lab, "opt", "recover"),
          (0, "Start recover vm affinity setting.\nSuccess to recover vm affinity setting.\n", ""), "answer")
    equal(vm.masks(), {0: frozenset(lab.cpus)}, "masks")


@case("help")
def help_text(lab):
    for option in ("-h", "--help"):
        code, out, err = said(lab, option)
        equal((code, err), (0, ""), option)
        for words in ("set config", "query affinity", "opt reassign", "opt recover", "status", "explain"):
            check(words in out, "help does not name %r", words)
    code, out, err = said(lab, "--version")
    equal((code, err, bool(out.strip())), (0, "", True), "--version")
    for option in ("--help", "--version"):
        answer = lab.daemon.run(option)
        equal((answer.code, answer.err), (0, ""), "vas-daemon " + option)


@case("usage errors are exit 2, with no daemon either, and name what is wrong")
def usage(lab):
    wrong = [("set", "config", "-sp", "bogus"), ("set", "config"), ("set", "config", "-sp"),
             ("query", "affinity"), ("query", "affinity", "-s"), ("query",), ("query", "bogus"),
             ("opt", "reassign"), ("opt", "bogus"), ("bogus",), ("opt", "recover", "now")]
    for words in wrong:
        check_failed(lab, 2, *words)
    lab.daemon.start()
    err = check_failed(lab, 2, "set", "config", "-sp", "bogus")
    for part in ("sched-policy", "bogus", "affinity"):
        check(part in err or part == "sched-policy" and "-sp" in err, "%r is not in %r", part, err)


@case("no daemon is exit 4")
def no_daemon(lab):
    for words in (("set", "config", "-sp", "affinity"), ("query", "affinity", "-s", "all"),
                  ("opt", "reassign", "-s", "all"), ("status",), ("list",), ("pause",)):
        check_failed(lab, 4, *words)


@case("on success stderr is empty on a terminal too")
def terminal(lab):
    vm = placed(lab)
    for words in (("query", "affinity", "-s", vm.name), ("status",), ("list",), ("map",), ("show", vm.name),
                  ("explain", vm.name)):
        ours, theirs = pty.openpty()
        done = subprocess.run([lab.daemon.ctl, *words], stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs,
                              check=False, timeout=10)
        os.close(theirs)
        try:
            noise = os.read(ours, 4096)
        except OSError:  # nothing was written, and nobody is left to write
            noise = b""
        os.close(ours)
        equal((done.returncode, noise), (0, b""), " ".join(words))


@case("our own verbs say what /proc says")
def own_verbs(lab):
    vm = placed(lab)
    cpu = str(vm.cpus()[0])
    for words in (("list",), ("show", vm.name), ("map",), ("explain", vm.name), ("status",)):
        code, out, err = said(lab, *words)
        equal((code, err), (0, ""), " ".join(words))
        check(out.strip(), "%s says nothing", words)
        code, out, err = said(lab, *words, "--json")
        equal((code, err), (0, ""), " ".join(words) + " --json")
        json.loads(out)
    check(vm.name in said(lab, "list")[1], "list does not name the VM")
    check(cpu in said(lab, "show", vm.name)[1], "show does not name CPU %s", cpu)
    shown = said(lab, "show", vm.name)[1]
    check(str(vm.threads()[0].tid) in shown, "show does not name the thread: %s", shown)


@case("an unknown VM is exit 3 for our own verbs")
def own_verbs_unknown(lab):
    lab.daemon.start()
    for words in (("show", "nobody"), ("explain", "nobody"), ("reassign", "nobody")):
        check_failed(lab, 3, *words)


@case("vas-daemon refuses bad values, names the option and what is legal, and does not start")
def bad_options(lab):
    lab.daemon.configure()
    for option, value in (("--smt", "maybe"), ("-smt", "2"), ("--sched-policy", "bogus"), ("-sp", ""),
                          ("--dynamic-util-thresh", "101"), ("-daut", "-1"), ("-daut", "x"),
                          ("--skip-cpuset", "3-1"), ("-scs", "a"), ("--range-affinity", "yes!"), ("--bogus", "1")):
        answer = lab.daemon.run("start", "server", option, value, timeout=5)
        check(answer.code == 2, "%s %s: %r", option, value, answer)
        check(option.lstrip("-") in answer.err, "%s %s is not named: %r", option, value, answer)
    check(not os.path.exists("/run/vas/vas.sock"), "something was started")


@case("vas-daemon takes every documented option, in both forms")
def good_options(lab):
    lab.daemon.start("-smt", "true", "-sp", "affinity", "-daut", "85", "-scs", cpu_list(lab.cpus[:1]), "-ra", "true")
    status = lab.daemon.status()
    equal((status["smt"], status["skip_cpuset"]), ("true", cpu_list(lab.cpus[:1])), "settings in force")
    lab.daemon.stop()
    lab.daemon.start("--smt=false", "--sched-policy=affinity", "--dynamic-util-thresh=0", "--skip-cluster-cpumask=",
                     "--range-affinity=false")
    equal(lab.daemon.status()["smt"], "false", "smt")


@case("the settings file that is installed is legal, also with every line that it shows switched on")
def shipped_settings(lab):
    shipped = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../data/vas-daemon.conf")
    with open(shipped, encoding="utf-8") as f:
        text = f.read()
    for body in (text, re.sub(r"(?m)^#(\S+ =.*|\[.*\])$", r"\1", text)):
        with open("/etc/vas/vas-daemon.conf", "w", encoding="utf-8") as f:
            f.write(body)
        answer = lab.daemon.run("--check-config")
        equal((answer.code, answer.err), (0, ""), "--check-config")
    check("\nmode = observe\n" in text, "it does not start in observe")


main(__file__)
