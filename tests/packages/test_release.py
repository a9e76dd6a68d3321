#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""All that a release consists of: made twice, compared to the byte, and tried (root, a Debian mirror, a quarter of an hour).

test_release.py [--commit COMMIT] DIRECTORY

Without --commit, HEAD must be the tag of its version. What is to be published is in DIRECTORY in the end, with SHA256SUMS.
Everything is built in a fresh system that has neither git nor a network, of the tarball alone.
"""

import argparse
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(HERE, "../real"), os.path.join(HERE, "../systems"), HERE]
import cross  # noqa: E402
import roots  # noqa: E402
from lab.tap import Skip, case, check, equal, run_cases  # noqa: E402

OF_EACH_ARCH = ["pkgconf", *cross.LIBRARIES]
TOOLS = ["build-essential", "debhelper", "meson", "python3", "rpm", "scdoc"]
ELF_MACHINE = {"amd64": 62, "arm64": 183}
PROGRAMS = ["src/daemon/vas-daemon", "src/ctl/vasctl", "src/sim/vas-sim"]
LIMIT_S = 1200

# Words in a copy of the system ($1), whose changes go to $2; $3 is seen as /release. No network, and no git.
IN_SYSTEM = """
set -e
mkdir -p "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
mkdir -p "$2/root/release"
mount --bind "$3" "$2/root/release"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
mount --rbind /sys "$2/root/sys"
mount -t tmpfs -o mode=1777 tmpfs "$2/root/tmp"
exec chroot "$2/root" /usr/bin/env -i HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -ec "$4"
"""
# Two builders that have nothing in common; the second runs the tests of what it packs.
HABITS = {"one": "umask 077; export TZ=Asia/Tokyo LC_ALL=C DEB_BUILD_OPTIONS=nocheck",
          "two": "umask 022; export TZ=America/Lima LC_ALL=C.UTF-8"}
PLACES = {"one": "'/root/a b'", "two": "/home/builder"}


def run(words, **more):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False, timeout=LIMIT_S, **more)
    check(done.returncode == 0, "%s: exit %d\n%s", shlex.join(map(str, words))[-400:], done.returncode, done.stdout[-6000:])
    return done.stdout


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


class Release:
    def __init__(self, directory, commit):
        self.directory = os.path.abspath(directory)
        self.commit = commit or "HEAD"
        self.must_be_tagged = not commit
        self.arch = roots.native()
        self.version = self._said("meson.build", r"^ *version: '([^']*)',$")
        self.scratch = os.path.join(self.directory, "scratch")
        self.system = os.path.join(self.directory, "system")
        shutil.rmtree(self.scratch, ignore_errors=True)
        for name in HABITS:
            os.makedirs(os.path.join(self.scratch, name))

    def _said(self, path, pattern):
        found = re.search(pattern, run(["git", "-C", TREE, "show", "%s:%s" % (self.commit, path)]), re.M)
        check(found, "%s names no version", path)
        return found[1]

    def versions(self):
        return {"meson.build": self.version, "debian/changelog": self._said("debian/changelog", r"\Avsched \((\S+)\)"),
                "CHANGELOG.md": self._said("CHANGELOG.md", r"^## \[(\d\S*)\]"),
                "data/vsched.spec": self._said("data/vsched.spec", r"^Version: *(\S+)$")}

    def others(self):
        """Another architecture that Debian cross-builds for; none from an arm64."""
        return ["arm64"] if self.arch == "amd64" else []

    def make_system(self):
        packages = TOOLS + OF_EACH_ARCH + [p + ":" + a for a in self.others() for p in OF_EACH_ARCH] + \
            ["crossbuild-essential-" + a for a in self.others()]
        roots.make(self.system, roots.release(), ",".join([self.arch, *self.others()]), packages)

    def inside(self, builder, words):
        """Runs words as one of the builders, in a source tree that it has unpacked; what is to stay goes to /release/BUILDER."""
        words = "mkdir -p %s; %s; cd %s; [ -e src ] || tar -xf /release/vsched-*.tar.gz --strip-components=1\n%s" % (
            PLACES[builder], HABITS[builder], PLACES[builder], words)
        return run(["unshare", "-m", "-p", "-n", "-i", "-f", "--kill-child", "--propagation", "private",
                    "sh", "-c", IN_SYSTEM, "sh", self.system, os.path.join(self.scratch, builder), self.directory, words])

    def equal_of_both(self, pattern):
        """Both builders' file of that name, moved to where it is published once it is seen to be the same."""
        found = []
        for builder in HABITS:
            names = [n for n in os.listdir(self.made(builder)) if re.fullmatch(pattern, n)]
            equal(len(names), 1, "files of %s like %s: %s" % (builder, pattern, names))
            found.append(os.path.join(self.made(builder), names[0]))
        equal(os.path.basename(found[0]), os.path.basename(found[1]), "names")
        equal(digest(found[0]), digest(found[1]), "SHA256 of both")
        return shutil.copy(found[0], self.directory)

    def made(self, builder):
        return os.path.join(self.directory, "made", builder)

    def evidence(self):
        return ""

    def clean(self):
        pass


