#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""vasctl against a fake daemon: what it prints, to the letter, and how it ends.

test_vasctl.py VASCTL FAKE_DAEMON [--update]: longer answers are compared with
the files in golden/; --update writes them anew.
"""

import fcntl
import html.parser
import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "golden")
VASCTL, FAKE = sys.argv[1:3]
UPDATE = "--update" in sys.argv
FAILED = "Failed to execute command.\n"
NO_INFORMATION = "No affinity information available\n"
NO_VM = "Virtual machine needs to reassign cpu does not exist\n"
UUID = "00000000-0000-4000-8000-000000000001"
CASES = []


class Wrong(Exception):
    """What was not as it should be."""


class Fake:
    """A fake daemon while it lives."""

    def __init__(self, scene="mixed", mood=""):
        self.dir = tempfile.TemporaryDirectory(prefix="test-vasctl-")
        self.socket = os.path.join(self.dir.name, "s")
        self.process = subprocess.Popen([FAKE, self.socket, scene, mood], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        if self.process.stdout.readline() != b"ready\n":
            raise Wrong("the fake daemon does not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        code = self.process.wait(10)
        if code != 0:
            raise Wrong("the fake daemon ended with %d" % code)
        self.process.stdout.close()
        self.dir.cleanup()

    def says(self, *words, **more):
        return run(*words, socket=self.socket, **more)


def environment(socket, more):
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm", "VAS_SOCKET": socket,
           "VAS_DAEMON": "/nonexistent/vas-daemon", "TZ": "UTC"}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LD_LIBRARY_PATH"):
        if name in os.environ:
            env[name] = os.environ[name]
    env.update(more)
    return env


def run(*words, socket="/nonexistent/vas.sock", **env):
    """(exit code, stdout, stderr)"""
    done = subprocess.run([VASCTL, *words], env=environment(socket, env), stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=20, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def run_on_terminal(*words, socket, **env):
    """The same with stdout and stderr on terminals of 80 columns."""
    out, out_end = pty.openpty()
    err, err_end = pty.openpty()
    child = subprocess.Popen([VASCTL, *words], env=environment(socket, env), stdin=subprocess.DEVNULL, stdout=out_end,
                             stderr=err_end)
    os.close(out_end)
    os.close(err_end)
    texts = {out: b"", err: b""}
    waiting = [out, err]
    while waiting:
        for fd in select.select(waiting, [], [], 20)[0]:
            try:
                chunk = os.read(fd, 65536)
            except OSError:  # the other end is closed
                chunk = b""
            texts[fd] += chunk
            if not chunk:
                waiting.remove(fd)
                os.close(fd)
    return (child.wait(20), texts[out].decode().replace("\r\n", "\n"), texts[err].decode().replace("\r\n", "\n"))


def case(function):
    CASES.append(function)
    return function


def equal(found, wanted, what):
    if found != wanted:
        raise Wrong("%s: found %r, wanted %r" % (what, found, wanted))


def check(true, what):
    if not true:
        raise Wrong(what)


def golden(name, text):
    path = os.path.join(GOLDEN, name)
    if UPDATE:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    with open(path, encoding="utf-8") as f:
        equal(text, f.read(), name)


def check_failed(answer, code, *parts):
    """Failed as documented: one line on stdout, one on stderr that has these parts."""
    equal(answer[:2], (code, FAILED), "code and stdout")
    equal((answer[2].count("\n"), answer[2][-1:]), (1, "\n"), "lines on stderr: %r" % answer[2])
    check(answer[2].startswith("vasctl: "), "stderr: %r" % answer[2])
    for part in parts:
        check(part in answer[2], "%r is not in %r" % (part, answer[2]))


DECEITFUL = "\u00ad\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202d\u202e\u2060\u2066\u2069\ufeff\ufffb"


def harmless(text):
    """Nothing that a terminal would obey, nothing that is not what it seems."""
    for c in text:
        if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160 or c in DECEITFUL):
            return False
    return True


# --- what VSched documents ---


@case
def set_config():
    with Fake() as fake:
        for option in (["-sp", "affinity"], ["--sched-policy", "dynamicAffinity"], ["--sched-policy=affinity"],
                       ["-sp=static"], ["-sp", "dynamic"], ["-sp", "cluster"]):
            equal(fake.says("set", "config", *option), (0, "Success to execute command.\n", ""), option)


@case
def set_config_fails():
    with Fake(mood="refusing") as fake:
        check_failed(fake.says("set", "config", "-sp", "affinity"), 1, "paused")
    with Fake(mood="denied") as fake:
        check_failed(fake.says("set", "config", "-sp", "affinity"), 5, "admin group")
    with Fake(mood="failing") as fake:
        check_failed(fake.says("set", "config", "-sp", "affinity"), 2, "policy")


@case
def query_affinity_of_one():
    with Fake() as fake:
        for words in (["-s", "db1"], ["--scope", UUID], ["--scope=" + UUID.upper()], ["-s=db1"], ["-s", "db1", "--json"]):
            code, out, err = fake.says("query", "affinity", *words)
            equal((code, err), (0, ""), words)
            golden("query-affinity-db1.json", out)
        equal(list(json.loads(out)), [UUID], "VMs")


@case
def query_affinity_of_all():
    with Fake() as fake:
        code, out, err = fake.says("query", "affinity", "-s", "all")
        equal((code, err, out.count("\n")), (0, "", 1), "answer")
        check(": " not in out and ", " not in out, "not compact")
        check(harmless(out), "raw control characters")
        golden("query-affinity-all.json", out)
        found = {vm["name"][:4] for vm in json.loads(out).values()}
        equal(found, {"web1", "db1", "lega", "evil"}, "VMs with a CPU of their own")


@case
def query_affinity_says_what_is_true_while_observing():
    with Fake("observed") as fake:
        equal([vm["name"] for vm in json.loads(fake.says("query", "affinity", "-s", "all")[1]).values()], ["lucky"],
              "VMs")


@case
def query_affinity_without_vms():
    with Fake("empty") as fake:
        equal(fake.says("query", "affinity", "-s", "all"), (0, NO_INFORMATION, ""), "all")


@case
def query_affinity_of_an_unknown_vm():
    with Fake() as fake:
        code, out, err = fake.says("query", "affinity", "-s", "nobody")
        equal((code, out, err.count("\n")), (3, NO_INFORMATION, 1), "answer")
    with Fake("empty") as fake:
        equal(fake.says("query", "affinity", "-s", "nobody")[:2], (3, NO_INFORMATION), "answer")


@case
def query_affinity_of_a_vm_without_cpus_of_its_own():
    with Fake() as fake:
        equal(fake.says("query", "affinity", "-s", "big"), (0, NO_INFORMATION, ""), "answer")


@case
def opt_reassign():
    with Fake() as fake:
        for scope in ("all", "db1", UUID):
            equal(fake.says("opt", "reassign", "-s", scope), (0, "ReAssign success\n", ""), scope)
        code, out, err = fake.says("opt", "reassign", "--scope=nobody")
        equal((code, out, err.count("\n")), (3, NO_VM, 1), "unknown")
    with Fake("empty") as fake:
        equal(fake.says("opt", "reassign", "--scope=all"), (0, NO_VM, ""), "no VM")


@case
def opt_reassign_fails():
    with Fake(mood="failing") as fake:
        check_failed(fake.says("opt", "reassign", "-s", "all"), 1, "kernel refused 2")
    with Fake(mood="denied") as fake:
        check_failed(fake.says("opt", "reassign", "-s", "all"), 5)
    with Fake(mood="refusing") as fake:
        check_failed(fake.says("opt", "reassign", "-s", "all"), 1, "paused:\\x0a")


@case
def opt_recover():
    with Fake() as fake:
        equal(fake.says("opt", "recover"),
              (0, "Start recover vm affinity setting.\nSuccess to recover vm affinity setting.\n", ""), "answer")
    with Fake(mood="failing") as fake:
        check_failed(fake.says("opt", "recover"), 1, "12 masks", "3 could not")
    with Fake(mood="denied") as fake:
        check_failed(fake.says("opt", "recover"), 5)


def stand_in(directory, script):
    path = os.path.join(directory, "vas-daemon")
    with open(path, "w", encoding="ascii") as f:
        f.write("#!/bin/sh\n" + script)
    os.chmod(path, 0o755)
    return path


@case
def opt_recover_without_a_daemon():
    with tempfile.TemporaryDirectory() as directory:
        good = stand_in(directory, '[ "$*" = recover ] || exit 9\necho 3 restored; echo noise >&2\n')
        equal(run("opt", "recover", VAS_DAEMON=good),
              (0, "Start recover vm affinity setting.\nSuccess to recover vm affinity setting.\n", ""), "answer")
        code, out, err = run("recover", VAS_DAEMON=good)
        equal((code, err), (0, ""), "recover")
        check("without a daemon" in out, out)
        bad = stand_in(directory, "echo 'root or CAP_SYS_NICE is needed' >&2\nexit 1\n")
        check_failed(run("opt", "recover", VAS_DAEMON=bad), 1, "CAP_SYS_NICE is needed")
        denied = stand_in(directory, "echo 'the state file: Permission denied' >&2\nexit 5\n")
        check_failed(run("recover", VAS_DAEMON=denied), 5, "Permission denied")
    check_failed(run("opt", "recover"), 4, "not running")


@case
def usage_errors_need_no_daemon():
    for words in (["bogus"], ["set"], ["set", "bogus"], ["set", "config"], ["set", "config", "-sp"],
                  ["set", "config", "-sp", ""], ["set", "config", "-sp="], ["set", "config", "-sp", "bogus"],
                  ["set", "config", "-sp", "affinity", "-sp", "affinity"], ["set", "config", "-sp", "affinity", "x"],
                  ["set", "config", "--json", "-sp", "affinity"], ["set", "config", "-spx", "affinity"],
                  ["query"], ["query", "affinity"], ["query", "affinity", "-s"], ["query", "affinity", "-s", "-x"],
                  ["query", "affinity", "all"], ["opt"], ["opt", "reassign"], ["opt", "recover", "now"],
                  ["opt", "bogus"], ["status", "x"], ["list", "--bogus"], ["show"], ["show", ""], ["show", "a", "b"],
                  ["explain"], ["reassign"], ["reassign", "--dry-run=yes", "all"], ["pause", "--json"], ["--bogus"],
                  ["check", "x"], ["check", "--bogus"], ["metrics", "x"], ["metrics", "--bogus"], ["metrics", "--openmetrics=1"],
                  ["report"], ["report", "-o"], ["report", "-o", ""], ["report", "x", "-o", "y"], ["report", "--json", "-o", "x"],
                  ["measure", "0"], ["measure", "3601"], ["measure", "1.5"], ["measure", "-1"], ["measure", "1", "2"],
                  ["measure", "x\033"],
                  ["capture"], ["capture", ""], ["capture", "a", "b"], ["capture", "a", "--json"],
                  ["capture", "--hash-names=1", "a"], ["top", "x"], ["top", "-d"], ["top", "-d", "x"], ["top", "-d", "0"], ["top", "--delay=1s"],
                  ["top", "-d", "nan"], ["top", "-d", "3601"], ["events", "x"], ["events", "-n"], ["events", "-n", "x"], ["events", "--last=-1"],
                  ["events", "-n", "1000001"], ["events", "-f=1"], ["events", "-n", "99999999999999999999"],
                  ["plan", "x"], ["plan", "--add"], ["plan", "--add", "0"], ["plan", "--add", "513"],
                  ["plan", "--add", "+4"], ["plan", "--add", "4x"], ["plan", "--add", "4:"],
                  ["plan", "--add", "4:node"], ["plan", "--add", "4:nodes"], ["plan", "--add", "4:7-3"],
                  ["plan", "--add", "4:node0\033[2J"], ["plan", "--add", "99999999999999999999"],
                  ["plan", "--policy", "bogus"], ["plan", "--remove="], ["plan", "--remove", b"\xff"],
                  ["plan", "--add", "4", "--add", "4"],
                  ["--socket"], ["--socket="], ["status", "--socket"], ["status", "--socket", "/" + "x" * 200]):
        check_failed(run(*words), 2)
    err = run("set", "config", "-sp", "bogus\033[2J\xff")[2]
    for part in ("--sched-policy", "bogus\\x1b[2J", "affinity", "dynamicAffinity"):
        check(part in err, "%r is not in %r" % (part, err))


@case
def values_that_look_like_options():
    with Fake() as fake:
        equal(fake.says("query", "affinity", "--scope=-x")[:2], (3, NO_INFORMATION), "with =")
        equal(fake.says("show", "--", "-x")[0], 3, "after --")


@case
def no_daemon():
    for words in (["set", "config", "-sp", "affinity"], ["query", "affinity", "-s", "all"],
                  ["opt", "reassign", "-s", "all"], ["status"], ["list"], ["show", "a"], ["map"], ["explain", "a"],
                  ["metrics"], ["measure"], ["report", "-o", "/nonexistent/x"], ["top"], ["capture", "/nonexistent/c"], ["events"], ["events", "-f"], ["plan"],
                  ["pause"], ["resume"], ["reassign", "all"],
                  ["get"], ["set", "smt", "true"]):
        check_failed(run(*words), 4, "not running", "/nonexistent/vas.sock")
    with tempfile.TemporaryDirectory() as directory:
        import socket as sockets
        path = os.path.join(directory, "s")
        with sockets.socket(sockets.AF_UNIX) as abandoned:
            abandoned.bind(path)
        check_failed(run("status", socket=path), 4, "refused")


@case
def a_socket_out_of_reach():
    if os.geteuid() != 0:
        return
    with Fake() as fake, tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        copy = shutil.copy(VASCTL, directory)
        done = subprocess.run([copy, "list"], env=environment(fake.socket, {}), user=65534, group=65534,
                              extra_groups=[], capture_output=True, timeout=20, check=False)
        check_failed((done.returncode, done.stdout.decode(), done.stderr.decode()), 5, "Permission denied")


@case
def json_failures_leave_stdout_empty():
    code, out, err = run("list", "--json")
    equal((code, out, err.count("\n")), (4, "", 1), "answer")


@case
def bad_daemons():
    for mood, part in (("broken", "broken"), ("deaf", "closed the connection"), ("old", "another version")):
        with Fake(mood=mood) as fake:
            for words in (["status"], ["query", "affinity", "-s", "all"], ["pause"]):
                check_failed(fake.says(*words), 1, part)


# --- help ---


@case
def helps():
    golden("help.txt", run()[1])
    for words in ([], ["-h"], ["--help"], ["bogus", "--help"]):
        equal(run(*words), run("--help"), words)
    equal(run("--help")[::2], (0, ""), "code and stderr")
    check(max(map(len, run("--help")[1].splitlines())) <= 80, "wider than 80 columns")
    for words in (["status"], ["list"], ["show"], ["map"], ["explain"], ["top"], ["capture"], ["check"], ["measure"], ["report"], ["metrics"],
                  ["events"], ["plan"],
                  ["pause"], ["resume"], ["reassign"],
                  ["recover"], ["get"], ["set"], ["set", "config"], ["query", "affinity"], ["opt", "reassign"], ["opt", "recover"]):
        for option in ("-h", "--help"):
            code, out, err = run(*words, option)
            equal((code, err), (0, ""), words)
            check(out.startswith("Usage: vasctl " + " ".join(words)), out)
            check(max(map(len, out.splitlines())) <= 82, "%s: too wide" % words)


@case
def version():
    code, out, err = run("--version")
    equal((code, err), (0, ""), "answer")
    check(out.startswith("vasctl ") and out.count("\n") == 1, out)


# --- our own verbs ---

VERBS = {"status": ["status"], "list": ["list"], "map": ["map"], "show-db1": ["show", "db1"],
         "metrics": ["metrics"], "get": ["get"], "get-skip": ["get", "skip-cpuset"],
         "show-big": ["show", "big"], "reassign": ["reassign", "all"], "dry-run": ["reassign", "all", "--dry-run"],
         "top": ["top"], "events": ["events"], "events-last": ["events", "-n", "2"],
         "plan": ["plan", "--add", "6:node0", "--remove", "web1"], "plan-nothing": ["plan"]}
WIDE = ("list", "top", "metrics", "get", "events", "events-last")  # what has no line to break
for vm_name in ("web1", "db1", "legacy", "tuned", "big", "appliance", "hidden"):
    VERBS["explain-" + vm_name] = ["explain", vm_name]


@case
def own_verbs():
    with Fake() as fake:
        for name, words in VERBS.items():
            code, out, err = fake.says(*words)
            equal((code, err), (0, ""), words)
            check(harmless(out), "%s: control characters" % words)
            if name not in WIDE:
                check(max(map(len, out.splitlines())) <= 80, "%s: wider than 80 columns" % words)
            golden(name + ".txt", out)


@case
def own_verbs_as_json():
    with Fake() as fake:
        for name, words in VERBS.items():
            code, out, err = fake.says(*words, "--json")
            equal((code, err), (0, ""), words)
            check(harmless(out), "%s: control characters" % words)
            json.loads(out)
            golden(name + ".json", out)


OWN_COLOURS = re.compile("\033\\[[0-9]{0,2}m")  # no name of the scene has such
OWN_SCREEN = re.compile("\033\\[\\?(1049|25|7)[hl]|\033\\[H\033\\[2J")  # nor these
N_NAMES = 23  # of the scene


@case
def names_that_would_do_harm():
    with Fake("names") as fake:
        vms = json.loads(fake.says("list", "--json")[1])
        equal(len(vms), N_NAMES, "VMs")
        check(any("\n" in vm["name"] for vm in vms) and any("\033" in vm["name"] for vm in vms), "tame names")
        equal({len(vm["name"]) for vm in vms if vm["name"].startswith("xx")}, {255}, "the longest name")
        questions = [["status"], ["list"], ["map"], ["metrics"], ["reassign", "all"], ["reassign", "all", "--dry-run"],
                     ["plan"], ["query", "affinity", "-s", "all"], ["events"], ["events", "-n", "3"], ["check"], ["get"],
                     ["top"], ["measure", "1"], ["report", "-o", "-"]]
        for vm in vms:
            questions += [["show", vm["uuid"]], ["explain", vm["uuid"]], ["query", "affinity", "-s", vm["uuid"]]]
        for words in questions:
            shown_harmlessly(fake, words)


def shown_harmlessly(fake, words):
    """In two locales, as text and, where there is such a form, as JSON; and on a terminal."""
    forms = [[]] if words[0] in ("query", "report") else [[], ["--json"]]
    codes = (0, 1) if words[0] == "check" else (0, 3)
    for more in ({}, {"LC_ALL": "C"}):
        for form in forms:
            answer = fake.says(*words, *form, VAS_ROOT="/nonexistent", **more)
            check(answer[0] in codes and harmless(answer[1]) and harmless(answer[2]), "%s: %r" % (words, answer))
    if answer[1] != NO_INFORMATION and words[0] != "report":
        json.loads(answer[1])
    if words[0] == "top" or words[0] in ("show", "explain", "query") and words[-1][-1] not in "012":
        return  # top does not end there; terminals are slow, and a few of these are like all
    code, out, err = run_on_terminal(*words, socket=fake.socket, VAS_ROOT="/nonexistent")
    out = OWN_COLOURS.sub("", out)
    check(code in codes and harmless(out) and harmless(err), "%s on a terminal: %r" % (words, out))


@case
def names_in_what_does_not_end_or_goes_to_a_file():
    """The screens of top, events that are followed, a capture, and a measurement beside an earlier one."""
    with Fake("names") as fake, tempfile.TemporaryDirectory() as directory:
        plain = {vm["name"] for vm in json.loads(fake.says("list", "--json")[1])
                 if vm["name"].isascii() and vm["name"].isprintable()}
        live = Live(fake, "top", "-d", "3600", rows=60)
        live.read_until(lambda text: text.count("PLACED") > N_NAMES - 2, "the first screen")  # of a name's, too
        live.key(b"q")
        equal(live.ended(), 0, "q")
        drawn = OWN_COLOURS.sub("", OWN_SCREEN.sub("", live.text)).replace("\r\n", "\n")
        check(harmless(drawn), "top: %r" % drawn)
        for more in ([], ["--json"]):
            follower = Follower(fake, "-n", "1000", *more)
            lines = follower.lines(N_NAMES)
            check(all(harmless(line) for line in lines), "events -f: %r" % lines)
            follower.process.kill()
            follower.end()
        path = os.path.join(directory, "capture")
        equal(fake.says("capture", path)[::2], (0, ""), "capture")
        with open(path, encoding="ascii") as f:
            text = f.read()
        check(harmless(text), "the capture: %r" % text)
        captured = [vm["name"] for vm in json.loads(text)["snapshot"]["vms"]]
        check(len(captured) == N_NAMES and plain <= set(captured), "names in the capture: %r" % captured)
        before = os.path.join(directory, "before")
        with open(before, "w", encoding="utf-8") as f:
            f.write(fake.says("measure", "1", "--json", VAS_ROOT="/nonexistent")[1])
        shown_harmlessly(fake, ["measure", "1", "--before", before])


@case
def a_name_makes_no_line_of_its_own():
    with Fake("names") as fake:
        lines = fake.says("list")[1].splitlines()
        equal(len(lines), 1 + N_NAMES, "lines of list")
        equal([line for line in lines if line.startswith("web1")], [], "a VM that is not there")
        samples = [line for line in fake.says("metrics")[1].splitlines() if not line.startswith(("#", "vsched_"))]
        equal(samples, [], "lines of metrics that are no metric's")


@case
def hostile_words_of_one_s_own():
    with Fake() as fake:
        for word in ("\033[2J", "x\nSuccess to execute command.", "\u202e\u009b31m", "%s%n", "a" * 5000):
            for words in (["show", word], ["explain", word], ["query", "affinity", "-s", word], ["get", word], [word],
                          ["set", "smt", word], ["opt", "reassign", "-s", word], ["plan", "--add", word]):
                code, out, err = fake.says(*words)
                check(code in (1, 2, 3) and harmless(out) and harmless(err), "%s: %r" % (words, (code, out, err)))
                check(err.count("\n") <= 1, "%s: more than a line: %r" % (words, err))


@case
def other_hosts():
    for scene in ("smt", "tiny", "observed", "empty", "large"):
        with Fake(scene) as fake:
            for words in (["status"], ["list"], ["map"]):
                code, out, err = fake.says(*words)
                equal((code, err), (0, ""), words)
                check(max(map(len, out.splitlines())) <= 80, "%s, %s: wider than 80 columns" % (scene, words))
                if words == ["map"]:
                    golden("map-%s.txt" % scene, out)
    with Fake("observed") as fake:
        golden("explain-observed.txt", fake.says("explain", "web1")[1])
        check("observing" in fake.says("status")[1], "status does not say that it only observes")
    with Fake("empty") as fake:
        equal(fake.says("list")[1], "There are no running VMs.\n", "list")
        equal(fake.says("list", "--json")[1], "[]\n", "list --json")
        equal(fake.says("reassign", "all"), (0, "There is no VM to reassign.\n", ""), "reassign")
        equal(fake.says("reassign", "all", "--json"), (0, '{"vms": 0, "moves": []}\n', ""), "reassign --json")


@case
def libvirt_is_down():
    with Fake(mood="down") as fake:
        golden("status-down.txt", fake.says("status")[1])


@case
def metrics_for_others():
    with Fake() as fake:
        code, out, err = fake.says("metrics", "--openmetrics")
        equal((code, err), (0, ""), "answer")
        golden("metrics-openmetrics.txt", out)
        code, out, err = fake.says("metrics", "--openmetrics", "--json")
        equal((code, out), (2, ""), "two forms at once")
        check("exclude each other" in err, err)
    with Fake("observed") as fake:
        out = fake.says("metrics")[1]
        for line in ("vsched_acting 0", "vsched_moves_wanted 0", 'vsched_vms{verdict="PLACED"} 2'):
            check("\n" + line + "\n" in out, "%r is not in it" % line)
    with Fake(mood="blind") as fake:
        out = fake.says("metrics")[1]
        for line in ("vsched_host_seen 0", "vsched_libvirt_up 0"):
            check("\n" + line + "\n" in out, "%r is not in it" % line)
        check("vsched_vms" not in out, "VMs of a host that was not seen")


@case
def metrics_that_are_none():
    with Fake(mood="confused") as fake:
        check_failed(fake.says("metrics"), 1, "no list of metrics")
        equal(fake.says("metrics", "--json")[:2], (1, ""), "as JSON")


@case
def operators_pins_are_judged():
    with Fake("pinned") as fake:
        for name, words in (("pinned-list", ["list"]), ("pinned-map", ["map"]), ("pinned-explain", ["explain", "oracle"]),
                            ("pinned-explain-copy", ["explain", "copy"])):
            code, out, err = fake.says(*words)
            equal((code, err), (0, ""), words)
            check(max(map(len, out.splitlines())) <= 80, "%s: wider than 80 columns" % words)
            golden(name + ".txt", out)
        out = fake.says("metrics")[1]
        for line in ("vsched_pinned_excess_clusters 2", "vsched_cpus_pinned_twice 1", "vsched_doubled_cores 1",
                     "vsched_remote_memory_vms 1"):
            check("\n" + line + "\n" in out, "%r is not in it" % line)


# --- check ---


def check_on_terminal(name, words, socket, code, **env):
    """On a terminal: the golden file, and no colour where none is wanted."""
    found, out, err = run_on_terminal(*words, socket=socket, **env)
    equal((found, err), (code, ""), words)
    golden(name + ".tty", out.replace("\033", "^["))
    plain = run_on_terminal(*words, socket=socket, NO_COLOR="1", **env)[1]
    check(harmless(plain), "colour in spite of NO_COLOR")
    check(max(map(len, plain.splitlines())) <= 80, "wider than the terminal")


def check_everywhere(name, words, socket, code, **env):
    """As text, as JSON and on a terminal."""
    found, out, err = run(*words, socket=socket, **env)
    equal((found, err), (code, ""), words)
    check(harmless(out) and max(map(len, out.splitlines())) <= 80, "%s: too wide, or not clean" % name)
    golden(name + ".txt", out)
    found, out, err = run(*words, "--json", socket=socket, **env)
    equal((found, err), (code, ""), words)
    check(harmless(out), "%s: control characters" % name)
    golden(name + ".json", out)
    check_on_terminal(name, words, socket, code, **env)
    return json.loads(out)


@case
def check_what_is_wrong():
    with Fake(mood="sick") as fake:
        checks = check_everywhere("check-sick", ["check"], fake.socket, 1)
        check(all(one["remedy"] for one in checks if one["state"] != "ok"), "something can not be mended")
    with Fake() as fake:
        check_everywhere("check", ["check"], fake.socket, 1)
    with Fake("smt") as fake:
        equal(fake.says("check")[0], 0, "exit code without a problem")
        check("All is well." in fake.says("check")[1], "it is not said that all is well")
    with Fake("smt", mood="blind") as fake:
        equal({one["name"] for one in json.loads(fake.says("check", "--json")[1])} & {"vms", "host", "masks"}, set(),
              "what is said of a host that was not seen")
    with Fake("smt", mood="other") as fake:
        code, out, _ = fake.says("check")
        check(code == 0 and "warning  version    the daemon is of version 0.0.1" in out, "another version: %s" % out)


def host_from_outside(directory, *paths):
    """A host of these files; NAME=TEXT, or an empty one."""
    for path in paths:
        path, _, text = path.partition("=")
        path = os.path.join(directory, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
    return directory


@case
def check_without_a_daemon():
    with tempfile.TemporaryDirectory() as good, tempfile.TemporaryDirectory() as bad:
        host_from_outside(good, "run/libvirt/virtqemud-sock-ro", "proc/1/stat=1 (init)", "etc/group=vas-admin:x:9:\n",
                          "proc/self/schedstat=9 8 7\n", "sys/devices/system/cpu/offline=\n")
        checks = check_everywhere("check-no-daemon", ["check"], "/nonexistent/vas.sock", 4, VAS_ROOT=good)
        equal({one["name"] for one in checks if one["state"] != "ok"}, {"daemon"}, "what is wrong")
        host_from_outside(bad, "proc/self/schedstat=0 0 0\n", "sys/devices/system/cpu/offline=2-3\n", "etc/group=vas:x:9:\n")
        checks = json.loads(run("check", "--json", VAS_ROOT=bad)[1])
        equal({one["name"] for one in checks if one["state"] != "ok"},
              {"daemon", "libvirt", "proc", "run-delay", "cpus", "admins"}, "what is wrong")
        check("'chcpu -e 2-3'" in run("check", VAS_ROOT=bad)[1], "the offline CPUs are not named")


# --- measure ---


class Threads:
    """Files of /proc of vCPU threads that do what they are told."""

    def __init__(self, root, *threads):
        self.paths = {thread: os.path.join(root, "proc/%d/task/%d" % thread) for thread in threads}
        self.done = {thread: [10**9, 10**9, 0] for thread in threads}
        for thread, path in self.paths.items():
            os.makedirs(path)
            self.ran(thread, self.done[thread][2], 0, 0)

    def ran(self, thread, cpu, ms, waited_ms):
        """It ran for ms on a CPU, after having waited. The CPU is written first: it is read last."""
        done = self.done[thread]
        done[:] = [done[0] + ms * 10**6, done[1] + waited_ms * 10**6, cpu]
        stat = "%d (CPU 0/KVM) S %s %5d 0 0\n" % (thread[1], " ".join(["7"] * 35), cpu)
        for name, text in (("stat", stat), ("schedstat", "%20d %20d 5\n" % (done[0], done[1]))):
            fd = os.open(os.path.join(self.paths[thread], name), os.O_WRONLY | os.O_CREAT, 0o644)
            os.pwrite(fd, text.encode(), 0)  # in place: whoever has it open sees it
            os.close(fd)


def has_begun(child, path):
    """Whether it has the file open."""
    try:
        return path in (os.readlink("/proc/%d/fd/%s" % (child.pid, fd)) for fd in os.listdir("/proc/%d/fd" % child.pid))
    except OSError:  # one was closed meanwhile
        return False


def measured(fake, *words, files=None, **env):
    """vasctl measure, while web1 runs on two nodes, and db1 where it should; with at most so many open files. Each
    change is in a look of its own; it is ended by ^C, which takes one more look."""
    with tempfile.TemporaryDirectory() as root:
        web1, db1 = (1000, 1010), (2000, 2012)
        threads = Threads(root, web1, (1000, 1011), db1)
        child = subprocess.Popen([VASCTL, "measure", "60", *words], env=environment(fake.socket, {"VAS_ROOT": root, **env}),
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 preexec_fn=files and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))))
        for _ in range(200 if files is None else 20):
            if has_begun(child, os.path.join(threads.paths[db1], "schedstat")):
                break
            time.sleep(0.05)
        time.sleep(0.3)
        threads.ran(web1, 9, 250, 50)
        threads.ran(db1, 4, 100, 0)
        time.sleep(0.8)
        threads.ran(web1, 0, 750, 0)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
        return child.returncode, out.decode(), err.decode()


def masked(text):
    """Without what depends on the machine's speed."""
    text = re.sub(r"[0-9.]+ s, [0-9]+ looks at (\d+) vCPUs, which took [0-9.]+ %", r"N s, N looks at \1 vCPUs, which took N %", text)
    return re.sub(r'"(seconds|passes|cpu_percent)": [0-9.]+', r'"\1": 0', text)


