/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The audit projects a plan on its snapshot by the rules of the headers alone:
 * the last mask written counts, a target with a CPU owns it, a verdict is what
 * the words in plan.h say it is. It shares no code with the planner but
 * vcpu_allowed, which the headers define.
 */

#include "sim/audit.h"

#include "sim/layers.h"

#include <string.h>

typedef struct Audit {
        const Topology *topology;
        const Snapshot *snapshot;
        const Policy *policy;
        const Plan *plan;
        Complaint *why;
        SetId mask[VCPUS_MAX];     /* by vCPU, after the moves */
        uint16_t owners[CPUS_MAX]; /* vCPUs whose target is that CPU */
        uint16_t pinned[CPUS_MAX]; /* of these, pinned there by an operator */
} Audit;

static const CpuSet *set_of(const Audit *audit, SetId id) {
        return pool_get(&audit->snapshot->pool, id);
}

static bool is_pinned(const Audit *audit, uint32_t vcpu) {
        return pool_single(&audit->snapshot->pool, audit->snapshot->vcpu[vcpu].range) >= 0;
}

static int check_move(Audit *audit, uint32_t i) {
        const Move *move = &audit->plan->move[i];
        CpuSet allowed;

        if (move->vcpu >= audit->snapshot->n_vcpus || move->mask == SET_NONE)
                return complain(audit->why, "move %u names no vCPU or no mask", i);
        if (move->mask == audit->mask[move->vcpu])
                return complain(audit->why, "move %u writes the mask that vCPU %u has", i, move->vcpu);
        if (move->from == move->to && (move->kind == MOVE_MAKE_ROOM || move->kind == MOVE_DEFRAG || move->kind == MOVE_SMT))
                return complain(audit->why, "move %u of vCPU %u goes from CPU %d to itself", i, move->vcpu, move->to);
        vcpu_allowed(audit->topology, audit->snapshot, audit->policy, move->vcpu, &allowed);
        if (move->kind == MOVE_RELEASE)
                allowed = *set_of(audit, audit->snapshot->vcpu[move->vcpu].range);
        if (!cpuset_is_subset(set_of(audit, move->mask), &allowed))
                return complain(audit->why, "move %u takes vCPU %u out of its allowed set", i, move->vcpu);
        audit->mask[move->vcpu] = move->mask;
        return 0;
}

static int check_target(Audit *audit, uint32_t vcpu) {
        const Target *target = &audit->plan->target[vcpu];

        if (target->mask != SET_NONE && target->mask != audit->mask[vcpu])
                return complain(audit->why, "vCPU %u: the moves do not end at its target", vcpu);
        if (target->cpu < 0)
                return 0;
        if (cpuset_single(set_of(audit, audit->mask[vcpu])) != target->cpu)
                return complain(audit->why, "vCPU %u owns CPU %d, which its mask does not say", vcpu, target->cpu);
        if (audit->plan->verdict[audit->snapshot->vcpu[vcpu].vm].kind == VERDICT_LAYERED && !is_pinned(audit, vcpu))
                return 0; /* it owns nothing: see layers_audit */
        audit->owners[target->cpu]++;
        audit->pinned[target->cpu] += is_pinned(audit, vcpu);
        return 0;
}

static int check_owners(Audit *audit) {
        for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++)
                if (audit->owners[cpu] > 1 && audit->owners[cpu] > audit->pinned[cpu])
                        return complain(audit->why, "CPU %u is owned by %u vCPUs", cpu, audit->owners[cpu]);
        return 0;
}

/* What a VM's targets amount to. */
typedef struct Span {
        unsigned exclusive, clusters, nodes;
} Span;

static Span vm_span(const Audit *audit, const Vm *vm) {
        bool cluster[CLUSTERS_MAX] = {}, node[NODES_MAX] = {};
        Span span = {};

        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                int cpu = audit->plan->target[i].cpu;
                int slot = cpu < 0 ? -1 : audit->topology->slot_of[cpu];
                if (slot < 0)
                        continue;
                const Cpu *at = &audit->topology->cpu[slot];
                span.exclusive += audit->owners[cpu] == 1;
                span.clusters += !cluster[at->cluster];
                span.nodes += !node[at->node];
                cluster[at->cluster] = node[at->node] = true;
        }
        return span;
}

static int check_verdict(Audit *audit, uint32_t i) {
        const Verdict *verdict = &audit->plan->verdict[i];
        const Vm *vm = &audit->snapshot->vm[i];
        Span span = vm_span(audit, vm);
        bool all = span.exclusive == vm->n_vcpus;

        if (verdict->kind != VERDICT_PLACED && verdict->kind != VERDICT_SPREAD)
                return verdict->kind == VERDICT_SHARED && all
                               ? complain(audit->why, "%s is called SHARED and owns all its CPUs", vm->name)
                               : 0;
        if (!all)
                return complain(audit->why, "%s is called placed and owns %u CPUs of %u", vm->name, span.exclusive,
                                vm->n_vcpus);
        if (span.clusters != verdict->clusters || span.nodes != verdict->nodes)
                return complain(audit->why, "%s is on %u clusters and %u nodes, its verdict says %u and %u", vm->name,
                                span.clusters, span.nodes, verdict->clusters, verdict->nodes);
        bool above = span.clusters > verdict->min_clusters || span.nodes > verdict->min_nodes;
        if (above != (verdict->kind == VERDICT_SPREAD))
                return complain(audit->why, "%s: wrong word for %u clusters of %u and %u nodes of %u", vm->name,
                                span.clusters, verdict->min_clusters, span.nodes, verdict->min_nodes);
        return 0;
}

int audit_plan(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                 Complaint *ret_why) {
        Audit audit = {topology, snapshot, policy, plan, ret_why, {}, {}, {}};
        int r = 0;

        for (uint32_t i = 0; i < snapshot->n_vcpus; i++)
                audit.mask[i] = snapshot->vcpu[i].mask;
        for (uint32_t i = 0; i < plan->n_moves && r == 0; i++)
                r = check_move(&audit, i);
        for (uint32_t i = 0; i < snapshot->n_vcpus && r == 0; i++)
                r = check_target(&audit, i);
        if (r == 0)
                r = check_owners(&audit);
        if (r == 0)
                r = layers_audit(topology, snapshot, policy, plan, ret_why);
        for (uint32_t i = 0; i < snapshot->n_vms && r == 0; i++)
                r = check_verdict(&audit, i);
        return r;
}
