#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Crashes, stops, restarts, recover, and VMs that are saved or resized."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from lab import UNPLUG, Skip, case, check, cpu_list, equal, main, patience, wait_until
from lab.sandbox import LAB

SOON = 1.0
# ENDS=5000 to be sure: of a daemon that deregistered its events, each thousandth or so was too much for libvirtd 9.0.
# (That it does not is seen by platform/link at once.)
N_ENDS = int(os.environ.get("ENDS", "40"))


def all_masks(vms):
    return [vm.masks() for vm in vms]


def some_rounds(lab, count=3):
    """Waits for rounds to pass in which nothing should happen."""
    first = lab.daemon.status()["rounds"]
    wait_until(lambda: lab.daemon.status()["rounds"] >= first + count, 2 + 1.5 * count)


def crowd(lab):
    """A placed VM, one that is SHARED, and one pinned by its operator."""
    pair = lab.pair()
    vms = [lab.vm("pinned", pins={0: str(pair[0])}).start(),
           lab.vm("owner", cpuset=cpu_list(pair)).start(),
           lab.vm("shared", vcpus=2, cpuset=cpu_list(pair)).start()]
    return vms


def memory_controller():
    """Where control groups limit memory, and the name of the limit's file."""
    with open("/proc/self/mounts", encoding="utf-8") as f:
        for _, point, kind, options, *_ in map(str.split, f):
            if kind == "cgroup" and "memory" in options.split(","):
                return point, "memory.limit_in_bytes"
            controllers = os.path.join(point, "cgroup.subtree_control")
            if kind == "cgroup2" and "memory" in open(controllers, encoding="ascii").read().split():
                return point, "memory.max"
    raise Skip("no control groups that limit memory")


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(str(text))


@contextlib.contextmanager
def out_of_memory(pid):
    """A group that holds the process and one that takes all the memory there: when
    there is no more, the kernel kills the former."""
    point, limit = memory_controller()
    group = os.path.join(point, "vas-test-%d-%d" % (os.getpid(), time.monotonic_ns()))
    eat = "import sys; sys.stdin.readline(); kept = [bytearray(1 << 20) for i in range(256)]"
    try:
        os.mkdir(group)
    except OSError as e:
        raise Skip("no control group can be made: %s" % e) from e
    hog = subprocess.Popen([sys.executable, "-c", eat], stdin=subprocess.PIPE, text=True)
    try:
        write(group + "/" + limit, 64 << 20)
        write("/proc/%d/oom_score_adj" % pid, 1000)
        write(group + "/cgroup.procs", hog.pid)
        write(group + "/cgroup.procs", pid)
        hog.stdin.write("\n")
        hog.stdin.flush()
        yield
    finally:
        hog.kill()
        hog.wait()
        hog.stdin.close()
        with contextlib.suppress(OSError):
            os.rmdir(group)


def goes_on_after(lab, end):
    vms = crowd(lab)
    lab.daemon.start()
    wait_until(vms[1].is_placed, SOON)
    some_rounds(lab)
    masks = all_masks(vms)
    check(lab.daemon.writes(), "the counter of writes counts nothing")
    end()
    equal(all_masks(vms), masks, "masks without a daemon")
    lab.daemon.start()
    some_rounds(lab)
    equal(lab.daemon.writes(), [], "threads written after the crash")
    equal(all_masks(vms), masks, "masks after the crash")
    equal(lab.daemon.verdict(vms[1]), "PLACED", "its placement is still known as ours")


@case("kill -9 and start again: zero writes, no mask changed")
def crash(lab):
    goes_on_after(lab, lab.daemon.kill)


@case("killed for its memory, by the kernel: the same")
def memory_kill(lab):
    def end():
        with out_of_memory(lab.daemon.pid):
            equal(lab.daemon.process.wait(20), -signal.SIGKILL, "how it ended")
        lab.daemon.kill()

    goes_on_after(lab, end)


@case("kill -9 and start in observe mode: zero writes too")
def crash_observe(lab):
    vms = crowd(lab)
    lab.daemon.start()
    wait_until(vms[1].is_placed, SOON)
    masks = all_masks(vms)
    lab.daemon.kill()
    lab.daemon.start(settings={"daemon": {"mode": "observe"}})
    some_rounds(lab)
    equal((lab.daemon.writes(), all_masks(vms)), ([], masks), "writes and masks")