@case
def measure_where_vcpus_ran():
    with Fake() as fake, tempfile.TemporaryDirectory() as directory:
        code, out, err = measured(fake)
        equal((code, err), (0, ""), "answer")
        check(harmless(out), "not clean:\n%s" % out)
        golden("measure.txt", masked(out))
        code, out, err = measured(fake, "--json")
        equal((code, err), (0, ""), "answer")
        golden("measure.json", masked(out))
        for files in (8, 19):
            golden("measure.json", masked(measured(fake, "--json", files=files)[1]))
        before = os.path.join(directory, "before.json")
        with open(before, "w", encoding="utf-8") as f:
            f.write(out.replace('"permille": 250', '"permille": 0').replace('"outside_permille": 250', '"outside_permille": 999'))
        golden("measure-before.txt", masked(measured(fake, "--before", before)[1]))
    with Fake("observed") as fake:
        check("changes nothing now" in fake.says("measure", "1", VAS_ROOT="/nonexistent")[1], "not said that it only observes")
    with Fake("empty") as fake:
        equal(fake.says("measure"), (0, "There are no running VMs.\n", ""), "no VM")


@case
def measure_on_a_terminal():
    with Fake() as fake:
        words = ["measure", "1"]
        code, out, err = run_on_terminal(*words, socket=fake.socket, VAS_ROOT="/nonexistent")
        equal((code, err), (0, ""), words)
        golden("measure.tty", masked(out.replace("\033", "^[")))
        plain = run_on_terminal(*words, socket=fake.socket, VAS_ROOT="/nonexistent", NO_COLOR="1")[1]
        check(harmless(plain) and max(map(len, plain.splitlines())) <= 80, "too wide, or not clean")


