# SPDX-License-Identifier: Apache-2.0
"""A libvirtd of the sandbox's own, and its VMs."""

import os
import re
import shutil
import signal
import subprocess
import time
import uuid

from . import guests, threads
from .sandbox import LAB, run_id
from .tap import Skip, Wrong, wait_until

URI = "qemu:///system"

_QEMU_CONF = """
security_driver = "none"
stdio_handler = "file"
namespaces = [ ]
"""

_LIBVIRTD_CONF = """
unix_sock_dir = "/run/libvirt"
unix_sock_ro_perms = "0777"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "2:file:/run/lab/libvirtd.log"
"""

_DOMAIN = """
<domain type='{kind}'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory}</memory>
  <vcpu placement='static'{cpuset}{current}>{vcpus}</vcpu>
  {cputune}
  <os><type arch='{arch}' machine='{machine}'>hvm</type>{boot}</os>
  <features>{features}</features>
  {cpu}
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    {disk}
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""

class Vm:
    """One VM. Its short name is the test's; libvirt's name carries the run id."""

    def __init__(self, libvirtd, short, vcpus=1, cpuset=None, pins=None, maximum=None,
                 boot=None, memory=32, kind="qemu", arch=guests.ARCH):
        self.libvirtd = libvirtd
        self.short = short
        self.name = "%s-%s" % (short, run_id())
        self.uuid = str(uuid.uuid4())
        self.vcpus = vcpus
        self.arch = arch
        self.shape = guests.SHAPES[arch]
        if maximum and not self.shape.plugs:
            raise Skip("QEMU's %s machines cannot plug vCPUs" % arch)
        self._xml = self._describe(cpuset, pins or {}, maximum, boot or self.shape.idle, memory, kind)

    def _describe(self, cpuset, pins, maximum, boot, memory, kind):
        tune = "".join("<vcpupin vcpu='%d' cpuset='%s'/>" % p for p in sorted(pins.items()))
        start = disk = ""
        if boot:
            start, disk = guests.boot_from(self.arch, boot[self.arch], "%s/%s.img" % (LAB, self.short))
        return _DOMAIN.format(
            kind=kind, name=self.name, uuid=self.uuid, memory=memory, arch=self.arch, machine=self.shape.machine,
            features=self.shape.features, cpu=self.shape.cpus[kind],
            vcpus=maximum or self.vcpus,
            current=" current='%d'" % self.vcpus if maximum else "",
            cpuset=" cpuset='%s'" % cpuset if cpuset else "",
            cputune="<cputune>%s</cputune>" % tune if tune else "", boot=start, disk=disk)

    def define(self):
        """Tells libvirt of it, and no more."""
        path = "%s/%s.xml" % (LAB, self.short)
        with open(path, "w", encoding="utf-8") as f:
            f.write(self._xml)
        self.libvirtd.virsh("define", path)
        return self

    def start(self, paused=True):
        """Starts it, by default with its CPUs stopped: it costs nothing then."""
        self.define()
        self.libvirtd.virsh("start", self.name, *(["--paused"] if paused else []))
        return self

    def destroy(self):
        self.libvirtd.virsh("destroy", self.name)

    def wait_booted(self):
        """Until its firmware has read the boot sector. Where QEMU itself loads the code, there is no waiting."""
        if self.arch != guests.X86:
            return self

        def has_read():
            stat = self.libvirtd.virsh("domblkstat", self.name, "hda", ok=False)
            return any(w[1] == "rd_bytes" and int(w[2]) >= 512 for w in map(str.split, stat.splitlines()) if len(w) > 2)

        wait_until(has_read, 20, "the guest boots", pause=0.1)
        return self

    def unplug(self, count):
        """Takes vCPUs away until count are left; needs boot=UNPLUG. An emulated QEMU never reports the CPU as
        deleted: libvirt waits for that in vain and learns it when it restarts."""

        def is_done():
            if len(self.threads()) > count:
                self.libvirtd.virsh("setvcpus", self.name, str(count), "--live", ok=False)
            return len(self.threads()) == count

        wait_until(is_done, 15, "%d vCPUs are left" % count, pause=0.3)
        self.libvirtd.stop()
        self.libvirtd.start()
        wait_until(lambda: self._libvirt_counts() == count, 5, "libvirt has learned it")

    def _libvirt_counts(self):
        return int(self.libvirtd.virsh("vcpucount", self.name, "--live", "--current"))

    @property
    def pid(self):
        try:
            with open("/run/libvirt/qemu/%s.pid" % self.name, encoding="ascii") as f:
                return int(f.read())
        except (OSError, ValueError):
            return 0

    def threads(self):
        pid = self.pid
        return threads.vcpus(pid) if pid else {}

    def masks(self):
        """What each vCPU thread may run on, by vCPU number."""
        return {n: t.cpus for n, t in self.threads().items()}

    def cpus(self):
        """The CPUs of its own: of vCPUs that are on one CPU."""
        return [next(iter(m)) for m in self.masks().values() if len(m) == 1]

    def is_placed(self):
        """Every vCPU on one CPU, and no two on the same."""
        masks = self.masks()
        return len(masks) > 0 and len(set(self.cpus())) == len(masks)

    def libvirt_pins(self):
        """The operator's ranges, as libvirt shows them, by vCPU number."""
        lines = self.libvirtd.virsh("vcpupin", self.name, "--live").splitlines()
        rows = [line.split() for line in lines]
        return {int(r[0]): threads.parse_cpus(r[1]) for r in rows if len(r) == 2 and r[0].isdigit()}


