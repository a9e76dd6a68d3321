/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Allowed sets: where a vCPU may run. Many vCPUs share few distinct sets, so
 * each is turned from CPU numbers into slots once a round, with what is often
 * asked of it remembered beside it.
 */

#include "core/work.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

void vcpu_allowed(const Topology *topology, const Snapshot *snapshot, const Policy *policy, uint32_t vcpu,
                  CpuSet *ret) {
        const Vcpu *v = &snapshot->vcpu[vcpu];
        const CpuSet *range = pool_get(&snapshot->pool, v->range);
        const CpuSet *cpuset = pool_get(&snapshot->pool, v->cpuset);

        *ret = topology->online;
        if (range)
                cpuset_and(ret, range);
        if (cpuset)
                cpuset_and(ret, cpuset);
        cpuset_subtract(ret, &policy->skip);
        if (!snapshot->vm[v->vm].range_named)
                cpuset_subtract(ret, &topology->isolated);
}

static unsigned clusters_cpus(const Topology *topology, unsigned first, unsigned end) {
        unsigned n = 0;

        for (unsigned c = first; c < end; c++)
                n += topology->cluster[c].n_cpus;
        return n;
}

static void allowed_fill(const PlanWork *work, uint32_t vcpu, Allowed *allowed) {
        const Topology *topology = work->topology;
        unsigned words = (topology->n_cpus + 63u) / 64;
        CpuSet cpus;

        vcpu_allowed(topology, work->snapshot, work->policy, vcpu, &cpus);
        memset(allowed->slots.word, 0, words * sizeof(uint64_t));
        memset(allowed->memo, 0, sizeof(allowed->memo));
        allowed->n_cpus = 0;
        allowed->first_cluster = topology->n_clusters;
        allowed->end_cluster = 0;
        allowed->mask = SET_NONE;
        CPUSET_FOREACH(cpu, &cpus) {
                unsigned slot = (unsigned)topology->slot_of[cpu];
                uint16_t cluster = topology->cpu[slot].cluster;

                allowed->slots.word[slot / 64] |= UINT64_C(1) << (slot % 64);
                allowed->n_cpus++;
                if (cluster < allowed->first_cluster)
                        allowed->first_cluster = cluster;
                if (cluster >= allowed->end_cluster)
                        allowed->end_cluster = (uint16_t)(cluster + 1);
        }
        allowed->whole = allowed->n_cpus == clusters_cpus(topology, allowed->first_cluster, allowed->end_cluster);
}

uint32_t work_allowed(PlanWork *work, uint32_t vcpu) {
        const Vcpu *v = &work->snapshot->vcpu[vcpu];
        bool named = work->snapshot->vm[v->vm].range_named;
        uint32_t at;

        for (at = work->allowed_of_range[v->range]; at; at = work->allowed[at].next)
                if (work->allowed[at].cpuset == v->cpuset && work->allowed[at].range_named == named)
                        return at;
        if (work->n_allowed == ALLOWED_MAX)
                return 0;
        at = ++work->n_allowed;
        work->allowed[at].range = v->range;
        work->allowed[at].cpuset = v->cpuset;
        work->allowed[at].range_named = named;
        work->allowed[at].next = work->allowed_of_range[v->range];
        work->allowed_of_range[v->range] = at;
        allowed_fill(work, vcpu, &work->allowed[at]);
        return at;
}

SetId allowed_mask(PlanWork *work, uint32_t allowed) {
        Allowed *a = &work->allowed[allowed];
        CpuSet cpus;

        if (a->mask == SET_NONE) {
                cpuset_clear(&cpus);
                for (unsigned slot = 0; slot < work->topology->n_cpus; slot++)
                        if (slots_have(&a->slots, slot))
                                cpuset_add(&cpus, work->topology->cpu[slot].os);
                a->mask = pool_intern(&work->snapshot->pool, &cpus);
        }
        return a->mask;
}

static unsigned core_capacity(const PlanWork *work, const Allowed *allowed, unsigned core, Grain grain) {
        const Core *c = &work->topology->core[core];
        unsigned cpus = slots_count(&allowed->slots, c->first_slot, c->n_cpus);

        if (grain == GRAIN_CORE)
                return cpus > 0;
        return cpus < 2 ? cpus : 2;
}

