# SPDX-License-Identifier: Apache-2.0
"""
An emulated kernel of 64 CPUs sometimes stands still for no reason of ours: one
CPU waits for another that never answers, while libvirtd starts. It says so on
its console and does not recover. What then: before any case was said it may be
booted once again; afterwards it is a result like another.
"""

import re

GO_ON, AGAIN, END = "go on", "again", "end"
LONG_S = 40  # the watchdog's first word comes after 20 s, and some stalls pass
SILENT_S = 240  # its first words come after a minute, also on a busy machine
JIFFIES = 250  # a second: Debian's kernel

_LOCKUP = re.compile(r"soft lockup - CPU#\d+ stuck for (\d+)s!")
_RCU = re.compile(r"\bt=(\d+) jiffies")


def longest_s(console):
    """The seconds of the longest stall that the kernel told of."""
    stalls = [int(s) for s in _LOCKUP.findall(console)]
    if "stall" in console:
        stalls += [int(t) // JIFFIES for t in _RCU.findall(console)]
    return max(stalls, default=0)


def next_step(console, said, boots, silent_s=0):
    """What to do about a host that was booted so often, with this on its console
    and so many cases said; silent_s: it has not said a word, for so long."""
    if said > 0 or (longest_s(console) < LONG_S and silent_s < SILENT_S):
        return GO_ON
    return AGAIN if boots < 2 else END