@case("a clean stop: every mask is as before the daemon")
def clean_stop(lab):
    vms = crowd(lab)
    masks = all_masks(vms)
    lab.daemon.start()
    wait_until(vms[1].is_placed, SOON)
    late = lab.vm("late").start()
    wait_until(lambda: lab.daemon.verdict(late), SOON)
    lab.daemon.stop()
    equal(all_masks(vms), masks, "masks")
    equal(late.masks(), {0: frozenset(lab.cpus)}, "the late VM's mask")


@case("a clean stop of a VM whose range has changed meanwhile: its new range")
def clean_stop_new_range(lab):
    vm = lab.vm("a").start()
    lab.daemon.start()
    wait_until(vm.is_placed, SOON)
    wanted = frozenset(lab.cpus[:-1])
    lab.virsh("vcpupin", vm.name, "0", cpu_list(wanted), "--live")
    wait_until(lambda: vm.is_placed() and set(vm.cpus()) <= wanted, SOON)
    lab.daemon.stop()
    equal(vm.masks(), {0: wanted}, "mask")


@contextlib.contextmanager
def range_changed_unseen(lab, vm):
    """Within, its operator has changed its range, and the daemon has had no time to see it."""
    lab.daemon.process.send_signal(signal.SIGSTOP)
    wanted = {0: frozenset(lab.pair()[:1])}
    lab.virsh("vcpupin", vm.name, "0", cpu_list(wanted[0]), "--live")
    yield wanted
    lab.daemon.process.send_signal(signal.SIGCONT)


@case("a clean stop right after a range has changed, which no round has seen: the new range, unwritten")
def clean_stop_unseen_range(lab):
    vm = lab.vm("a", cpuset=cpu_list(lab.pair())).start()
    lab.daemon.start(settings={"defrag": {"interval": "1h"}})
    wait_until(vm.is_placed, SOON)
    before = lab.daemon.writes()
    with range_changed_unseen(lab, vm) as wanted:
        lab.daemon.process.send_signal(signal.SIGTERM)
    equal(lab.daemon.process.wait(5), 0, "exit code")
    equal((vm.masks(), lab.daemon.writes()), (wanted, before), "masks and writes")


@case("opt recover while libvirtd hangs: by the ranges last seen, within 2 s")
def recover_frozen(lab):
    vm = lab.vm("a").start()
    masks = vm.masks()
    lab.daemon.start()
    wait_until(vm.is_placed, SOON)
    lab.libvirtd.freeze()
    answer = lab.vasctl("opt", "recover")
    equal((answer.code, vm.masks()), (0, masks), "exit code and masks")
    check(answer.seconds < 2 * patience(), "it took %.2f s", answer.seconds)
    check("last seen" in lab.daemon.log(), "the log does not say so")


@case("on-stop = keep leaves the pins, and the next start adopts them")
def keep(lab):
    vm = lab.vm("a").start()
    lab.daemon.start(settings={"daemon": {"on-stop": "keep"}})
    wait_until(vm.is_placed, SOON)
    masks = vm.masks()
    lab.daemon.stop()
    equal(vm.masks(), masks, "masks after the stop")
    lab.daemon.start()
    some_rounds(lab)
    equal((lab.daemon.writes(), vm.masks()), ([], masks), "writes and masks after the start")


@case("a clean stop and a start: every vCPU is back on the CPU that it had")
def stop_and_start(lab):
    pair = lab.pair()
    lab.daemon.start()
    first = lab.vm("first", cpuset=cpu_list(pair)).start()
    wait_until(first.is_placed, SOON)
    second = lab.vm("second", cpuset=cpu_list(pair)).start()
    wait_until(second.is_placed, SOON)
    first.destroy()  # a fresh start would give the second VM this CPU
    masks = second.masks()
    some_rounds(lab)
    equal(second.masks(), masks, "a balanced host is left alone")
    lab.daemon.stop()
    equal(second.masks(), {0: frozenset(pair)}, "between stop and start")
    lab.daemon.start()
    wait_until(lambda: second.masks() == masks, SOON, "the CPU that it had")


@case("opt recover: restored, and not taken again until resume")
def recover(lab):
    vm = lab.vm("a").start()
    masks = vm.masks()
    lab.daemon.start()
    wait_until(vm.is_placed, SOON)
    equal(lab.vasctl("opt", "recover").code, 0, "exit code")
    equal(vm.masks(), masks, "masks right after the answer")
    some_rounds(lab)
    equal(vm.masks(), masks, "masks some rounds later")
    lab.daemon.kill()
    lab.daemon.start()
    some_rounds(lab)
    equal(vm.masks(), masks, "masks after a crash")
    lab.vasctl("resume")
    wait_until(vm.is_placed, SOON, "taken again")


