#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs inside the emulated arm64 host, which is Kunpeng's kind: clusters of the
kernel, no L3 cache; and its VMs run on KVM. The whole story, what holds the
daemon, an operator's pin, a dynamic vCPU that leaves its CPU for another of its
cluster, and switches among the policies.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import story  # noqa: E402,F401
from guest import RESULTS, Guest, Vm, furnish, read, write  # noqa: E402
from lab.tap import wait_until  # noqa: E402
from steps import Steps, case, check, equal, run  # noqa: E402
from switching import Switching  # noqa: E402

COUNTER, COUNTED = "/usr/lib/vhost/count_writes.so", RESULTS + "/writes"
CAP_SYS_NICE = 1 << 23


@case("the vCPU threads are KVM's")
def kvm(host):
    names = {read("/proc/%d/comm" % t.tid).strip().rpartition("/")[2]
             for vcpus in host.guest.look.threads().values() for t in vcpus.values()}
    equal(names, {"KVM"}, "what their names end with")


@case("the daemon runs as user vas, with CAP_SYS_NICE alone, under its own seccomp filter")
def confined(host):
    status = dict(line.split(":\t", 1) for line in read("/proc/%d/status" % host.daemon.process.pid).splitlines()
                  if ":\t" in line)
    equal(set(status["Uid"].split()), {"64992"}, "its user")
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        equal(int(status[kind], 16), CAP_SYS_NICE, kind)
    equal((status["Seccomp"], status["Seccomp_filters"]), ("2", "1"), "seccomp's mode and number of filters")


@case("killed and started again: it writes no mask, and then those of a VM that comes")
def killed_and_restarted(host):
    write(COUNTED, "")
    os.chmod(COUNTED, 0o666)
    before = host.masks()
    host.daemon.kill()
    host.daemon.start(LD_PRELOAD=COUNTER, VAS_COUNT_WRITES=COUNTED)
    host.daemon.wait_ready()
    wait_until(lambda: host.daemon.status()["rounds"] >= 3, 60, "some rounds", pause=0.5)
    equal((read(COUNTED), host.daemon.status()["writes"]), ("", 0), "what it wrote, as counted, and as it says")
    equal(host.masks(), before, "masks")
    host.guest.destroy(*[name for name in host.vms if name.startswith("free-one")][:1])
    host.start_vms(Vm("free-new", 1))
    host.settle()
    (thread,) = host.guest.look.threads()["free-new"].values()
    check(str(thread.tid) in read(COUNTED).split(), "the counter of writes counts nothing")


@case("an operator pins a vCPU to a CPU that another has: it is obeyed, and the other moves")
def pinned(host):
    vm = host.vms["free-node2"]
    theirs = next(cpu for cpu, who in sorted(host.owned().items()) if who.startswith("free-large/"))
    host.guest.libvirt.pin_vcpu(vm.name, 0, {theirs})
    vm.pins[0] = str(theirs)
    wait_until(lambda: theirs not in {t.cpu for t in host.guest.look.threads()["free-large"].values()}, 20,
               "the other has moved")
    host.settle()
    equal(host.owned()[theirs], vm.name + "/0", "who has that CPU")


@case("dynamic: a busy vCPU leaves a hog for an idle core of its own cluster, and comes back when the hog is gone")
def dynamic(host):
    host.leave_and_return("dynamic", "20-23", "16-23")


@case("switches among the policies while a VM comes and goes: no thread outside its range, nothing left behind")
def switches(host):
    switching = Switching(host, 6)
    switching.run()
    switching.end()


if __name__ == "__main__":
    furnish()
    run(Steps(Guest(), "cluster"))
