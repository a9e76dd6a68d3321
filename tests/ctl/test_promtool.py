#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What others read of our metrics: Prometheus' own promtool, and the OpenMetrics
parser of its Python client, over every scene of the fake daemon.

test_promtool.py VASCTL FAKE_DAEMON
"""

import os
import shutil
import subprocess
import sys
import tempfile

VASCTL, FAKE = sys.argv[1:3]
SCENES = ["mixed", "smt", "tiny", "observed", "empty", "large"]
BLIND = [("tiny", "blind")]


class Wrong(Exception):
    """What somebody else does not accept."""


def metrics(scene, mood, *options):
    with tempfile.TemporaryDirectory(prefix="test-promtool-") as directory:
        path = os.path.join(directory, "s")
        with subprocess.Popen([FAKE, path, scene, mood], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as fake:
            fake.stdout.readline()
            done = subprocess.run([VASCTL, "metrics", "--socket", path, *options], capture_output=True, timeout=20,
                                  check=False, text=True)
            fake.stdin.close()
    if done.returncode != 0:
        raise Wrong("vasctl metrics: " + done.stderr)
    return done.stdout


def by_promtool():
    if not shutil.which("promtool"):
        return "promtool (Debian's package prometheus) is not here"
    for scene, mood in [(scene, "") for scene in SCENES] + BLIND:
        done = subprocess.run(["promtool", "check", "metrics"], input=metrics(scene, mood), capture_output=True,
                              timeout=60, check=False, text=True)
        if done.returncode != 0 or done.stderr:
            raise Wrong("%s %s: %s" % (scene, mood, done.stderr))
    return None


def by_the_openmetrics_parser():
    try:
        from prometheus_client.openmetrics import parser
    except ImportError:
        return "Python's prometheus_client is not here"
    for scene, mood in [(scene, "") for scene in SCENES] + BLIND:
        text = metrics(scene, mood, "--openmetrics")
        try:
            families = {family.name: family for family in parser.text_string_to_metric_families(text)}
        except ValueError as error:
            raise Wrong("%s %s: %s" % (scene, mood, error)) from error
        if families["vsched_moves"].type != "counter" or families["vsched_uptime_seconds"].unit != "seconds":
            raise Wrong("the parser takes them for something else")
        if len(families) != text.count("# TYPE "):
            raise Wrong("%d metrics of %d arrived" % (len(families), text.count("# TYPE ")))
    return None


def main():
    failed = False
    tests = [by_promtool, by_the_openmetrics_parser]
    print("1..%d" % len(tests))
    for number, test in enumerate(tests, 1):
        name = test.__name__.replace("_", " ")
        try:
            why = test()
            print("ok %d - %s%s" % (number, name, " # SKIP " + why if why else ""))
        except Wrong as wrong:
            failed = True
            print("not ok %d - %s\n# %s" % (number, name, str(wrong).replace("\n", "\n# ")))
    return failed


sys.exit(main())
