/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A head is a vCPU at its home. A CPU is open when everybody who lives there
 * may share, be it nobody. Even is what no vCPU could better: that none of the
 * open CPUs of its range has two heads less than its own has.
 */

#include "sim/layers.h"

#include "sim/judge.h"

#include <string.h>

typedef struct Heads {
        uint16_t n[CPUS_MAX];
        bool closed[CPUS_MAX];
        uint16_t fewest; /* on an open CPU */
} Heads;

static void heads_add(Heads *heads, int cpu, bool shares) {
        heads->n[cpu]++;
        heads->closed[cpu] |= !shares;
}

static void heads_find_fewest(Heads *heads, const Topology *topology) {
        heads->fewest = UINT16_MAX;
        CPUSET_FOREACH (cpu, &topology->online)
                if (!heads->closed[cpu] && heads->n[cpu] < heads->fewest)
                        heads->fewest = heads->n[cpu];
}

/* Whether some open CPU of the vCPU's allowed set has at least two heads less
 * than home has. */
static bool is_uneven(const Heads *heads, const Topology *topology, const Snapshot *snapshot, const Policy *policy,
                      uint32_t vcpu, int home) {
        const Vm *vm = &snapshot->vm[snapshot->vcpu[vcpu].vm];
        CpuSet allowed;

        if (heads->n[home] < heads->fewest + 2)
                return false;
        vcpu_allowed(topology, snapshot, policy, vcpu, &allowed);
        CPUSET_FOREACH (cpu, &allowed) {
                bool same = topology->cpu[topology->slot_of[cpu]].node == topology->cpu[topology->slot_of[home]].node;

                if (!heads->closed[cpu] && heads->n[cpu] + 2 <= heads->n[home] && (same || vm->policy.cross_node))
                        return true;
        }
        return false;
}

static bool vm_shares(const Vm *vm) {
        return vm->policy.sched != SCHED_STATIC;
}

/* The VM's part of the figures. */
static void vm_add(LayerStats *stats, Model *model, const Policy *policy, const Heads *heads, uint32_t index) {
        const Topology *topology = model->topology;
        const Vm *vm = &model->host->vm[index];
        bool cluster[CLUSTERS_MAX] = {}, layered = false;
        unsigned clusters = 0;

        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                int cpu = model_own_cpu(model, i);

                if (cpu < 0 || topology->slot_of[cpu] < 0) {
                        stats->homeless++;
                        return;
                }
        }
        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                int cpu = model_own_cpu(model, i);
                unsigned c = topology->cpu[topology->slot_of[cpu]].cluster;

                clusters += !cluster[c];
                cluster[c] = true;
                layered |= heads->n[cpu] > 1;
                stats->uneven += model->host->vcpu[i].layered &&
                                 is_uneven(heads, topology, model->host, policy, i, cpu);
        }
        stats->layered += layered;
        stats->clusters += clusters;
        stats->minima += judge_minimum(model, policy, index);
}

void layers_add(LayerStats *stats, Model *model, const Policy *policy) {
        static Heads heads;
        unsigned most = 0;

        memset(&heads, 0, sizeof(heads));
        for (uint32_t i = 0; i < model->host->n_vcpus; i++) {
                int cpu = model_own_cpu(model, i);

                if (cpu >= 0)
                        heads_add(&heads, cpu,
                                  vm_shares(&model->host->vm[model->host->vcpu[i].vm]) && !model_is_pinned(model, i));
        }
        heads_find_fewest(&heads, model->topology);
        CPUSET_FOREACH (cpu, &model->topology->online) {
                if (heads.closed[cpu])
                        continue;
                stats->cpus++;
                stats->heads += heads.n[cpu];
                if (heads.n[cpu] > most)
                        most = heads.n[cpu];
        }
        stats->events++;
        stats->spread += heads.fewest == UINT16_MAX ? 0 : most - heads.fewest;
        if (most > stats->highest)
                stats->highest = most;
        for (uint32_t i = 0; i < model->host->n_vms; i++)
                vm_add(stats, model, policy, &heads, i);
}

static bool is_pinned(const Snapshot *snapshot, uint32_t vcpu) {
        return cpuset_single(pool_get(&snapshot->pool, snapshot->vcpu[vcpu].range)) >= 0;
}

static bool is_layered(const Snapshot *snapshot, const Plan *plan, uint32_t vcpu) {
        return plan->verdict[snapshot->vcpu[vcpu].vm].kind == VERDICT_LAYERED && !is_pinned(snapshot, vcpu);
}

static bool plan_lets_share(const Snapshot *snapshot, const Plan *plan, uint32_t vcpu) {
        VerdictKind kind = plan->verdict[snapshot->vcpu[vcpu].vm].kind;

        return vm_shares(&snapshot->vm[snapshot->vcpu[vcpu].vm]) && !is_pinned(snapshot, vcpu) &&
               (kind == VERDICT_PLACED || kind == VERDICT_SPREAD || kind == VERDICT_LAYERED);
}

int layers_audit(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                 Complaint *ret_why) {
        static Heads heads;

        memset(&heads, 0, sizeof(heads));
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++)
                if (plan->target[i].cpu >= 0)
                        heads_add(&heads, plan->target[i].cpu, plan_lets_share(snapshot, plan, i));
        heads_find_fewest(&heads, topology);
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++) {
                int cpu = plan->target[i].cpu;

                if (!is_layered(snapshot, plan, i))
                        continue;
                if (cpu < 0)
                        return complain(ret_why, "vCPU %u is in a layer and has no home", i);
                if (heads.closed[cpu])
                        return complain(ret_why, "vCPU %u lives on CPU %d, which is not to be shared", i, cpu);
                if (heads.n[cpu] > policy->overcommit_layers || plan->target[i].layer >= heads.n[cpu])
                        return complain(ret_why, "vCPU %u is in layer %u of %u on CPU %d", i, plan->target[i].layer,
                                        heads.n[cpu], cpu);
                /* Locked cores are not counted here: even is judged where there are none. */
                if (topology->smt_width == 1 && is_uneven(&heads, topology, snapshot, policy, i, cpu))
                        return complain(ret_why, "vCPU %u shares CPU %d with %u others: others have two less", i, cpu,
                                        heads.n[cpu] - 1u);
        }
        return 0;
}
