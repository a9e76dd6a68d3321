#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A libvirt that stops, hangs or is not there; a daemon with few rights, and two of them."""

import os
import re
import shutil
import statistics

from lab import case, check, equal, main, patience, wait_until
from lab.daemon import RUNTIME

SOON = 1.0
AS_VAS = ("setpriv", "--reuid=vas", "--regid=vas", "--clear-groups", "--no-new-privs",
          "--inh-caps=-all,+sys_nice", "--ambient-caps=-all,+sys_nice", "--bounding-set=-all,+sys_nice")
AS_GUEST = ("setpriv", "--reuid=guest", "--regid=guest", "--clear-groups", "--bounding-set=-all")


def link_state(lab):
    return lab.daemon.status()["libvirt"]["state"]


def check_answers_fast(lab):
    times = sorted(lab.vasctl("status").seconds for _ in range(31))
    middle = statistics.median(times)
    check(middle < 0.05 * patience(), "vasctl status: median %.1f ms, slowest %.1f ms", middle * 1e3, times[-1] * 1e3)


def placed_vm(lab):
    vm = lab.vm("a").start()
    wait_until(vm.is_placed, SOON)
    return vm


def give_runtime_to_vas():
    """What the unit's RuntimeDirectory= does."""
    os.makedirs(RUNTIME, exist_ok=True)
    shutil.chown(RUNTIME, "vas", "vas")


@case("libvirtd stops: the daemon says so, keeps the pins, and recovers by itself")
def stopped(lab):
    lab.daemon.start()
    vm = placed_vm(lab)
    masks = vm.masks()
    equal(link_state(lab), "up", "link")
    lab.libvirtd.stop()
    wait_until(lambda: link_state(lab) == "down", 5, "status says that libvirt is away")
    check(lab.daemon.status()["libvirt"]["error"], "it does not say why")
    check_answers_fast(lab)
    equal(vm.masks(), masks, "masks")
    lab.libvirtd.start()
    wait_until(lambda: link_state(lab) == "up", 15, "connected again")
    late = lab.vm("late").start()
    wait_until(late.is_placed, SOON, "a VM started afterwards is placed")
    equal(vm.masks(), masks, "masks after the reconnect")
    equal(lab.daemon.writes().count(vm.threads()[0].tid), 1, "writes to the first VM, all in all")


@case("libvirtd hangs: noticed, answers stay fast, pins stay, and it recovers by itself")
def frozen(lab):
    lab.daemon.start()
    vm = placed_vm(lab)
    masks = vm.masks()
    lab.libvirtd.freeze()
    check_answers_fast(lab)
    wait_until(lambda: link_state(lab) != "up" or lab.daemon.status()["libvirt"].get("asked_s"), 30, "it is noticed")
    check_answers_fast(lab)
    check("libvirt" in lab.vasctl("status").out, "vasctl status does not speak of libvirt")
    equal(vm.masks(), masks, "masks")
    lab.libvirtd.thaw()
    wait_until(lambda: link_state(lab) == "up", 30, "connected again")
    late = lab.vm("late").start()
    wait_until(late.is_placed, 2, "a VM started afterwards is placed")


@case("SIGTERM while libvirtd hangs: ends within 2 s with everything restored")
def frozen_stop(lab):
    vm = lab.vm("a").start()
    masks = vm.masks()
    lab.daemon.start()
    wait_until(vm.is_placed, SOON)
    lab.libvirtd.freeze()
    wait_until(lambda: lab.daemon.status()["libvirt"].get("asked_s") or link_state(lab) != "up", 30)
    seconds = lab.daemon.stop(timeout=2 * patience())
    check(seconds < 2 * patience(), "it took %.2f s", seconds)
    equal(vm.masks(), masks, "masks")


@case("no libvirt on the machine: a clear line and a retry, neither a crash nor 0 VMs")
def absent(lab):
    vm = lab.vm("a").start()
    lab.libvirtd.stop()
    lab.daemon.start(wait=False)
    wait_until(lambda: lab.vasctl("status").code == 0, 5, "it answers")
    status = lab.daemon.status()
    equal(status["libvirt"]["state"], "connecting", "link")
    check(status["libvirt"]["error"], "it does not say why")
    check("libvirt" in lab.daemon.log(), "the log does not speak of libvirt: %s", lab.daemon.log())
    check(not re.search(r"VMs +0", lab.vasctl("status").out), "it claims to know that there are no VMs")
    check(lab.vasctl("query", "affinity", "-s", "all").code != 0, "query affinity answers as if it knew")
    lab.libvirtd.start()
    wait_until(vm.is_placed, 15, "it finds libvirt and places the VM")


