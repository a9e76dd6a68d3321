/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The copy is changed as the host would change, and then planned for as any
 * round is: the VM that comes has threads that run where they may, and is the
 * newest of all; the one that goes leaves its CPUs free. So the answer is what
 * the next round would do, credits and cool-downs included.
 */

#include "daemon/whatif.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/cleanup.h"
#include "util/cpulist.h"

enum { NEW_PID = INT32_MAX }; /* no process of Linux has it, so no entry of the state does */

static int vm_find(const Snapshot *snapshot, const char *scope) {
        for (uint32_t v = 0; v < snapshot->n_vms; v++)
                if (strcasecmp(snapshot->vm[v].uuid, scope) == 0)
                        return (int)v;
        for (uint32_t v = 0; v < snapshot->n_vms; v++)
                if (strcmp(snapshot->vm[v].name, scope) == 0)
                        return (int)v;
        return -1;
}

static void helpers_remove(Snapshot *snapshot, uint32_t vm) {
        uint32_t kept = 0;

        for (uint32_t i = 0; i < snapshot->n_helpers; i++) {
                Helper helper = snapshot->helper[i];

                if (helper.vm == vm)
                        continue;
                helper.vm -= helper.vm > vm;
                snapshot->helper[kept++] = helper;
        }
        snapshot->n_helpers = kept;
}

/* VMs lie in order of arrival and so do their vCPUs: what is behind moves up. */
static void vm_remove(Snapshot *snapshot, uint32_t vm) {
        uint32_t first = snapshot->vm[vm].first_vcpu, n = snapshot->vm[vm].n_vcpus;

        helpers_remove(snapshot, vm);
        snapshot->n_vcpus -= n;
        memmove(&snapshot->vcpu[first], &snapshot->vcpu[first + n],
                (snapshot->n_vcpus - first) * sizeof(*snapshot->vcpu));
        for (uint32_t i = first; i < snapshot->n_vcpus; i++)
                snapshot->vcpu[i].vm -= snapshot->vcpu[i].vm > vm;
        snapshot->n_vms--;
        memmove(&snapshot->vm[vm], &snapshot->vm[vm + 1], (snapshot->n_vms - vm) * sizeof(*snapshot->vm));
        for (uint32_t v = vm; v < snapshot->n_vms; v++)
                if (snapshot->vm[v].first_vcpu > first)
                        snapshot->vm[v].first_vcpu -= n;
}

static WhatIfEnd refuse_node(const Topology *topology, const char *range, char ret_why[WHATIF_WHY_SIZE]) {
        AUTO_FREE char *list = NULL;
        CpuSet nodes = {};

        for (unsigned i = 0; i < topology->n_nodes; i++)
                cpuset_add(&nodes, topology->node[i].os);
        list = cpulist_new(&nodes);
        snprintf(ret_why, WHATIF_WHY_SIZE, "%.40s: there is no such node; this host's are %.120s", range,
                 list ? list : "others");
        return WHATIF_REFUSED;
}

/* The CPUs of "nodeN" or of a list; they must be there. */
static WhatIfEnd range_parse(const Topology *topology, const char *range, CpuSet *ret,
                             char ret_why[WHATIF_WHY_SIZE]) {
        CpuSet set = {}, missing;
        unsigned os;
        char end;

        if (strncmp(range, "node", 4) == 0) {
                int node =
                        sscanf(range + 4, "%4u%c", &os, &end) == 1 ? topology_node_by_os(topology, os) : -1;

                if (node < 0)
                        return refuse_node(topology, range, ret_why);
                topology_node_cpus(topology, (unsigned)node, ret);
                return WHATIF_PLANNED;
        }
        if (cpulist_parse(range, &set) < 0 || cpuset_is_empty(&set)) {
                snprintf(ret_why, WHATIF_WHY_SIZE, "%.80s: neither CPUs like 0-7,12 nor nodeN", range);
                return WHATIF_REFUSED;
        }
        missing = set;
        cpuset_subtract(&missing, &topology->online);
        if (!cpuset_is_empty(&missing)) {
                snprintf(ret_why, WHATIF_WHY_SIZE, "%.80s: CPU %d is not there, or is offline", range,
                         cpuset_next(&missing, 0));
                return WHATIF_REFUSED;
        }
        *ret = set;
        return WHATIF_PLANNED;
}

static void vm_fill(const Snapshot *snapshot, const WhatIf *what, Vm *ret) {
        uint64_t newest = snapshot->n_vms ? snapshot->vm[snapshot->n_vms - 1].start_ticks : 0;

        *ret = (Vm){.name = WHATIF_NAME,
                    .pid = NEW_PID,
                    .start_ticks = newest + 1,
                    .sight = SIGHT_OK,
                    .first_vcpu = snapshot->n_vcpus,
                    .n_vcpus = (uint16_t)what->add_vcpus,
                    .guest_threads = 1,
                    .range_named = what->range != NULL,
                    .mem_source = MEM_UNKNOWN};
}

