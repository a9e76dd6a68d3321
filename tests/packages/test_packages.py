#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The packages in a fresh Debian: installed, upgraded, removed, purged.

test_packages.py DIRECTORY    where `make deb` and `make rpm` left them (root)

What is left in the end is printed, and compared with what may be.
"""

import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../real"))
sys.path.insert(0, HERE)
from fresh_root import FreshRoot, difference, next_deb, run  # noqa: E402
from lab.tap import Skip, case, check, equal, run_cases  # noqa: E402

SETTINGS = "/etc/vas/vas-daemon.conf"
DROP_IN = "/etc/vas/vas-daemon.conf.d/site.conf"
PERSISTED = "/var/lib/vas/settings.conf"
WANTED_BY = "/etc/systemd/system/multi-user.target.wants/vas-daemon.service"
# Lines of accounts stay, as is usual: see debian/vsched.postrm.
MAY_STAY = {"~ /etc/" + name for name in ("passwd", "shadow", "group", "gshadow")}
ACCOUNTS = ("passwd", "group")


def say(text):
    for line in text.splitlines():
        print("#   " + line)


class Packages:
    """The packages, and the root that they are tried in."""

    def __init__(self, directory):
        self.directory = os.path.abspath(directory)
        self.root = FreshRoot(self.directory)
        self.before = None

    def only(self, pattern):
        found = [p for p in glob.glob(os.path.join(self.directory, pattern)) if "dbgsym" not in p]
        check(len(found) == 1, "%s: one is expected in %s, found %r", pattern, self.directory, found)
        return found[0]

    def deb(self):
        return self.only("vsched_*_%s.deb" % run(["dpkg", "--print-architecture"]).strip())

    def rpm(self):
        return self.only("vsched-*.rpm")

    def accounts(self):
        return {name: set(self.root.read("/etc/" + name).splitlines()) for name in ACCOUNTS}

    def evidence(self):
        return ""

    def clean(self):
        pass


def no_errors(tool, words):
    if not shutil.which(tool):
        raise Skip("no %s here" % tool)
    said = run(words, check=False)
    say(said)
    errors = [line for line in said.splitlines() if re.search(r"(^|\s)E: ", line)]
    check(not errors, "%s: %s", tool, "; ".join(errors))
    return said


@case("lintian has no errors")
def lintian(packages):
    no_errors("lintian", ["lintian", "--allow-root", packages.deb()])


@case("rpmlint has no errors")
def rpmlint(packages):
    said = no_errors("rpmlint", ["rpmlint", "-c", os.path.join(HERE, "rpmlint.toml"), packages.rpm()])
    check("0 errors" in said, "rpmlint did not judge")


@case("it installs into a fresh system, with its dependencies and no more, and says how to act")
def installs(packages):
    root = packages.root
    depends = run(["dpkg-deb", "-f", packages.deb(), "Depends"]).strip()
    root.run("apt-get", "-q", "update")
    root.run("apt-get", "-q", "-y", "--no-install-recommends", "satisfy", depends)
    packages.before, packages.accounts_before = root.inventory(), packages.accounts()
    said = root.run("dpkg", "-i", root.put(packages.deb(), "vsched.deb"))
    check("mode = act" in said and "writes nothing" in said, "it does not say how to act: %s", said)
    say(said)


@case("what is installed works: settings, users, unit")
def works(packages):
    root = packages.root
    check(re.search(r"^mode = observe$", root.read(SETTINGS), re.M), "the settings do not say observe")
    root.run("vas-daemon", "--check-config")
    for program in ("vas-daemon", "vas_daemon", "vasctl", "vas-sim"):
        check("0." in root.run(program, "--version"), "%s --version", program)
    root.run("getent", "passwd", "vas")
    root.run("getent", "group", "vas-admin")
    check(root.exists(WANTED_BY), "the unit is not enabled")
    equal(root.run("systemd-analyze", "verify", "--man=no", "vas-daemon.service"), "", "systemd-analyze verify")
    equal(root.run("stat", "-c", "%U %a", "/var/lib/vas").strip(), "vas 755", "owner and mode of /var/lib/vas")


@case("an upgrade keeps what the operator wrote, and is silent about it")
def upgrades(packages):
    root = packages.root
    mine = root.read(SETTINGS).replace("mode = observe", "mode = act")
    root.write(SETTINGS, mine)
    root.write(DROP_IN, "[placement]\nskip-cpuset = 0\n")
    root.write(PERSISTED, "[defrag]\nburst = 32\n")
    said = root.run("dpkg", "-i", root.put(next_deb(packages.deb(), root.layer), "next.deb"))
    say(said)
    check("writes nothing" not in said, "it speaks as if it were new: %s", said)
    check("+next" in root.run("dpkg-query", "-W", "vsched"), "it was not upgraded")
    equal(root.read(SETTINGS), mine, "the settings")
    check(root.exists(DROP_IN) and root.exists(PERSISTED), "settings beside the file are gone")
    root.run("vas-daemon", "--check-config")


@case("removed: programs and unit are gone, what the operator wrote is there")
def removes(packages):
    root = packages.root
    say(root.run("dpkg", "-r", "vsched"))
    for path in ("/usr/sbin/vas-daemon", "/usr/bin/vasctl", "/run/vas", "/lib/systemd/system/vas-daemon.service"):
        check(not root.exists(path), "%s is left", path)
    for path in (SETTINGS, DROP_IN, PERSISTED):
        check(root.exists(path), "%s is gone", path)


def judge_rest(packages, may_stay):
    rest = difference(packages.before, packages.root.inventory())
    print("#   left behind: %s" % (", ".join(rest) or "nothing"))
    for name, lines in packages.accounts().items():
        new = sorted(lines - packages.accounts_before[name])
        print("#   new in %s: %s" % (name, ", ".join(new) or "nothing"))
        check(all(re.match(r"vas(-admin)?:", line) for line in new), "%s has more than ours: %r", name, new)
    check(set(rest) <= may_stay, "more is left than may be: %r", sorted(set(rest) - may_stay))


@case("purged: nothing is left but the lines of its user and its groups")
def purges(packages):
    say(packages.root.run("dpkg", "-P", "vsched"))
    judge_rest(packages, MAY_STAY)


@case("it comes back after a purge")
def comes_back(packages):
    root = packages.root
    root.run("dpkg", "-i", "/tmp/vsched.deb")
    check(re.search(r"^mode = observe$", root.read(SETTINGS), re.M), "the settings do not say observe")
    root.run("dpkg", "-P", "vsched")
    judge_rest(packages, MAY_STAY)


def rpm_in(packages, *words):
    if not shutil.which("rpm"):
        raise Skip("no rpm here")
    said = run(["rpm", "--root", packages.root.path, "--nosignature", *words])
    say(said)
    return said


@case("the RPM: conflicts with virt-awaresched, installs, and leaves nothing")
def rpm_comes_and_goes(packages):
    root = packages.root
    rpm_file = packages.rpm()
    check("virt-awaresched" in rpm_in(packages, "-qp", "--conflicts", rpm_file).split(), "it has no such conflict")
    said = rpm_in(packages, "-i", "--nodeps", rpm_file)
    check("mode = act" in said, "it does not say how to act: %s", said)
    root.run("vas-daemon", "--check-config")
    check(re.search(r"^mode = observe$", root.read(SETTINGS), re.M), "the settings do not say observe")
    root.write(PERSISTED, "[defrag]\nburst = 32\n")
    rpm_in(packages, "-U", "--force", "--nodeps", rpm_file)
    check(root.exists(PERSISTED), "the upgrade took what --persist wrote")
    rpm_in(packages, "-e", "vsched")
    # Each system of RPMs has that directory.
    judge_rest(packages, MAY_STAY | {"+ /usr/share/licenses"})


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        print("1..0 # SKIP root and mmdebstrap are needed")
        return 0
    if not os.environ.get("VAS_FRESH_ROOT"):
        words = ["unshare", "-m", "-p", "-i", "-f", "--kill-child", "--propagation", "private"]
        return subprocess.call([*words, sys.executable, *sys.argv], env={**os.environ, "VAS_FRESH_ROOT": "1"})
    packages = Packages(sys.argv[1])
    packages.root.make()
    packages.root.mount()
    return run_cases(packages)


if __name__ == "__main__":
    sys.exit(main())
