# SPDX-License-Identifier: Apache-2.0
"""
Inside the emulated host: its furniture, its libvirtd, its VMs and the daemon.

A start of a process costs about a hundred times what it costs on the build
host, so everything here stays: one Python, one libvirt connection, one process
that reads /proc, and the daemon is asked over its socket.
"""

import concurrent.futures
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "real"))

from lab.tap import Wrong, wait_until  # noqa: E402
from lab.threads import cpu_list, parse_cpus  # noqa: E402
from libvirt import Libvirt  # noqa: E402

RESULTS = "/results"
CACHE = "/var/cache/libvirt/qemu/capabilities"
LOG = RESULTS + "/vas-daemon.log"
CONF = "/etc/vas/vas-daemon.conf"
SOCKET = "/run/vas/vas.sock"
# What its unit makes of it.
UNPRIVILEGED = ["setpriv", "--reuid=vas", "--regid=vas", "--clear-groups", "--no-new-privs", "--inh-caps=-all,+sys_nice",
                "--ambient-caps=-all,+sys_nice", "--bounding-set=-all,+sys_nice"]

_QEMU_CONF = 'security_driver = "none"\nstdio_handler = "file"\nnamespaces = [ ]\nseccomp_sandbox = 0\n'
_LIBVIRTD_CONF = """unix_sock_dir = "/run/libvirt"
unix_sock_ro_perms = "0777"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:file:/results/libvirtd.log"
"""

# The cheapest VM that is one: a machine, memory and CPUs. Without the capability,
# libvirt does not ask for each of QEMU's 250 CPU flags, which costs 8 s here.
_DOMAIN = """<domain type='{kind}' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>{memory}</memory>{backing}
  <vcpu placement='static'{cpuset}>{vcpus}</vcpu>
  {cputune}{numatune}
  <os><type arch='{arch}' machine='{machine}'>hvm</type>{firmware}</os>
  {features}
  <devices><controller type='usb' model='none'/><memballoon model='none'/></devices>
  <qemu:capabilities><qemu:del capability='cpu-unavailable-features'/></qemu:capabilities>
</domain>"""


class Architecture:
    """What VMs of this machine's architecture look like. With KVM where the emulated CPUs have it.
    spinner: a program that jumps to itself, from its first instruction on: a busy guest that needs no boot."""

    def __init__(self, kind, machine, features, spinner, firmware):
        self.kind, self.machine, self.features = kind, machine, features
        self._spinner, self._firmware = spinner, firmware

    def write_spinner(self):
        with open(_SPINNER, "wb") as f:
            f.write(self._spinner)

    def firmware(self, spins):
        return self._firmware % _SPINNER if spins else ""


_SPINNER = "/var/lib/libvirt/spinner"
ARCHITECTURE = {
    "x86_64": Architecture("qemu", "pc", "", b"\0" * 0xfff0 + b"\xeb\xfe" + b"\0" * 14,
                           "<loader readonly='yes' type='rom'>%s</loader>"),
    "aarch64": Architecture("kvm", "virt", "<features><gic version='3'/></features><cpu mode='host-passthrough'/>",
                            bytes.fromhex("00000014"), "<kernel>%s</kernel>"),
}[os.uname().machine]


_libc = ctypes.CDLL(None, use_errno=True)


_notes = sys.stdout


def set_quiet():
    """Notes go to the results alone."""
    global _notes
    mount_results()
    _notes = open(RESULTS + "/notes.log", "w", encoding="utf-8")


def say(text):
    print("# %7.1f  %s" % (time.monotonic(), text), file=_notes, flush=True)


def mount(source, target, kind, data="", flags=0):
    os.makedirs(target, exist_ok=True)
    if _libc.mount(source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags), data.encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount on %s" % target)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def _add_names(path, lines):
    known = {line.partition(":")[0] for line in read(path).splitlines()}
    with open(path, "a", encoding="utf-8") as f:
        f.writelines(line + "\n" for line in lines if line.partition(":")[0] not in known)


def mount_results():
    """The directory that outlives the guest."""
    mount("results", RESULTS, "9p", "trans=virtio,version=9p2000.L,msize=512000")