@case("an unprivileged user with CAP_SYS_NICE alone places another user's VMs")
def unprivileged(lab):
    give_runtime_to_vas()
    vm = lab.vm("a").start()
    check(os.stat("/proc/%d" % vm.pid).st_uid not in (0, lab_user("vas")), "QEMU runs as root or as vas")
    lab.daemon.start(before=AS_VAS)
    wait_until(vm.is_placed, SOON)
    with open("/proc/%d/status" % lab.daemon.pid, encoding="ascii") as f:
        caps = {k: int(v, 16) for k, v in (l.split(":") for l in f if l.startswith("Cap"))}
    equal(caps["CapEff"], 1 << 23, "effective capabilities")
    check(lab.daemon.stop() < 2 * patience(), "a slow stop")
    equal(vm.masks(), {0: frozenset(lab.cpus)}, "restored")


@case("every thread of the running daemon is confined, libvirt's too, and has no socket but local ones")
def confined(lab):
    lab.daemon.start()
    placed_vm(lab)
    tasks = "/proc/%d/task" % lab.daemon.pid
    for tid in os.listdir(tasks):
        with open("%s/%s/status" % (tasks, tid), encoding="ascii") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        equal((status["Seccomp"], status["NoNewPrivs"]), ("2", "1"), "seccomp and no_new_privs of " + status["Name"])
    links = [os.readlink("/proc/%d/fd/%s" % (lab.daemon.pid, fd)) for fd in os.listdir("/proc/%d/fd" % lab.daemon.pid)]
    sockets = {link[8:-1] for link in links if link.startswith("socket:[")}
    with open("/proc/%d/net/unix" % lab.daemon.pid, encoding="ascii", errors="replace") as f:
        local = {line.split()[6] for line in f.readlines()[1:]}
    check(sockets and sockets <= local, "sockets that are not local: %s", sockets - local)


def lab_user(name):
    with open("/etc/passwd", encoding="utf-8") as f:
        return next(int(line.split(":")[2]) for line in f if line.startswith(name + ":"))


@case("without CAP_SYS_NICE: says so, and changes nothing")
def powerless(lab):
    vm = lab.vm("a").start()
    os.makedirs(RUNTIME, exist_ok=True)
    shutil.chown(RUNTIME, "guest", "guest")
    lab.daemon.start(before=AS_GUEST, wait=False)
    wait_until(lambda: not lab.daemon.is_running() or "CAP_SYS_NICE" in lab.daemon.log(), 5, "it says what it lacks")
    equal(vm.masks(), {0: frozenset(lab.cpus)}, "masks")


@case("QEMUs hidden by hidepid: a clear line, and not 0 VMs")
def hidepid(lab):
    give_runtime_to_vas()
    vm = lab.vm("a").start()
    hide = ("unshare", "-m", "sh", "-c", 'mount -o remount,hidepid=2 /proc && exec "$@"', "sh")
    lab.daemon.start(before=hide + AS_VAS)
    wait_until(lambda: lab.daemon.verdict(vm) == "UNSEEN", SOON)
    status = lab.daemon.status()
    equal((status["vms"], status["verdicts"]), (1, {"UNSEEN": 1}), "VMs and verdicts")
    check(any("hidepid" in w or "see" in w for w in status["warnings"]), "warnings: %s", status["warnings"])
    check(lab.daemon.is_running(), "it ended")


@case("two daemons: the second refuses to start and harms nothing")
def second(lab):
    lab.daemon.start()
    vm = placed_vm(lab)
    masks = vm.masks()
    late = lab.daemon.run("start", "server", timeout=5)
    check(late.code != 0, "the second one runs")
    check("running" in late.err or "lock" in late.err, "it does not say why: %r", late)
    check(lab.daemon.run("--oneshot", timeout=5).code != 0, "--oneshot runs beside a daemon")
    equal(lab.daemon.status()["pid"], lab.daemon.pid, "who answers")
    equal(vm.masks(), masks, "masks")
    equal(len(lab.daemon.writes()), 1, "writes of both")


@case("a local user may ask and may not change")
def guest(lab):
    lab.daemon.start()
    vm = placed_vm(lab)
    equal(lab.vasctl("query", "affinity", "-s", "all", before=AS_GUEST).code, 0, "query affinity")
    for words in (("opt", "recover"), ("opt", "reassign", "-s", "all"), ("pause",), ("set", "config", "-sp", "affinity")):
        answer = lab.vasctl(*words, before=AS_GUEST)
        equal(answer.code, 5, " ".join(words))
    check(vm.is_placed(), "it was changed")


main(__file__)
