#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
`make try`: a shell beside a vas-daemon and three tiny VMs, to try vasctl and virsh by hand.

As in the demo, a libvirtd of its own runs them, in namespaces that the machine's libvirt never meets.
When the shell ends, all of it is gone. Commands may also come from a pipe: echo 'vasctl list' | make try
"""

import os
import pty
import subprocess
import sys

from lab import main
from lab.daemon import LOG

HELLO = """
Three VMs run and vas-daemon observes, as after an installation: it decides and writes nothing.
    vasctl list                 what it sees, and would do
    vasctl explain VM           why
    vasctl set mode act         let it
    virsh vcpupin VM 0 1        be the operator; virsh destroy, start, ...
Settings are in /etc/vas/vas-daemon.conf, its log is %s. Everything here ends with the shell.
"""


def shell():
    """A terminal of its own: the sandbox has none, and without one there is no Ctrl-C."""
    if not sys.stdin.isatty():
        return subprocess.run(["bash"], check=False).returncode
    columns, rows = os.get_terminal_size(0)
    start = "stty rows %d cols %d; PS1='sandbox# ' exec bash --norc" % (rows, columns)
    return os.waitstatus_to_exitcode(pty.spawn(["bash", "-c", start]))


def subject(lab, _args):
    try:
        for short in ("web", "db", "batch"):
            lab.vm(short).start()
        lab.daemon.start(settings={"daemon": {"mode": "observe"}})
        os.environ["PATH"] = os.path.dirname(lab.daemon.program) + ":" + os.environ["PATH"]
        print(HELLO % LOG, flush=True)
        return shell()
    finally:
        lab.clean()


main(__file__, subject)
