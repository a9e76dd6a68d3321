# SPDX-License-Identifier: Apache-2.0
"""
An emulated host of many CPUs: see machines.py for its kinds.

Nothing is installed for it. A kernel and a static busybox are unpacked from
their packages into the build directory. The guest's file system is read-only,
over virtio-9p: the build host's own where the emulated machine is of the same
architecture, or else a system of unpacked packages. So what runs in there is
Debian's libvirtd and QEMU, and the programs that were just built.

The guest's console goes to a file, its second serial port to our stdout.
"""

import glob
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

from cpio import Archive
from machines import MACHINES, MODULES, Missing

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [HERE + "/../packages", HERE + "/../systems"]
import cross  # noqa: E402
import roots  # noqa: E402
from fresh_root import next_deb  # noqa: E402

# What runs in there of what is built.
TARGETS = {None: ["vas-daemon", "vasctl", "vas-sim", "vhost-look", "die_in_write", "count_writes"], "pages": []}
# Which scenarios have the source and the build directory in there as well.
WITH_SOURCE = ("pages", "arm64")
# What a whole system has, and one for building and unit tests lacks.
SYSTEM = ["libvirt-daemon", "libvirt-clients", "qemu-system-arm", "python3", "base-files", "dash", "util-linux",
          "bash", "binutils", "coreutils", "findutils", "grep", "gzip", "iproute2", "libc-bin", "sed", "tar", "xz-utils"]
# What of a system's start the scenario can do without.
MASKED = """
    systemd-udevd.service systemd-udev-trigger.service systemd-timesyncd.service systemd-hwdb-update.service
    systemd-random-seed.service systemd-firstboot.service systemd-tmpfiles-setup.service
    systemd-tmpfiles-setup-dev.service systemd-sysctl.service systemd-modules-load.service
    systemd-journal-catalog-update.service systemd-update-done.service systemd-update-utmp.service ldconfig.service
    systemd-remount-fs.service systemd-journal-flush.service modprobe@.service dev-hugepages.mount dev-mqueue.mount
    sys-kernel-debug.mount sys-kernel-tracing.mount
""".split()
CONSOLE_LINES = 40
LOOK_S = 2.0  # between two looks at the console
END_S = 10.0  # from the last of its output to its end
EXPIRED, STALLED, CRASHED = "limit", "stall", "crash of QEMU"  # why it was ended