def mount_built():
    """The source and what was built of it, at their places. Returns what the scenario was told of them (see WITH_SOURCE)."""
    plan = json.loads(read(RESULTS + "/plan.json"))
    for tag in ("source", "built"):
        mount(tag, plan[tag], "9p", "trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000")
    return plan


def furnish(systemd=False):
    """What an init would have done, and what keeps the build host's own
    libvirt settings and VMs out."""
    if not systemd:
        mount("tmpfs", "/run", "tmpfs", "mode=755")
        mount("tmpfs", "/dev/shm", "tmpfs", "mode=1777")
        mount("devpts", "/dev/pts", "devpts")
        mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
    if not os.path.ismount(RESULTS):
        mount_results()
    for path in ("/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt", "/var/lib/vas"):
        mount("tmpfs", path, "tmpfs", "mode=755")
    ARCHITECTURE.write_spinner()
    _add_names("/etc/group", ["kvm:x:64990:", "libvirt-qemu:x:64991:", "vas:x:64992:", "vas-admin:x:64993:"])
    _add_names("/etc/passwd", ["libvirt-qemu:x:64991:64990::/:/usr/sbin/nologin",
                               "vas:x:64992:64992::/:/usr/sbin/nologin"])
    os.makedirs("/etc/vas", exist_ok=True)
    os.chown("/var/lib/vas", 64992, 64992)
    if os.path.exists("/dev/kvm"):
        if ARCHITECTURE.kind == "kvm":
            os.chmod("/dev/kvm", 0o666)
        else:
            os.unlink("/dev/kvm")


