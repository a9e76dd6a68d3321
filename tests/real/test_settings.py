#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Settings that change while the daemon runs, and what is left of them later."""

import os
import signal

from lab import case, check, equal, main, wait_until

SOON = 1.0
CONF = "/etc/vas/vas-daemon.conf"
DROP_INS = CONF + ".d"
PERSISTED = "/var/lib/vas/settings.conf"


def clean():
    os.makedirs(os.path.dirname(PERSISTED), exist_ok=True)
    os.makedirs(DROP_INS, exist_ok=True)
    for path in [PERSISTED] + [os.path.join(DROP_INS, name) for name in os.listdir(DROP_INS)]:
        if os.path.exists(path):
            os.unlink(path)


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def setting(lab, key):
    """(value, source)"""
    found = lab.daemon.vasctl("get", key, "--json").json()
    return found["value"], found["source"]


def do_set(lab, *words):
    answer = lab.daemon.vasctl("set", *words)
    equal((answer.code, answer.err), (0, ""), "set " + " ".join(words))


def refused(lab, *words):
    answer = lab.daemon.vasctl("set", *words)
    equal((answer.code, answer.out), (1, "Failed to execute command.\n"), "set " + " ".join(words))
    equal(answer.err.count("\n"), 1, "lines on stderr: %r" % answer.err)
    return answer.err


def reload(lab, wanted):
    """Sends SIGHUP and waits until the log says what came of it."""
    before = lab.daemon.log().count(wanted)
    os.kill(lab.daemon.pid, signal.SIGHUP)
    wait_until(lambda: lab.daemon.log().count(wanted) > before, SOON, wanted)


@case("set is in force at once, outlives SIGHUP, and ends with the daemon")
def run_time(lab):
    clean()
    lab.daemon.start()
    vm = lab.vm("a", vcpus=1).start()
    wait_until(vm.is_placed, SOON)
    mine = vm.cpus()[0]
    do_set(lab, "skip-cpuset", str(mine))
    check(mine not in vm.cpus(), "CPU %s is in skip-cpuset, and still given away: %s", mine, vm.masks())
    equal(setting(lab, "skip-cpuset"), (str(mine), "run time"), "after set")
    reload(lab, "settings read again")
    equal(setting(lab, "placement.skip-cpuset"), (str(mine), "run time"), "after SIGHUP")
    check(not os.path.exists(PERSISTED), "something was kept")
    lab.daemon.stop()
    lab.daemon.start()
    equal(setting(lab, "skip-cpuset"), ("", "default"), "after a restart")


@case("set --persist outlives a restart, wins over files, and loses to the command line")
def persist(lab):
    clean()
    write(DROP_INS + "/10.conf", "[placement]\nlayout = pack\nsmt = false\n")
    lab.daemon.start()
    equal(setting(lab, "layout"), ("pack", DROP_INS + "/10.conf"), "from the drop-in")
    equal(setting(lab, "interval"), ("1s", CONF), "from the file")
    do_set(lab, "layout", "spread", "--persist")
    do_set(lab, "burst", "9.5", "--persist")
    equal(setting(lab, "layout"), ("spread", PERSISTED), "at once")
    equal(lab.daemon.status()["layout"], "spread", "status")
    do_set(lab, "cool-down", "7s")
    do_set(lab, "cool-down", "8s", "--persist")
    reload(lab, "settings read again")
    equal(setting(lab, "cool-down"), ("8s", PERSISTED), "what was kept takes the place of what was set before")
    lab.daemon.stop()
    lab.daemon.start()
    equal((setting(lab, "layout"), setting(lab, "burst")), (("spread", PERSISTED), ("9.5", PERSISTED)),
          "after a restart")
    equal(setting(lab, "smt"), ("false", DROP_INS + "/10.conf"), "what was not set")
    lab.daemon.stop()
    lab.daemon.start("-smt", "true")
    err = refused(lab, "smt", "false", "--persist")
    for part in ("placement.smt", "option -smt", "command line"):
        check(part in err, "%r is not in %r", part, err)
    equal(setting(lab, "smt"), ("true", "option -smt"), "after the refusal")
    do_set(lab, "smt", "false")
    equal(setting(lab, "smt"), ("false", "run time"), "without --persist")
    clean()