class Host:
    """Prepares an emulated host in a directory of the build directory."""

    def __init__(self, build, scenario):
        self.build = os.path.abspath(build)
        self.place = os.path.join(self.build, "vhost")
        self.scenario = scenario
        self.machine = MACHINES.get(scenario, MACHINES["x86"])
        self.results = os.path.join(self.place, scenario)
        self.console = os.path.join(self.results, "console.log")

    # ---- what it is made of

    @property
    def is_native(self):
        """Whether this machine's own programs run in there."""
        return self.machine.arch == roots.native()

    def check_machine(self):
        if not self.is_native and self.machine.arch not in cross.ELF_MACHINE:
            raise Missing("the emulated host is %s, for which nothing is built on this machine" % self.machine.arch)
        for program in [self.machine.qemu] + (["libvirtd", "virsh"] if self.is_native else []):
            if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
                raise roots.Missing("%s is not installed: tools/deps.sh vhost" % program)

    def _make_system(self):
        """Returns (the programs that were built for it, its file system, a directory with its kernel and busybox)."""
        built, system = self.build, "/"
        if not self.is_native:
            built, system = cross.build(self.build, self.machine.arch, TARGETS.get(self.scenario, TARGETS[None]), SYSTEM)
        boot = os.path.join(self.build, "systems/boot-" + self.machine.kernel)
        roots.make(boot, self.machine.suite or roots.release(), self.machine.arch,
                   [self.machine.kernel, "busybox-static"], unpacked=True)
        return built, system, boot

    def _unpack(self, package):
        """A package's files, from its archive, in a directory of their own."""
        target = os.path.join(self.place, "packages", package)
        if os.path.isdir(target):
            return target
        if not shutil.which("apt-get"):
            raise roots.Missing("%s can only be had with apt" % package)
        debs = target + ".download"
        shutil.rmtree(debs, ignore_errors=True)
        os.makedirs(debs)
        fetch = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package]
        if subprocess.run(fetch, cwd=debs, capture_output=True, check=False).returncode != 0:
            subprocess.run(["apt-get", "-q", "update"], capture_output=True, check=False)
            done = subprocess.run(fetch, cwd=debs, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise roots.Failed("apt-get download %s: %s" % (package, done.stderr.strip()[-200:]))
        (deb,) = glob.glob(debs + "/*.deb")
        subprocess.run(["dpkg-deb", "-x", deb, debs + "/files"], check=True)
        os.rename(debs + "/files", target)
        shutil.rmtree(debs)
        return target

    def _write_stage(self, built):
        """What is laid over the guest's file system: the installed programs, and the scenario."""
        stage = os.path.join(self.results, "stage")
        if self.scenario != "package":
            parts = [] if self.is_native else ["--tags", "runtime"]  # what was built: see TARGETS
            subprocess.run([os.environ.get("MESON", "meson"), "install", "-C", built, "--no-rebuild", "--quiet",
                            "--destdir", stage, *parts], check=True, stdout=subprocess.DEVNULL)
        os.makedirs(stage + "/usr/bin", exist_ok=True)
        shutil.copy(os.path.join(built, "tests/vhost/vhost-look"), stage + "/usr/bin")
        os.makedirs(stage + "/usr/lib/vhost")
        for library in ("vhost/die_in_write.so", "real/count_writes.so"):
            shutil.copy(os.path.join(built, "tests", library), stage + "/usr/lib/vhost")
        if not self.is_native:
            self._stage_foreign(stage)
        if self.is_systemd:
            self._stage_systemd(stage)
        if self.scenario == "package":
            self._stage_package(stage + "/usr/lib/vhost")
        return stage

    @staticmethod
    def _stage_foreign(stage):
        """What a system of unpacked packages lacks: this directory, and what their scripts would have made."""
        for source in (HERE, os.path.join(os.path.dirname(HERE), "real")):
            shutil.copytree(source, stage + source, ignore=shutil.ignore_patterns("__pycache__"))
        os.makedirs(stage + "/etc", exist_ok=True)
        os.makedirs(stage + "/var", exist_ok=True)
        os.symlink("/run", stage + "/var/run")
        for name, text in (("passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("group", "root:x:0:\n")):
            with open("%s/etc/%s" % (stage, name), "w", encoding="ascii") as f:
                f.write(text)

    def _stage_package(self, place):
        """The package that is installed in there, and its successor."""
        found = glob.glob(os.path.join(self.build, "packages/vsched_*.deb"))
        if len(found) != 1:
            raise Missing("no package in %s/packages: make deb" % self.build)
        shutil.copy(found[0], place + "/vsched.deb")
        next_deb(found[0], place)

    def _write_initramfs(self, boot):
        archive = Archive()
        for name, path in (("init", HERE + "/init.sh"), ("bin/busybox", boot + "/usr/bin/busybox")):
            with open(path, "rb") as f:
                archive.add_file(name, f.read(), 0o755)
        names = []
        for module in MODULES:
            for path in glob.glob("%s/usr/lib/modules/*/kernel/%s.ko*" % (boot, module)):
                names.append(os.path.basename(module))
                with lzma.open(path) if path.endswith(".xz") else open(path, "rb") as f:
                    archive.add_file("modules/%s.ko" % names[-1], f.read())
        archive.add_file("settings", ('MODULES="%s"\nINIT="%s"\n' % (" ".join(names), self._init())).encode())
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
                    "ExecStart=/usr/bin/python3 %s\nStandardOutput=file:%s\n"
                    "StandardError=file:%s\n" % (self._script(), self.machine.words, self.machine.words))

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
        return "/bin/sh %s/guest-init.sh %s %s" % (HERE, self.machine.words, self._script())

    def _capabilities(self):
        """What libvirt in here has learnt about QEMU: that takes long."""
        return os.path.join(self.place, "qemu-capabilities-" + self.machine.arch)

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
        built, system, boot = self._make_system()
        (image,) = glob.glob(boot + "/boot/vmlinuz-*")
        shares = {"root": system, "stage": self._write_stage(built)}
        if self.scenario in WITH_SOURCE:
            shares.update({"source": cross.SOURCE, "built": built})
            self._write_plan(built)
        return self.machine.command(image, self._write_initramfs(boot), shares, self.results, self.console)

    def _write_plan(self, built):
        """For a scenario that runs tests: where they are, and the unit tests."""
        listed = subprocess.run([os.environ.get("MESON", "meson"), "introspect", "--tests", built], check=True,
                                stdout=subprocess.PIPE).stdout
        tests = [{key: test[key] for key in ("name", "cmd", "env", "workdir")}
                 for test in json.loads(listed) if any(suite.endswith("unit") for suite in test["suite"])]
        with open(self.results + "/plan.json", "w", encoding="utf-8") as f:
            json.dump({"source": cross.SOURCE, "built": built, "tests": tests}, f)

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
