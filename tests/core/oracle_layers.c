/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What must be true of every plan that lets vCPUs share CPUs in layers. It
 * counts heads on CPUs, from the targets and policies alone.
 */

#include <stdio.h>
#include <string.h>

#include "oracle.h"

#define WRONG(...)                                                                                           \
        do {                                                                                                 \
                snprintf(ret_why, ORACLE_WHY_SIZE, __VA_ARGS__);                                             \
                return 1;                                                                                    \
        } while (0)

static bool is_pinned(const Snapshot *snapshot, uint32_t vcpu) {
        const CpuSet *range = pool_get(&snapshot->pool, snapshot->vcpu[vcpu].range);

        return range && cpuset_single(range) >= 0;
}

static bool is_layered(const Snapshot *snapshot, const Plan *plan, uint32_t vcpu) {
        return plan->verdict[snapshot->vcpu[vcpu].vm].kind == VERDICT_LAYERED && !is_pinned(snapshot, vcpu);
}

/* Whether others may live where this one lives. */
static bool is_open(const Snapshot *snapshot, const Plan *plan, uint32_t vcpu) {
        VerdictKind kind = plan->verdict[snapshot->vcpu[vcpu].vm].kind;

        return (kind == VERDICT_PLACED || kind == VERDICT_SPREAD || kind == VERDICT_LAYERED) &&
               !is_pinned(snapshot, vcpu) &&
               snapshot->vm[snapshot->vcpu[vcpu].vm].policy.sched != SCHED_STATIC;
}

typedef struct Heads {
        uint16_t n[CPUS_MAX], layered[CPUS_MAX];
        uint64_t layers[CPUS_MAX]; /* a bit for each layer that is taken */
        bool closed[CPUS_MAX];
} Heads;

static void count_heads(const Snapshot *snapshot, const Plan *plan, Heads *ret) {
        memset(ret, 0, sizeof(*ret));
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++) {
                int cpu = plan->target[i].cpu;

                if (cpu < 0)
                        continue;
                ret->n[cpu]++;
                ret->layered[cpu] += is_layered(snapshot, plan, i);
                ret->closed[cpu] |= !is_open(snapshot, plan, i);
                if (plan->target[i].layer < 64)
                        ret->layers[cpu] |= UINT64_C(1) << plan->target[i].layer;
        }
}

static int check_cpus(const Policy *policy, const Heads *heads, char *ret_why) {
        for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
                if (heads->layered[cpu] == 0)
                        continue;
                if (heads->closed[cpu])
                        WRONG("CPU %u is shared, and somebody there does not share", cpu);
                if (heads->n[cpu] > policy->overcommit_layers)
                        WRONG("CPU %u has %u layers of %u", cpu, heads->n[cpu], policy->overcommit_layers);
                if (heads->n[cpu] < 64 && heads->layers[cpu] != (UINT64_C(1) << heads->n[cpu]) - 1)
                        WRONG("CPU %u: its %u layers are not numbered one by one", cpu, heads->n[cpu]);
        }
        return 0;
}

/* Whether the VM is free to have a home there: a range is no limit where its
 * memory is one. */
static bool is_free_to_go(const Topology *topology, const Snapshot *snapshot, const Plan *plan, uint32_t vcpu,
                          unsigned cpu) {
        const Vm *vm = &snapshot->vm[snapshot->vcpu[vcpu].vm];

        if (vm->policy.cross_node)
                return true;
        return topology->cpu[topology->slot_of[cpu]].node ==
               topology->cpu[topology->slot_of[plan->target[vcpu].cpu]].node;
}

/* No CPU where it could live as well has two heads less than its own has. */
static int check_even(const Topology *topology, const Snapshot *snapshot, const Policy *policy,
                      const Plan *plan, const Heads *heads, uint32_t vcpu, char *ret_why) {
        int home = plan->target[vcpu].cpu;
        CpuSet allowed;

        if (home < 0)
                WRONG("vCPU %u is in a layer and has no home", vcpu);
        vcpu_allowed(topology, snapshot, policy, vcpu, &allowed);
        CPUSET_FOREACH (cpu, &allowed)
                if (!heads->closed[cpu] && heads->n[cpu] + 2 <= heads->n[home] &&
                    is_free_to_go(topology, snapshot, plan, vcpu, (unsigned)cpu))
                        WRONG("vCPU %u lives on CPU %d with %u others, CPU %d has %u", vcpu, home,
                              heads->n[home] - 1u, cpu, heads->n[cpu]);
        return 0;
}

int oracle_layers(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                  char ret_why[ORACLE_WHY_SIZE]) {
        static Heads heads;

        count_heads(snapshot, plan, &heads);
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++) {
                if (!is_layered(snapshot, plan, i)) {
                        if (plan->target[i].layer > 0)
                                WRONG("vCPU %u is not in a layer, and has layer %u", i,
                                      plan->target[i].layer);
                        continue;
                }
                if (snapshot->vm[snapshot->vcpu[i].vm].policy.sched == SCHED_STATIC)
                        WRONG("vCPU %u of a static VM shares", i);
                if (topology->smt_width == 1 &&
                    check_even(topology, snapshot, policy, plan, &heads, i, ret_why))
                        return 1;
        }
        return check_cpus(policy, &heads, ret_why);
}
