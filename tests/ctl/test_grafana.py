#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Grafana dashboard and the alert rules: what they ask for exists, promtool
takes every expression, and the alerts come when they should.

test_grafana.py VASCTL FAKE_DAEMON DASHBOARD ALERTS ALERTS_TEST
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

VASCTL, FAKE, DASHBOARD, ALERTS, ALERTS_TEST = sys.argv[1:6]
NAME = re.compile(r"\bvsched_[a-z_]+")


class Wrong(Exception):
    """What was not as it should be."""


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def dashboard():
    return json.loads(read(DASHBOARD))


def expressions():
    """Title of a panel -> its expressions."""
    return {panel["title"]: [target["expr"] for target in panel.get("targets", [])] for panel in dashboard()["panels"]}


def exported():
    """The names that vasctl metrics has, with their suffixes."""
    with tempfile.TemporaryDirectory(prefix="test-grafana-") as directory:
        path = os.path.join(directory, "s")
        with subprocess.Popen([FAKE, path, "mixed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as fake:
            fake.stdout.readline()
            text = subprocess.run([VASCTL, "metrics", "--socket", path], capture_output=True, timeout=20, check=True,
                                  text=True).stdout
            fake.stdin.close()
    return {re.match("[a-z_]+", line)[0] for line in text.splitlines() if line[0] != "#"}


def names_exist():
    known = exported()
    for where, text in [("the dashboard", read(DASHBOARD)), ("the alerts", read(ALERTS))]:
        unknown = set(NAME.findall(text)) - known
        if unknown:
            raise Wrong("%s: no such metric: %s" % (where, ", ".join(sorted(unknown))))


def panels_stand_apart():
    seen, ids = {}, set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        if panel["id"] in ids or at["x"] + at["w"] > 24:
            raise Wrong("%s: its id or its place" % panel["title"])
        ids.add(panel["id"])
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                if (x, y) in seen:
                    raise Wrong("%s lies on %s" % (panel["title"], seen[x, y]))
                seen[x, y] = panel["title"]
        if panel["type"] != "row" and not panel["targets"]:
            raise Wrong("%s shows nothing" % panel["title"])


def need_promtool():
    return None if shutil.which("promtool") else "promtool (Debian's package prometheus) is not here"


def promtool(*words):
    done = subprocess.run(["promtool", *words], capture_output=True, timeout=120, check=False, text=True)
    if done.returncode != 0:
        raise Wrong("promtool %s: %s%s" % (" ".join(words), done.stdout, done.stderr))


def promtool_takes_the_alerts():
    if need_promtool():
        return need_promtool()
    promtool("check", "rules", ALERTS)
    return None


def alerts_come_when_they_should():
    if need_promtool():
        return need_promtool()
    try:
        promtool("test", "rules", ALERTS_TEST)
    except Wrong as wrong:
        if "field name not found in type main.testGroup" in str(wrong):
            return "this promtool knows no names of groups of tests (2.24 does not)"
        raise
    return None


def promtool_takes_the_dashboard():
    """Each expression as a rule of its own, with values for Grafana's variables."""
    if need_promtool():
        return need_promtool()
    rules = []
    for title, group in expressions().items():
        for expression in group:
            text = expression.replace("$instance", ".*").replace("$__rate_interval", "5m")
            if "$" in text:
                raise Wrong("%s: an unknown variable in %s" % (title, expression))
            rules.append({"record": "vsched:panel%d" % len(rules), "expr": text})
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as f:
        json.dump({"groups": [{"name": "panels", "rules": rules}]}, f)  # JSON is YAML
        f.flush()
        promtool("check", "rules", f.name)
    return None


def main():
    failed = False
    tests = [names_exist, panels_stand_apart, promtool_takes_the_alerts, alerts_come_when_they_should,
             promtool_takes_the_dashboard]
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
