# SPDX-License-Identifier: Apache-2.0
"""
A place of its own for a test: namespaces in which a libvirtd, its VMs and a
vas-daemon can run with their usual paths, unseen by the machine and not seeing
the machine's.

Three processes take part:

  outer    in the machine's namespaces. Starts the others, and afterwards
           removes the empty cgroups that they left: the cgroup tree is the one
           thing that is shared. Works also when it is interrupted; a run whose
           outer process was itself killed is cleaned up by the next run.
  init     process 1 of the new PID namespace. Reaps. When it goes, the kernel
           kills everything in the namespace.
  subject  the test or the demo itself.

/run, /etc and libvirt's directories under /var are private in the namespace;
/etc is a copy, so users and settings can be added to it freely.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import traceback

LAB = "/run/lab"  # scratch of one run, inside the namespace
RUN_ENV = "VAS_LAB_RUN"
CACHE_ENV = "VAS_LAB_CACHE"
RUN_PREFIX = "vaslab"

MS_BIND, MS_REC = 0x1000, 0x4000
MNT_DETACH = 2
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
KVM_CREATE_VM = 0xAE01

_libc = ctypes.CDLL(None, use_errno=True)


def _mount(source, target, kind=None, flags=0, data=None):
    args = [None if a is None else os.fsencode(a) for a in (source, target, kind)]
    data = None if data is None else data.encode()
    if _libc.mount(args[0], args[1], args[2], ctypes.c_ulong(flags), data) != 0:
        error = ctypes.get_errno()
        raise OSError(error, "mount on %s: %s" % (target, os.strerror(error)))


def bind(source, target):
    """Shows source, a file or directory, at target."""
    _mount(source, target, flags=MS_BIND)


def unbind(target):
    """Also while somebody holds it open."""
    if _libc.umount2(os.fsencode(target), MNT_DETACH) != 0:
        raise OSError(ctypes.get_errno(), "umount %s" % target)


# ---- outer ----------------------------------------------------------------


def _start_time(pid):
    try:
        with open("/proc/%s/stat" % pid, encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _new_run_id():
    """Names the outer process for good: its number and its start time. Letters
    and digits only: of others, libvirt drops some from a cgroup's name."""
    return "%s%xx%x" % (RUN_PREFIX, os.getpid(), int(_start_time("self")))


def _run_is_over(run):
    pid, _, started = run[len(RUN_PREFIX):].partition("x")
    try:
        return _start_time(int(pid, 16)) != str(int(started, 16))
    except ValueError:
        return False


def _run_of(directory):
    """The run id in a cgroup's name, as in qemu-3-web-vaslab1f2x9a7c; None: no run's."""
    for part in directory.replace("\\x2d", "-").replace(".", "-").split("-"):
        if part.startswith(RUN_PREFIX) and "x" in part[len(RUN_PREFIX):]:
            return part
    return None


def _machine_dirs():
    """Where libvirt puts VMs, in every cgroup hierarchy."""
    with open("/proc/self/mounts", encoding="utf-8") as f:
        mounts = [line.split() for line in f]
    points = [m[1] for m in mounts if m[2] in ("cgroup", "cgroup2")]
    return [os.path.join(point, name) for point in points for name in ("machine", "machine.slice")]


def _remove_tree(path):
    """Removes a tree of cgroups. The files in them are the kernel's."""
    for directory, _, _ in os.walk(path, topdown=False):
        for _ in range(20):
            try:
                os.rmdir(directory)
                break
            except FileNotFoundError:
                break
            except OSError:  # its last task is still being buried
                time.sleep(0.05)


def _remove_cgroups(run, were_there):
    for machine in _machine_dirs():
        try:
            names = os.listdir(machine)
        except OSError:
            continue
        for name in names:
            theirs = _run_of(name)
            if theirs and (theirs == run or _run_is_over(theirs)):
                _remove_tree(os.path.join(machine, name))
        if machine not in were_there:
            try:
                os.rmdir(machine)
            except OSError:
                pass


def _enter(cache):
    """Runs this very program again, in namespaces. Returns its exit code."""
    run = _new_run_id()
    were_there = [m for m in _machine_dirs() if os.path.isdir(m)]
    environment = dict(os.environ, **{RUN_ENV: run, CACHE_ENV: cache, "PYTHONDONTWRITEBYTECODE": "1"})
    command = ["unshare", "-m", "-p", "-n", "-i", "-f", "--kill-child", "--mount-proc",
               sys.executable, *sys.argv]

    def die_with_parent():
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setpgid(0, 0)

    child = subprocess.Popen(command, env=environment, preexec_fn=die_with_parent)
    interrupted = []

    def stop(number, _frame):
        interrupted.append(number)
        child.kill()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        code = child.wait()
    finally:
        child.kill()
        _remove_cgroups(run, were_there)
    if interrupted:
        return 128 + interrupted[0]
    return code if code >= 0 else 128 - code


# ---- init -----------------------------------------------------------------


