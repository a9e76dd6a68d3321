/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Turns a heap of CPU facts into the sorted host of topology.h.
 *
 * Keys of clusters and cores are only good for telling things apart, so they
 * can not decide the order: things are ordered by their lowest CPU number. The
 * facts are therefore sorted twice, first by key, which brings the CPUs of one
 * thing together and shows its lowest CPU, then by those lowest CPUs.
 */

#include "core/topology.h"

#include <assert.h>
#include <string.h>

typedef struct Row {
        CpuFact fact;
        uint16_t cluster_low; /* lowest CPU number of its cluster, in its node */
        uint16_t core_low;
        bool by_low;          /* which order row_compare is asked for */
} Row;

static int compare(uint32_t a, uint32_t b) {
        return (a > b) - (a < b);
}

static int row_compare(const Row *a, const Row *b) {
        int r = compare(a->fact.node, b->fact.node);

        if (r == 0)
                r = a->by_low ? compare(a->cluster_low, b->cluster_low)
                              : compare(a->fact.cluster, b->fact.cluster);
        if (r == 0)
                r = a->by_low ? compare(a->core_low, b->core_low) : compare(a->fact.core, b->fact.core);
        return r ? r : compare(a->fact.os, b->fact.os);
}

static void sift_down(Row *rows, unsigned at, unsigned n) {
        for (;;) {
                unsigned child = 2 * at + 1;
                Row row;

                if (child >= n)
                        return;
                if (child + 1 < n && row_compare(&rows[child], &rows[child + 1]) < 0)
                        child++;
                if (row_compare(&rows[at], &rows[child]) >= 0)
                        return;
                row = rows[at];
                rows[at] = rows[child];
                rows[child] = row;
                at = child;
        }
}

/* Heap sort: in place, no worst case; this runs once per hotplug. */
static void rows_sort(Row *rows, unsigned n) {
        for (unsigned i = n / 2; i > 0; i--)
                sift_down(rows, i - 1, n);
        for (unsigned last = n; last > 1; last--) {
                Row row = rows[0];

                rows[0] = rows[last - 1];
                rows[last - 1] = row;
                sift_down(rows, 0, last - 1);
        }
}

static bool same_cluster(const Row *a, const Row *b) {
        return a->fact.node == b->fact.node && a->fact.cluster == b->fact.cluster;
}

static bool same_core(const Row *a, const Row *b) {
        return same_cluster(a, b) && a->fact.core == b->fact.core;
}

/* rows are sorted by key: within a core by CPU, within a cluster by core. */
static void rows_find_lows(Row *rows, unsigned n) {
        for (unsigned i = 0, end; i < n; i = end) {
                uint16_t low = rows[i].fact.os;

                for (end = i; end < n && same_cluster(&rows[i], &rows[end]); end++)
                        if (rows[end].fact.os < low)
                                low = rows[end].fact.os;
                for (unsigned j = i; j < end; j++)
                        rows[j].cluster_low = low;
        }
        for (unsigned i = 0; i < n; i++)
                rows[i].core_low =
                        i > 0 && same_core(&rows[i - 1], &rows[i]) ? rows[i - 1].core_low : rows[i].fact.os;
        for (unsigned i = 0; i < n; i++)
                rows[i].by_low = true;
}

static const char *facts_check(const CpuFact *facts, unsigned n_facts) {
        CpuSet seen;
        CpuSet nodes;

        if (n_facts == 0)
                return "no CPU is online";
        if (n_facts > CPUS_MAX)
                return "too many CPUs";
        cpuset_clear(&seen);
        cpuset_clear(&nodes);
        for (unsigned i = 0; i < n_facts; i++) {
                if (facts[i].os >= CPUS_MAX)
                        return "a CPU's number is too high";
                if (facts[i].node >= CPUS_MAX)
                        return "a NUMA node's number is too high";
                if (cpuset_has(&seen, facts[i].os))
                        return "a CPU is described twice";
                cpuset_add(&seen, facts[i].os);
                cpuset_add(&nodes, facts[i].node);
        }
        return cpuset_count(&nodes) > NODES_MAX ? "too many NUMA nodes" : NULL;
}

static void topology_add_node(Topology *topology, const Row *row, uint16_t slot) {
        topology->node[topology->n_nodes++] = (Node){
                .os = row->fact.node,
                .first_slot = slot,
                .first_cluster = topology->n_clusters,
                .first_core = topology->n_cores,
        };
}

static void topology_add_cluster(Topology *topology, const Row *row, uint16_t slot) {
        Node *node = &topology->node[topology->n_nodes - 1];

        node->n_clusters++;
        topology->cluster[topology->n_clusters++] = (Cluster){
                .first_slot = slot,
                .first_core = topology->n_cores,
                .node = (uint16_t)(topology->n_nodes - 1),
                .package = (uint16_t)row->fact.package,
        };
}

static void topology_add_core(Topology *topology, uint16_t slot) {
        topology->node[topology->n_nodes - 1].n_cores++;
        topology->cluster[topology->n_clusters - 1].n_cores++;
        topology->core[topology->n_cores++] = (Core){
                .first_slot = slot,
                .cluster = (uint16_t)(topology->n_clusters - 1),
                .node = (uint16_t)(topology->n_nodes - 1),
        };
}

