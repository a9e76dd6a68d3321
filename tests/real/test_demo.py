#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What `make demo` shows is true, also where the memory of its VMs lies on one of two nodes."""

import contextlib
import io

from demo import Demo
from lab import Wrong, case, check, main
from lab.nodes import two_nodes


def show(lab):
    """Its steps on VMs; what they print is shown where one is not true."""
    lab.need_cpus(2)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            Demo(lab).on_vms()
    except Wrong as error:
        raise Wrong("%s\n%s" % (printed.getvalue(), error)) from error


@case("the demo is true on this machine")
def on_this(lab):
    show(lab)


def on_two(title, first):
    @case("the demo is true on two nodes, the memory on the one with the %s CPUs" % title)
    def shown(lab):
        with two_nodes(first):
            lab.daemon.start()
            seen = lab.vasctl("map").out
            check("of 2 nodes" in seen, "the daemon sees no two nodes:\n%s", seen)
            lab.daemon.clean()
            show(lab)
            # With two vCPUs a VM, which needs four CPUs, such a VM would wait for good.
            check("(memory)" not in lab.daemon.log(), "a VM had to wait for its memory's node:\n%s", lab.daemon.log())


on_two("lower", True)
on_two("upper", False)


main(__file__)