@case("a key that is taken at the next start says so, and is")
def next_start(lab):
    clean()
    lab.daemon.start()
    check("--persist" in refused(lab, "admin-group", "root"), "the refusal does not say what helps")
    do_set(lab, "admin-group", "root", "--persist")
    equal(setting(lab, "admin-group")[0], "vas-admin", "in force")
    reload(lab, "admin-group takes effect at the next start")
    equal(setting(lab, "admin-group")[0], "vas-admin", "in force after SIGHUP")
    lab.daemon.stop()
    lab.daemon.start()
    equal(setting(lab, "admin-group"), ("root", PERSISTED), "after a restart")
    clean()


@case("a bad file names file and line, and what was in force stays")
def bad_files(lab):
    clean()
    lab.daemon.start()
    do_set(lab, "layout", "spread")
    before = lab.daemon.vasctl("get").out
    for text, part in (("[placement]\nsmt = maybe\n", ":2: bad value 'maybe' for smt; legal: auto, true"),
                       ("[placement]\n\nsnt = true\n", ":3: no such setting: [placement] snt"),
                       ("[place]\nsmt = true\n", ":2: no such setting: [place] smt")):
        write(DROP_INS + "/10.conf", "[defrag]\nburst = 3\n")
        write(DROP_INS + "/20.conf", text)
        reload(lab, "settings not changed: " + DROP_INS + "/20.conf" + part)
        equal(lab.daemon.vasctl("get").out, before, "settings in force")
        check("not taken at the last reload: " + DROP_INS + "/20.conf" in " ".join(lab.daemon.vasctl("check").out.split()), "check is silent")
        answer = lab.daemon.run("--check-config")
        check(answer.code == 2 and part in answer.err, "--check-config: %r", answer)
    clean()


@case("a setting is said to be in force also when the round that was to follow failed")
def no_round(lab):
    clean()
    lab.daemon.start()
    vm = lab.vm("a", vcpus=1).start()
    wait_until(vm.is_placed, SOON)
    mine = str(vm.cpus()[0])
    os.mkdir("/run/vas/state.json.new")  # where the state is written to
    err = refused(lab, "skip-cpuset", mine)
    for part in ("it is in force, but", "can not save /run/vas/state.json"):
        check(part in err, "%r is not in %r", part, err)
    equal(setting(lab, "skip-cpuset"), (mine, "run time"), "what was said to be in force")
    os.rmdir("/run/vas/state.json.new")
    wait_until(lambda: vm.is_placed() and vm.cpus() != [int(mine)], 3 * SOON, "the round that follows later")


URI = "https://vsched.io/xmlns/vsched/1"


@case("a VM's metadata takes it out of management at once, and what it may not ask for is refused for it alone")
def metadata(lab):
    clean()
    lab.daemon.start()
    one, two = lab.vm("one").start(), lab.vm("two").start()
    wait_until(lambda: one.is_placed() and two.is_placed(), SOON)

    def wish(vm, text):
        lab.libvirtd.virsh("metadata", vm.name, URI, "--key", "vsched", "--live", "--set", text)

    def warnings():
        return [line for line in lab.daemon.log().splitlines() if one.name in line and "metadata" in line]

    wish(one, "<vm smt='true' layout='pack'/>")
    wait_until(lambda: len(warnings()) == 1, SOON, "a warning of the VM")
    check("smt" in warnings()[0], "the warning: %s", warnings()[0])
    check(one.is_placed(), "not placed any more")
    wish(one, "<vm manage='no'/>")
    wait_until(lambda: lab.daemon.verdict(one) == "EXCLUDED" and not one.is_placed(), SOON, "it is let go")
    check(two.is_placed() and lab.daemon.verdict(two) == "PLACED", "the other VM has lost its place")
    wish(one, "<vm manage='never'/>")
    wait_until(one.is_placed, SOON, "bad metadata counts as none")
    wait_until(lambda: len(warnings()) == 2, SOON, "another warning")
    check("manage = yes, no or observe" in warnings()[1], "the warning: %s", warnings()[1])
    reload(lab, "settings read again")
    lab.daemon.vasctl("reassign", "all")
    equal(len(warnings()), 2, "warnings after more rounds")
    check(two.name not in "".join(warnings()), "the other VM is warned of")


@case("others than root and the admin group may get and not set")
def rights(lab):
    clean()
    lab.daemon.start()
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    equal(lab.daemon.vasctl("get", "smt", before=nobody).code, 0, "get")
    equal(lab.daemon.vasctl("set", "smt", "false", before=nobody).code, 5, "set")
    equal(setting(lab, "smt"), ("auto", "default"), "smt")


main(__file__)
