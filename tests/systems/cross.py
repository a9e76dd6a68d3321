#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""VSched for an architecture that this machine is not: built by a cross compiler, its unit tests run by qemu-user.

    cross.py --build BUILD [--arch arm64|s390x] [options of meson test]

The libraries come from an unpacked Debian of that architecture (roots.py) in BUILD/systems/ARCH. Tests start programs in
many ways, so the kernel has to start foreign ones by itself: it is told so in a user namespace of this run's own (binfmt_misc,
Linux 6.7 and later). What the machine itself has registered is neither used nor changed.
"""

import argparse
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
PACKAGES = ["libc6-dev", "libcmocka-dev", "libhwloc-dev", "libinih-dev", "libjansson-dev", "libsystemd-dev", "libvirt-dev",
            "libxml2-dev"]
ELF_MACHINE = {"arm64": 183, "s390x": 22}
CROSS_FILE = """\
[binaries]
c = {compiler}
ar = '{triplet}-ar'
strip = '{triplet}-strip'
pkgconfig = 'pkg-config'
exe_wrapper = ['{qemu}', '-L', '{libraries}']
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


def is_native(arch):
    return machine_of(arch)[0] == platform.machine()


def tool(*names):
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    raise roots.Missing("%s is not installed: tools/deps.sh cross" % names[0])


def make_root(build, arch, more=()):
    """The unpacked Debian, of this machine's own release; with more packages where they are asked for."""
    return roots.make(os.path.join(build, "systems", arch), roots.release(), arch, [*PACKAGES, *more], unpacked=True)


def libraries_alone(build, arch, root):
    """qemu-user looks up every path below its prefix first. Libraries only are to be found there: an empty /proc or
    another /etc is not."""
    prefix = os.path.join(build, "systems", arch + ".libraries")
    os.makedirs(os.path.join(prefix, "usr"), exist_ok=True)
    for name in ("lib", "lib64", "usr/lib"):
        link, target = os.path.join(prefix, name), os.path.join(root, name)
        if os.path.exists(target) and not os.path.islink(link):
            os.symlink(target, link)
    return prefix


def cross_file(build, arch, root):
    machine, triplet = machine_of(arch)
    compiler = [shutil.which("ccache"), tool(triplet + "-gcc"), "--sysroot=" + root]
    return CROSS_FILE.format(compiler=[word for word in compiler if word], triplet=triplet, machine=machine, root=root,
                             qemu=emulator(arch), libraries=libraries_alone(build, arch, root),
                             endian="big" if arch == "s390x" else "little")


def emulator(arch):
    name = "qemu-" + machine_of(arch)[0]
    return tool(name + "-static", name)


def build(build_dir, arch, targets=(), more=()):
    """Builds those targets (of meson; none: all) for arch. Returns the directory they were built in and the root with their
    libraries, which holds PACKAGES and more. On a machine of that architecture that is its ordinary build directory."""
    build_dir = os.path.abspath(build_dir)
    root = make_root(build_dir, arch, more)
    directory = build_dir
    if not is_native(arch):
        directory = os.path.join(build_dir, "cross-" + arch)
        path, text = directory + ".ini", cross_file(build_dir, arch, root)
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
    return ":vas-%s:M::%s:%s:%s:FP" % (arch, escaped(magic), escaped(mask), emulator(arch))
