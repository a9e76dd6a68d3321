#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs inside an emulated host whose process 1 is systemd: the daemon as its unit
file has it, with the limits that a careful administrator adds.
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import Guest, Vm, furnish, write  # noqa: E402
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


# In the mount namespace of a process, as the user that it runs as: what can be written there?
WRITE_THERE = """
import ctypes, errno, os, sys
if ctypes.CDLL(None).setns(os.open("/proc/%s/ns/mnt" % sys.argv[1], os.O_RDONLY), 0) != 0:
    sys.exit("setns failed")
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
for place in sys.argv[3:]:
    try:
        os.close(os.open(place + "/vas-was-here", os.O_WRONLY | os.O_CREAT, 0o600))
        os.unlink(place + "/vas-was-here")
        print(place, "written")
    except OSError as e:
        print(place, errno.errorcode[e.errno])
"""
ITS_OWN = ["/run/vas", "/var/lib/vas"]
NOT_ITS_OWN = ["/", "/etc", "/etc/vas", "/usr/bin", "/var/lib", "/var/log", "/root", "/home", "/run", "/sys/fs/cgroup"]


@case("where it runs, and as who it runs, its two directories alone can be written")
def writes(_host):
    pid = properties("MainPID")["MainPID"]
    user = process_status(pid)["Uid"].split()[0]
    done = subprocess.run([sys.executable, "-c", WRITE_THERE, pid, user, *ITS_OWN, *NOT_ITS_OWN], capture_output=True, text=True,
                          check=False, timeout=120)
    equal((done.returncode, done.stderr), (0, ""), "the attempt")
    said = dict(line.split() for line in done.stdout.splitlines())
    equal(sorted(said), sorted(ITS_OWN + NOT_ITS_OWN), "the places that were tried")
    equal([place for place, what in said.items() if what == "written"], ITS_OWN, "what was written")


@case("systemctl restart: every vCPU ends on the CPU that it had")
def restarts(host):
    before = host.masks()
    pid = properties("MainPID")["MainPID"]
    systemctl("restart", UNIT)
    check(properties("MainPID")["MainPID"] != pid, "it is the same process")
    host.daemon.wait_ready()
    wait_until(lambda: host.masks() == before, 30, "every vCPU is where it was", pause=0.3)


@case("systemctl stop: every thread has the mask from before the daemon")
def stops(host):
    systemctl("stop", UNIT)
    equal({len(mask) for mask in host.masks().values()}, {64}, "CPUs of each mask")
    masks = host.masks()
    equal({tid: masks[tid] for tid in host.free}, host.free, "masks of the VM from before the daemon")
    equal(properties("Result", "ExecMainStatus"), {"Result": "success", "ExecMainStatus": "0"}, "how it ended")


if __name__ == "__main__":
    furnish(systemd=True)
    run(Steps(Guest(), "l3"))
