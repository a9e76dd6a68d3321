# SPDX-License-Identifier: Apache-2.0
"""
A 64-CPU host, emulated: 2 packages, 4 NUMA nodes, 16 L3 clusters of 4 CPUs.

Nothing is installed for it. The kernel and a static busybox are unpacked from
their packages into the build directory; the guest's file system is the build
host's own, read-only over virtio-9p. So what runs in there is this machine's
libvirtd and QEMU, and the programs that were just built.

The guest's console goes to a file, its second serial port to our stdout.
"""

import glob
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time

from cpio import Archive

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(HERE + "/../packages")
from fresh_root import next_deb  # noqa: E402

# /sys/devices/system of an emulated arm64 machine, complete.
ARM64_TREE = HERE + "/arm64-64cpu.tar.xz"
MODULES = ["drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_modern_dev",
           "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci", "fs/netfs/netfs",
           "fs/fscache/fscache", "net/9p/9pnet", "net/9p/9pnet_virtio", "fs/9p/9p", "fs/overlayfs/overlay"]
# What of a system's start the scenario can do without.
MASKED = """
    systemd-udevd.service systemd-udev-trigger.service systemd-timesyncd.service systemd-hwdb-update.service
    systemd-random-seed.service systemd-firstboot.service systemd-tmpfiles-setup.service
    systemd-tmpfiles-setup-dev.service systemd-sysctl.service systemd-modules-load.service
    systemd-journal-catalog-update.service systemd-update-done.service systemd-update-utmp.service ldconfig.service
    systemd-remount-fs.service systemd-journal-flush.service modprobe@.service dev-hugepages.mount dev-mqueue.mount
    sys-kernel-debug.mount sys-kernel-tracing.mount
""".split()
MEMORY_MIB = 4096
CONSOLE_LINES = 40
LOOK_S = 2.0  # between two looks at the console
END_S = 10.0  # from the last of its output to its end
EXPIRED, STALLED, CRASHED = "limit", "stall", "crash of QEMU"  # why it was ended


class Missing(Exception):
    """Why the emulated host can not be had on this machine."""


