# SPDX-License-Identifier: Apache-2.0
"""A libvirtd of the sandbox's own, and its VMs."""

import os
import shutil
import signal
import subprocess
import time
import uuid

from . import threads
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

# A machine type that starts fast and holds nothing that is not needed.
_DOMAIN = """
<domain type='{kind}'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory}</memory>
  <vcpu placement='static'{cpuset}{current}>{vcpus}</vcpu>
  {cputune}
  <os><type arch='{arch}' machine='{machine}'>hvm</type>{boot}</os>
  <features><acpi/></features>
  <cpu>{topology}</cpu>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    {disk}
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""

# Boot sectors, in 16-bit x86. SPIN burns its CPU. UNPLUG does what a guest's
# ACPI code does when the host takes a vCPU away: it looks at each CPU's flags
# in QEMU's hot-plug registers and ejects the one that is to go.
SPIN = bytes.fromhex("ebfe")
UNPLUG = bytes.fromhex(
    "fa"              # cli
    "66 31c9"         # xor ecx, ecx
    "66 89c8"         # next: mov eax, ecx
    "ba 00af"         # mov dx, 0xaf00          CPU selector
    "66 ef"           # out dx, eax
    "ba 04af"         # mov dx, 0xaf04          flags
    "ec"              # in al, dx
    "a8 04"           # test al, 4              removal asked for?
    "74 03"           # jz skip
    "b0 08"           # mov al, 8               eject
    "ee"              # out dx, al
    "41"              # skip: inc cx
    "83e1 0f"         # and cx, 15
    "eb e7"           # jmp next
    .replace(" ", ""))


def _machine():
    """(architecture, machine type) of VMs on this machine."""
    arch = os.uname().machine
    return (arch, "virt") if arch == "aarch64" else (arch, "pc")


class Vm:
    """One VM. Its short name is the test's; libvirt's name carries the run id."""

    def __init__(self, libvirtd, short, vcpus=1, cpuset=None, pins=None, maximum=None,
                 boot=None, memory=32, cells=None, kind="qemu"):
        self.libvirtd = libvirtd
        self.short = short
        self.name = "%s-%s" % (short, run_id())
        self.uuid = str(uuid.uuid4())
        self.vcpus = vcpus
        if boot and _machine()[1] != "pc":
            raise Skip("the boot sectors are for x86")
        self._xml = self._describe(cpuset, pins or {}, maximum, boot, memory, kind)

    def _describe(self, cpuset, pins, maximum, boot, memory, kind):
        arch, machine = _machine()
        tune = "".join("<vcpupin vcpu='%d' cpuset='%s'/>" % p for p in sorted(pins.items()))
        return _DOMAIN.format(
            kind=kind, name=self.name, uuid=self.uuid, memory=memory, arch=arch, machine=machine,
            vcpus=maximum or self.vcpus,
            current=" current='%d'" % self.vcpus if maximum else "",
            cpuset=" cpuset='%s'" % cpuset if cpuset else "",
            cputune="<cputune>%s</cputune>" % tune if tune else "",
            topology="", boot="<boot dev='hd'/>" if boot else "",
            disk=self._disk(boot) if boot else "")

    def _disk(self, code):
        path = "%s/%s.img" % (LAB, self.short)
        with open(path, "wb") as image:
            image.write(code.ljust(510, b"\0") + b"\x55\xaa" + bytes(64 * 1024 - 512))
        os.chmod(path, 0o666)
        return ("<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
                "<source file='%s'/><target dev='hda' bus='ide'/></disk>" % path)

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
        """Until the firmware has read the boot sector."""

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


class Libvirtd:
    def __init__(self):
        self.process = None
        self.vms = []

    def start(self, qemu_conf=""):
        for path, text in (("/etc/libvirt/qemu.conf", _QEMU_CONF + qemu_conf), ("/etc/libvirt/libvirtd.conf", _LIBVIRTD_CONF)):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        program = shutil.which("libvirtd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        with open(LAB + "/libvirtd.out", "ab") as out:
            self.process = subprocess.Popen([program, "-f", "/etc/libvirt/libvirtd.conf"],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        wait_until(self.is_answering, 60, "libvirtd answers", pause=0.05)

    def is_answering(self):
        if self.process.poll() is not None:
            raise Wrong("libvirtd ended with %s" % self.process.returncode)
        done = subprocess.run(["virsh", "-q", "-c", URI, "list"], capture_output=True, check=False)
        return done.returncode == 0

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
