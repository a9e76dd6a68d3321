#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whether the daemon's answers are what the interface file declares.

test_interface.py INTERFACE FAKE_DAEMON, or test_interface.py INTERFACE --socket PATH
for a daemon that runs already (then only what changes nothing is asked).
"""

import json
import socket
import subprocess
import sys
import tempfile

from interface import Parser, Wrong, conform


def call(path, method, parameters):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(path)
        s.sendall(json.dumps({"method": method, "parameters": parameters}).encode() + b"\0")
        text = b""
        while not text.endswith(b"\0"):
            chunk = s.recv(65536)
            if not chunk:
                raise Wrong("the connection was closed")
            text += chunk
    return json.loads(text[:-1])


QUERIES = [("GetStatus", {}), ("GetMetrics", {}), ("Check", {}), ("ListVms", {"scope": "all", "detail": False}), ("ListVms", {"scope": "all", "detail": True}),
           ("GetHost", {}), ("QueryAffinity", {"scope": "all"}), ("GetEvents", {}),
           ("GetEvents", {"since": 2, "last": 1}), ("GetSettings", {}), ("GetSettings", {"key": "smt"}),
           ("Settle", {}), ("Plan", {}),
           ("Plan", {"add": 2, "range": "0-1", "policy": "static", "reassign": "all"})]
CHANGES = [("Reassign", {"scope": "all", "dry_run": True}), ("SetPolicy", {"policy": "static"}),
           ("Capture", {"hash_names": True}), ("Set", {"key": "smt", "value": "auto", "persist": False}), ("Pause", {}),
           ("Resume", {}), ("Recover", {})]


def check_calls(path, interface, calls):
    types, methods, _ = interface
    for method, parameters in calls:
        conform(parameters, methods[method][0], types, method)
        answer = call(path, "io.vsched.Daemon." + method, parameters)
        if "error" in answer:
            raise Wrong("%s: %r" % (method, answer))
        conform(answer["parameters"], methods[method][1], types, method)


def check_errors(path, interface):
    for method, parameters in (("ListVms", {"scope": "nobody", "detail": True}), ("Explain", {"vm": "nobody"}),
                               ("QueryAffinity", {"scope": "nobody"}), ("Plan", {"remove": "nobody"})):
        answer = call(path, "io.vsched.Daemon." + method, parameters)
        name = answer.get("error", "").rpartition(".")
        if name[0] != "io.vsched.Daemon" or name[2] not in interface[2]:
            raise Wrong("%s: the error of %r is not declared" % (method, answer))
        conform(answer["parameters"], interface[2][name[2]], interface[0], name[2])


def check_explanations(path, interface):
    vms = call(path, "io.vsched.Daemon.ListVms", {"scope": "all", "detail": False})["parameters"]["vms"]
    check_calls(path, interface, [("Explain", {"vm": vm["uuid"]}) for vm in vms])


def check_all(path, interface, changing):
    check_calls(path, interface, QUERIES + (CHANGES if changing else []))
    check_explanations(path, interface)
    check_errors(path, interface)
    described = call(path, "org.varlink.service.GetInterfaceDescription", {"interface": "io.vsched.Daemon"})
    with open(sys.argv[1], encoding="ascii") as f:
        if described["parameters"]["description"] != f.read():
            raise Wrong("the daemon describes another interface")


def with_fake(scene, interface):
    with tempfile.TemporaryDirectory() as directory:
        path = directory + "/s"
        with subprocess.Popen([sys.argv[2], path, scene], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as fake:
            try:
                fake.stdout.readline()
                check_all(path, interface, True)
            finally:
                fake.stdin.close()


def main():
    with open(sys.argv[1], encoding="ascii") as f:
        interface = Parser(f.read()).interface()
    if sys.argv[2] == "--socket":
        check_all(sys.argv[3], interface, False)
        return 0
    scenes = ["mixed", "smt", "tiny", "observed"]
    print("1..%d" % len(scenes))
    failed = False
    for number, scene in enumerate(scenes, 1):
        try:
            with_fake(scene, interface)
            print("ok %d - %s" % (number, scene))
        except Wrong as wrong:
            failed = True
            print("not ok %d - %s\n# %s" % (number, scene, wrong))
    return failed


sys.exit(main())
