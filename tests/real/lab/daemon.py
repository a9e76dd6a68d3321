# SPDX-License-Identifier: Apache-2.0
"""The vas-daemon under test, and vasctl. Both with their usual paths, which
are the sandbox's own: /etc/vas, /run/vas, /var/lib/vas."""

import json
import os
import shutil
import signal
import struct
import subprocess
import time

from .sandbox import LAB
from .tap import Wrong, wait_until

RUNTIME = "/run/vas"
CONF = "/etc/vas/vas-daemon.conf"
LOG = LAB + "/vas-daemon.log"
WRITES = LAB + "/writes"
EVENTS = LAB + "/events"
CLOCK = LAB + "/clock"

# Rounds by the second, so that a resync need not be waited for.
SETTINGS = {"daemon": {"mode": "act"}, "defrag": {"interval": "1s"}}


class Answer:
    """What vasctl said."""

    def __init__(self, done, seconds):
        self.code, self.out, self.err, self.seconds = done.returncode, done.stdout, done.stderr, seconds

    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return "exit %d, stdout %r, stderr %r" % (self.code, self.out, self.err)


def _inner(value, key):
    """A reply's one member, or the member itself."""
    return value[key] if isinstance(value, dict) and key in value and len(value) == 1 else value


def write_settings(settings):
    with open(CONF, "w", encoding="utf-8") as f:
        for section, values in settings.items():
            f.write("[%s]\n" % section)
            f.writelines("%s = %s\n" % item for item in values.items())


class Daemon:
    def __init__(self, build):
        self.program = self._install(build, "src/daemon/vas-daemon")
        self.ctl = self._install(build, "src/ctl/vasctl")
        self.sim = self._install(build, "src/sim/vas-sim")
        self.counter = self._install(build, "tests/real/count_writes.so")
        self.dropper = self._install(build, "tests/real/drop_events.so")
        self.clock = self._install(build, "tests/real/shift_clock.so")
        self.process = None
        self.preloaded = {"LD_PRELOAD": self.counter}  # and what they are told

    @staticmethod
    def _install(build, path):
        """Copies a program to where every user may run it, which a build
        directory need not be."""
        bin_dir = LAB + "/bin"
        os.makedirs(bin_dir, exist_ok=True)
        source = os.path.join(build, path)
        if os.path.exists(source):
            shutil.copy(source, bin_dir)
        return os.path.join(bin_dir, os.path.basename(path))

    def start(self, *options, settings=None, before=(), wait=True, write_delay_ms=0, drop_events=None, own_clock=False):
        """Starts it and waits for its first round. before: a command that runs
        it, such as setpriv and its options. write_delay_ms: by so much each of
        its writes is slower. drop_events: "all", it hears none of libvirt's; a
        number, half of them are lost and some come twice, and it says which.
        own_clock: its wall clock is what set_clock() says."""
        self.preloaded = {"VAS_WRITE_DELAY_MS": str(write_delay_ms), "LD_PRELOAD": self.counter}
        if drop_events is not None:
            self.preloaded["VAS_DROP_EVENTS"] = str(drop_events)
            self.preloaded["LD_PRELOAD"] += ":" + self.dropper
        if own_clock:
            self.set_clock(0)
            self.preloaded["LD_PRELOAD"] += ":" + self.clock
        self.configure(settings)
        self.process = self._spawn(list(before) + [self.program, "start", "server", *options])
        if wait:
            wait_until(self.has_looked, 10, "vas-daemon's first round")
        return self

    @staticmethod
    def configure(settings=None):
        merged = {name: dict(values) for name, values in SETTINGS.items()}
        for section, values in (settings or {}).items():
            merged.setdefault(section, {}).update(values)
        write_settings(merged)
        for path in (WRITES, EVENTS):
            with open(path, "w", encoding="ascii"):
                os.chmod(path, 0o666)

    def run(self, *args, before=(), timeout=20):
        """Runs vas-daemon to its end, as --oneshot and the like do."""
        done = subprocess.run([*before, self.program, *args], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=timeout, env=self._environment())
        return Answer(done, 0)

    def _environment(self):
        return dict(os.environ, VAS_COUNT_WRITES=WRITES, VAS_EVENTS_NOTE=EVENTS, VAS_CLOCK_SHIFT=CLOCK,
                    ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0", **self.preloaded)

    def _spawn(self, command):
        with open(LOG, "ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    env=self._environment())

    def has_looked(self):
        if self.process.poll() is not None:
            raise Wrong("vas-daemon ended with %s" % self.process.returncode)
        answer = self.vasctl("status", "--json")
        return answer.code == 0 and _inner(answer.json(), "status")["rounds"] > 0

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def writes(self):
        """The threads whose masks the daemon has set since its start, one for
        each call that it made."""
        return [tid for tid, _ in self.timed_writes()]

    @staticmethod
    def timed_writes():
        """(thread, seconds since the epoch) of each call."""
        with open(WRITES, encoding="ascii") as f:
            return [(int(tid), int(ns) / 1e9) for tid, ns in map(str.split, f)]

    @staticmethod
    def delivered():
        """Of each event that libvirt had for it: (how often it was delivered, libvirt's number of its kind, and of
        what happened in a VM's life); with drop_events."""
        with open(EVENTS, encoding="ascii") as f:
            return [tuple(map(int, line.split())) for line in f]

    @staticmethod
    def set_clock(seconds_ahead):
        """The wall clock of a daemon that has one of its own jumps to where it is so far ahead of the machine's."""
        fd = os.open(CLOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.pwrite(fd, struct.pack("=q", seconds_ahead), 0)  # in place: it has the file mapped
        os.close(fd)

    def log(self):
        with open(LOG, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self, timeout=10.0):
        """A clean stop. Returns the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Wrong("SIGTERM did not end it within %.3g s" % timeout) from None
        self.process = None
        if code != 0:
            raise Wrong("a clean stop ended with exit code %d" % code)
        return time.monotonic() - began

    def kill(self):
        """What a crash looks like."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def is_sanitized(self):
        """Built with a sanitizer: many times slower, and its allocations can not be taken over."""
        with open(self.program, "rb") as f:
            program = f.read()
        return b"__asan_init" in program or b"__tsan_init" in program

    def vasctl(self, *args, before=(), timeout=20):
        # `opt recover` looks for vas-daemon when none is running.
        environment = dict(os.environ, PATH=os.path.dirname(self.program) + ":" + os.environ["PATH"])
        began = time.monotonic()
        done = subprocess.run([*before, self.ctl, *args], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=timeout, env=environment)
        return Answer(done, time.monotonic() - began)

    def status(self):
        answer = self.vasctl("status", "--json")
        if answer.code != 0:
            raise Wrong("vasctl status: %r" % answer)
        return _inner(answer.json(), "status")

    def verdict(self, vm):
        """The one word that the daemon has for a VM; None: it does not know it."""
        answer = self.vasctl("list", "--json")
        vms = _inner(answer.json(), "vms") if answer.code == 0 else []
        return next((v["verdict"] for v in vms if v["uuid"] == vm.uuid), None)

    def clean(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
        shutil.rmtree(RUNTIME, ignore_errors=True)
        for path in (LOG, WRITES, EVENTS, CLOCK):
            if os.path.exists(path):
                os.unlink(path)
