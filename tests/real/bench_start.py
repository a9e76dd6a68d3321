#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long a VM that starts runs unpinned: from libvirt's own event to the
moment when the last of its vCPU threads has its mask."""

import os
import re
import statistics
import subprocess
from datetime import datetime

from lab import main, wait_until
from lab.libvirtd import URI

STARTS = int(os.environ.get("STARTS", "200"))
EVENT = re.compile(r"^(\S+ \S+?): event 'lifecycle' for domain .*: Started")


def event_times(text):
    """When each Started event came, in seconds since the epoch and in order.
    virsh's stamps have milliseconds; each is taken as the middle of its own."""
    stamps = [m[1] for m in map(EVENT.match, text.splitlines()) if m]
    return [datetime.strptime(s, "%Y-%m-%d %H:%M:%S.%f%z").timestamp() + 0.0005 for s in stamps]


def bench(lab, _args):
    lab.daemon.start()
    events = subprocess.Popen(["stdbuf", "-oL", "virsh", "-q", "-c", URI, "event", "--event", "lifecycle", "--loop", "--timestamp"],
                              stdout=subprocess.PIPE, text=True)
    tids = []
    for i in range(STARTS):
        vm = lab.vm("v%d" % (i % 8), vcpus=1)
        vm.start()
        wait_until(vm.is_placed, 5)
        tids.append(vm.threads()[0].tid)
        vm.destroy()
        lab.virsh("undefine", vm.name)
    events.terminate()
    pinned = dict(lab.daemon.timed_writes())  # each thread's last write
    came = event_times(events.stdout.read())
    delays = [(pinned[tid] - event) * 1e3 for tid, event in zip(tids, came)]
    delays.sort()
    print("%d starts; event to pin: median %.1f ms, p95 %.1f ms, maximum %.1f ms"
          % (len(delays), statistics.median(delays), delays[int(len(delays) * 0.95)], delays[-1]))
    lab.clean()
    return 0 if len(delays) == STARTS else 1


main(__file__, bench)