@case("opt recover without a daemon restores what a killed one left")
def recover_alone(lab):
    vm = lab.vm("a").start()
    masks = vm.masks()
    lab.daemon.start()
    wait_until(vm.is_placed, SOON)
    lab.daemon.kill()
    answer = lab.vasctl("opt", "recover")
    equal((answer.code, vm.masks()), (0, masks), "exit code and masks")


@case("pause keeps the pins and takes no new VM, also over a crash, until resume")
def pause(lab):
    vm = lab.vm("a").start()
    lab.daemon.start()
    wait_until(vm.is_placed, SOON)
    masks = vm.masks()
    equal(lab.vasctl("pause").code, 0, "exit code")
    late = lab.vm("late").start()
    some_rounds(lab)
    lab.daemon.kill()
    lab.daemon.start()
    some_rounds(lab)
    check(lab.daemon.status()["paused"], "it forgot that it is paused")
    equal((vm.masks(), late.masks()), (masks, {0: frozenset(lab.cpus)}), "masks")
    lab.vasctl("resume")
    wait_until(late.is_placed, SOON)


@case("a stop while paused keeps the bindings, and the next start too")
def pause_stop(lab):
    vm = lab.vm("a").start()
    lab.daemon.start()
    wait_until(vm.is_placed, SOON)
    masks = vm.masks()
    lab.vasctl("pause")
    lab.daemon.stop()
    equal(vm.masks(), masks, "masks after the stop")
    equal(lab.daemon.run("--oneshot").code, 1, "exit code of --oneshot while paused")
    lab.daemon.start()
    some_rounds(lab)
    equal((lab.daemon.writes(), vm.masks()), ([], masks), "writes and masks after the start")
    equal(lab.vasctl("resume").code, 0, "exit code")
    lab.daemon.stop()
    equal(vm.masks(), {0: frozenset(lab.cpus)}, "masks after a stop that is not paused")


def half_applied(lab):
    """A VM of which one vCPU has been written, and the daemon is at it."""
    vm = lab.vm("a", vcpus=2, cpuset=cpu_list(lab.pair()))
    lab.daemon.start(write_delay_ms=1000)
    vm.start()
    wait_until(lambda: len(lab.daemon.writes()) == 1, 2)
    return vm


@case("pause while masks are being written: answered between two writes, the rest is left")
def pause_between(lab):
    vm = half_applied(lab)
    equal(lab.vasctl("pause").code, 0, "exit code")
    equal(len(lab.daemon.writes()), 1, "writes when it was answered")
    some_rounds(lab)
    equal(len(lab.daemon.writes()), 1, "writes some rounds later")
    equal(len(vm.cpus()), 1, "vCPUs with a CPU")
    lab.vasctl("resume")
    wait_until(vm.is_placed, 3)


@case("recover while masks are being written: what was written is undone, no more is")
def recover_between(lab):
    vm = half_applied(lab)
    equal(lab.vasctl("opt", "recover").code, 0, "exit code")
    pair = frozenset(lab.pair())
    equal(vm.masks(), {0: pair, 1: pair}, "masks when it was answered")
    some_rounds(lab)
    equal(vm.masks(), {0: pair, 1: pair}, "masks some rounds later")


@case("a reassignment that waits for writes is refused by a pause")
def reassign_paused(lab):
    vm = half_applied(lab)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(lab.vasctl, "reassign", "all")
        time.sleep(0.2)  # it has asked; nobody answers during a write
        lab.vasctl("pause")
        equal(asked.result().code, 1, "exit code")
    equal(len(vm.cpus()), 1, "vCPUs with a CPU")


@case("a connection URI that is no text does not cost the answer to status")
def status_of_bad_uri(lab):
    lab.daemon.start("--connect", b"qemu+unix:///system?socket=/nowhere/\xff", wait=False)
    wait_until(lambda: lab.vasctl("status", "--json").code == 0, 3)


@case("a VM that is saved and restored is placed again")
def save_restore(lab):
    lab.daemon.start()
    vm = lab.vm("a").start()
    wait_until(vm.is_placed, SOON)
    lab.virsh("save", vm.name, LAB + "/saved")
    wait_until(lambda: lab.daemon.status()["vms"] == 0, 2, "a saved VM is no VM")
    lab.virsh("restore", LAB + "/saved", "--paused")
    wait_until(vm.is_placed, SOON)
    os.unlink(LAB + "/saved")


