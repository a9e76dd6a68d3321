#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`make install`, whatever the prefix and whatever the names of the directories.

test_install.py SOURCE    its top directory; what is built is built elsewhere
"""

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../real"))
from lab.tap import Skip, case, check, equal, run_cases  # noqa: E402

SETTINGS = "etc/vas/vas-daemon.conf"
# Below each prefix.
PROGRAMS = ("bin/vas-sim", "bin/vasctl", "sbin/vas-daemon", "sbin/vas_daemon")
FOR_SYSTEMD = ("systemd/system/vas-daemon.service", "sysusers.d/vas.conf", "tmpfiles.d/vas.conf")
# Mounts a tree over this system's, and runs a program there.
LAID_OVER = """
set -e
for d in etc usr/local; do mount -t overlay -o "lowerdir=$1/$d:/$d" overlay "/$d"; done
shift
exec "$@"
"""


class Installs:
    """A build in a directory whose name has a space and a quote in it, and trees that it is installed into."""

    def __init__(self, source, directory):
        self.source = source
        self.directory = directory
        self.build = os.path.join(directory, "it's a build")

    def run(self, words, check_exit=True):
        plain = {k: v for k, v in os.environ.items() if k not in ("DESTDIR", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PREFIX", "BUILD")}
        done = subprocess.run(words, cwd=self.source, env=plain, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        if check_exit:
            check(done.returncode == 0, "%s: exit %d\n%s", shlex.join(words), done.returncode, done.stdout[-4000:])
        return done

    def install(self, prefix, tree):
        if not os.path.exists(self.build):
            self.run(["meson", "setup", self.build, "-Dtests=false", "-Doptimization=0"])
        return self.run(["make", "install", "BUILD=" + self.build, "PREFIX=" + prefix, "DESTDIR=" + tree]).stdout

    def evidence(self):
        return ""

    def clean(self):
        pass


def tree_of(lab, name):
    return os.path.join(lab.directory, name)


def read(*parts):
    with open(os.path.join(*parts), encoding="utf-8") as f:
        return f.read()


def check_tree(tree, prefix, systemd):
    """Nothing is missing, and nothing is where neither we nor systemd look."""
    for path in PROGRAMS:
        check(os.path.lexists(tree + prefix + "/" + path), "no %s/%s", prefix, path)
    for path in FOR_SYSTEMD:
        check(os.path.exists(tree + systemd + "/" + path), "no %s/%s", systemd, path)
    check(os.path.exists(os.path.join(tree, SETTINGS)), "no /%s", SETTINGS)
    found = {os.path.join(where, name)[len(tree):] for where, _, names in os.walk(tree) for name in names}
    strangers = [p for p in found if not p.startswith((prefix + "/", systemd + "/", "/etc/vas/"))]
    equal(strangers, [], "files elsewhere")
    unit = read(tree + systemd, FOR_SYSTEMD[0])
    command = re.search("^ExecStart=(.*)$", unit, re.M)[1]
    equal(shlex.split(command)[0], prefix + "/sbin/vas-daemon", "the unit's program")


@case("each target of the Makefile takes a BUILD with a space and a quote in it")
def targets(lab):
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", read(lab.source, "Makefile"), re.M)[1].replace("\\\n", " ").split()
    check(len(phony) > 20, "the Makefile has only the targets %r", phony)
    shown = "'" + lab.build.replace("'", "'\\''") + "'"
    named = 0
    for target in phony:
        said = lab.run(["make", "-n", target, "BUILD=" + lab.build]).stdout
        named += said.count(shown)
        check("a build" not in said.replace(shown, ""), "make %s: %s", target, said)
    check(named > 20, "BUILD is in %d commands only", named)


@case("PREFIX=/usr/local, into a directory with a space: all is where it is looked for")
def usr_local(lab):
    tree = tree_of(lab, "a b")
    lab.install("/usr/local", tree)
    check_tree(tree, "/usr/local", "/usr/local/lib")
    equal(os.listdir(os.path.join(tree, "etc")), ["vas"], "what is in /etc")


@case("the daemon that was installed there reads the settings that were installed there")
def finds_settings(lab):
    if os.geteuid() != 0:
        raise Skip("only root can lay a tree over the system's")
    tree = tree_of(lab, "a b")
    command = ["unshare", "-m", "sh", "-c", LAID_OVER, "sh", tree, "/usr/local/sbin/vas-daemon", "--check-config"]
    empty = tree_of(lab, "empty")
    for path in ("etc", "usr/local"):
        os.makedirs(os.path.join(empty, path))
    if lab.run(["unshare", "-m", "sh", "-c", LAID_OVER, "sh", empty, "true"], check_exit=False).returncode:
        raise Skip("no overlay can be mounted here")
    lab.run(command)
    with open(os.path.join(tree, SETTINGS), "a", encoding="utf-8") as f:
        f.write("\nno-such-setting = 1\n")
    done = lab.run(command, check_exit=False)
    check(done.returncode != 0 and "no-such-setting" in done.stdout, "a wrong setting is not seen: %s", done.stdout)


@case("an operator's settings are kept, and the new ones are beside them")
def keeps_settings(lab):
    tree = tree_of(lab, "a b")
    mine = "[daemon]\nmode = act\n"
    with open(os.path.join(tree, SETTINGS), "w", encoding="utf-8") as f:
        f.write(mine)
    said = lab.install("/usr/local", tree)
    check("kept" in said, "it does not say so: %s", said)
    equal(read(tree, SETTINGS), mine, "the settings")
    check("mode = observe" in read(tree, SETTINGS + ".new"), "the new ones")


@case("a DESTDIR that is no absolute path begins where make runs")
def relative(lab):
    tree = tree_of(lab, "rel ative")
    lab.install("/usr/local", os.path.relpath(tree, lab.source))
    check_tree(tree, "/usr/local", "/usr/local/lib")


@case("a PREFIX of one's own, with a space in it: systemd's files are where systemd looks")
def own_prefix(lab):
    tree = tree_of(lab, "own")
    lab.install("/opt/v s", tree)
    check_tree(tree, "/opt/v s", "/usr/local/lib")
    check(b"/opt/v s/sbin/vas-daemon" in open(tree + "/opt/v s/bin/vasctl", "rb").read(), "vasctl names another daemon")


@case("no program has the name of a directory of this machine in it")
def no_paths(lab):
    programs = [p for p in glob.glob(glob.escape(tree_of(lab, "own")) + "/opt/v s/*bin/*") if not os.path.islink(p)]
    equal(len(programs), 3, "programs")
    for program in programs:
        with open(program, "rb") as f:
            text = f.read()
        for directory in (lab.directory, lab.source):
            check(directory.encode() not in text, "%s has %s in it", os.path.basename(program), directory)


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    if not shutil.which("make"):
        print("1..0 # SKIP no make here")
        return 0
    with tempfile.TemporaryDirectory(prefix="vas install ") as directory:
        return run_cases(Installs(os.path.abspath(sys.argv[1]), directory))


if __name__ == "__main__":
    sys.exit(main())
