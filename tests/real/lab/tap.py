# SPDX-License-Identifier: Apache-2.0
"""Cases and their TAP lines."""

import os
import sys
import time
import traceback

_cases = []


class Skip(Exception):
    """Raised by a case that can not be tried on this machine; says why."""


class Wrong(AssertionError):
    """A check that failed; says what was expected and what was found."""


def case(title):
    """Makes a function a test case. Its argument is the lab."""

    def register(function):
        _cases.append((title, function))
        return function

    return register


def check(condition, message, *args):
    if not condition:
        raise Wrong(message % args if args else message)


def equal(found, expected, what):
    check(found == expected, "%s: expected %r, found %r", what, expected, found)


def patience():
    """1, or on an overloaded machine how many times longer things take there; VAS_PATIENCE: on an emulated one."""
    return max(float(os.environ.get("VAS_PATIENCE", 1)), min(10.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def wait_until(condition, timeout=5.0, what=None, pause=0.02):
    """Waits for condition() to be true; returns what it returned. The timeout is
    the claim that is tested; only a machine that is overloaded gets longer."""
    timeout *= patience()
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Wrong("not within %.3g s: %s" % (timeout, what or getattr(condition, "__name__", "")))
        time.sleep(pause)


def _say(line):
    print(line, flush=True)


def _diagnose(text):
    for line in text.rstrip().splitlines():
        _say("#   " + line)


def run_cases(lab, only=None):
    """Runs every case in order, cleaning up behind each. Returns the exit code."""
    chosen = [(t, f) for t, f in _cases if not only or only in t or only == f.__name__]
    _say("1..%d" % len(chosen))
    bad = 0
    for number, (title, function) in enumerate(chosen, 1):
        began = time.monotonic()
        try:
            function(lab)
            verdict, note = "ok", ""
        except Skip as reason:
            verdict, note = "ok", " # SKIP %s" % reason
        except Exception:  # whatever it is, it is this case's failure
            verdict, note = "not ok", ""
            _diagnose(traceback.format_exc())
            _diagnose(lab.evidence())
        try:
            lab.clean()
        except Exception:
            verdict = "not ok"
            _diagnose("while cleaning up:\n" + traceback.format_exc())
        bad += verdict != "ok"
        _say("%s %d - %s%s" % (verdict, number, title, note))
        _say("#   %.2f s" % (time.monotonic() - began))
    sys.stdout.flush()
    return 1 if bad else 0