# What virsh says of a libvirtd that is still starting; it was told to say so in English.
_STARTING = re.compile(r"Failed to connect socket|Cannot recv data|Cannot write data|End of file while reading")
_REFUSES_S = 1.0


class Libvirtd:
    def __init__(self):
        self.process = None
        self.refuses_since = None
        self.vms = []

    def start(self, qemu_conf=""):
        for path, text in (("/etc/libvirt/qemu.conf", _QEMU_CONF + qemu_conf), ("/etc/libvirt/libvirtd.conf", _LIBVIRTD_CONF)):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        program = shutil.which("libvirtd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        with open(LAB + "/libvirtd.out", "ab") as out:
            self.process = subprocess.Popen([program, "-f", "/etc/libvirt/libvirtd.conf"],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.refuses_since = None
        wait_until(self.is_answering, 60, "libvirtd answers", pause=0.05)

    def is_answering(self):
        if self.process.poll() is not None:
            raise Wrong("libvirtd ended with %s%s" % (self.process.returncode, self._last_words()))
        done = subprocess.run(["virsh", "-q", "-c", URI, "list"], capture_output=True, text=True, check=False,
                              env=dict(os.environ, LC_ALL="C"))
        if done.returncode != 0 and not _STARTING.search(done.stderr):
            self._judge_refusal(done.stderr)
        return done.returncode == 0

    def _judge_refusal(self, said):
        """It runs, and will not serve us however long we wait: what it lacks is the machine's to mend."""
        now = time.monotonic()
        self.refuses_since = self.refuses_since or now
        if now - self.refuses_since < _REFUSES_S:
            return
        hint = ""
        if "no connection driver" in said:
            hint = "; its driver for QEMU is not installed (package libvirt-daemon-driver-qemu): make deps"
        words = [line.partition("error: ")[2] or line for line in said.splitlines() if line]
        raise Wrong("libvirtd runs, but does not serve %s: %s%s" % (URI, ": ".join(words), hint))

    @staticmethod
    def _last_words():
        """Of its errors, as the end of a sentence."""
        errors = []
        for name in ("libvirtd.out", "libvirtd.log"):
            if os.path.exists(LAB + "/" + name):
                with open(LAB + "/" + name, encoding="utf-8", errors="replace") as f:
                    errors += [line.partition(" : ")[2].strip() for line in f if " error : " in line]
        return "; it logged: " + errors[-1] if errors else ""

    def stop(self):
        """Stops it as an upgrade would: the VMs go on."""
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def virsh(self, *args, ok=True, timeout=60):
        done = subprocess.run(["virsh", "-q", "-c", URI, *args], capture_output=True, text=True,
                              check=False, timeout=timeout)
        if ok and done.returncode != 0:
            raise Wrong("virsh %s: %s" % (" ".join(args), done.stderr.strip()))
        return done.stdout

    def vm(self, short, **how):
        """A VM that is described but not started yet."""
        vm = Vm(self, short, **how)
        self.vms.append(vm)
        return vm

    def clean(self):
        """Ends every VM of the case that has just run."""
        if not self.process:
            self.start()
        self.thaw()
        for vm in self.vms:
            pid = vm.pid
            if pid and threads.is_alive(pid):
                self.virsh("destroy", vm.name, ok=False)
        deadline = time.monotonic() + 5
        for vm in self.vms:
            while vm.pid and threads.is_alive(vm.pid) and time.monotonic() < deadline:
                time.sleep(0.02)
            self.virsh("undefine", vm.name, "--managed-save", ok=False)
        self.vms.clear()
