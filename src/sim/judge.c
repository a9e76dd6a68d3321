/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A VM is exclusively placed when each of its threads may run on one CPU alone
 * and no other thread may own that CPU. Its minimum is counted against its own
 * allowed set: the fewest clusters within one node where one node can hold it,
 * else over the whole host; in CPUs, or in cores where each vCPU is to have a
 * core of its own, and has.
 *
 * Minima depend on the range alone, so they are computed once a VM.
 */

#include "sim/judge.h"

#include <string.h>

/* Counts how many of the largest parts are needed to hold n; 0: all of them do not. */
static unsigned parts_needed(const uint16_t *capacity, unsigned n_parts, unsigned n, unsigned largest) {
        unsigned count[CPUS_MAX + 1];
        unsigned parts = 0;

        memset(count, 0, (largest + 1) * sizeof(count[0]));
        for (unsigned i = 0; i < n_parts; i++)
                count[capacity[i]]++;
        for (unsigned size = largest; size > 0; size--)
                for (unsigned i = 0; i < count[size]; i++) {
                        parts++;
                        if (n <= size)
                                return parts;
                        n -= size;
                }
        return 0;
}

typedef struct Capacity {
        uint16_t cluster[CLUSTERS_MAX], node[NODES_MAX];
        unsigned largest_cluster, largest_node;
} Capacity;

/* What each cluster and node can hold of a set, in CPUs or in cores. */
static void capacity_count(const Topology *topology, const CpuSet *allowed, bool cores, Capacity *ret) {
        int last_core = -1;

        memset(ret->cluster, 0, topology->n_clusters * sizeof(ret->cluster[0]));
        memset(ret->node, 0, topology->n_nodes * sizeof(ret->node[0]));
        ret->largest_cluster = ret->largest_node = 0;
        for (unsigned slot = 0; slot < topology->n_cpus; slot++) {
                const Cpu *cpu = &topology->cpu[slot];
                if (!cpuset_has(allowed, cpu->os) || (cores && cpu->core == last_core))
                        continue;
                last_core = cpu->core;
                if (++ret->cluster[cpu->cluster] > ret->largest_cluster)
                        ret->largest_cluster = ret->cluster[cpu->cluster];
                if (++ret->node[cpu->node] > ret->largest_node)
                        ret->largest_node = ret->node[cpu->node];
        }
}

/* Fewest clusters and nodes for n vCPUs; where cores are too few for all,
 * siblings have to do and threads count. */
static void group_minimum(const Topology *topology, const CpuSet *allowed, unsigned n, bool cores,
                          unsigned *ret_clusters, unsigned *ret_nodes) {
        Capacity capacity;
        unsigned best = 0;

        capacity_count(topology, allowed, cores, &capacity);
        for (unsigned i = 0; i < topology->n_nodes; i++) {
                const Node *node = &topology->node[i];
                if (capacity.node[i] < n)
                        continue;
                unsigned parts = parts_needed(capacity.cluster + node->first_cluster, node->n_clusters, n,
                                              capacity.largest_cluster);
                if (parts && (!best || parts < best))
                        best = parts;
        }
        *ret_nodes = best ? 1 : parts_needed(capacity.node, topology->n_nodes, n, capacity.largest_node);
        *ret_clusters = best ? best
                             : parts_needed(capacity.cluster, topology->n_clusters, n, capacity.largest_cluster);
        if (*ret_nodes == 0 && cores)
                group_minimum(topology, allowed, n, false, ret_clusters, ret_nodes);
}

static void vm_minimum(Model *model, uint32_t index, const CpuSet *allowed) {
        ModelVm *extra = &model->vm[index];
        unsigned clusters, nodes, n = model->host->vm[index].n_vcpus;

        group_minimum(model->topology, allowed, n, true, &clusters, &nodes);
        extra->min_clusters_cores = (uint16_t)clusters;
        group_minimum(model->topology, allowed, n, false, &clusters, &nodes);
        extra->min_clusters = (uint16_t)clusters;
        extra->min_nodes = (uint16_t)nodes;
}

/* Whether a vCPU may own that CPU, from first principles. */
static bool cpu_is_allowed(const Model *model, const Policy *policy, const Vcpu *vcpu, unsigned cpu) {
        const CpuSetPool *pool = &model->host->pool;

        return cpuset_has(pool_get(pool, vcpu->range), cpu) &&
               (vcpu->cpuset == SET_NONE || cpuset_has(pool_get(pool, vcpu->cpuset), cpu)) &&
               cpuset_has(&model->topology->online, cpu) && !cpuset_has(&policy->skip, cpu) &&
               (model->host->vm[vcpu->vm].range_named || !cpuset_has(&model->topology->isolated, cpu));
}