static void topology_add_cpu(Topology *topology, const Row *row) {
        uint16_t slot = topology->n_cpus++;
        Core *core = &topology->core[topology->n_cores - 1];

        topology->cpu[slot] = (Cpu){
                .os = row->fact.os,
                .core = (uint16_t)(topology->n_cores - 1),
                .cluster = (uint16_t)(topology->n_clusters - 1),
                .node = (uint16_t)(topology->n_nodes - 1),
                .smt_rank = (uint8_t)core->n_cpus,
                .kind = row->fact.kind,
        };
        core->n_cpus++;
        topology->cluster[topology->n_clusters - 1].n_cpus++;
        topology->node[topology->n_nodes - 1].n_cpus++;
        topology->slot_of[row->fact.os] = (int16_t)slot;
        cpuset_add(&topology->online, row->fact.os);
        if (core->n_cpus > topology->smt_width)
                topology->smt_width = (uint8_t)core->n_cpus;
}

/* Package keys may be any numbers: they become 0, 1, 2 in order of first use. */
static void topology_number_packages(Topology *topology, const Row *rows) {
        for (unsigned i = 0; i < topology->n_clusters; i++) {
                Cluster *cluster = &topology->cluster[i];
                uint32_t key = rows[cluster->first_slot].fact.package;
                unsigned j = 0;

                while (j < i && rows[topology->cluster[j].first_slot].fact.package != key)
                        j++;
                cluster->package = j < i ? topology->cluster[j].package : topology->n_packages++;
        }
}

static void topology_set_distances(Topology *topology, const uint8_t *distance, unsigned n_os_nodes) {
        for (unsigned i = 0; i < topology->n_nodes; i++)
                for (unsigned j = 0; j < topology->n_nodes; j++) {
                        unsigned a = topology->node[i].os, b = topology->node[j].os;
                        uint8_t d = i == j ? DISTANCE_LOCAL : DISTANCE_REMOTE;

                        if (distance && a < n_os_nodes && b < n_os_nodes && distance[a * n_os_nodes + b])
                                d = distance[a * n_os_nodes + b];
                        topology->distance[i][j] = d;
                }
}

int topology_build(const CpuFact *facts, unsigned n_facts, const uint8_t *distance, unsigned n_os_nodes,
                   ClusterLevel level, const CpuSet *isolated, Topology *ret, const char **ret_why) {
        const char *why = facts_check(facts, n_facts);
        Row rows[CPUS_MAX];

        if (why) {
                *ret_why = why;
                return 1;
        }
        for (unsigned i = 0; i < n_facts; i++)
                rows[i] = (Row){.fact = facts[i]};
        rows_sort(rows, n_facts);
        rows_find_lows(rows, n_facts);
        rows_sort(rows, n_facts);

        memset(ret, 0, sizeof(*ret));
        memset(ret->slot_of, 0xff, sizeof(ret->slot_of));
        ret->level = level;
        if (isolated)
                ret->isolated = *isolated;
        for (unsigned i = 0; i < n_facts; i++) {
                const Row *before = i > 0 ? &rows[i - 1] : NULL;

                if (!before || before->fact.node != rows[i].fact.node)
                        topology_add_node(ret, &rows[i], (uint16_t)i);
                if (!before || !same_cluster(before, &rows[i]))
                        topology_add_cluster(ret, &rows[i], (uint16_t)i);
                if (!before || !same_core(before, &rows[i]))
                        topology_add_core(ret, (uint16_t)i);
                topology_add_cpu(ret, &rows[i]);
                ret->hybrid |= rows[i].fact.kind != rows[0].fact.kind;
        }
        topology_number_packages(ret, rows);
        topology_set_distances(ret, distance, n_os_nodes);
        return 0;
}

static void add_slots(const Topology *topology, unsigned first, unsigned n, CpuSet *ret) {
        assert(first + n <= topology->n_cpus);
        cpuset_clear(ret);
        for (unsigned slot = first; slot < first + n; slot++)
                cpuset_add(ret, topology->cpu[slot].os);
}

void topology_node_cpus(const Topology *topology, unsigned node, CpuSet *ret) {
        assert(node < topology->n_nodes);
        add_slots(topology, topology->node[node].first_slot, topology->node[node].n_cpus, ret);
}

void topology_cluster_cpus(const Topology *topology, unsigned cluster, CpuSet *ret) {
        assert(cluster < topology->n_clusters);
        add_slots(topology, topology->cluster[cluster].first_slot, topology->cluster[cluster].n_cpus, ret);
}

void topology_core_cpus(const Topology *topology, unsigned core, CpuSet *ret) {
        assert(core < topology->n_cores);
        add_slots(topology, topology->core[core].first_slot, topology->core[core].n_cpus, ret);
}

int topology_node_by_os(const Topology *topology, unsigned os) {
        for (unsigned i = 0; i < topology->n_nodes; i++)
                if (topology->node[i].os == os)
                        return (int)i;
        return -1;
}
