# SPDX-License-Identifier: Apache-2.0
"""
Judges a placement from what the kernel says, without the daemon's planner: who
is on which CPU, and the fewest clusters that a VM's range would allow.
"""

from lab.tap import Wrong
from lab.threads import cpu_list


class Topology:
    """Clusters and nodes as sets of CPUs."""

    def __init__(self, clusters, nodes):
        self.clusters = [frozenset(c) for c in clusters]
        self.nodes = [frozenset(n) for n in nodes]
        self.cpus = frozenset().union(*self.nodes)

    def span(self, cpus):
        """(nodes, clusters) that these CPUs touch."""
        cpus = set(cpus)
        return (sum(bool(n & cpus) for n in self.nodes), sum(bool(c & cpus) for c in self.clusters))

    @staticmethod
    def _fewest(sets, count):
        """How many of these sets hold count CPUs, the largest first."""
        used = 0
        for size in sorted(map(len, sets), reverse=True):
            if count <= 0:
                break
            count -= size
            used += 1
        return used

    def minimum(self, vcpus, allowed):
        """(nodes, clusters): in one node, if one node can hold it."""
        allowed = frozenset(allowed)
        fitting = [n & allowed for n in self.nodes if len(n & allowed) >= vcpus]
        if fitting:
            return 1, min(self._fewest([c & n for c in self.clusters], vcpus) for n in fitting)
        return (self._fewest([n & allowed for n in self.nodes], vcpus),
                self._fewest([c & allowed for c in self.clusters], vcpus))

    def free_pieces(self, taken):
        """The numbers of free CPUs of the clusters, largest first, by node."""
        return [sorted((len(c - taken) for c in self.clusters if c <= n), reverse=True) for n in self.nodes]

    def fits(self, vcpus, taken):
        """Whether a VM that may run anywhere could be on its fewest clusters
        without a move of others."""
        least = self.minimum(vcpus, self.cpus)[1]
        return any(sum(pieces[:least]) >= vcpus for pieces in self.free_pieces(taken))


def owned(threads):
    """{CPU: "VM/vCPU"} of vCPUs on one CPU; a CPU that two have is an error."""
    owners = {}
    for vm, vcpus in threads.items():
        for number, thread in vcpus.items():
            if thread.cpu is None:
                continue
            who = "%s/%d" % (vm, number)
            if thread.cpu in owners:
                raise Wrong("CPU %d is %s's and %s's" % (thread.cpu, owners[thread.cpu], who))
            owners[thread.cpu] = who
    return owners


def legal(vm, number, online):
    """Where that vCPU may run, by its operator's word."""
    return {int(vm.pins[number])} if number in vm.pins else (vm.range or online) & online


def outside(vms, threads, online):
    """Threads that may run where their operator did not allow it, or nowhere."""
    wrong = []
    for vm in vms:
        for number, thread in threads.get(vm.name, {}).items():
            if not thread.mask or not thread.mask <= legal(vm, number, online):
                wrong.append("%s/%d may run on %s" % (vm.name, number, cpu_list(thread.mask)))
    return wrong


def strayed(vms, threads, online):
    """What is not as every round must leave it: a vCPU not on one CPU, or on
    one outside of its range, or of a VM that nobody sees."""
    wrong = []
    for vm in vms.values():
        vcpus = threads.get(vm.name, {})
        if len(vcpus) != vm.vcpus:
            wrong.append("%s: %d of %d vCPU threads" % (vm.name, len(vcpus), vm.vcpus))
        for number, thread in sorted(vcpus.items()):
            allowed = legal(vm, number, online)
            if thread.cpu is None:
                wrong.append("%s/%d may run on %s" % (vm.name, number, cpu_list(thread.mask)))
            elif thread.cpu not in allowed:
                wrong.append("%s/%d is on %d, outside of %s" % (vm.name, number, thread.cpu, cpu_list(allowed)))
    return wrong


def spread(topology, vms, threads, online):
    """{VM: (span, minimum)} of those that span more than their range needs."""
    found = {}
    for vm in vms.values():
        if vm.pins:
            continue
        cpus = [t.cpu for t in threads.get(vm.name, {}).values()]
        span = topology.span(cpus)
        minimum = topology.minimum(vm.vcpus, (vm.range or online) & online)
        if span > minimum:
            found[vm.name] = (span, minimum)
    return found
