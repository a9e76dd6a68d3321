#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the emulated host's scenarios judge by, without an emulator."""

import os
import sys
from collections import namedtuple

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [HERE, HERE + "/../real"]
from judge import outside, strayed  # noqa: E402
from lab.tap import case, equal, run_cases  # noqa: E402
from lab.threads import parse_cpus  # noqa: E402

Vm = namedtuple("Vm", "name vcpus range pins")
ONLINE = parse_cpus("0-15")


class Thread:
    def __init__(self, mask):
        self.mask = parse_cpus(mask) if mask else frozenset()
        self.cpu = min(self.mask) if len(self.mask) == 1 else None


RANGED = Vm("ranged", 1, parse_cpus("4-7"), {})
PINNED = Vm("pinned", 2, None, {0: "5"})
ANYWHERE = Vm("anywhere", 1, None, {})


def found(vm, *masks):
    return outside([vm], {vm.name: {n: Thread(mask) for n, mask in enumerate(masks)}}, ONLINE)


@case("outside: a mask that leaves its operator's range by one CPU, is empty, or is another CPU than the pin")
def masks(_):
    equal([found(RANGED, mask) for mask in ("4-7", "6", "5,7")], [[], [], []], "inside")
    equal([len(found(RANGED, mask)) for mask in ("4-8", "3", "0-15", "")], [1, 1, 1, 1], "outside")
    equal(found(PINNED, "5", "0-15"), [], "the pin, and a vCPU that has none")
    equal([len(found(PINNED, mask, "1")) for mask in ("4-6", "6")], [1, 1], "not the pin")
    equal([found(ANYWHERE, "0-15"), len(found(ANYWHERE, "15-16"))], [[], 1], "what is not online is outside")
    equal(outside([RANGED], {}, ONLINE), [], "a VM that has gone")


@case("strayed: not on one CPU, outside of the range, without threads")
def astray(_):
    def wrong(vm, *masks):
        threads = {vm.name: {n: Thread(mask) for n, mask in enumerate(masks)}} if masks else {}
        return len(strayed({vm.name: vm}, threads, ONLINE))

    equal([wrong(RANGED, "4"), wrong(RANGED, "4-5"), wrong(RANGED, "8"), wrong(RANGED)], [0, 1, 1, 1], "a range")
    equal([wrong(PINNED, "5", "9"), wrong(PINNED, "6", "9")], [0, 1], "a pin")


class Nothing:
    def clean(self):
        pass

    def evidence(self):
        return ""


sys.exit(run_cases(Nothing()))