unsigned allowed_capacity(const PlanWork *work, uint32_t allowed, unsigned cluster, Grain grain) {
        const Cluster *c = &work->topology->cluster[cluster];
        const Allowed *a = &work->allowed[allowed];
        unsigned capacity = 0;

        if (grain == GRAIN_THREAD && a->whole)
                return allowed_has_cluster(a, cluster) ? c->n_cpus : 0;
        if (grain == GRAIN_THREAD)
                return slots_count(&a->slots, c->first_slot, c->n_cpus);
        for (unsigned core = c->first_core; core < (unsigned)c->first_core + c->n_cores; core++)
                capacity += core_capacity(work, a, core, grain);
        return capacity;
}

/* Sorts capacities downwards. Few distinct values and few members: insertion. */
static void capacities_sort(uint16_t *capacity, unsigned n) {
        for (unsigned i = 1; i < n; i++) {
                uint16_t value = capacity[i];
                unsigned j = i;

                for (; j > 0 && capacity[j - 1] < value; j--)
                        capacity[j] = capacity[j - 1];
                capacity[j] = value;
        }
}

/* How many of the largest make n together; UINT_MAX when all do not. */
static unsigned capacities_needed(const uint16_t *capacity, unsigned n_capacities, unsigned n) {
        unsigned sum = 0;

        for (unsigned i = 0; i < n_capacities; i++) {
                sum += capacity[i];
                if (sum >= n)
                        return i + 1;
        }
        return UINT_MAX;
}

static unsigned node_capacities(const PlanWork *work, uint32_t allowed, unsigned node, Grain grain,
                                uint16_t *ret) {
        const Node *nd = &work->topology->node[node];
        const Allowed *a = &work->allowed[allowed];
        unsigned n = 0;

        for (unsigned c = nd->first_cluster; c < (unsigned)nd->first_cluster + nd->n_clusters; c++)
                if (c >= a->first_cluster && c < a->end_cluster)
                        ret[n++] = (uint16_t)allowed_capacity(work, allowed, c, grain);
        return n;
}

static void minimum_compute(const PlanWork *work, uint32_t allowed, unsigned n, Grain grain,
                            unsigned *ret_clusters, unsigned *ret_nodes) {
        uint16_t capacity[CLUSTERS_MAX], total[NODES_MAX];
        unsigned best = UINT_MAX, n_all = 0;

        for (unsigned node = 0; node < work->topology->n_nodes; node++) {
                unsigned n_here = node_capacities(work, allowed, node, grain, capacity + n_all), needed, sum = 0;

                capacities_sort(capacity + n_all, n_here);
                needed = capacities_needed(capacity + n_all, n_here, n);
                if (needed < best)
                        best = needed;
                for (unsigned i = 0; i < n_here; i++)
                        sum += capacity[n_all + i];
                total[node] = (uint16_t)sum;
                n_all += n_here;
        }
        *ret_nodes = 1;
        if (best == UINT_MAX) {
                capacities_sort(capacity, n_all);
                capacities_sort(total, work->topology->n_nodes);
                best = capacities_needed(capacity, n_all, n);
                *ret_nodes = capacities_needed(total, work->topology->n_nodes, n);
        }
        if (best == UINT_MAX)
                best = *ret_nodes = 0; /* more vCPUs than CPUs: there is no minimum */
        *ret_clusters = best;
}

void allowed_minimum(PlanWork *work, uint32_t allowed, unsigned n, Grain grain, unsigned *ret_clusters,
                     unsigned *ret_nodes) {
        Memo *memo = &work->allowed[allowed].memo[n % MEMO_SIZE];

        assert(n > 0 && n <= VM_VCPUS_MAX);
        if (memo->n != n || memo->grain != grain) {
                minimum_compute(work, allowed, n, grain, ret_clusters, ret_nodes);
                *memo = (Memo){
                        .n = (uint16_t)n,
                        .clusters = (uint16_t)*ret_clusters,
                        .nodes = (uint16_t)*ret_nodes,
                        .grain = (uint8_t)grain,
                };
        }
        *ret_clusters = memo->clusters;
        *ret_nodes = memo->nodes;
}