@case
def measure_against_what_is_no_measurement():
    with tempfile.TemporaryDirectory() as directory:
        bad = os.path.join(directory, "bad.json")
        for text in ("", "{", "[]", '{"vms": 1}', '{"vms": [], "vms": []}'):
            with open(bad, "w", encoding="ascii") as f:
                f.write(text)
            check_failed(run("measure", "--before", bad), 2, "bad.json")
    check_failed(run("measure", "--before", "/nonexistent/x"), 2, "No such file")


# --- report ---

# What the page is made of; nothing else may come of a name.
TAGS = {"html", "head", "meta", "link", "title", "style", "body", "header", "h1", "h2", "h3", "small", "p", "div", "b", "span",
        "i", "ul", "li", "svg", "g", "a", "rect", "text", "table", "thead", "tbody", "tr", "th", "td", "bdi", "footer"}
VOID = {"meta", "link"}


class Page(html.parser.HTMLParser):
    """A page whose elements are all closed, that loads nothing."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.targets, self.links = [], [], set(), set()
        self.feed(text)
        equal(self.open, [], "elements left open")

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        check(tag in TAGS, "<%s>" % tag)
        check(not any(name.startswith("on") or name in ("src", "srcset", "data", "action") for name in attributes), "%s" % attrs)
        link = attributes.get("href") or attributes.get("xlink:href") or ""
        check(link in ("", "data:,") or link.startswith("#"), "a link to %s" % link)
        self.links.add(link)
        self.targets.add("#" + attributes.get("id", ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        equal(self.open.pop(), tag, "the element that ends")

    def handle_data(self, data):
        self.texts.append(data)

    def says(self, text):
        return any(text in one for one in self.texts)


def page_of(fake, **env):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "page.html")
        code, out, err = fake.says("report", "-o", path, TZ="UTC", **env)
        equal((code, out, err), (0, "Written to %s\n" % path, ""), "answer")
        equal(os.listdir(directory), ["page.html"], "files")
        with open(path, encoding="utf-8", newline="") as f:
            return f.read()


@case
def report_is_one_page():
    with Fake() as fake, tempfile.TemporaryDirectory() as root:
        host_from_outside(root, "proc/sys/kernel/hostname=kvm17.example\n")
        text = page_of(fake, VAS_ROOT=root)
        check(harmless(text), "control characters")
        page = Page(text)
        for part in ("kvm17.example", "web1", "SPREAD", "4-6,8", "Offline: CPUs 16-17", "a better place is known"):
            check(page.says(part), "%r is not in it" % part)
        equal(page.links - page.targets - {"", "data:,"}, set(), "links to nowhere")
        check("CPU 8\ndb1, vCPU 3 (placed)" in text, "the tooltip of CPU 8")
        golden("report.html", re.sub(r"VSched, [-0-9: ]+ UTC\.", "VSched, NOW.", text))
        check(Page(fake.says("report", "-o", "-")[1]).says("web1"), "to the standard output")
        equal(run_on_terminal("report", "-o", os.path.join(root, "t"), socket=fake.socket)[0::2], (0, ""), "on a terminal")
    for scene in ("smt", "tiny", "observed", "empty", "large", "pinned"):
        with Fake(scene) as fake:
            page = Page(page_of(fake))
            equal(page.links - page.targets - {"", "data:,"}, set(), "links to nowhere")
    with Fake("pinned") as fake:
        check(Page(page_of(fake)).says("3 clusters where 1 would do, 1 CPU pinned twice"), "pins are not judged")


@case
def report_escapes_what_it_is_told():
    with Fake("markup") as fake, tempfile.TemporaryDirectory() as root:
        host_from_outside(root, "proc/sys/kernel/hostname=</title><script>1</script>\n")
        page = Page(page_of(fake, VAS_ROOT=root))
        for name in ("<script>alert(1)</script>", '"><img src=http://127.0.0.1:9/x onerror=alert(1)>',
                     "'</title></style><b>&lt;", "]]>--><!--", "</title><script>1</script>"):
            check(page.says(name), "%r is not shown as it is" % name)


@case
def report_replaces_its_file_or_leaves_it():
    with Fake() as fake, tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "page.html")
        with open(path, "w", encoding="ascii") as f:
            f.write("old")
        os.mkdir(path + ".new")  # where the new page is first written
        check_failed(fake.says("report", "-o", path), 1, "page.html")
        with open(path, encoding="ascii") as f:
            equal(f.read(), "old", "the old page")
        check_failed(fake.says("report", "-o", "/nonexistent/page.html"), 1, "/nonexistent/page.html", "No such file")


@case
def who_binds_dynamic_vcpus():
    for mood in ("tidal", "emulated"):
        with Fake(mood=mood) as fake:
            golden("status-%s.txt" % mood, fake.says("status")[1])


@case
def changes():
    with Fake() as fake:
        equal(fake.says("pause"), (0, "Paused: all pins stay, nothing is moved until \"vasctl resume\".\n", ""), "pause")
        equal(fake.says("resume"), (0, "Resumed.\n", ""), "resume")
        equal(fake.says("recover"),
              (0, "Restored 12 masks. The daemon is paused; \"vasctl resume\" lets it act again.\n", ""), "recover")
    with Fake(mood="denied") as fake:
        for words in (["pause"], ["resume"], ["recover"], ["reassign", "all"]):
            check_failed(fake.says(*words), 5, "admin group")
    with Fake(mood="failing") as fake:
        check_failed(fake.says("reassign", "all"), 1, "kernel refused 2")


@case
def plan_questions():
    with Fake() as fake:
        for words, part in ((["--add", "4"], "If a VM came that wants 4 vCPUs:"), (["--reassign", "all"], "If all VMs were"),
                            (["--reassign", "db1", "--policy", "dynamicAffinity"],
                             "If db1 was placed anew, and the policy were dynamicAffinity:"),
                            (["--remove=web1"], "If the VM web1 went:"), ([], "What the next round would do:")):
            code, out, err = fake.says("plan", *words)
            equal((code, err, out.splitlines()[0][:len(part)]), (0, "", part), words)
    with Fake(mood="refusing") as fake:
        check_failed(fake.says("plan", "--add", "4:node9"), 1, "paused")
    with Fake("observed") as fake:
        check("only observes" in fake.says("plan")[1], "not said that the daemon only observes")


class Follower:
    """vasctl events -f while it lives, its lines as they come."""

    def __init__(self, fake, *words):
        self.process = subprocess.Popen([VASCTL, "events", "-f", *words], env=environment(fake.socket, {}),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def lines(self, n):
        return [self.process.stdout.readline() for _ in range(n)]

    def end(self):
        """(exit code, the rest of stdout, stderr)"""
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


@case
def events_are_followed():
    with Fake() as fake:
        all_lines = fake.says("events")[1].splitlines(True)
        follower, other = Follower(fake), Follower(fake, "-n", "1", "--json")
        equal(follower.lines(10), all_lines[-10:], "the last ten")
        equal(json.loads(other.lines(1)[0])["kind"], "paused", "the last one")
        other.process.send_signal(signal.SIGINT)
        equal(other.end(), (-signal.SIGINT, "", ""), "Ctrl-C")
    equal(follower.end(), (1, "", "vasctl: the daemon has ended\n"), "when the daemon ends")
    with Fake(mood="busy") as fake:
        follower = Follower(fake, "-n", "1", "--json")
        sequences = [json.loads(line)["sequence"] for line in follower.lines(20)]
        equal(sequences, list(range(sequences[0], sequences[0] + 20)), "numbers")
        follower.process.kill()
        follower.end()


@case
def events_that_are_lost():
    with Fake(mood="busy") as fake:
        first = fake.says("events")[1].splitlines()[0]
        check(first.startswith("(lost ") and first.endswith(" events)"), first)
        follower = Follower(fake, "-n", "1000000", "--json")
        lost, event = map(json.loads, follower.lines(2))
        equal(event["sequence"], lost["lost"] + 1, "the first that is left")
        follower.process.kill()
        follower.end()


@case
def captures():
    with Fake() as fake, tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "a b.json")
        for _ in range(2):  # the second replaces the first
            equal(fake.says("capture", path), (0, "Captured 8 VMs. To plan from it: vas-sim --capture %s\n" % path, ""),
                  "answer")
        equal((os.stat(path).st_mode & 0o777, os.listdir(directory)), (0o600, ["a b.json"]), "mode, and nothing else")
        with open(path, encoding="ascii") as f:
            text = f.read()
        check(harmless(text) and "web1" in text, "names or control characters: %r" % text[:200])
        equal(len(json.loads(text)["snapshot"]["vms"]), 8, "VMs")
        equal(run_on_terminal("capture", path, "--hash-names", socket=fake.socket)[::2], (0, ""), "on a terminal")
        with open(path, encoding="ascii") as f:
            text = f.read()
        check("web1" not in text and '"name":"vm-' in text, "names that are not hashed: %r" % text[:200])
        os.symlink(path, path + ".link")
        for bad, part in ((directory, "no plain file"), (path + ".link", "no plain file"), ("/dev/null", "no plain file"),
                          (directory + "/no/such", "No such file"), (directory + "/" + "x" * 300, "too long")):
            check_failed(fake.says("capture", bad), 1, part)
        equal(sorted(os.listdir(directory)), ["a b.json", "a b.json.link"], "files that are left")
    with Fake(mood="denied") as fake:
        check_failed(fake.says("capture", "/nonexistent/c"), 5, "admin group")
    with Fake(mood="confused") as fake:
        check_failed(fake.says("capture", "/nonexistent/c"), 1, "no capture")


@case
def set_a_key():
    with Fake() as fake:
        for words, said in ((["layout", "spread"], "placement.layout = spread, until the daemon ends."),
                            (["sched-policy", "affinity"], "placement.sched-policy = static, until the daemon ends."),
                            (["defrag.cool-down", "120", "--persist"],
                             "defrag.cool-down = 2min, now and at later starts."),
                            (["skip-cpuset", ""], "placement.skip-cpuset = nothing, until the daemon ends."),
                            (["--persist", "connect", "qemu:///session"],
                             "daemon.connect = qemu:///session, from the daemon's next start on.")):
            equal(fake.says("set", *words), (0, said + "\n", ""), words)
        equal(run_on_terminal("set", "smt", "true", socket=fake.socket),
              (0, "placement.smt = true, until the daemon ends.\n", ""), "on a terminal")
    for mood, code, part in (("refusing", 1, "paused"), ("denied", 5, "admin group")):
        with Fake(mood=mood) as fake:
            check_failed(fake.says("set", "layout", "spread"), code, part)


@case
def bad_settings():
    for words, parts in ((["set"], ["key and value"]), (["set", "smt"], ["value is missing"]),
                         (["set", "smt", "true", "false"], ["one word too many"]),
                         (["set", "smtx", "true"], ["no setting 'smtx'", "vasctl get"]),
                         (["set", "daemon.smt", "true"], ["no setting 'daemon.smt'"]),
                         (["set", "smt", "may\033be"], ["may\\x1bbe", "auto, true, false or own-cores"]),
                         (["set", "skip-cpuset", "4096"], ["list of CPUs"]),
                         (["set", "connect", "a\n[daemon]"], ["URI"]),
                         (["set", "burst", "1e3"], ["0 to 100000"]), (["set", "smt", "true", "--json=1"], []),
                         (["get", "a", "b"], ["one word too many"]), (["get", "no\033ne"], ["no setting 'no\\x1bne'"])):
        check_failed(run(*words), 2, *parts)


@case
def unknown_vms():
    with Fake() as fake:
        for words in (["show", "no\033[31mbody"], ["explain", "no\033[31mbody"], ["reassign", "no\033[31mbody"],
                      ["plan", "--remove", "no\033[31mbody"]):
            check_failed(fake.says(*words), 3, "no\\x1b[31mbody")


@case
def where_the_socket_is():
    with Fake() as fake:
        want = fake.says("list")
        equal(run("--socket", fake.socket, "list"), want, "--socket PATH before")
        equal(run("--socket=" + fake.socket, "list"), want, "--socket=PATH before")
        equal(run("list", "--socket", fake.socket), want, "--socket PATH behind")
        equal(run("list", "--socket=" + fake.socket), want, "--socket=PATH behind")
        check_failed(fake.says("--socket=/nonexistent", "list"), 4)


# --- terminals ---


@case
def on_a_terminal():
    with Fake() as fake:
        for name, words in VERBS.items():
            code, out, err = run_on_terminal(*words, socket=fake.socket)
            equal((code, err), (0, ""), words)
            golden(name + ".tty", out.replace("\033", "^["))
            plain = run_on_terminal(*words, socket=fake.socket, NO_COLOR="1")
            equal((plain[0], plain[2]), (0, ""), words)
            check(harmless(plain[1]), "%s: colour in spite of NO_COLOR" % words)
            check(name == "metrics" or max(map(len, plain[1].splitlines())) <= 80, "%s: wider than the terminal" % words)
            equal(run_on_terminal(*words, socket=fake.socket, TERM="dumb"), plain, "a dumb terminal")
        equal(run_on_terminal("list", socket=fake.socket, NO_COLOR=""), run_on_terminal("list", socket=fake.socket),
              "an empty NO_COLOR")


class Live:
    """vasctl on a terminal that is its own, with a keyboard."""

    def __init__(self, fake, *words, rows=24, **env):
        self.fd, end = pty.openpty()
        self.resize(rows)
        self.before = termios.tcgetattr(end)
        self.text = ""
        self.process = subprocess.Popen([VASCTL, *words], env=environment(fake.socket, env), stdin=end, stdout=end,
                                        stderr=end, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.end = end

    def resize(self, rows, columns=80):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, condition, what):
        deadline = time.monotonic() + 20
        while not condition(self.text):
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise Wrong("%s: not within 20 s in %r" % (what, self.text))
            self.text += os.read(self.fd, 65536).decode()

    def screens(self):
        """What was drawn, each a list of lines without colours; the last may be unfinished."""
        return [re.sub(r"\033\[[0-9;]*m", "", screen).replace("\r", "").split("\n")
                for screen in self.text.split("\033[H\033[2J")[1:]]

    def key(self, key):
        os.write(self.fd, key)

    def ended(self):
        """Its exit code; the terminal is as it was."""
        self.read_until(lambda text: text.endswith("\033[?7h\033[?25h\033[?1049l"), "the screen is given back")
        code = self.process.wait(20)
        equal(termios.tcgetattr(self.end), self.before, "the terminal's modes")
        check(self.text.startswith("\033[?1049h\033[?25l\033[?7l"), "the screen is taken: %r" % self.text[:40])
        equal(self.text.count("\033[?1049h"), self.text.count("\033[?1049l"), "screens taken and given back")
        os.close(self.end)
        os.close(self.fd)
        return code


@case
def top_is_drawn_anew():
    with Fake(mood="busy") as fake:
        live = Live(fake, "top", "-d", "0.2")
        live.read_until(lambda text: text.count("\033[2J") == 4, "screens")
        first, second = live.screens()[0], live.screens()[2]
        rows = {line.split()[0]: line.split() for line in second[7:] if line}
        equal([line.split()[2:4] for line in first[7:8]], [["-", "-"]], "on the first screen nothing is known yet")
        equal(rows["legacy"][2], "1", "waiting vCPUs")
        check(0.5 < float(rows["legacy"][3]) < 10, "half of some 50 ms a second: %r" % rows["legacy"])
        equal(rows["appliance"][2:4], ["0", "0.0"], "nobody waits")
        check(second[7].split()[0] in ("legacy", "hidden"), "who waits most does not come first: %r" % second[7])
        live.key(b"q")
        equal(live.ended(), 0, "q")


@case
def top_fits_the_terminal():
    with Fake("large") as fake:
        live = Live(fake, "top", "-d", "3600", NO_COLOR="1")
        live.read_until(lambda text: "more" in text, "the first screen")
        equal(len(live.screens()[0]), 24, "lines")
        live.resize(10)
        live.read_until(lambda text: text.count(" more") == 2, "the second screen")
        equal(len(live.screens()[1]), 10, "lines")
        check(max(map(len, live.screens()[1])) <= 80, "wider than 80 columns")
        check("\033[3" not in live.text and "\033[1m" not in live.text, "colour in spite of NO_COLOR")
        live.key(b"\x03")
        equal(live.ended(), -signal.SIGINT, "Ctrl-C")


@case
def top_leaves_out_no_more_names_than_it_must():
    with Fake() as fake:
        for rows, left_out in ((15, True), (16, False)):
            live = Live(fake, "top", "-d", "3600", rows=rows)
            live.read_until(lambda text: ("more" if left_out else "tuned") in text, "the screen")
            live.key(b"q")
            equal(live.ended(), 0, "q")
            screen = live.text.split("\033[?7h")[0]
            equal((screen.count("\n"), "and 1 more" in screen), (14 if left_out else 15, left_out), "%d lines" % rows)


@case
def top_is_put_aside_and_killed():
    with Fake() as fake:
        live = Live(fake, "top", "-d", "3600")
        live.read_until(lambda text: "tuned" in text, "the first screen")
        live.process.send_signal(signal.SIGTSTP)
        live.read_until(lambda text: text.endswith("\033[?1049l"), "the screen is given back")
        equal(termios.tcgetattr(live.end), live.before, "the terminal's modes while it is stopped")
        while os.waitid(os.P_PID, live.process.pid, os.WSTOPPED | os.WNOWAIT).si_code != os.CLD_STOPPED:
            pass
        live.process.send_signal(signal.SIGCONT)
        live.read_until(lambda text: text.count("tuned") == 2, "it is drawn again")
        live.process.send_signal(signal.SIGTERM)
        equal(live.ended(), -signal.SIGTERM, "SIGTERM")


@case
def top_outlives_the_daemon():
    with Fake() as fake:
        live = Live(fake, "top", "-d", "0.1")
        live.read_until(lambda text: "tuned" in text, "the first screen")
    live.read_until(lambda text: "vas-daemon is not running" in text, "the trouble")
    live.key(b"Q")
    equal(live.ended(), 0, "Q")


@case
def documented_words_on_a_terminal():
    with Fake() as fake:
        equal(run_on_terminal("set", "config", "-sp", "affinity", socket=fake.socket),
              (0, "Success to execute command.\n", ""), "set config")
        equal(run_on_terminal("opt", "reassign", "-s", "all", socket=fake.socket), (0, "ReAssign success\n", ""),
              "opt reassign")
        code, out, err = run_on_terminal("query", "affinity", "-s", "all", socket=fake.socket)
        equal((code, err, out), (0, "", fake.says("query", "affinity", "-s", "all")[1]), "query affinity")


@case
def other_locales():
    with Fake() as fake:
        for locale in ("C", "POSIX", "xx_YY.NONSENSE"):
            code, out, err = fake.says("list", LC_ALL=locale)
            equal((code, err), (0, ""), locale)
            check(out.isascii(), "not ASCII in the locale " + locale)


@case
def a_full_disk_is_noticed():
    with Fake() as fake, open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([VASCTL, "status"], env=environment(fake.socket, {}), stdout=full, check=False,
                              stderr=subprocess.PIPE, timeout=20)
        equal((done.returncode, done.stderr), (1, b"vasctl: the output could not be written\n"), "answer")


def main():
    os.makedirs(GOLDEN, exist_ok=True)
    print("1..%d" % len(CASES))
    failed = False
    for number, function in enumerate(CASES, 1):
        name = function.__name__.replace("_", " ")
        try:
            function()
            print("ok %d - %s" % (number, name))
        except Wrong as wrong:
            failed = True
            print("not ok %d - %s" % (number, name))
            print("# " + str(wrong).replace("\n", "\n# "))
        sys.stdout.flush()
    sys.exit(failed)


main()