def _reap_until(child):
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def _cover(path):
    """An empty private directory over path, which need not exist."""
    if not os.path.isdir(path):
        _rebuild(os.path.dirname(path))
        os.makedirs(path, exist_ok=True)
    _mount("tmpfs", path, "tmpfs", data="mode=755")


def _rebuild(path):
    """A private directory that shows what path shows and can be added to."""
    old = os.open(path, os.O_PATH | os.O_DIRECTORY)
    _mount("tmpfs", path, "tmpfs", data="mode=755")
    below = "/proc/self/fd/%d" % old
    for entry in os.scandir(below):
        target = os.path.join(path, entry.name)
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), target)
        elif entry.is_dir():
            os.mkdir(target)
            _mount(entry.path, target, flags=MS_BIND | MS_REC)
    os.close(old)


def _copy_etc():
    copy = LAB + "/etc"
    subprocess.run(["cp", "-a", "--one-file-system", "/etc", copy], check=False, stderr=subprocess.DEVNULL)
    for name in ("passwd", "group", "hosts", "resolv.conf"):  # may be mounts of their own
        if os.path.exists("/etc/" + name) and not os.path.exists(copy + "/" + name):
            shutil.copy("/etc/" + name, copy + "/" + name)
    _mount(copy, "/etc", flags=MS_BIND)
    shutil.rmtree("/etc/libvirt", ignore_errors=True)
    shutil.rmtree("/etc/vas", ignore_errors=True)
    os.makedirs("/etc/libvirt")
    os.makedirs("/etc/vas")


def _add_names(path, lines):
    with open(path, encoding="utf-8", errors="replace") as f:
        known = {line.partition(":")[0] for line in f}
    with open(path, "a", encoding="utf-8") as f:
        f.writelines(line + "\n" for line in lines if line.partition(":")[0] not in known)


def _add_users():
    """Users that libvirt insists on, ours, and one who is nobody special."""
    _add_names("/etc/group", ["kvm:x:64990:", "libvirt-qemu:x:64991:", "qemu:x:64991:",
                              "vas:x:64992:", "vas-admin:x:64993:", "guest:x:64994:"])
    _add_names("/etc/passwd", [
        "libvirt-qemu:x:64991:64990:QEMU:/:/usr/sbin/nologin",
        "qemu:x:64991:64990:QEMU:/:/usr/sbin/nologin",
        "vas:x:64992:64992:vas-daemon:/:/usr/sbin/nologin",
        "guest:x:64994:64994:somebody:/:/bin/sh"])


def _kvm_works():
    try:
        kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.close(fcntl.ioctl(kvm, KVM_CREATE_VM, 0))
        return True
    except OSError:
        return False
    finally:
        os.close(kvm)


def _settle_kvm():
    """KVM for everybody in here, or for nobody. A /dev/kvm that root may use and
    QEMU's user may not makes libvirt probe QEMU anew, for seconds, at each start."""
    if not os.path.exists("/dev/kvm"):
        return
    ours = LAB + "/kvm"
    if _kvm_works():
        os.mknod(ours, stat.S_IFCHR | 0o666, os.stat("/dev/kvm").st_rdev)
        os.chmod(ours, 0o666)
    else:
        os.close(os.open(ours, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0))
    _mount(ours, "/dev/kvm", flags=MS_BIND)


def _furnish():
    """Makes the namespaces a place to live in. Runs as process 1."""
    _mount("tmpfs", "/run", "tmpfs", data="mode=755")
    os.makedirs(LAB, mode=0o755)
    if os.path.isdir("/var/run") and not os.path.islink("/var/run"):
        _mount("/run", "/var/run", flags=MS_BIND)
    _copy_etc()
    _add_users()
    for path in ("/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt", "/var/lib/vas"):
        _cover(path)
    _settle_kvm()
    # What libvirt learns about QEMU is worth keeping: the probe takes seconds.
    kept = os.environ[CACHE_ENV]
    os.makedirs(kept, exist_ok=True)
    os.makedirs("/var/cache/libvirt/qemu/capabilities")
    _mount(kept, "/var/cache/libvirt/qemu/capabilities", flags=MS_BIND)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=False, stderr=subprocess.DEVNULL)


def _live(subject):
    """Process 1: furnishes, starts the subject, buries the dead."""
    _furnish()
    child = os.fork()
    if child:
        code = _reap_until(child)
        sys.stdout.flush()
        os._exit(code if code >= 0 else 128 - code)
    os.setsid()
    code = 1
    try:
        code = subject()
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def file_in_place_of(target, source):
    """Shows source where target is, inside the sandbox."""
    _mount(source, target, flags=MS_BIND)
    try:
        yield
    finally:
        _libc.umount2(os.fsencode(target), MNT_DETACH)


def run_id():
    return os.environ[RUN_ENV]


def run(subject, cache):
    """Calls subject() in a sandbox and exits with what it returns."""
    if os.environ.get(RUN_ENV):
        _live(subject)
    sys.exit(_enter(os.path.abspath(cache)))
