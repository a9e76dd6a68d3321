# SPDX-License-Identifier: Apache-2.0
"""What the scenarios on the emulated host have in common: the steps of their
stories, each judged from /proc. The cases of a scenario build on one another."""

import os
import time
import traceback

from guest import LOG, RESULTS, Vm, read, say, write
from judge import Topology, owned, spread, strayed
from lab.tap import Wrong, case, check, equal, run_cases, wait_until
from lab.threads import cpu_list, parse_cpus

__all__ = ["Steps", "case", "check", "equal", "run"]

PERIOD_S = 4  # between two looks of the daemon
LIBRARY = "/usr/lib/vhost/die_in_write.so"
CPUS = "/sys/devices/system/cpu"


def _read_topology():
    nodes = [parse_cpus(read("/sys/devices/system/node/node%d/cpulist" % n)) for n in range(4)]
    kind = "cache/index3/shared_cpu_list"
    if not os.path.exists("%s/cpu0/%s" % (CPUS, kind)):
        kind = "topology/cluster_cpus_list"
    clusters = {parse_cpus(read("%s/cpu%d/%s" % (CPUS, n, kind))) for n in range(64)}
    return Topology(sorted(clusters, key=min), nodes)


class Steps:
    # Enough credits for whatever is worth it, or none at all.
    GENEROUS = {"interval": "%ds" % PERIOD_S, "cool_down": "0s", "credits_per_event": 64, "credits_per_10s": 64,
                "burst": 64}
    STINGY = {"interval": "%ds" % PERIOD_S, "cool_down": "0s", "credits_per_event": 0, "credits_per_10s": 0,
              "burst": 64}

    def __init__(self, guest):
        self.guest = guest
        self.topology = _read_topology()
        guest.start_libvirtd()

    @property
    def vms(self):
        return self.guest.vms

    @property
    def daemon(self):
        return self.guest.daemon

    def clean(self):
        """Between two cases nothing is cleaned up: they are one story."""

    def evidence(self):
        lines = []
        for name, vcpus in sorted(self.guest.look.threads().items()):
            lines.append("%-14s %s" % (name, " ".join(cpu_list(t.mask) for _, t in sorted(vcpus.items()))))
        try:
            lines += ["%-14s %s %s" % (name, vm["verdict"], vm["reason"]) for name, vm in self.daemon.vms().items()]
        except (OSError, Wrong) as error:
            lines.append("vas-daemon says nothing: %s" % error)
        return "\n".join(lines + ["vas-daemon: " + line for line in read(LOG).splitlines()[-30:]])

    # ---- what is true

    def start_vms(self, *vms):
        self.guest.start_vms(*vms)

    def owned(self):
        return owned(self.guest.look.threads())

    def masks(self):
        """{thread: mask}"""
        return {t.tid: t.mask for vcpus in self.guest.look.threads().values() for t in vcpus.values()}

    def unexplained(self, threads):
        """VMs on more clusters than their range needs, for which the daemon has
        no reason; an error where the daemon does not know of the spread."""
        wide = spread(self.topology, self.vms, threads)
        if not wide:
            return {}
        said = self.daemon.vms()
        return {name: span for name, span in wide.items()
                if said[name]["verdict"] not in ("SPREAD",) or not said[name]["reason"]}

    def settle(self, seconds=60, strict=False):
        """Waits until every vCPU is on one CPU of its range, none on the same,
        and every VM on its fewest clusters; a VM that is not must have a reason,
        or there must be none when strict."""
        began = time.monotonic()
        last = []

        def is_so():
            threads = self.guest.look.threads()
            owned(threads)
            wrong = strayed(self.topology, self.vms, threads)
            wide = spread(self.topology, self.vms, threads) if strict else not wrong and self.unexplained(threads)
            last[:] = wrong + ["%s: %s" % item for item in (wide or {}).items()]
            return not last

        try:
            wait_until(is_so, seconds, pause=0.3)
        except Wrong as error:
            raise Wrong("%s: %s" % (error, "; ".join(last))) from None
        wide = spread(self.topology, self.vms, self.guest.look.threads())
        say("settled in %.1f s; on more clusters than needed, with a reason: %s"
            % (time.monotonic() - began, ", ".join(wide) or "none"))

    # ---- running

    def run_vms(self, *names):
        """Lets their vCPUs run for a moment: each must have run on its CPU."""
        for name in names:
            self.guest.libvirt.resume(name)

        def is_there():
            threads = self.guest.look.threads()
            return all(t.last_cpu == t.cpu for name in names for t in threads[name].values())

        try:
            wait_until(is_there, 60, "each vCPU of %s ran on its CPU" % ", ".join(names), pause=0.5)
        finally:
            for name in names:
                self.guest.libvirt.suspend(name)


def run(steps):
    raise SystemExit(run_cases(steps))
