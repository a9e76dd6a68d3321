#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
The control socket as the Varlink specification has it, seen by a client that knows
nothing else: what the daemon can do, it learns from the daemon itself.
"""

import json
import os
import socket
import sys

from lab import case, check, equal, main, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ctl"))
from interface import Parser, conform  # pylint: disable=wrong-import-position,import-error

SOCKET = "/run/vas/vas.sock"
SERVICE = "org.varlink.service"
OURS = "io.vsched.Daemon"
NOBODY = "6f1c2f0e-0000-4000-8000-000000000000"
STRANGER = 65534  # a user without rights

# What to call a method with; one that is not here gets a value of each declared type.
PARAMETERS = {"ListVms": {"scope": "all", "detail": True}, "Explain": {"vm": "VM"}, "QueryAffinity": {"scope": "VM"},
              "Reassign": {"scope": "all", "dry_run": False}, "Plan": {"add": 1, "remove": "VM", "policy": "static"},
              "Set": {"key": "placement.smt", "value": "auto"}, "SetPolicy": {"policy": "static"}}


class Client:
    """A connection: messages are JSON objects, each ended by a NUL."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(SOCKET)
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    @staticmethod
    def message(method, parameters=None, **flags):
        call = {"method": method, **flags}
        if parameters is not None:
            call["parameters"] = parameters
        return json.dumps(call).encode() + b"\0"

    def send(self, method, parameters=None, **flags):
        self.socket.sendall(self.message(method, parameters, **flags))

    def reply(self):
        """The next one; None: the daemon closed the connection."""
        while b"\0" not in self.rest:
            chunk = self.socket.recv(65536)
            if not chunk:
                equal(self.rest, b"", "half a message at the end")
                return None
            self.rest += chunk
        text, self.rest = self.rest.split(b"\0", 1)
        reply = json.loads(text)
        check(set(reply) <= {"parameters", "error", "continues"}, "members of a reply: %r", reply)
        check(isinstance(reply.get("parameters", {}), dict), "parameters: %r", reply)
        return reply

    def call(self, method, parameters=None, **flags):
        self.send(method, parameters, **flags)
        return self.reply()

    def is_quiet(self):
        """Whether nothing has come and nothing comes for a moment."""
        self.socket.settimeout(0.1)
        try:
            return self.rest == b"" and self.socket.recv(1) is None
        except socket.timeout:
            return True
        finally:
            self.socket.settimeout(20)


def ours(method):
    return OURS + "." + method


def described(client, name):
    """(types, methods, errors) of an interface, in the daemon's own words."""
    reply = client.call(SERVICE + ".GetInterfaceDescription", {"interface": name})
    return Parser(reply["parameters"]["description"]).interface()


def some_value(kind, types):
    what, detail = kind
    if what == "name":
        return some_value(types[detail], types) if detail in types else {"string": "all", "bool": False, "int": 1,
                                                                         "float": 1.0, "object": {}}[detail]
    return {"maybe": None, "array": [], "map": {}, "enum": detail[0] if what == "enum" else None,
            "struct": {key: some_value(inner, types) for key, inner in detail.items()} if what == "struct" else None}[what]


def parameters_of(interface, method, vm):
    chosen = PARAMETERS.get(method)
    if chosen is None:
        chosen = some_value(interface[1][method][0], interface[0])
    return {key: vm.name if value == "VM" else value for key, value in chosen.items()}


def placed(lab, **how):
    lab.daemon.start(**how)
    vm = lab.vm("a", vcpus=1).start()
    wait_until(lambda: lab.daemon.verdict(vm) is not None, 5)
    return vm


@case("GetInfo names the interfaces, GetInterfaceDescription describes each")
def introspection(lab):
    lab.daemon.start()
    with Client() as client:
        info = client.call(SERVICE + ".GetInfo")["parameters"]
        equal(set(info), {"vendor", "product", "version", "url", "interfaces"}, "members of GetInfo")
        equal(set(info["interfaces"]), {SERVICE, OURS}, "interfaces")
        methods = described(client, SERVICE)[1]
        equal(set(methods), {"GetInfo", "GetInterfaceDescription"}, "methods of every service")
        conform(info, methods["GetInfo"][1], {}, "GetInfo")
        equal(info["version"], client.call(ours("GetStatus"))["parameters"]["status"]["version"], "version")


@case("every method answers as declared, with \"more\" set as well")
def every_method(lab):
    vm = placed(lab)
    with Client() as client:
        interface = described(client, OURS)
        check(len(interface[1]) >= 16, "methods: %r", sorted(interface[1]))
        for method, (taken, returned) in interface[1].items():
            parameters = parameters_of(interface, method, vm)
            conform(parameters, taken, interface[0], method)
            for flags in ({}, {"more": True}):
                with Client() as other:
                    reply = other.call(ours(method), parameters, **flags)
                    for _ in range(20):
                        if "try again" not in str(reply.get("parameters", {}).get("reason")):
                            break
                        reply = other.call(ours(method), parameters, **flags)
                    check("error" not in reply or reply["error"] == SERVICE + ".ExpectedMore" and not flags,
                          "%s %r: %r", method, flags, reply)
                    check(flags or not reply.get("continues"), "%s goes on unasked", method)
                    if "error" not in reply:
                        conform(reply["parameters"], returned, interface[0], method)
                    check(reply.get("continues") or other.is_quiet(), "%s: a second answer", method)


