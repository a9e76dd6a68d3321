/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Kubernetes and Nova. Kubernetes' static CPU manager takes whole NUMA nodes
 * while a pod needs as many CPUs, with prefer-align-cpus-by-uncorecache then
 * whole idle caches, then the first cache that holds the rest, and failing that
 * single cores and threads, from the fullest node on. Nova puts a guest of one
 * NUMA cell into the host cell with the most free CPUs, on whole cores before
 * single threads; it knows nothing of caches. Where no cell holds the guest the
 * model splits it, as an operator would with hw:numa_nodes.
 */

#include "sim/rival_board.h"

/* Takes whole idle intervals while the VM needs at least as many CPUs. */
static void take_whole(Board *board, Want *want, unsigned first, unsigned n) {
        if (n > 0 && want->n - want->n_got >= n && board_free(board, want, first, n) == n)
                board_take_from(board, want, first, n);
}

/* Free CPUs on cores that are idle as a whole. */
static unsigned idle_core_cpus(const Board *board, const Want *want, const Cluster *cluster) {
        unsigned count = 0;

        for (unsigned i = cluster->first_core; i < cluster->first_core + cluster->n_cores; i++) {
                const Core *core = &board->topology->core[i];
                if (board_free(board, want, core->first_slot, core->n_cpus) == core->n_cpus)
                        count += core->n_cpus;
        }
        return count;
}

/* Takes idle cores of an interval, whole ones; the last may be taken in part. */
static void take_cores(Board *board, Want *want, unsigned first_core, unsigned n_cores, bool in_part) {
        for (unsigned i = first_core; i < first_core + n_cores; i++) {
                const Core *core = &board->topology->core[i];
                if (!in_part && want->n - want->n_got < core->n_cpus)
                        return;
                if (board_free(board, want, core->first_slot, core->n_cpus) == core->n_cpus)
                        board_take_from(board, want, core->first_slot, core->n_cpus);
        }
}

/* Node indices, the one with the fewest free CPUs first (or the most). */
static void nodes_by_free(const Board *board, const Want *want, bool most_first, uint16_t *ret) {
        const Topology *topology = board->topology;
        unsigned n_free[NODES_MAX];

        for (unsigned i = 0; i < topology->n_nodes; i++) {
                unsigned here = board_free(board, want, topology->node[i].first_slot, topology->node[i].n_cpus);
                unsigned at = i;
                for (; at > 0 && (most_first ? n_free[at - 1] < here : n_free[at - 1] > here); at--) {
                        n_free[at] = n_free[at - 1];
                        ret[at] = ret[at - 1];
                }
                n_free[at] = here;
                ret[at] = (uint16_t)i;
        }
}

/* The rest of the VM from the first cache of the node that holds it all. */
static void take_cache_part(Board *board, Want *want, const Node *node) {
        for (unsigned i = node->first_cluster; i < node->first_cluster + node->n_clusters; i++) {
                const Cluster *cluster = &board->topology->cluster[i];
                if (want->n_got < want->n && idle_core_cpus(board, want, cluster) >= want->n - want->n_got)
                        take_cores(board, want, cluster->first_core, cluster->n_cores, true);
        }
}

bool take_k8s_uncore(Board *board, Want *want) {
        const Topology *topology = board->topology;
        uint16_t order[NODES_MAX];

        if (board_free(board, want, 0, topology->n_cpus) < want->n)
                return false;
        nodes_by_free(board, want, false, order);
        for (unsigned i = 0; i < topology->n_nodes; i++)
                take_whole(board, want, topology->node[i].first_slot, topology->node[i].n_cpus);
        for (unsigned i = 0; i < topology->n_clusters; i++)
                take_whole(board, want, topology->cluster[i].first_slot, topology->cluster[i].n_cpus);
        for (unsigned i = 0; i < topology->n_nodes; i++)
                take_cache_part(board, want, &topology->node[order[i]]);
        for (unsigned i = 0; i < topology->n_nodes; i++)
                take_cores(board, want, topology->node[order[i]].first_core, topology->node[order[i]].n_cores, false);
        for (unsigned i = 0; i < topology->n_nodes; i++)
                board_take_from(board, want, topology->node[order[i]].first_slot, topology->node[order[i]].n_cpus);
        return true;
}

bool take_nova(Board *board, Want *want) {
        const Topology *topology = board->topology;
        uint16_t order[NODES_MAX];

        if (board_free(board, want, 0, topology->n_cpus) < want->n)
                return false;
        nodes_by_free(board, want, true, order);
        for (unsigned i = 0; i < topology->n_nodes; i++) {
                const Node *node = &topology->node[order[i]];
                take_cores(board, want, node->first_core, node->n_cores, topology->smt_width == 1);
                board_take_from(board, want, node->first_slot, node->n_cpus);
        }
        return true;
}
