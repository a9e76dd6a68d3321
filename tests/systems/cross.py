#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""VSched for an architecture that this machine is not: built by a cross compiler, its unit tests run by qemu-user.

    cross.py --build BUILD [--arch arm64|s390x] [options of meson test]

The libraries come from an unpacked Debian of that architecture (roots.py) in BUILD/systems/ARCH. Tests start programs in
many ways, so the kernel has to start foreign ones by itself: it is told so in a user namespace of this run's own (binfmt_misc,
Linux 6.7 and later). What the machine itself has registered is neither used nor changed.
"""

import argparse
import ctypes
import os
import platform
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import roots  # noqa: E402

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MESON = os.environ.get("MESON", "meson")
# To build VSched and its tests, and to run the unit tests.
LIBRARIES = ["libcmocka-dev", "libhwloc-dev", "libinih-dev", "libjansson-dev", "libsystemd-dev", "libvirt-dev", "libxml2-dev"]
PACKAGES = ["libc-bin", "libc6-dev", *LIBRARIES]
BINFMT = "/proc/sys/fs/binfmt_misc"
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
ELF_MACHINE = {"arm64": 183, "s390x": 22}
CROSS_FILE = """\
[binaries]
c = {compiler}
ar = '{triplet}-ar'
strip = '{triplet}-strip'
pkgconfig = 'pkg-config'
exe_wrapper = ['sh', '-c', '[ -e {binfmt}/{handler} ] && exec "$@"; exec {qemu} -L {root} "$@"', 'sh']
[properties]
sys_root = '{root}'
pkg_config_libdir = '{root}/usr/lib/{triplet}/pkgconfig:{root}/usr/share/pkgconfig'
[host_machine]
system = 'linux'
cpu_family = '{machine}'
cpu = '{machine}'
endian = '{endian}'
"""


def machine_of(arch):
    """What kernels and GNU call Debian's architecture."""
    for machine, (name, triplet) in roots.MACHINES.items():
        if name == arch:
            return machine, triplet
    raise roots.Missing("no such architecture: " + arch)


def tool(*names):
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    raise roots.Missing("%s is not installed: tools/deps.sh cross" % names[0])


def make_root(build, arch, more=()):
    """The unpacked Debian, of this machine's own release; with more packages where they are asked for."""
    return roots.make(os.path.join(build, "systems", arch), roots.release(), arch, [*PACKAGES, *more], unpacked=True)


def make_libraries(build, arch, root):
    """A directory with the names that arch's libraries, and locales, have below /usr/lib, and nothing else."""
    names = [machine_of(arch)[1], "locale", *(name for name in os.listdir(os.path.join(root, "usr/lib")) if name.startswith("ld"))]
    directory = os.path.join(build, "systems", arch + ".libraries")
    os.makedirs(directory, exist_ok=True)
    for name in names:
        link = os.path.join(directory, name)
        if not os.path.islink(link):
            os.symlink(os.path.join(root, "usr/lib", name), link)
    return directory


def cross_file(arch, root):
    machine, triplet = machine_of(arch)
    compiler = [shutil.which("ccache"), tool(triplet + "-gcc"), "--sysroot=" + root]
    return CROSS_FILE.format(compiler=[word for word in compiler if word], triplet=triplet, machine=machine, root=root,
                             qemu=emulator(arch), binfmt=BINFMT, handler=handler(arch),
                             endian="big" if arch == "s390x" else "little")


def handler(arch):
    """What a run registers the emulator as."""
    return "vsched-" + arch


def emulator(arch):
    name = "qemu-" + machine_of(arch)[0]
    return tool(name + "-static", name)


def build(build_dir, arch, targets=(), more=()):
    """Builds those targets (of meson; none: all) for arch. Returns the directory they were built in and the root with their
    libraries, which holds PACKAGES and more."""
    build_dir = os.path.abspath(build_dir)
    root = make_root(build_dir, arch, more)
    directory = os.path.join(build_dir, "cross-" + arch)
    path, text = directory + ".ini", cross_file(arch, root)
    known = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            known = f.read()
    if known != text:
        shutil.rmtree(directory, ignore_errors=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    if not os.path.exists(os.path.join(directory, "build.ninja")):
        subprocess.run([MESON, "setup", directory, SOURCE, "--cross-file", path, "--prefix=/usr"], check=True,
                       stdout=subprocess.DEVNULL)
    subprocess.run([MESON, "compile", "-C", directory, *targets], check=True)
    return directory, root


def binfmt_line(arch):
    """What the kernel is told: files that begin so are run by the emulator. F: opened now, P: argv[0] is kept."""
    order = ">" if arch == "s390x" else "<"
    ident = b"\x7fELF\x02" + (b"\x02" if arch == "s390x" else b"\x01") + b"\x01" + bytes(9)
    magic = ident + struct.pack(order + "HH", 2, ELF_MACHINE[arch])
    mask = b"\xff" * 7 + b"\0" + b"\xff" * 8 + struct.pack(order + "HH", 0xfffe, 0xffff)  # an executable, or a PIE (3)

    def escaped(text):
        return "".join("\\x%02x" % byte for byte in text)
    return ":%s:M::%s:%s:%s:FP" % (handler(arch), escaped(magic), escaped(mask), emulator(arch))


def enter_namespaces():
    """From here on this process is in a user and a mount namespace of its own, with all users as they are outside."""
    ready, tell = os.pipe()
    helper = os.fork()
    if helper == 0:  # only who is outside may let more than one user in
        os.read(ready, 1)
        for name in ("uid_map", "gid_map"):
            with open("/proc/%d/%s" % (os.getppid(), name), "w", encoding="ascii") as f:
                f.write("0 0 4294967295")
        os._exit(0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0:
        raise roots.Missing("no user namespace: " + os.strerror(ctypes.get_errno()))
    os.write(tell, b"x")
    if os.waitpid(helper, 0)[1] != 0:
        raise roots.Missing("the users of a user namespace cannot be set: run it as root")


def mount(*arguments):
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise roots.Missing("in a user namespace this kernel (%s; wanted: 6.7 or later) does not mount %s: %s" % (
            platform.release(), arguments[1], done.stderr.strip()))


def start_foreign_programs(arch, libraries):
    """From here on the kernel starts arch's programs for this process and its children, and they find their libraries."""
    enter_namespaces()
    mount("-t", "binfmt_misc", "none", BINFMT)
    with open(BINFMT + "/register", "w", encoding="ascii") as f:
        f.write(binfmt_line(arch))
    lib = os.path.realpath("/lib")
    mount("-t", "overlay", "-o", "lowerdir=%s:%s" % (libraries, lib), "overlay", lib)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--arch", default="arm64", choices=sorted(ELF_MACHINE))
    args, options = parser.parse_known_args()
    if args.arch == roots.native():
        sys.exit("cross.py: this machine is %s itself: make unit" % args.arch)
    build_dir = os.path.abspath(args.build)
    try:
        directory, root = build(build_dir, args.arch)
        start_foreign_programs(args.arch, make_libraries(build_dir, args.arch, root))
    except (roots.Missing, roots.Failed) as reason:
        sys.exit("cross.py: %s" % reason)
    os.execv(sys.executable, [sys.executable, os.path.join(SOURCE, "tools/run-tests"), directory, "--suite", "unit",
                              *options])


if __name__ == "__main__":
    main()
