# SPDX-License-Identifier: Apache-2.0
"""
The story of a day on an emulated host. VMs of mixed sizes come, some before the
daemon; a third of them go; a large one comes; the daemon is killed while it
defragments. After each step the kernel is asked who is where.
"""

from collections import namedtuple

from guest import Vm
from steps import case, check, equal

# The host, and VMs that fill it: with ranges of all kinds, and the largest wider than a node. VMs called free-* may
# leave the node that holds their memory; the others may not.
Cast = namedtuple("Cast", "clusters nodes vms early late")
CASTS = {
    64: Cast(16, 4, 20, [
        Vm("free-large", 20), Vm("free-seven", 7), Vm("pinned", 2, pins={0: "5", 1: "38"}),
        Vm("free-node2", 3, cpuset="32-47"), Vm("free-across", 3, cpuset="14-19"), Vm("numatune", 2, node=1),
        Vm("touched", 2, memory=48, touch="16-31"), Vm("free-one-a", 1), Vm("free-one-b", 1), Vm("free-two-a", 2)],
             [Vm("free-odd", 2, cpuset="1,3,17,49-51"), Vm("free-four", 4), Vm("free-two-b", 2)] +
             [Vm("free-one-%s" % c, 1) for c in "cdefghi"]),
    32: Cast(8, 4, 16, [
        Vm("free-large", 10), Vm("free-three", 3), Vm("pinned", 2, pins={0: "5", 1: "19"}),
        Vm("free-node2", 2, cpuset="16-23"), Vm("free-across", 2, cpuset="6-11"), Vm("numatune", 1, node=1),
        Vm("touched", 1, memory=48, touch="8-15"), Vm("free-one-a", 1), Vm("free-one-b", 1)],
             [Vm("free-odd", 1, cpuset="1,3,9,25-27")] + [Vm("free-one-%s" % c, 1) for c in "cdefgh"]),
}


def cast(host):
    return CASTS[len(host.topology.cpus)]


@case("the daemon sees the CPUs, clusters and nodes of the host")
def shape(host):
    host.start_vms(*cast(host).early)
    host.guest.daemon.configure(**host.GENEROUS)
    host.guest.daemon.start()
    host.guest.daemon.wait_ready()
    status = host.guest.daemon.status()
    equal([status["host_" + what] for what in ("cpus", "clusters", "nodes")],
          [len(host.topology.cpus), cast(host).clusters, cast(host).nodes], "CPUs, clusters, nodes")
    equal(status["cluster_level"], host.cluster_level, "what a cluster is")


@case("VMs from before the daemon: each vCPU on one CPU of its range, none twice, in the fewest clusters")
def early(host):
    host.settle()


@case("VMs on over 80 % of the CPUs: the same for those that came after the daemon")
def late(host):
    host.start_vms(*cast(host).late)
    host.settle()
    check(len(host.vms) >= cast(host).vms, "%d VMs", len(host.vms))
    taken, cpus = len(host.owned()), len(host.topology.cpus)
    check(taken > 0.8 * cpus, "%d of %d CPUs are taken", taken, cpus)


@case("a VM with numatune, and one that had touched its memory before the daemon came, are on node 1")
def memory(host):
    threads, pages = host.guest.look.threads(), host.guest.look.memory()
    for name in ("numatune", "touched"):
        on = pages[name]
        check(on[1] > 0.6 * sum(on), "%s has its memory on node 1: pages by node %s", name, on)
        cpus = {t.cpu for t in threads[name].values()}
        check(cpus <= host.topology.nodes[1], "%s is on %s", name, cpus)


@case("resumed vCPUs run where they were put")
def resumed(host):
    host.run_vms("free-large", "free-across", "touched", "free-one-c")


@case("a third of the VMs go: defragmented within two periods, with the moves that were planned and no more")
def defragmented(host):
    host.scatter("free-torn")
    host.destroy_third("free-torn")
    host.defragment()


@case("a large VM for which room must be made comes to its fewest clusters")
def make_room(host):
    host.large_arrival()


@case("killed in the middle of a defragmentation: valid after a restart, with at most the remaining moves")
def killed(host):
    host.scatter("free-apart")
    host.destroy_third("free-apart", "free-torn")
    host.kill_while_moving()