class Host:
    """Prepares an emulated host in a directory of the build directory."""

    def __init__(self, build, scenario):
        self.build = os.path.abspath(build)
        self.place = os.path.join(self.build, "vhost")
        self.scenario = scenario
        self.results = os.path.join(self.place, scenario)
        self.console = os.path.join(self.results, "console.log")

    # ---- what it is made of

    def check_machine(self):
        if os.uname().machine != "x86_64":
            raise Missing("the emulated host is x86-64, as its file system's programs must be")
        for program in ("qemu-system-x86_64", "libvirtd", "virsh"):
            if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
                raise Missing("%s is not installed" % program)

    def _unpack(self, package):
        """A package's files, from its archive, in a directory of their own."""
        target = os.path.join(self.place, "packages", package)
        if os.path.isdir(target):
            return target
        if not shutil.which("apt-get"):
            raise Missing("%s can only be had with apt" % package)
        debs = target + ".download"
        shutil.rmtree(debs, ignore_errors=True)
        os.makedirs(debs)
        fetch = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package]
        if subprocess.run(fetch, cwd=debs, capture_output=True, check=False).returncode != 0:
            subprocess.run(["apt-get", "-q", "update"], capture_output=True, check=False)
            done = subprocess.run(fetch, cwd=debs, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Missing("apt-get download %s: %s" % (package, done.stderr.strip()[-200:]))
        (deb,) = glob.glob(debs + "/*.deb")
        subprocess.run(["dpkg-deb", "-x", deb, debs + "/files"], check=True)
        os.rename(debs + "/files", target)
        shutil.rmtree(debs)
        return target

    @staticmethod
    def _kernel_package():
        """linux-image-amd64 is empty: the kernel is what it depends on."""
        done = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=False)
        for line in done.stdout.splitlines():
            if "Depends: linux-image-" in line:
                return line.split()[-1]
        raise Missing("apt knows no linux-image-amd64")

    def find_kernel(self):
        known = glob.glob(os.path.join(self.place, "packages", "linux-image-*-amd64"))
        return known[0] if known else self._unpack(self._kernel_package())

    def _write_stage(self):
        """What is laid over the build host's files: the installed programs."""
        stage = os.path.join(self.results, "stage")
        if self.scenario != "package":
            subprocess.run([os.environ.get("MESON", "meson"), "install", "-C", self.build, "--no-rebuild", "--quiet",
                            "--destdir", stage], check=True, stdout=subprocess.DEVNULL)
        os.makedirs(stage + "/usr/bin", exist_ok=True)
        shutil.copy(os.path.join(self.build, "tests/vhost/vhost-look"), stage + "/usr/bin")
        os.makedirs(stage + "/usr/lib/vhost")
        for library in ("vhost/die_in_write.so", "real/count_writes.so"):
            shutil.copy(os.path.join(self.build, "tests", library), stage + "/usr/lib/vhost")
        with tarfile.open(ARM64_TREE) as tree:
            tree.extractall(stage + "/usr/lib/vhost")
        os.rename(stage + "/usr/lib/vhost/dt64", stage + "/usr/lib/vhost/arm64")
        if self.is_systemd:
            self._stage_systemd(stage)
        if self.scenario == "package":
            self._stage_package(stage + "/usr/lib/vhost")
        return stage

    def _stage_package(self, place):
        """The package that is installed in there, and its successor."""
        found = glob.glob(os.path.join(self.build, "packages/vsched_*.deb"))
        if len(found) != 1:
            raise Missing("no package in %s/packages: make deb" % self.build)
        shutil.copy(found[0], place + "/vsched.deb")
        next_deb(found[0], place)

    def _write_initramfs(self, kernel, settings):
        archive = Archive()
        busybox = self._unpack("busybox-static") + "/bin/busybox"
        for name, path, mode in (("init", HERE + "/init.sh", 0o755), ("bin/busybox", busybox, 0o755)):
            with open(path, "rb") as f:
                archive.add_file(name, f.read(), mode)
        (modules,) = glob.glob(kernel + "/lib/modules/*/kernel")
        for module in MODULES:
            with open("%s/%s.ko" % (modules, module), "rb") as f:
                archive.add_file("modules/%s.ko" % os.path.basename(module), f.read())
        archive.add_file("settings", settings.encode())
        path = os.path.join(self.results, "initramfs.gz")
        archive.write(path)
        return path

    def _stage_systemd(self, stage):
        """The scenario as a unit, and systemd itself where this machine has none."""
        if not os.path.exists("/lib/systemd/systemd"):
            for package in ["systemd"] + self._missing_packages("systemd"):
                shutil.copytree(self._unpack(package), stage, symlinks=True, dirs_exist_ok=True)
        units = stage + "/usr/lib/systemd/system"
        os.makedirs(units, exist_ok=True)
        os.makedirs(stage + "/etc/systemd/system", exist_ok=True)
        for unit in MASKED:
            os.symlink("/dev/null", stage + "/etc/systemd/system/" + unit)
        with open(units + "/vhost.service", "w", encoding="utf-8") as f:
            f.write("[Unit]\nDescription=The scenario\nAfter=basic.target\nSuccessAction=reboot-immediate\n"
                    "FailureAction=reboot-immediate\n[Service]\nType=exec\nEnvironment=LANG=C.UTF-8\n"
                    "ExecStart=/usr/bin/python3 %s\nStandardOutput=file:/dev/ttyS1\n"
                    "StandardError=file:/dev/ttyS1\n" % self._script())

    @staticmethod
    def _missing_packages(package):
        done = subprocess.run(["apt-cache", "depends", "--important", package], capture_output=True, text=True,
                              check=False)
        names = [line.split()[-1] for line in done.stdout.splitlines() if "Depends: " in line]
        status = ["dpkg-query", "-W", "-f=${db:Status-Status}"]
        return [n for n in names if subprocess.run(status + [n], capture_output=True, text=True,
                                                   check=False).stdout != "installed"]

    @property
    def is_systemd(self):
        return self.scenario in ("systemd", "package")

    def _script(self):
        return "%s/scenario_%s.py" % (HERE, self.scenario)

    def _init(self):
        if self.is_systemd:
            return "/lib/systemd/systemd --unit=vhost.service --show-status=yes"
        return "/bin/sh %s/guest-init.sh %s" % (HERE, self._script())

    def _capabilities(self):
        """What libvirt in here has learnt about QEMU: that takes long."""
        return os.path.join(self.place, "qemu-capabilities")

    def _keep_capabilities(self):
        learnt = self.results + "/qemu-capabilities"
        if os.path.isdir(learnt):
            shutil.copytree(learnt, self._capabilities(), dirs_exist_ok=True)

    def prepare(self):
        """Returns QEMU's command line."""
        self.check_machine()
        shutil.rmtree(self.results, ignore_errors=True)
        os.makedirs(self.results)
        if os.path.isdir(self._capabilities()):
            shutil.copytree(self._capabilities(), self.results + "/qemu-capabilities")
        kernel = self.find_kernel()
        settings = 'MODULES="%s"\nINIT="%s"\n' % (" ".join(map(os.path.basename, MODULES)), self._init())
        initramfs = self._write_initramfs(kernel, settings)
        (image,) = glob.glob(kernel + "/boot/vmlinuz-*")
        return self._command(image, initramfs, self._write_stage())

    def _command(self, image, initramfs, stage):
        command = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi",
                   "-cpu", "Skylake-Server,vendor=GenuineIntel", "-m", "%dM" % MEMORY_MIB,
                   "-smp", "64,sockets=2,dies=8,cores=4,threads=1"]
        for node in range(4):
            command += ["-object", "memory-backend-ram,id=m%d,size=%dM" % (node, MEMORY_MIB // 4),
                        "-numa", "node,nodeid=%d,cpus=%d-%d,memdev=m%d" % (node, node * 16, node * 16 + 15, node)]
        for tag, path, access in (("root", "/", ",readonly=on"), ("stage", stage, ",readonly=on"),
                                  ("results", self.results, "")):
            command += ["-fsdev", "local,id=%s,path=%s,security_model=none,multidevs=remap%s" % (tag, path, access),
                        # Legacy devices do not work with this many CPUs.
                        "-device", "virtio-9p-pci,fsdev=%s,mount_tag=%s,disable-legacy=on" % (tag, tag)]
        return command + ["-nodefaults", "-display", "none", "-no-reboot", "-kernel", image, "-initrd", initramfs,
                          "-append", "console=ttyS0 panic=-1 quiet no_timer_check mitigations=off nokaslr init_on_alloc=0 "
                          "numa_balancing=disable transparent_hugepage=never lsm= audit=0",
                          "-serial", "file:" + self.console, "-serial", "stdio"]

    # ---- running it

    def run(self, limit, say=None, is_hopeless=lambda console: False):
        """Boots it and passes its lines on, until it ends, the time is over or what
        is on its console is hopeless. Returns why it was ended, if it was."""
        say = say or (lambda line: print(line, flush=True))
        command = self.prepare()
        open(self.console, "w", encoding="ascii").close()
        machine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=open(self.results + "/qemu.log", "w", encoding="utf-8"))
        over, why = threading.Event(), []
        guard = threading.Thread(target=self._guard, args=(machine, time.monotonic() + limit, is_hopeless, over, why))
        guard.start()
        try:
            for line in machine.stdout:
                say(line.decode("utf-8", "replace").rstrip("\r\n"))
            self._await_end(machine)
        finally:
            over.set()
            guard.join()
            machine.kill()
            machine.wait()
            self._keep_capabilities()
        if not why and machine.returncode == -signal.SIGABRT:
            why.append(CRASHED)
        return why[0] if why else None

    @staticmethod
    def _await_end(machine):
        """It has said all; how it ends tells whether it was QEMU that failed."""
        try:
            machine.wait(END_S)
        except subprocess.TimeoutExpired:
            pass

    def _guard(self, machine, deadline, is_hopeless, over, why):
        while not over.wait(max(0.1, min(LOOK_S, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                why.append(EXPIRED)
            elif is_hopeless(self.console_text()):
                why.append(STALLED)
            else:
                continue
            machine.kill()
            return

    def console_text(self):
        with open(self.console, encoding="utf-8", errors="replace") as f:
            return f.read()

    def keep_console(self):
        """Puts it where the next boot leaves it. Returns where."""
        kept = "%s-stalled.log" % self.results
        shutil.copy(self.console, kept)
        return kept

    def emulator_words(self):
        """The last line that QEMU itself said."""
        with open(self.results + "/qemu.log", encoding="utf-8", errors="replace") as f:
            return (f.read().splitlines() or ["nothing"])[-1]

    def last_words(self):
        """The end of its console, for whoever must find out what happened."""
        return [line.rstrip() for line in self.console_text().splitlines()][-CONSOLE_LINES:]
