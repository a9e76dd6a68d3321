# SPDX-License-Identifier: Apache-2.0
"""
Switches among the three policies on a host full of VMs, while another
VM comes and goes, and somebody who looks at every thread all the time.
"""

import random
import threading
import time

from guest import Look, Vm, say
from judge import legal, outside, strayed
from lab.tap import check, equal
from lab.threads import cpu_list

POLICIES = ["static", "dynamic", "cluster"]
SEED = 11


class Background(threading.Thread):
    """Does one thing over and over, with pauses, until it is told to stop."""

    def __init__(self, work, pause_s):
        super().__init__(daemon=True)
        self._work, self._pause_s, self._over, self.times, self.error = work, pause_s, False, 0, None
        self.start()

    def run(self):
        while not self._over:
            try:
                self._work(self.times)
            except Exception as error:  # told by who waits for it
                self.error = error
                return
            self.times += 1
            time.sleep(self._pause_s)

    def finish(self):
        self._over = True
        self.join()
        if self.error:
            raise self.error
        return self.times


class Switching:
    def __init__(self, host, count):
        self.host, self.count = host, count
        self.look = Look()  # a second one: the host's is asked meanwhile
        self.watched = list(host.vms.values())  # a new VM has its range only when libvirt says that it runs
        self.outside = []

    def _watch(self, _):
        vms = list(self.watched)
        self.outside += outside(vms, self.look.threads(), self.host.online)

    def _come_and_go(self, turn):
        vm = Vm("visitor-%d" % turn, 1 + turn % 2, cpuset=cpu_list(self.host.topology.nodes[2]))
        self.host.guest.libvirt.create(vm.xml())
        self.watched.append(vm)
        self.watched.remove(vm)
        self.host.guest.libvirt.destroy(vm.name)

    def _switch(self, dice):
        daemon, policy = self.host.daemon, "static"
        for _ in range(self.count - 1):
            policy = dice.choice([p for p in POLICIES if p != policy])
            daemon.call("SetPolicy", policy=policy)
            daemon.call("Settle")
        daemon.call("SetPolicy", policy="cluster" if policy != "cluster" else "dynamic")
        daemon.call("Settle")

    def run(self):
        before = self.host.daemon.status()
        watcher, churn = Background(self._watch, 0.1), Background(self._come_and_go, 2)
        self._switch(random.Random(SEED))
        visits, looks = churn.finish(), watcher.finish()
        after = self.host.daemon.status()
        say("%d switches in %d rounds, %d writes; %d visits of a VM; every thread looked at %d times"
            % (self.count, after["rounds"] - before["rounds"], after["writes"] - before["writes"], visits, looks))
        equal(self.outside, [], "threads outside of their range")
        # The kernel refuses what is outside of a cpuset: nobody may have tried.
        equal(after["writes_failed"] - before["writes_failed"], 0, "writes that failed")
        check(looks >= self.count and visits > 0, "%d looks and %d visits in %d switches", looks, visits, self.count)
        check(after["writes"] - before["writes"] > 10 * self.count, "only %d writes",
              after["writes"] - before["writes"])

    def end(self):
        """Back to static binding; and nothing is left behind a stop."""
        host = self.host
        host.daemon.call("SetPolicy", policy="static")
        host.settle()
        equal(strayed(host.vms, host.guest.look.threads(), host.online), [], "who is astray")
        host.daemon.stop()
        left = ["%s/%d: %s" % (name, number, cpu_list(thread.mask))
                for name, vcpus in host.guest.look.threads().items() for number, thread in vcpus.items()
                if thread.mask != legal(host.vms[name], number, host.online)]
        equal(left, [], "masks that are not their operator's after a clean stop")
