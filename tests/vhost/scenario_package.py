#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs inside an emulated host whose process 1 is systemd: the Debian package's
life on a host with VMs. Installed it observes; upgraded it leaves every vCPU
where it was; removed it restores every mask, whatever its settings say.
"""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import CONF, Guest, Vm, furnish, read, say, write  # noqa: E402
from lab.tap import wait_until  # noqa: E402
from steps import Steps, case, check, equal, run  # noqa: E402

UNIT = "vas-daemon.service"
DEB, NEXT_DEB = "/usr/lib/vhost/vsched.deb", "/usr/lib/vhost/next.deb"
POLICY = "/usr/sbin/policy-rc.d"


def command(*words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False, timeout=300)
    say("%s:\n%s" % (" ".join(words), done.stdout))
    check(done.returncode == 0, "%s: exit %d: %s", " ".join(words), done.returncode, done.stdout.strip())
    return done.stdout


def dpkg(*words):
    # man-db would read all pages of the build machine, which takes minutes here.
    return command("dpkg", "--force-unsafe-io", "--no-triggers", *words)


def unit(name):
    return command("systemctl", "show", UNIT, "-p", name).strip().partition("=")[2]


@case("installed beside running VMs it runs, and writes no mask")
def installs(host):
    host.start_vms(Vm("free-four", 4), Vm("free-two", 2))
    host.free = host.masks()
    said = dpkg("-i", DEB)
    check("mode = act" in said, "it does not say how to act: %s", said)
    equal((unit("ActiveState"), unit("UnitFileState")), ("active", "enabled"), "the unit")
    host.daemon.wait_ready()
    equal(host.masks(), host.free, "masks")


@case("it acts when its settings say so, with the words that the package gives")
def acts(host):
    write(CONF, read(CONF).replace("mode = observe", "mode = act"))
    command("systemctl", "reload", UNIT)
    host.settle()


@case("upgraded: another process, and every vCPU is where it was")
def upgrades(host):
    before, pid = host.masks(), unit("MainPID")
    dpkg("-i", NEXT_DEB)
    check("+next" in command("dpkg-query", "-W", "vsched"), "it was not upgraded")
    check(unit("MainPID") not in (pid, "0"), "no other process runs")
    host.daemon.wait_ready()
    wait_until(lambda: host.masks() == before, 30, "every vCPU is where it was", pause=0.3)
    check(re.search("^mode = act$", read(CONF), re.M), "the settings were replaced")


@case("removed: every thread has the mask from before, although on-stop = keep")
def removes(host):
    write(os.path.dirname(CONF) + "/vas-daemon.conf.d/keep.conf", "[daemon]\non-stop = keep\n")
    command("systemctl", "reload", UNIT)
    dpkg("-r", "vsched")
    equal(host.masks(), host.free, "masks")
    check(not os.path.exists("/run/vas"), "/run/vas is left")
    check(os.path.exists(CONF), "the settings are gone")


@case("purged: its directories are gone")
def purges(host):
    dpkg("-P", "vsched")
    for path in ("/etc/vas", "/var/lib/vas", "/run/vas"):
        check(not os.path.lexists(path), "%s is left", path)


if __name__ == "__main__":
    furnish(systemd=True)
    # What furnish made for a daemon that comes without its package.
    command("umount", "/var/lib/vas")
    if os.path.exists(CONF):
        os.unlink(CONF)
    # A build machine's, which may forbid packages to start services.
    if os.path.exists(POLICY):
        os.unlink(POLICY)
    run(Steps(Guest(), "l3"))