/* Notes who owns which slot; returns how many vCPUs are where they may not be. */
static unsigned owners_note(Judge *judge, const Model *model, const Policy *policy) {
        unsigned outside = 0;

        memcpy(judge->owner_before, judge->owner, sizeof(judge->owner));
        memset(judge->owner, 0, sizeof(judge->owner));
        memset(judge->n_owners, 0, sizeof(judge->n_owners));
        memset(judge->n_pinned, 0, sizeof(judge->n_pinned));
        memset(judge->n_sharing, 0, sizeof(judge->n_sharing));
        for (uint32_t i = 0; i < model->host->n_vcpus; i++) {
                const Vcpu *vcpu = &model->host->vcpu[i];
                int cpu = model_own_cpu(model, i);
                int slot = cpu < 0 ? -1 : model->topology->slot_of[cpu];
                if (cpu < 0) {
                        outside += vcpu->written != SET_NONE &&
                                   !cpuset_is_subset(pool_get(&model->host->pool, vcpu->mask),
                                                     pool_get(&model->host->pool, vcpu->range));
                        continue;
                }
                bool pinned = model_is_pinned(model, i);
                outside += !pinned && !cpu_is_allowed(model, policy, vcpu, (unsigned)cpu);
                if (slot < 0)
                        continue;
                judge->owner[slot] = model->vm[vcpu->vm].serial + 1;
                judge->n_owners[slot] += judge->n_owners[slot] < UINT8_MAX;
                judge->n_pinned[slot] += pinned && judge->n_pinned[slot] < UINT8_MAX;
                judge->n_sharing[slot] += !pinned && judge->n_sharing[slot] < UINT8_MAX &&
                                          model->host->vm[vcpu->vm].policy.sched != SCHED_STATIC;
        }
        return outside;
}

/* Where a VM is: whether each vCPU owns its CPU alone, on how many clusters and nodes. */
typedef struct Span {
        bool exclusive, remote, spread; /* spread: no two vCPUs on one core */
        unsigned clusters, nodes, first_node;
} Span;

static bool is_remote(const Model *model, const Vm *vm, unsigned node) {
        for (unsigned i = 0; i < vm->n_mem; i++)
                if (vm->mem[i].node == model->topology->node[node].os)
                        return false;
        return vm->n_mem > 0;
}

/* Whether the bit was set before; sets it. */
static bool bit_seen(uint64_t *bits, unsigned i) {
        bool seen = bits[i / 64] >> i % 64 & 1;

        bits[i / 64] |= UINT64_C(1) << i % 64;
        return seen;
}

static Span vm_span(const Judge *judge, const Model *model, uint32_t index) {
        const Topology *topology = model->topology;
        const Vm *vm = &model->host->vm[index];
        uint64_t cores[CORES_MAX / 64] = {}, clusters[CLUSTERS_MAX / 64] = {}, nodes[NODES_MAX / 64] = {};
        Span span = {.exclusive = true, .spread = true};

        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                int own = model_own_cpu(model, i);
                int slot = own < 0 ? -1 : topology->slot_of[own];
                if (slot < 0 || judge->n_owners[slot] != 1)
                        return (Span){};
                const Cpu *cpu = &topology->cpu[slot];
                if (i == vm->first_vcpu)
                        span.first_node = cpu->node;
                span.spread = !bit_seen(cores, cpu->core) && span.spread;
                span.clusters += !bit_seen(clusters, cpu->cluster);
                span.nodes += !bit_seen(nodes, cpu->node);
                span.remote = span.remote || is_remote(model, vm, cpu->node);
        }
        return span;
}

static void allowed_set(const Model *model, const Policy *policy, uint32_t index, CpuSet *ret) {
        const Vcpu *vcpu = &model->host->vcpu[model->host->vm[index].first_vcpu];

        cpuset_clear(ret);
        CPUSET_FOREACH(cpu, pool_get(&model->host->pool, vcpu->range))
                if (cpu_is_allowed(model, policy, vcpu, (unsigned)cpu))
                        cpuset_add(ret, (unsigned)cpu);
}

unsigned judge_minimum(Model *model, const Policy *policy, uint32_t index) {
        CpuSet allowed;

        if (!model->vm[index].min_clusters) {
                allowed_set(model, policy, index, &allowed);
                vm_minimum(model, index, &allowed);
        }
        return model->vm[index].min_clusters;
}