@case("one version everywhere, and HEAD is its tag")
def versions(release):
    equal(set(release.versions().values()), {release.version}, "versions: %s" % release.versions())
    if release.must_be_tagged:
        tags = run(["git", "-C", TREE, "tag", "--points-at", "HEAD"]).split()
        check("v" + release.version in tags, "HEAD has the tags %s, and not v%s (RELEASE=HEAD tries any commit)",
              tags, release.version)


@case("the source, packed in two directories: equal to the byte")
def source(release):
    shutil.rmtree(os.path.join(release.directory, "made"), ignore_errors=True)
    for builder in HABITS:
        os.makedirs(release.made(builder))
        clone = os.path.join(release.scratch, builder, "a clone")
        run(["git", "clone", "-q", TREE, clone])
        commit = run(["git", "-C", TREE, "rev-parse", release.commit]).strip()
        run(["sh", "-c", 'cd "$1" && %s && tools/dist "$2" "$3"' % HABITS[builder], "sh", clone,
             release.made(builder), commit])
    for old in os.listdir(release.directory):
        if old.endswith((".tar.gz", ".deb", ".rpm")):
            os.unlink(os.path.join(release.directory, old))
    release.equal_of_both(r"vsched-.*\.tar\.gz")


@case("the tarball builds and passes its unit tests, without git and without scdoc, and has its man pages")
def tarball(release):
    release.make_system()
    said = release.inside("two", "mount --bind /dev/null /usr/bin/scdoc; ! command -v git; make unit; "
                          "DESTDIR=/tmp/tree meson install -C build --no-rebuild >/dev/null; ls /tmp/tree/usr/share/man/man8/vas-daemon.8")
    print("#   " + said.strip().splitlines()[-2])


@case("`make` in two directories: the same programs")
def programs(release):
    for builder in HABITS:
        release.inside(builder, "[ -e build ] || make >/dev/null; cd build; sha256sum %s >/release/made/%s/programs.sums"
                       % (" ".join(PROGRAMS), builder))
    release.equal_of_both(r"programs\.sums")
    os.unlink(os.path.join(release.directory, "programs.sums"))


def build_deb(release, arch):
    for builder in HABITS:
        # The second builder is no root, and has the right to write only where it builds.
        user = "chown -R 1234:1234 . /release/made/two; setpriv --reuid=1234 --regid=1234 --clear-groups " if builder == "two" else ""
        release.inside(builder, "%ssh tools/package deb /release/made/%s %s" % (user, builder, arch))
    return release.equal_of_both(r"vsched_[^_]*_%s\.deb" % arch)


def check_deb(path, arch):
    equal(run(["dpkg-deb", "-f", path, "Architecture"]).strip(), arch, "architecture")
    tree = path + ".tree"
    run(["dpkg-deb", "-x", path, tree])
    with open(tree + "/usr/sbin/vas-daemon", "rb") as f:
        head = f.read(20)
    shutil.rmtree(tree)
    equal(int.from_bytes(head[18:20], "little"), ELF_MACHINE[arch], "the ELF machine of vas-daemon")


@case("the .deb of this architecture, by root and by a user in two directories: equal to the byte")
def deb(release):
    check_deb(build_deb(release, release.arch), release.arch)


@case("the .deb of the other architecture, by a cross compiler: the same")
def other_deb(release):
    if not release.others():
        raise Skip("cross-built on amd64 only")
    for arch in release.others():
        check_deb(build_deb(release, arch), arch)


@case("the .rpm of this architecture: the same")
def rpm(release):
    for builder in HABITS:
        release.inside(builder, "tools/package rpm /release/made/%s" % builder)
    release.equal_of_both(r"vsched-.*\.rpm")


@case("installed in a fresh system, upgraded, removed, purged")
def installed(release):
    said = run([sys.executable, os.path.join(HERE, "test_packages.py"), release.directory])
    good = re.findall(r"^ok .*$", said, re.M)
    check(len(good) > 5 and not re.search("# SKIP", said), "too little of it ran:\n%s", said)
    print("#   %d cases of test_packages.py" % len(good))


@case("SHA256SUMS of what is to be published")
def sums(release):
    names = sorted(n for n in os.listdir(release.directory) if re.fullmatch(r"vsched.*\.(tar\.gz|deb|rpm)", n))
    equal(len(names), 3 + len(release.others()), "files: %s" % names)
    with open(os.path.join(release.directory, "SHA256SUMS"), "w", encoding="ascii") as f:
        f.writelines("%s  %s\n" % (digest(os.path.join(release.directory, n)), n) for n in names)
    for line in run(["sha256sum", "-c", "SHA256SUMS"], cwd=release.directory).splitlines():
        print("#   " + line)
    shutil.rmtree(release.scratch)
    shutil.rmtree(os.path.join(release.directory, "made"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", help="any commit, to try it")
    parser.add_argument("directory")
    args = parser.parse_args()
    if os.geteuid() != 0:
        print("Bail out! it takes root")
        return 1
    return run_cases(Release(args.directory, args.commit))


if __name__ == "__main__":
    sys.exit(main())