@case("errors: the service's and the interface's, each with its parameters")
def errors(lab):
    placed(lab, settings={"dynamic": {"emulate": "never"}})
    with Client() as client:
        declared, types = described(client, OURS)[2], described(client, OURS)[0]

        def fails(call, parameters, error, **members):
            reply = client.call(call, parameters)
            equal(reply.get("error"), error, "%s %r" % (call, parameters))
            for name, value in members.items():
                equal(reply["parameters"].get(name), value, "%s of %s" % (name, error))
            if error.startswith(OURS):
                conform(reply["parameters"], declared[error.rpartition(".")[2]], types, error)

        fails(ours("NoSuchMethod"), {}, SERVICE + ".MethodNotFound", method=ours("NoSuchMethod"))
        fails(SERVICE + ".NoSuchMethod", {}, SERVICE + ".MethodNotFound", method=SERVICE + ".NoSuchMethod")
        fails("org.example.other.Get", {}, SERVICE + ".InterfaceNotFound", interface="org.example.other")
        fails(SERVICE + ".GetInterfaceDescription", {"interface": "org.example.other"}, SERVICE + ".InterfaceNotFound",
              interface="org.example.other")
        fails(SERVICE + ".GetInterfaceDescription", {}, SERVICE + ".InvalidParameter", parameter="interface")
        fails(ours("ListVms"), {"scope": 7, "detail": False}, SERVICE + ".InvalidParameter", parameter="scope")
        fails(ours("Explain"), {}, SERVICE + ".InvalidParameter", parameter="vm")
        fails(ours("Set"), {"key": "placement.smt"}, SERVICE + ".InvalidParameter", parameter="value")
        fails(ours("Explain"), {"vm": NOBODY}, ours("NoSuchVm"), vm=NOBODY)
        fails(ours("Set"), {"key": "placement.smt", "value": "perhaps"}, ours("Refused"))
        fails(ours("SetPolicy"), {"policy": "dynamic"}, ours("Refused"))


@case("a stranger may ask for everything and change nothing")
def stranger(lab):
    vm = placed(lab)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answers = {}
        try:
            os.setgroups([])
            os.setgid(STRANGER)
            os.setuid(STRANGER)
            with Client() as client:
                interface = described(client, OURS)
                for method in interface[1]:
                    with Client() as other:
                        reply = other.call(ours(method), parameters_of(interface, method, vm))
                        answers[method] = reply.get("error", "")
        finally:
            os.write(writing, json.dumps(answers).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as f:
        answers = json.loads(f.read())
    os.waitpid(child, 0)
    equal({method for method, error in answers.items() if error == ours("NotPermitted")},
          {"Reassign", "Set", "SetPolicy", "Pause", "Resume", "Recover", "Capture"}, "what a stranger may not do")
    equal(lab.daemon.status()["paused"], False, "paused by a stranger")
    check(answers["GetStatus"] == "" and answers["Plan"] == "", "what a stranger may ask: %r", answers)


@case("oneway: done without an answer, and the next answer is the next call's")
def oneway(lab):
    lab.daemon.start()
    with Client() as client:
        client.send(ours("Pause"), {}, oneway=True)
        check(client.is_quiet(), "an answer to a oneway call")
        equal(client.call(ours("GetStatus"))["parameters"]["status"]["paused"], True, "paused")
        client.send(ours("Resume"), {}, oneway=True)
        client.send(ours("Explain"), {"vm": NOBODY}, oneway=True)  # its error is not told either
        client.send(ours("NoSuchMethod"), {}, oneway=True)
        equal(client.call(ours("GetStatus"))["parameters"]["status"]["paused"], False, "paused")


@case("calls sent at once are answered in their order, calls that come in pieces are too")
def pipelined(lab):
    vm = placed(lab)
    calls = [(SERVICE + ".GetInfo", {}, "vendor"), (ours("GetStatus"), {}, "status"),
             (ours("Settle"), {}, None), (ours("Explain"), {"vm": NOBODY}, "NoSuchVm"),
             (ours("QueryAffinity"), {"scope": vm.uuid}, "affinity"), (ours("GetHost"), None, "nodes")] * 20
    everything = b"".join(Client.message(method, parameters) for method, parameters, _ in calls)

    def expect(client):
        for method, _, member in calls:
            reply = client.reply()
            if member == "NoSuchVm":
                equal(reply.get("error"), ours(member), method)
            else:
                check("error" not in reply and (not member or member in reply["parameters"]), "%s: %r", method, reply)
        check(client.is_quiet(), "more answers than calls")

    with Client() as client:
        client.socket.sendall(everything)
        expect(client)
    with Client() as client:
        for at in range(0, len(everything), 7):
            client.socket.sendall(everything[at:at + 7])
        expect(client)


@case("what is no call ends its own connection and nobody else's")
def broken(lab):
    lab.daemon.start()
    with Client() as bystander:
        for text in (b"GET / HTTP/1.0\r\n\r\n\0", b"\0", b"[]\0", b'{"method": 1}\0', b'{"parameters": {}}\0',
                     b'{"method": "a.b", "parameters": []}\0', b"[" * 1000 + b"\0", b'{"method": "\xff.b"}\0'):
            with Client() as client:
                client.socket.sendall(text)
                equal(client.reply(), None, "the answer to %r" % text[:40])
        check("parameters" in bystander.call(ours("GetStatus")), "the other connection")


main(__file__)