/* Judges one VM; true: it is exclusively placed. */
static bool judge_vm(const Judge *judge, Model *model, const Policy *policy, const uint8_t *threads_regime,
                     uint32_t index, Judgement *ret) {
        ModelVm *extra = &model->vm[index];
        Span span = vm_span(judge, model, index);

        extra->above = !span.exclusive;
        if (!span.exclusive)
                return false;
        judge_minimum(model, policy, index);
        bool cores = span.spread && threads_regime && !threads_regime[span.first_node];
        unsigned minimum = cores ? extra->min_clusters_cores : extra->min_clusters;
        ret->minima += minimum;
        if (span.clusters > minimum) {
                extra->above = true;
                ret->above++;
                ret->excess += span.clusters - minimum;
        }
        if (span.nodes > extra->min_nodes)
                ret->node_excess += span.nodes - extra->min_nodes;
        ret->remote_vms += span.remote;
        return true;
}

static void judge_cores(const Judge *judge, const Topology *topology, Judgement *ret) {
        for (unsigned i = 0; i < topology->n_cores; i++) {
                const Core *core = &topology->core[i];
                uint32_t first = 0;
                unsigned vcpus = 0;
                bool shared = false;
                for (unsigned slot = core->first_slot; slot < core->first_slot + core->n_cpus; slot++) {
                        uint32_t owner = judge->owner[slot];
                        vcpus += judge->n_owners[slot];
                        shared = shared || (owner && first && owner != first);
                        first = first ? first : owner;
                }
                ret->shared_cores += shared;
                ret->doubled_cores += vcpus > 1;
        }
}

/* Counts CPUs that a VM has now and had not before, beyond those that it left
 * on the same node: these have crossed. */
static void vm_moves(const Judge *judge, const Topology *topology, uint32_t owner, Judgement *ret) {
        for (unsigned i = 0; i < topology->n_nodes; i++) {
                const Node *node = &topology->node[i];
                unsigned came = 0, left = 0;
                for (unsigned slot = node->first_slot; slot < node->first_slot + node->n_cpus; slot++) {
                        came += judge->owner[slot] == owner && judge->owner_before[slot] != owner;
                        left += judge->owner[slot] != owner && judge->owner_before[slot] == owner;
                }
                ret->moves += came;
                ret->cross_moves += came > left ? came - left : 0;
        }
}

/* Moves of the VMs that are exclusively placed now and were before. */
static void judge_moves(const Judge *judge, Model *model, const bool *placed, Judgement *ret) {
        bool moved[VMS_MAX] = {};

        for (unsigned slot = 0; slot < model->topology->n_cpus; slot++)
                if (judge->owner[slot] && judge->owner[slot] != judge->owner_before[slot]) {
                        int vm = model_find(model, judge->owner[slot] - 1);
                        if (vm >= 0)
                                moved[vm] = true;
                }
        for (uint32_t i = 0; i < model->host->n_vms; i++) {
                if (moved[i] && placed[i] && model->vm[i].placed_before)
                        vm_moves(judge, model->topology, model->vm[i].serial + 1, ret);
                model->vm[i].placed_before = placed[i];
        }
}

/* Whether all that live on the slot may do so together. */
static bool may_share(const Judge *judge, const Policy *policy, unsigned slot) {
        return judge->n_owners[slot] == judge->n_sharing[slot] && judge->n_owners[slot] <= policy->overcommit_layers;
}

void judge_host(Judge *judge, Model *model, const Policy *policy, const uint8_t *threads_regime,
                Judgement *ret) {
        Judgement sum = {.vms = model->host->n_vms, .vcpus = model->host->n_vcpus};
        bool placed[VMS_MAX];

        sum.violations = owners_note(judge, model, policy);
        for (unsigned slot = 0; slot < model->topology->n_cpus; slot++) {
                sum.owned_cpus += judge->n_owners[slot] > 0;
                sum.violations += judge->n_owners[slot] > 1 && judge->n_owners[slot] > judge->n_pinned[slot] &&
                                  !may_share(judge, policy, slot);
        }
        for (uint32_t i = 0; i < model->host->n_vms; i++) {
                placed[i] = judge_vm(judge, model, policy, threads_regime, i, &sum);
                sum.placed += placed[i];
        }
        sum.unplaced = sum.vms - sum.placed;
        judge_cores(judge, model->topology, &sum);
        judge_moves(judge, model, placed, &sum);
        *ret = sum;
}
