# SPDX-License-Identifier: Apache-2.0
"""What the scenarios on the emulated host have in common: the steps of their
stories, each judged from /proc. The cases of a scenario build on one another."""

import os
import subprocess
import time
import traceback

from guest import LOG, RESULTS, Hog, Vm, read, say, write
from judge import Topology, owned, spread, strayed
from lab.tap import Wrong, case, check, equal, run_cases, wait_until
from lab.threads import cpu_list, parse_cpus

__all__ = ["Steps", "case", "check", "equal", "run"]

PERIOD_S = 4  # between two looks of the daemon
LIBRARY = "/usr/lib/vhost/die_in_write.so"
CPUS = "/sys/devices/system/cpu"


def _read_topology():
    cpus = parse_cpus(read(CPUS + "/present"))
    nodes = [parse_cpus(read("/sys/devices/system/node/node%d/cpulist" % n)) for n in range(4)]
    kind = "cache/index3/shared_cpu_list"
    if not os.path.exists("%s/cpu0/%s" % (CPUS, kind)):
        kind = "topology/cluster_cpus_list"
    clusters = {parse_cpus(read("%s/cpu%d/%s" % (CPUS, n, kind))) for n in cpus}
    return Topology(sorted(clusters, key=min), nodes)


def check_moves(threads, moves):
    """As many threads have moved as there were moves; of a ring of threads that take each other's CPUs one moves twice."""
    check(threads <= moves <= threads + threads // 2, "%d moves, and %d threads moved", moves, threads)


class Steps:
    # Enough credits for whatever is worth it, a moment after a start, or none at all.
    GENEROUS = {"interval": "%ds" % PERIOD_S, "cool_down": "0s", "credits_per_event": 64, "credits_per_10s": 64000,
                "burst": 64}
    STINGY = {"interval": "%ds" % PERIOD_S, "cool_down": "0s", "credits_per_event": 0, "credits_per_10s": 0,
              "burst": 64}

    def __init__(self, guest, cluster_level):
        self.guest = guest
        self.cluster_level = cluster_level
        self.topology = _read_topology()
        self.online = self.topology.cpus
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
        return "\n".join(lines + ["vas-daemon: " + line for line in self._daemon_words().splitlines()[-30:]])

    @staticmethod
    def _daemon_words():
        """Its log, or the journal's end, where systemd started it."""
        if os.path.exists(LOG):
            return read(LOG)
        return subprocess.run(["journalctl", "-q", "-o", "cat", "-u", "vas-daemon", "-n", "30"], capture_output=True,
                              text=True, check=False, timeout=60).stdout

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
        wide = spread(self.topology, self.vms, threads, self.online)
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
            wrong = strayed(self.vms, threads, self.online)
            wide = spread(self.topology, self.vms, threads, self.online) if strict else not wrong and self.unexplained(threads)
            last[:] = wrong + ["%s: %s" % item for item in (wide or {}).items()]
            return not last

        try:
            wait_until(is_so, seconds, pause=0.3)
        except Wrong as error:
            raise Wrong("%s: %s" % (error, "; ".join(last))) from None
        wide = spread(self.topology, self.vms, self.guest.look.threads(), self.online)
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

    # ---- the story

    def restart(self, settings, **environment):
        """Ends the daemon as a crash does and starts it with other settings and
        an empty bucket of credits. Nothing moves by that."""
        before = self.masks()
        self.daemon.kill()
        self.daemon.configure(**settings)
        self.daemon.start(**environment)
        if not environment:
            self.daemon.wait_ready()
            equal(self.masks(), before, "masks after a crash and a restart")

    def moved_since(self, before):
        """The threads that were there before and have another mask now."""
        return {tid for tid, mask in self.masks().items() if tid in before and before[tid] != mask}

    def _singles(self):
        """VMs of one vCPU that may run anywhere, one from each cluster."""
        threads, chosen = self.guest.look.threads(), {}
        for vm in self.vms.values():
            if vm.vcpus == 1 and not vm.range and not vm.pins:
                (cpu,) = (t.cpu for t in threads[vm.name].values())
                chosen.setdefault(next(c for c in self.topology.clusters if cpu in c), vm.name)
        return chosen

    def _fill(self, prefix):
        """Takes every free piece of a cluster that is larger than one CPU."""
        pieces = [n for node in self.topology.free_pieces(self.owned().keys()) for n in node if n > 1]
        self.start_vms(*[Vm("%s-%d" % (prefix, i), n) for i, n in enumerate(pieces)])
        self.settle()

    def scatter(self, name):
        """With no credits for moves, a VM comes to a host that has only single
        CPUs left, and must span more clusters than it needs."""
        self.restart(self.STINGY)
        self._fill(name + "-fill")
        taken = frozenset(self.owned())
        holes = self._singles()
        for cluster in [c for c in holes if c - taken]:
            del holes[cluster]
        free = len(self.topology.cpus) - len(taken)
        going = list(holes.values())[:max(0, 4 - free)]
        size = min(4, free + len(going))
        check(size > 2, "%d single CPUs are free, %d more can be made so", free, len(going))
        self.guest.destroy(*going)
        self.start_vms(Vm(name, size))
        self.settle()
        said = self.daemon.vms()[name]
        equal((said["verdict"], said["reason"]), ("SPREAD", "no-credits"), "verdict of a VM that was torn apart")

    def destroy_third(self, *kept):
        """A third of the VMs go: the small ones, and those of a cluster's size."""
        threads = self.guest.look.threads()
        going = [vm.name for vm in self.vms.values()
                 if vm.vcpus <= 4 and vm.name.startswith("free-") and not vm.range and vm.name not in kept]
        going.sort(key=lambda name: (-len(threads[name]), name))
        self.guest.destroy(*going[:len(self.vms) // 3])
        self.settle()

    @staticmethod
    def _last_defragmentation():
        """The number of the last round in which the daemon defragmented."""
        found = [line.split("round ", 1)[1].split(":", 1)[0] for line in read(LOG).splitlines()
                 if "round " in line and " defrag" in line]
        return int(found[-1]) if found else 0

    def defragment(self):
        """Gives the daemon credits: who could do better must, in two periods. They
        are counted in rounds: a busy build host stretches seconds, not rounds."""
        before, status = self.masks(), self.daemon.status()
        self.daemon.configure(**self.GENEROUS)
        began = time.monotonic()
        self.daemon.reload()
        self.settle(strict=True)
        moved, planned = len(self.moved_since(before)), self.daemon.status()["moves_done"] - status["moves_done"]
        rounds = self._last_defragmentation() - status["rounds"]
        say("defragmented in %d rounds, seen after %.1f s: %d threads moved, %d moves planned"
            % (rounds, time.monotonic() - began, moved, planned))
        # The settings' own round, and those of two periods.
        check(0 < rounds <= 3, "it took %d rounds", rounds)
        check(moved > 0, "nothing was moved")
        check_moves(moved, planned)

    def _sizes_that_need_room(self, taken):
        """Sizes of VMs for which some node has the CPUs but no node has them in
        the fewest clusters."""
        most = max(sum(pieces) for pieces in self.topology.free_pieces(taken))
        return [n for n in range(2, most + 1) if not self.topology.fits(n, taken)]

    def _loosen(self):
        """VMs of one vCPU go until the free CPUs lie so that there is a size that
        needs room. Returns the size and the CPUs that are taken."""
        while True:
            taken = frozenset(self.owned())
            sizes = self._sizes_that_need_room(taken)
            if sizes:
                return sizes[-1], taken
            threads = self.guest.look.threads()
            single = {vm.name: threads[vm.name][0].cpu for vm in self.vms.values()
                      if vm.vcpus == 1 and not vm.range and not vm.pins}
            check(single, "room must be made for no size of VM: %s", self.topology.free_pieces(taken))
            self.guest.destroy(max(single, key=lambda name: self._sizes_that_need_room(taken - {single[name]})))

    def large_arrival(self):
        """A VM that is too large for any node as it is, though not for its free
        CPUs, when others make room."""
        size, taken = self._loosen()
        before = self.masks()
        self.start_vms(Vm("free-late", size))
        self.settle(strict=True)
        moved = len(self.moved_since(before))
        say("%d vCPUs came to free CPUs %s; %d threads made room" % (size, self.topology.free_pieces(taken), moved))
        check(moved > 0, "nobody made room")

    def kill_while_moving(self):
        """The daemon dies after half of its writes; another one finishes."""
        plan = len(self.daemon.call("Reassign", scope="all", dry_run=True)["moves"])
        check(plan > 1, "only %d moves are planned", plan)
        writes = plan // 2
        before = self.masks()
        self.restart(self.GENEROUS, LD_PRELOAD=LIBRARY, VAS_DIE_AFTER=str(writes))
        equal(self.daemon.process.wait(60), -9, "how the daemon ended")
        half = self.masks()
        done = len(self.moved_since(before))
        check_moves(done, writes)
        self.daemon.start()
        self.daemon.wait_ready()
        self.settle(strict=True)
        rest = len(self.moved_since(half))
        say("planned %d moves, killed after %d, %d came after the restart" % (plan, done, rest))
        check(rest <= plan - done, "%d moves were planned, %d done, and %d came afterwards", plan, done, rest)

    def _only_cpu(self, name):
        """Where a VM of one vCPU is bound to."""
        return self.guest.look.threads()[name][0].cpu

    def _wait_away(self, name, home, is_away):
        began = time.monotonic()
        wait_until(lambda: (self._only_cpu(name) != home) == is_away, 60,
                   "it leaves CPU %d" % home if is_away else "it returns to CPU %d" % home, pause=0.1)
        return time.monotonic() - began

    def leave_and_return(self, name, cluster, range_list):
        """A dynamic VM that is busy all the time lives in the last cluster of its
        range, where its neighbours are idle, as all before it are. A hog on its
        CPU sends it to one of the neighbours; without the hog it comes back."""
        at_home = parse_cpus(cluster)
        self.daemon.configure("[vm %s]\nsched-policy = dynamic\n" % name, **self.STINGY)
        self.daemon.reload()
        self.guest.destroy(*{who.split("/")[0] for cpu, who in self.owned().items() if cpu in at_home})
        vm = Vm(name, 1, cpuset=cluster, spins=True)
        self.start_vms(vm)
        self.settle()
        self.guest.libvirt.pin_vcpu(name, 0, parse_cpus(range_list))
        vm.range = parse_cpus(range_list)
        self.guest.libvirt.resume(name)
        self.settle()
        home = self._only_cpu(name)
        check(home in at_home, "it lives on CPU %d, outside of %s", home, cluster)
        with Hog(home):
            left = self._wait_away(name, home, True)
            place = self._only_cpu(name)
            check(place in at_home, "it went from CPU %d to %s; its own cluster is %s", home, place, cluster)
            equal(self.daemon.status()["dynamic"]["away"], 1, "vCPUs away")
        returned = self._wait_away(name, home, False)
        said = self.daemon.status()["dynamic"]
        say("left CPU %d for CPU %s after %.1f s, moved on %d times, returned after %.1f s"
            % (home, place, left, said["moved_on"], returned))
        equal((said["left"], said["returned"]), (1, 1), "how often it left and returned")

    def cpus_go_and_come(self, *dead):
        """CPUs that carry running vCPUs are taken away and given back."""
        names = {who.split("/")[0] for cpu, who in self.owned().items() if cpu in dead}
        for name in names:
            self.guest.libvirt.resume(name)
        try:
            for cpu in dead:
                write("%s/cpu%d/online" % (CPUS, cpu), "0")
            self.online -= set(dead)
            self.settle()
            for cpu in dead:
                write("%s/cpu%d/online" % (CPUS, cpu), "1")
            self.online |= set(dead)
            self.settle(strict=True)
        finally:
            for name in names:
                self.guest.libvirt.suspend(name)


def run(steps):
    raise SystemExit(run_cases(steps))
