# SPDX-License-Identifier: Apache-2.0
"""The vas-daemon under test, and vasctl. Both with their usual paths, which
are the sandbox's own: /etc/vas, /run/vas, /var/lib/vas."""

import json
import os
import shutil
import signal
import subprocess
import time

from .sandbox import LAB
from .tap import Wrong, wait_until

RUNTIME = "/run/vas"
CONF = "/etc/vas/vas-daemon.conf"
LOG = LAB + "/vas-daemon.log"
WRITES = LAB + "/writes"

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


def write_settings(settings):
    with open(CONF, "w", encoding="utf-8") as f:
        for section, values in settings.items():
            f.write("[%s]\n" % section)
            f.writelines("%s = %s\n" % item for item in values.items())


class Daemon:
    def __init__(self, build):
        self.build = build
        self.program = os.path.join(build, "src/daemon/vas-daemon")
        self.ctl = os.path.join(build, "src/ctl/vasctl")
        self.counter = os.path.join(build, "tests/real/count_writes.so")
        self.process = None

    def start(self, *options, settings=None, before=(), wait=True):
        """Starts it and waits for its first round. before: a command that runs
        it, such as setpriv and its options."""
        merged = {name: dict(values) for name, values in SETTINGS.items()}
        for section, values in (settings or {}).items():
            merged.setdefault(section, {}).update(values)
        write_settings(merged)
        with open(WRITES, "w", encoding="ascii"):
            os.chmod(WRITES, 0o666)
        self.process = self._spawn(list(before) + [self.program, "start", "server", *options])
        if wait:
            wait_until(self.has_looked, 10, "vas-daemon's first round")
        return self

    def _spawn(self, command):
        environment = dict(os.environ, LD_PRELOAD=self.counter, VAS_COUNT_WRITES=WRITES,
                           ASAN_OPTIONS="verify_asan_link_order=0")
        with open(LOG, "ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def has_looked(self):
        if self.process.poll() is not None:
            raise Wrong("vas-daemon ended with %s" % self.process.returncode)
        answer = self.vasctl("status", "--json")
        return answer.code == 0 and answer.json()["rounds"] > 0

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def writes(self):
        """Affinity masks that the running daemon has written, by the kernel's count."""
        with open(WRITES, encoding="ascii") as f:
            return sum(1 for _ in f)

    def stop(self, timeout=5.0):
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

    def vasctl(self, *args, before=(), timeout=20):
        began = time.monotonic()
        done = subprocess.run([*before, self.ctl, *args], capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=timeout)
        return Answer(done, time.monotonic() - began)

    def status(self):
        answer = self.vasctl("status", "--json")
        if answer.code != 0:
            raise Wrong("vasctl status: %r" % answer)
        return answer.json()

    def verdict(self, vm):
        """The one word that the daemon has for a VM; None: it does not know it."""
        answer = self.vasctl("list", "--json")
        vms = answer.json() if answer.code == 0 else []
        vms = vms["vms"] if isinstance(vms, dict) else vms
        return next((v["verdict"] for v in vms if v["uuid"] == vm.uuid), None)

    def clean(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
        shutil.rmtree(RUNTIME, ignore_errors=True)
        for path in (LOG, WRITES):
            if os.path.exists(path):
                os.unlink(path)
