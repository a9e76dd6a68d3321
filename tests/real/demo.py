#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
`make demo`: what VSched does, on a few tiny VMs under a libvirtd of its own.

Each step says in one line what happens, and then looks in /proc whether it did.
The demo fails where it is not true. It takes half a minute (a terminal also gets 15 s of moving
pictures), and leaves
nothing behind, also when it is interrupted.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import traceback

from lab import check, cpu_list, equal, main, wait_until

MOST_CPUS = 16  # of a large host, this many are enough to see it
SOON = 2.0
# A tiny VM's memory is QEMU's own, and lies on whichever node that was started: on a host of several nodes the demo
# would depend on it.
ANYWHERE = {"vm *": {"cross-node": "yes"}}
A_HOST = "numa:4 l3:8 core:4 pu:1"
DIM, BOLD, GREEN, RED, PLAIN = "\033[2m", "\033[1m", "\033[32m", "\033[31m", "\033[0m"
if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
    DIM = BOLD = GREEN = RED = PLAIN = ""


class Demo:
    def __init__(self, lab):
        self.lab = lab
        self.began = time.monotonic()
        self.steps = 0
        self.cpus = lab.cpus[-MOST_CPUS:]
        half = len(self.cpus) // 2
        whole = len(self.cpus) == len(lab.cpus)
        place = {} if whole else {"cpuset": cpu_list(self.cpus)}
        self.web = lab.vm("web", vcpus=half, **place)
        self.db = lab.vm("db", vcpus=len(self.cpus) - half, **place)
        self.batch = lab.vm("batch", vcpus=len(self.cpus) - half, **place)

    def step(self, text):
        self.steps += 1
        print("\n%s%2d  %s%s" % (BOLD, self.steps, text, PLAIN), flush=True)

    def true(self, text):
        print("    %s✓%s %s" % (GREEN, PLAIN, text), flush=True)

    def show(self, *words):
        """vasctl's own words."""
        print("    %s$ vasctl %s%s" % (DIM, " ".join(words), PLAIN))
        answer = self.lab.vasctl(*words)
        equal(answer.code, 0, "exit code of vasctl " + " ".join(words))
        for line in answer.out.rstrip().splitlines():
            print("    " + line)
        return answer.out

    def masks(self, *vms):
        """One line on what /proc says."""
        words = []
        for vm in vms:
            masks = [cpu_list(m) for m in vm.masks().values()]
            alike = len(set(masks)) == 1 and len(masks) > 1
            words.append("%s: %s" % (vm.short, "%s each" % masks[0] if alike else " ".join(masks)))
        return ", ".join(words)

    def is_ours(self, *vms):
        """Placed: every vCPU on a CPU that no other has."""
        return all(vm.is_placed() for vm in vms) and not self.lab.strangers()

    # ---- the steps --------------------------------------------------------

    def two_vms(self):
        self.step("Two VMs start. libvirt lets each of their vCPUs run anywhere in its range.")
        for vm in (self.web, self.db):
            vm.start(paused=False)
        for vm in (self.web, self.db):
            equal(set(vm.masks().values()), {frozenset(self.cpus)}, "masks of " + vm.short)
        self.true(self.masks(self.web, self.db))

    def observe(self):
        self.step("vas-daemon starts in mode observe: it says what it would do, and writes nothing.")
        self.lab.daemon.start(settings={"daemon": {"mode": "observe"}, **ANYWHERE})
        wanted = self.lab.daemon.status()["moves_wanted"]
        self.show("status")
        equal(self.lab.daemon.writes(), [], "threads written")
        equal(set(self.web.masks().values()), {frozenset(self.cpus)}, "masks")
        check(wanted > 0, "it wants no move")
        self.true("would move %d vCPUs; no mask has changed" % wanted)

    def act(self):
        self.step("Its settings now say act. Each vCPU gets a CPU of its own.")
        self.lab.daemon.configure(ANYWHERE)
        os.kill(self.lab.daemon.pid, 1)
        wait_until(lambda: self.is_ours(self.web, self.db), SOON, "both VMs are placed")
        self.show("map")
        self.true(self.masks(self.web, self.db))

    def shared(self):
        self.step("A third VM starts. No CPU is free, so it is SHARED: neither refused nor squeezed.")
        self.batch.start(paused=False)
        wait_until(lambda: self.lab.daemon.verdict(self.batch) == "SHARED", SOON, "its verdict is SHARED")
        self.show("list")
        equal(set(self.batch.masks().values()), {frozenset(self.cpus)}, "masks of batch")
        check(self.is_ours(self.web, self.db), "the others lost their CPUs")
        self.true(self.masks(self.batch))

    def explain(self):
        self.step("Why?")
        self.show("explain", self.batch.name)

    def destroy(self):
        freed = set(self.db.cpus())
        self.step("The second VM is destroyed. The third takes the CPUs that it leaves.")
        self.db.destroy()
        began = time.monotonic()
        wait_until(lambda: self.is_ours(self.web, self.batch), SOON, "the third VM is placed", pause=0.002)
        took = time.monotonic() - began
        equal(set(self.batch.cpus()), freed, "CPUs of batch")
        self.true("%s (%.0f ms after virsh destroy)" % (self.masks(self.batch), took * 1e3))

    def by_hand(self):
        theirs = self.batch.cpus()[0]
        self.step("An operator pins web's vCPU 0 to CPU %d, which is batch's: virsh vcpupin" % theirs)
        self.lab.virsh("vcpupin", self.web.name, "0", str(theirs), "--live")
        began = time.monotonic()

        def obeyed():
            return (self.web.masks()[0] == {theirs}
                    and theirs not in self.batch.cpus() and self.is_ours(self.web, self.batch))

        wait_until(obeyed, 1.0, "the pin is obeyed, and batch has moved away", pause=0.002)
        self.true("%s (%.0f ms later)" % (self.masks(self.web, self.batch), (time.monotonic() - began) * 1e3))

    def crash(self):
        self.step("vas-daemon is killed (kill -9) and started again.")
        before = {vm: vm.masks() for vm in (self.web, self.batch)}
        self.lab.daemon.kill()
        self.lab.daemon.start(settings=ANYWHERE)
        rounds = self.lab.daemon.status()["rounds"]
        wait_until(lambda: self.lab.daemon.status()["rounds"] > rounds + 1, 5)
        after = {vm: vm.masks() for vm in (self.web, self.batch)}
        changed = sum(before[vm][n] != after[vm][n] for vm in before for n in before[vm])
        equal((changed, self.lab.daemon.writes()), (0, []), "masks changed, threads written")
        self.true("0 masks changed, 0 written")

    def stop(self):
        self.step("A clean stop. Every vCPU has what its operator allowed, as if nothing had been.")
        seconds = self.lab.daemon.stop()
        for vm in (self.web, self.batch):
            equal(vm.masks(), vm.libvirt_pins(), "masks of " + vm.short)
        self.true("%s (in %.0f ms)" % (self.masks(self.web, self.batch), seconds * 1e3))

    def a_day(self):
        self.step("A day of churn on a modelled host of 128 CPUs, without and with VSched")
        sim = os.path.join(self.lab.build, "src/sim/vas-sim")
        with tempfile.NamedTemporaryFile("w", suffix=".trace") as trace:
            subprocess.run([sim, "--generate", "odd", "--topology", A_HOST, "--occupancy", "85", "--events", "2200",
                            "--seed", "1"], stdout=trace, check=True)
            subprocess.run([sim, "--trace", trace.name, "--watch"], check=True)
            ours, others = (json.loads(subprocess.check_output([sim, "--trace", trace.name, "--json", *policy]))
                            for policy in ([], ["--policy", "first-fit"]))
        equal(ours["violations"], 0, "CPUs given twice")
        check(ours["bad_pct"] < others["bad_pct"] / 10, "VSched has a tenth of the bad VMs at most")
        self.true("over the day %.1f %% of the VMs scattered or waiting, first fit %.1f %%; %.2f vCPUs moved an event"
                  % (ours["bad_pct"], others["bad_pct"], ours["moves_per_event"]))

    def on_vms(self):
        for act in (self.two_vms, self.observe, self.act, self.shared, self.explain, self.destroy,
                    self.by_hand, self.crash, self.stop):
            act()

    def run(self):
        print("%sVSched: the vCPUs of libvirt VMs on CPUs of their own%s" % (BOLD, PLAIN))
        print("This machine has CPUs %s. A libvirtd of the demo's own runs tiny emulated VMs on %s;"
              % (cpu_list(self.lab.cpus), cpu_list(self.cpus)))
        print("the machine's libvirt, if it has one, is neither seen nor touched.")
        self.on_vms()
        self.a_day()
        print("\n%sEverything was as said. %d steps, %.0f s.%s"
              % (BOLD, self.steps, time.monotonic() - self.began, PLAIN))


def subject(lab, _args):
    if len(lab.cpus) < 2:
        print("demo: needs 2 CPUs, here is 1")
        return 1
    try:
        Demo(lab).run()
        return 0
    except Exception as error:  # whatever it is: the demo is not true
        traceback.print_exc()
        print(lab.evidence())
        print("\n%sNot true: %s%s" % (RED, error, PLAIN))
        return 1
    finally:
        lab.clean()


if __name__ == "__main__":
    main(__file__, subject)