class Look:
    """vhost-look, which reads what is true from /proc."""

    def __init__(self):
        self.process = subprocess.Popen(["vhost-look"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, question):
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line == ".\n":
                return
            yield line.split()
        raise Wrong("vhost-look ended")

    def threads(self):
        """{VM: {vCPU: Thread}}"""
        found = {}
        for name, _, vcpu, tid, state, last, mask in self.ask("threads"):
            found.setdefault(name, {})[int(vcpu)] = Thread(int(tid), state, int(last), mask)
        return found

    def memory(self):
        """{VM: [pages on node 0, 1, ...]}"""
        return {words[0]: [int(w) for w in words[2:]] for words in self.ask("memory")}


class Thread:
    def __init__(self, tid, state, last_cpu, mask):
        self.tid, self.state, self.last_cpu = tid, state, last_cpu
        self.mask = parse_cpus(mask) if mask != "?" else frozenset()

    @property
    def cpu(self):
        """Its one CPU; None: it has several."""
        return next(iter(self.mask)) if len(self.mask) == 1 else None


class Vm:
    def __init__(self, name, vcpus, cpuset=None, pins=None, memory=16, node=None, touch=None,
                 spins=False):
        self.name, self.vcpus, self.memory, self.pins = name, vcpus, memory, pins or {}
        self.uuid = str(uuid.uuid4())
        self.range = parse_cpus(cpuset) if cpuset else None
        self._cpuset, self._node, self._touch, self._spins = cpuset, node, touch, spins

    def xml(self):
        tune = "".join("<vcpupin vcpu='%d' cpuset='%s'/>" % p for p in sorted(self.pins.items()))
        backing = ""
        if self._touch:  # QEMU touches all of its memory, from these CPUs
            tune += "<emulatorpin cpuset='%s'/>" % self._touch
            backing = "<memoryBacking><allocation mode='immediate'/></memoryBacking>"
        return _DOMAIN.format(
            kind=ARCHITECTURE.kind, arch=os.uname().machine, machine=ARCHITECTURE.machine,
            features=ARCHITECTURE.features, firmware=ARCHITECTURE.firmware(self._spins),
            name=self.name, uuid=self.uuid, memory=self.memory, backing=backing, vcpus=self.vcpus,
            cpuset=" cpuset='%s'" % self._cpuset if self._cpuset else "",
            cputune="<cputune>%s</cputune>" % tune if tune else "",
            numatune="" if self._node is None else
            "<numatune><memory mode='strict' nodeset='%d'/></numatune>" % self._node)


class Daemon:
    """vas-daemon, started from here, asked over its socket."""

    def __init__(self):
        self.process = None

    @staticmethod
    def configure(more="", **defrag):
        values = "".join("%s = %s\n" % (name.replace("_", "-"), value) for name, value in defrag.items())
        write(CONF, "[daemon]\nmode = act\n[defrag]\n%s[vm free-*]\ncross-node = yes\n%s" % (values, more))

    def start(self, **environment):
        environment = dict(os.environ, **environment)
        os.makedirs(os.path.dirname(SOCKET), exist_ok=True)
        shutil.chown(os.path.dirname(SOCKET), "vas", "vas")
        with open(LOG, "ab") as log:
            self.process = subprocess.Popen([*UNPRIVILEGED, "vas-daemon", "start", "server"], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=environment)

    def wait_ready(self, seconds=60):
        wait_until(self.has_looked, seconds, "vas-daemon's first round", pause=0.2)

    def has_looked(self):
        if self.process and self.process.poll() is not None:
            raise Wrong("vas-daemon ended with %s" % self.process.returncode)
        try:
            return self.status()["rounds"] > 0
        except OSError:
            return False

    def call(self, method, **parameters):
        message = json.dumps({"method": "io.vsched.Daemon." + method, "parameters": parameters}).encode() + b"\0"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(60)
            client.connect(SOCKET)
            client.sendall(message)
            answer = b""
            while not answer.endswith(b"\0"):
                part = client.recv(1 << 20)
                if not part:
                    raise OSError("vas-daemon hung up")
                answer += part
        answer = json.loads(answer[:-1])
        if "error" in answer:
            raise Wrong("%s: %s" % (method, answer))
        return answer.get("parameters", {})

    def status(self):
        return self.call("GetStatus")["status"]

    def vms(self):
        return {vm["name"]: vm for vm in self.call("ListVms", scope="all", detail=False)["vms"]}

    def kill(self):
        """What a crash looks like."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process = None
        if code != 0:
            raise Wrong("a clean stop ended with %d" % code)

    def reload(self):
        self.process.send_signal(signal.SIGHUP)


class Hog:
    """A process that takes what it can get of one CPU. Its first page is this
    one's: a new program would cost the emulated host a second."""

    def __init__(self, cpu):
        self._pid = os.fork()
        if self._pid == 0:
            os.sched_setaffinity(0, {cpu})
            while True:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


class Guest:
    """The emulated host and everything on it."""

    def __init__(self):
        self.look = Look()
        self.daemon = Daemon()
        self.vms = {}
        self.libvirt = None
        self.libvirtd = None
        self.starters = concurrent.futures.ThreadPoolExecutor(3)

    # ---- libvirt

    def start_libvirtd(self):
        kept = os.path.join(RESULTS, "qemu-capabilities")
        if os.path.isdir(kept):
            shutil.copytree(kept, CACHE)
        write("/etc/libvirt/qemu.conf", _QEMU_CONF)
        write("/etc/libvirt/libvirtd.conf", _LIBVIRTD_CONF)
        with open(RESULTS + "/libvirtd.out", "wb") as out:
            self.libvirtd = subprocess.Popen(["libvirtd", "-f", "/etc/libvirt/libvirtd.conf"],
                                             stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        wait_until(lambda: os.path.exists("/run/libvirt/libvirt-sock"), 120, "libvirtd listens", pause=0.2)
        self.libvirt = Libvirt("qemu:///system")

    def start_vms(self, *vms):
        """Starts them with their CPUs stopped, several at a time."""
        began = time.monotonic()
        for vm in vms:
            self.vms[vm.name] = vm
        for done in [self.starters.submit(self.libvirt.create, vm.xml()) for vm in vms]:
            done.result()
        if not os.path.isdir(RESULTS + "/qemu-capabilities"):
            shutil.copytree(CACHE, RESULTS + "/qemu-capabilities")
        say("%d VMs of %d vCPUs started in %.1f s" % (len(vms), sum(v.vcpus for v in vms), time.monotonic() - began))

    def destroy(self, *names):
        for done in [self.starters.submit(self.libvirt.destroy, name) for name in names]:
            done.result()
        for name in names:
            del self.vms[name]
