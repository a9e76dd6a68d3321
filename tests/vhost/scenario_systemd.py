#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs inside an emulated host whose process 1 is systemd: the daemon as its unit
file has it, with the limits that a careful administrator adds.
"""

import glob
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import Guest, Vm, furnish, mount, write  # noqa: E402
from lab.tap import wait_until  # noqa: E402
from steps import Steps, case, check, equal, run  # noqa: E402

UNIT = "vas-daemon.service"
LIMITS = "/run/systemd/system/%s.d/limits.conf" % UNIT
CAP_SYS_NICE = 1 << 23


def systemctl(*words):
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False, timeout=120)
    check(done.returncode == 0, "systemctl %s: %s", " ".join(words), done.stderr.strip())
    return done.stdout


def properties(*names):
    lines = systemctl("show", UNIT, "-p", ",".join(names)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def process_status(pid):
    with open("/proc/%s/status" % pid, encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def main_pid():
    return properties("MainPID")["MainPID"]


@case("its unit starts the daemon, as user vas with CAP_SYS_NICE and nothing else")
def starts(host):
    os.makedirs(os.path.dirname(LIMITS))
    write(LIMITS, "[Service]\nCPUQuota=100%\nMemoryMax=128M\n")
    host.daemon.configure(**host.GENEROUS)
    host.start_vms(Vm("free-four", 4))
    host.free = host.masks()
    systemctl("daemon-reload")
    systemctl("start", UNIT)
    said = properties("ActiveState", "Type", "MainPID", "MemoryMax", "CPUQuotaPerSecUSec")
    equal((said["ActiveState"], said["Type"], said["MemoryMax"], said["CPUQuotaPerSecUSec"]),
          ("active", "notify", str(128 << 20), "1s"), "the unit's state and limits")
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