@case("setvcpus --live: a new vCPU gets a CPU, and one that goes frees its own")
def setvcpus(lab):
    pair = lab.pair()
    vm = lab.vm("a", vcpus=1, maximum=2, cpuset=cpu_list(pair), boot=UNPLUG).start(paused=False).wait_booted()
    lab.daemon.start()
    wait_until(vm.is_placed, SOON)
    lab.virsh("setvcpus", vm.name, "2", "--live")
    # libvirt has no event for it: the next round by the timer sees it.
    wait_until(lambda: len(vm.threads()) == 2 and vm.is_placed(), 3, "the new vCPU is placed")
    waiting = lab.vm("waiting", cpuset=cpu_list(pair)).start()
    wait_until(lambda: lab.daemon.verdict(waiting) == "SHARED", SOON)
    vm.unplug(1)
    wait_until(lambda: vm.is_placed() and waiting.is_placed(), 10, "both have a CPU of their own")
    equal(lab.strangers(), [], "CPUs owned twice")


@case("observe: decides, says what it would do, writes nothing")
def observe(lab):
    vm = lab.vm("a").start()
    lab.daemon.start(settings={"daemon": {"mode": "observe"}})
    some_rounds(lab)
    status = lab.daemon.status()
    equal((status["mode"], status["moves_done"]), ("observe", 0), "mode and moves")
    check(status["moves_wanted"] >= 1, "it wants no move")
    equal((lab.daemon.writes(), vm.masks()), ([], {0: frozenset(lab.cpus)}), "writes and masks")


@case("--dry-run writes nothing, --oneshot places once and leaves")
def oneshot(lab):
    vm = lab.vm("a").start()
    lab.daemon.configure()
    equal(lab.daemon.run("--dry-run").code, 0, "exit code of --dry-run")
    equal((lab.daemon.writes(), vm.masks()), ([], {0: frozenset(lab.cpus)}), "writes and masks")
    equal(lab.daemon.run("--oneshot").code, 0, "exit code of --oneshot")
    check(vm.is_placed(), "--oneshot did not place it: %s", vm.masks())


@case("--oneshot writes nothing where the settings say observe")
def oneshot_observe(lab):
    vm = lab.vm("a").start()
    lab.daemon.configure({"daemon": {"mode": "observe"}})
    answer = lab.daemon.run("--oneshot")
    equal((answer.code, lab.daemon.writes(), vm.masks()), (1, [], {0: frozenset(lab.cpus)}), "exit code, writes, masks")
    check("observe" in answer.err, "the reason: %r", answer.err)
    equal(lab.daemon.run("--oneshot", "--mode", "act").code, 0, "exit code with --mode act")
    check(vm.is_placed(), "--mode act did not place it: %s", vm.masks())


@case("recover without the rights for it ends with 5")
def recover_denied(lab):
    vm = lab.vm("a").start()
    lab.daemon.start()
    wait_until(vm.is_placed, 2)
    lab.daemon.kill()
    masks = vm.masks()
    os.chmod("/run/vas", 0o777)
    for file in ("lock", "state.json"):
        os.chmod("/run/vas/" + file, 0o666)
    answer = lab.daemon.run("recover", before=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
    equal((answer.code, vm.masks()), (5, masks), "exit code and masks")
    check("CAP_SYS_NICE" in answer.err, "the reason: %r", answer.err)


@case("SIGHUP re-reads the settings file")
def reload(lab):
    vm = lab.vm("a").start()
    lab.daemon.start(settings={"daemon": {"mode": "observe"}})
    some_rounds(lab, 1)
    lab.daemon.configure({"daemon": {"mode": "act"}})
    os.kill(lab.daemon.pid, 1)
    wait_until(vm.is_placed, 2)


@case("a stop restores everything within a second")
def quick_stop(lab):
    vms = crowd(lab)
    masks = all_masks(vms)
    lab.daemon.start()
    wait_until(vms[1].is_placed, SOON)
    some_rounds(lab, 2)
    seconds = lab.daemon.stop()
    check(seconds < patience(), "it took %.2f s", seconds)
    equal(all_masks(vms), masks, "masks")


@case("libvirtd outlives the daemon's starts and ends")
def ends(lab):
    lab.vm("a").start()
    for i in range(N_ENDS):
        lab.daemon.start()
        lab.daemon.stop()
        check(lab.libvirtd.process.poll() is None, "libvirtd ended with %s after %d ends", lab.libvirtd.process.returncode,
              i + 1)
    check("a-" in lab.libvirtd.virsh("list"), "libvirtd does not list the VM any more")


main(__file__)
