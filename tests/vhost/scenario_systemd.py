#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs inside an emulated host whose process 1 is systemd: the daemon as its unit
file has it, with the limits of that file.
"""

import glob
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import Guest, Vm, furnish, mount, read, write  # noqa: E402
from lab.tap import wait_until  # noqa: E402
from steps import Steps, case, check, equal, run  # noqa: E402

UNIT = "vas-daemon.service"
GROUP = "/sys/fs/cgroup/system.slice/" + UNIT
# What the unit promises, in the words of its control group.
LIMITS = {"memory.max": str(128 << 20), "cpu.max": "100000 100000"}
CAP_SYS_NICE = 1 << 23


def systemctl(*words):
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False, timeout=120)
    check(done.returncode == 0, "systemctl %s: %s", " ".join(words), done.stderr.strip())
    return done.stdout


def properties(*names):
    lines = systemctl("show", UNIT, "-p", ",".join(names)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def status_in(path):
    return dict(line.split(":\t", 1) for line in read(path).splitlines() if ":\t" in line)


def process_status(pid):
    return status_in("/proc/%s/status" % pid)


def main_pid():
    return properties("MainPID")["MainPID"]


def limits():
    """What holds the daemon, from the kernel, which has no such file where there is no limit."""
    paths = {name: "%s/%s" % (GROUP, name) for name in LIMITS}
    return {name: read(path).strip() if os.path.exists(path) else None for name, path in paths.items()}


@case("its unit starts the daemon, as user vas with CAP_SYS_NICE and nothing else, with 128 MB and one CPU")
def starts(host):
    host.daemon.configure(**host.GENEROUS)
    host.start_vms(Vm("free-four", 4))
    host.free = host.masks()
    systemctl("start", UNIT)
    said = properties("ActiveState", "Type", "MainPID", "DropInPaths")
    equal((said["ActiveState"], said["Type"], said["DropInPaths"]), ("active", "notify", ""),
          "the unit's state, and what was added to it")
    equal(limits(), LIMITS, "its limits")
    status = process_status(said["MainPID"])
    check("0" not in status["Uid"].split(), "it runs as root")
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        equal(int(status[kind], 16), CAP_SYS_NICE, kind)
    equal(status["NoNewPrivs"], "1", "NoNewPrivs")


@case("it pins a VM from before it and one that comes")
def pins(host):
    host.daemon.wait_ready()
    host.start_vms(Vm("free-two", 2))
    host.settle()


# In the mount namespace of a process, as a user: what can be written there?
WRITE_THERE = """
import ctypes, errno, os, sys
if ctypes.CDLL(None).setns(os.open("/proc/%s/ns/mnt" % sys.argv[1], os.O_RDONLY), 0) != 0:
    sys.exit("setns failed")
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
for place in sys.argv[3:]:
    try:
        os.close(os.open(place + "/vas-was-here", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        print(place, "written")
    except OSError as e:
        print(place, errno.errorcode[e.errno])
"""
ITS_OWN = ["/run/vas", "/var/lib/vas"]
PRIVATE = ["/tmp", "/var/tmp"]
PRIVATE_SEEN = "systemd-private-*-%s-*" % UNIT
# Anybody may write there: the mounts alone can refuse it. One is of a file system of its own.
ANYBODYS = ["/srv/anybody", "/opt/anybody", "/var/anybody", "/var/log/libvirt/anybody", "/run/anybody", "/run/lock",
            "/dev/shm", "/dev/mqueue"]
ROOTS = ["/", "/etc", "/etc/vas", "/usr/bin", "/var/lib", "/var/log", "/root", "/home", "/run", "/sys/fs/cgroup"]
ALL = ITS_OWN + PRIVATE + ANYBODYS + ROOTS


def write_in_mounts_of(pid, user):
    """{place: what came of an attempt to write there}, and the files that are seen from here, which are then removed."""
    done = subprocess.run([sys.executable, "-c", WRITE_THERE, pid, user, *ALL], capture_output=True, text=True,
                          check=False, timeout=120)
    equal((done.returncode, done.stderr), (0, ""), "the attempt")
    came = dict(line.split() for line in done.stdout.splitlines())
    equal(sorted(came), sorted(ALL), "the places that were tried")
    seen = [place for place in ALL if os.path.exists(place + "/vas-was-here")]
    for place in seen:
        os.unlink(place + "/vas-was-here")
    return came, seen


def private_files():
    return [path for place in PRIVATE for path in glob.glob("%s/%s/tmp/vas-was-here" % (place, PRIVATE_SEEN))]


@case("where it runs, and as who it runs, only its two directories and a private /tmp can be written")
def writes(_host):
    pid = main_pid()
    user = process_status(pid)["Uid"].split()[0]
    for place in ANYBODYS:
        os.makedirs(place, exist_ok=True)
        os.chmod(place, 0o1777)
    came, seen = write_in_mounts_of(str(os.getpid()), user)
    equal(sorted(seen), sorted(ITS_OWN + PRIVATE + ANYBODYS), "what that user can write outside of the daemon's mounts")
    came, seen = write_in_mounts_of(pid, user)
    equal([place for place, what in came.items() if what == "written"], ITS_OWN + PRIVATE, "what was written")
    equal({came[place] for place in ANYBODYS}, {"EROFS"}, "what forbids it where anybody may write")
    equal(seen, ITS_OWN, "what others see of it")
    equal(len(private_files()), len(PRIVATE), "files in its private directories")


@case("systemctl restart: every vCPU ends on the CPU that it had")
def restarts(host):
    before = host.masks()
    pid = main_pid()
    systemctl("restart", UNIT)
    check(main_pid() != pid, "it is the same process")
    equal(private_files(), [], "what is left of the private directories")
    host.daemon.wait_ready()
    wait_until(lambda: host.masks() == before, 30, "every vCPU is where it was", pause=0.3)


# The daemon under this notes its own writes; see tests/real/count_writes.c.
COUNTER = "/usr/lib/vhost/count_writes.so"
COUNTED = "/run/vas/writes"
# What a process is that the unit starts, before it has done anything.
STARTED = "/run/vas/started"
WATCHED = """[Service]
Environment=LD_PRELOAD=%s VAS_COUNT_WRITES=%s
ExecStartPre=/bin/cp -f /proc/self/status %s
""" % (COUNTER, COUNTED, STARTED)


@case("systemd's fence is not the only one: each of its threads has the daemon's own as well")
def confined(host):
    place = "/run/systemd/system/%s.d" % UNIT
    os.makedirs(place)
    write(place + "/watched.conf", WATCHED)
    write(COUNTED, "")
    os.chmod(COUNTED, 0o666)
    systemctl("daemon-reload")
    systemctl("restart", UNIT)
    host.daemon.wait_ready()
    tasks = "/proc/%s/task" % main_pid()
    filters = {int(status_in("%s/%s/status" % (tasks, tid))["Seccomp_filters"]) for tid in os.listdir(tasks)}
    equal(filters, {int(status_in(STARTED)["Seccomp_filters"]) + 1}, "filters of its threads")


def killed_for_memory():
    """How often systemd has said so."""
    said = subprocess.run(["journalctl", "-q", "-o", "cat", "UNIT=" + UNIT, "UNIT_RESULT=oom-kill"], capture_output=True,
                          text=True, check=True, timeout=120)
    return len(said.stdout.splitlines())


@case("killed by the kernel for its memory: systemd says so and starts another, which adopts all without a write")
def out_of_memory(host):
    host.settle()
    check(len(read(COUNTED).splitlines()) >= len(host.masks()), "the counter of writes counts nothing")
    write(COUNTED, "")
    before, pid = host.masks(), main_pid()
    equal((killed_for_memory(), properties("NRestarts")["NRestarts"]), (0, "0"), "such ends before it")
    # Less than it has: the kernel kills it for that. The next life has a new group, with the unit's limit.
    write(GROUP + "/memory.max", "0")
    wait_until(lambda: not os.path.exists("/proc/" + pid), 20, "it is dead")
    equal(host.masks(), before, "masks without a daemon")

    def is_back():
        equal(host.masks(), before, "masks meanwhile")
        return host.daemon.has_looked()

    wait_until(is_back, 60, "another life's first round", pause=0.2)
    wait_until(lambda: host.daemon.status()["rounds"] >= 3, 60, "some rounds of it", pause=0.5)
    equal(properties("ActiveState", "NRestarts"), {"ActiveState": "active", "NRestarts": "1"}, "the unit")
    equal(killed_for_memory(), 1, "ends of which systemd says oom-kill")
    equal(limits(), LIMITS, "the new life's limits")
    equal((read(COUNTED), host.daemon.status()["writes"]), ("", 0), "what the new life wrote, as counted, and as it says")
    equal(host.masks(), before, "masks after it")
    equal({vm["verdict"] for vm in host.daemon.vms().values()}, {"PLACED"}, "verdicts")


@case("systemctl stop: every thread has the mask from before the daemon")
def stops(host):
    check(glob.glob("/tmp/" + PRIVATE_SEEN), "it has no private /tmp")
    systemctl("stop", UNIT)
    equal([path for place in PRIVATE for path in glob.glob(place + "/" + PRIVATE_SEEN)], [], "private directories left")
    equal({len(mask) for mask in host.masks().values()}, {64}, "CPUs of each mask")
    masks = host.masks()
    equal({tid: masks[tid] for tid in host.free}, host.free, "masks of the VM from before the daemon")
    equal(properties("Result", "ExecMainStatus"), {"Result": "success", "ExecMainStatus": "0"}, "how it ended")


if __name__ == "__main__":
    furnish(systemd=True)
    mount("mqueue", "/dev/mqueue", "mqueue")
    run(Steps(Guest(), "l3"))