static void vcpu_fill(uint32_t vm, uint32_t number, SetId range, Vcpu *ret) {
        *ret = (Vcpu){.vm = (uint16_t)vm,
                      .number = (uint16_t)number,
                      .tid = NEW_PID,
                      .start_ticks = number + 1,
                      .range = range,
                      .cpuset = SET_NONE,
                      .mask = range,
                      .home = -1,
                      .last_ran = -1};
}

static WhatIfEnd vm_add(Rounds *rounds, const WhatIf *what, char ret_why[WHATIF_WHY_SIZE]) {
        Snapshot *snapshot = rounds->trial_snapshot;
        CpuSet range = rounds->topology->online;
        WhatIfEnd end =
                what->range ? range_parse(rounds->topology, what->range, &range, ret_why) : WHATIF_PLANNED;
        SetId id = end == WHATIF_PLANNED ? pool_intern(&snapshot->pool, &range) : SET_NONE;

        if (end != WHATIF_PLANNED)
                return end;
        if (id == SET_NONE || snapshot->n_vms == VMS_MAX || snapshot->n_vcpus + what->add_vcpus > VCPUS_MAX) {
                snprintf(ret_why, WHATIF_WHY_SIZE,
                         "one VM more of %u vCPUs is beyond the limits: %d VMs, %d vCPUs in all",
                         what->add_vcpus, VMS_MAX, VCPUS_MAX);
                return WHATIF_REFUSED;
        }
        vm_fill(snapshot, what, &snapshot->vm[snapshot->n_vms]);
        for (uint32_t i = 0; i < what->add_vcpus; i++)
                vcpu_fill(snapshot->n_vms, i, id, &snapshot->vcpu[snapshot->n_vcpus++]);
        snapshot->n_vms++;
        return WHATIF_PLANNED;
}

/* What each VM's policy is, were the host's that one. */
static WhatIfEnd set_policies(Rounds *rounds, const WhatIf *what, char ret_why[WHATIF_WHY_SIZE]) {
        AUTO_FREE Settings *settings = malloc(sizeof(*settings));
        Snapshot *snapshot = rounds->trial_snapshot;

        if (!settings) {
                snprintf(ret_why, WHATIF_WHY_SIZE, "out of memory");
                return WHATIF_REFUSED;
        }
        *settings = *rounds->settings;
        if (what->has_sched)
                settings->sched = what->sched;
        for (uint32_t v = 0; v < snapshot->n_vms; v++) {
                Vm *vm = &snapshot->vm[v];
                vm->wish.fault = settings_vm_policy(settings, vm->name, &vm->wish, &vm->policy);
        }
        return WHATIF_PLANNED;
}

/* Changes the copy; the request is for the VMs that are then there. */
static WhatIfEnd whatif_change(Rounds *rounds, const WhatIf *what, PlanRequest *ret,
                               char ret_why[WHATIF_WHY_SIZE]) {
        Snapshot *snapshot = rounds->trial_snapshot;
        int gone = what->remove ? vm_find(snapshot, what->remove) : -1, vm = -1;
        WhatIfEnd end = WHATIF_PLANNED;

        if (what->remove && gone < 0)
                return WHATIF_NO_REMOVE;
        if (gone >= 0)
                vm_remove(snapshot, (uint32_t)gone);
        if (what->reassign && strcmp(what->reassign, "all") != 0 &&
            (vm = vm_find(snapshot, what->reassign)) < 0)
                return WHATIF_NO_REASSIGN;
        if (what->add_vcpus)
                end = vm_add(rounds, what, ret_why);
        if (end == WHATIF_PLANNED && (what->has_sched || what->add_vcpus))
                end = set_policies(rounds, what, ret_why);
        if (end == WHATIF_PLANNED)
                *ret = (PlanRequest){.kind = what->reassign ? PLAN_REASSIGN : PLAN_ROUND, .vm = vm};
        return end;
}

WhatIfEnd whatif_plan(Rounds *rounds, const WhatIf *what, Score *ret_before, char ret_why[WHATIF_WHY_SIZE]) {
        PlanRequest request = {.kind = PLAN_ROUND, .vm = -1};
        WhatIfEnd end;
        Score before;

        rounds_trial_begin(rounds);
        rounds_trial_plan(rounds, &request);
        before = rounds->trial->before;
        rounds_trial_begin(rounds);
        end = whatif_change(rounds, what, &request, ret_why);
        if (end != WHATIF_PLANNED)
                return end;
        rounds_trial_plan(rounds, &request);
        *ret_before = before;
        return WHATIF_PLANNED;
}
