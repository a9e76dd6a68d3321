/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Best-fit cluster without moves, and VSched as its documents have it: a VM
 * goes into one NUMA node, at the fewest clusters it could have on an idle
 * host (whole idle clusters first, the rest in one more), or it is left
 * alone; each piece is an unbroken run of CPUs.
 */

#include "sim/rival_board.h"

#include <assert.h>

static unsigned cluster_free(const Board *board, const Want *want, unsigned cluster) {
        const Cluster *c = &board->topology->cluster[cluster];

        return board_free(board, want, c->first_slot, c->n_cpus);
}

/*
 * Fills clusters of an interval: the one with the most free CPUs while the rest
 * of the VM fits into none, then the smallest hole that holds the rest.
 * Returns the clusters used; 0: they do not hold it.
 */
static unsigned clusters_fill(Board *board, Want *want, unsigned first, unsigned n, unsigned *ret_left) {
        unsigned used = 0;

        while (want->n_got < want->n) {
                unsigned rest = want->n - want->n_got;
                int best = -1;
                unsigned best_free = 0;
                for (unsigned i = first; i < first + n; i++) {
                        unsigned here = cluster_free(board, want, i);
                        bool better = here >= rest ? best_free < rest || here < best_free : here > best_free;
                        if (here > 0 && better) {
                                best = (int)i;
                                best_free = here;
                        }
                }
                if (best < 0)
                        return 0;
                const Cluster *cluster = &board->topology->cluster[best];
                board_take_from(board, want, cluster->first_slot, cluster->n_cpus);
                *ret_left = best_free > rest ? best_free - rest : 0;
                used++;
        }
        return used;
}

bool take_best_fit(Board *board, Want *want) {
        const Topology *topology = board->topology;
        unsigned best_used = 0, best_left = 0, left;
        int best = -1;

        for (unsigned i = 0; i < topology->n_nodes; i++) {
                const Node *node = &topology->node[i];
                unsigned used = clusters_fill(board, want, node->first_cluster, node->n_clusters, &left);
                want_undo(board, want);
                if (used && (best < 0 || used < best_used || (used == best_used && left < best_left))) {
                        best = (int)i;
                        best_used = used;
                        best_left = left;
                }
        }
        if (best >= 0)
                return clusters_fill(board, want, topology->node[best].first_cluster,
                                     topology->node[best].n_clusters, &left) > 0;
        if (clusters_fill(board, want, 0, topology->n_clusters, &left) > 0)
                return true;
        want_undo(board, want);
        return false;
}

/* Takes n CPUs of a cluster, as an unbroken run if asked; false: none taken. */
static bool piece_take(Board *board, Want *want, const Cluster *cluster, unsigned n, bool contiguous) {
        unsigned run = 0, end = cluster->first_slot + cluster->n_cpus;

        if (!contiguous && board_free(board, want, cluster->first_slot, cluster->n_cpus) < n)
                return false;
        for (unsigned slot = cluster->first_slot; slot < end; slot++) {
                run = board_is_free(board, want, slot) ? run + 1 : 0;
                if (contiguous && run < n)
                        continue;
                for (unsigned at = contiguous ? slot + 1 - n : cluster->first_slot; n > 0; at++)
                        if (board_is_free(board, want, at)) {
                                board_take(board, want, at);
                                n--;
                        }
                return true;
        }
        return false;
}

/* Takes a piece from the first cluster of the node that has it. */
static bool piece_fit(Board *board, Want *want, const Node *node, unsigned n, bool contiguous) {
        for (unsigned i = node->first_cluster; i < node->first_cluster + node->n_clusters; i++)
                if (piece_take(board, want, &board->topology->cluster[i], n, contiguous))
                        return true;
        return false;
}

/* Whole idle clusters while the VM needs more than one, the rest in one more. */
static bool node_take(Board *board, Want *want, const Node *node, bool contiguous) {
        unsigned size = board->topology->cluster[node->first_cluster].n_cpus;

        while (want->n_got < want->n) {
                unsigned rest = want->n - want->n_got;
                if (!piece_fit(board, want, node, rest < size ? rest : size, contiguous)) {
                        want_undo(board, want);
                        return false;
                }
        }
        return true;
}

/* The first node with enough free CPUs is the one; if they lie badly, too bad. */
bool take_vsched(Board *board, Want *want, bool contiguous) {
        for (unsigned i = 0; i < board->topology->n_nodes; i++) {
                const Node *node = &board->topology->node[i];
                if (board_free(board, want, node->first_slot, node->n_cpus) >= want->n)
                        return node_take(board, want, node, contiguous);
        }
        return false;
}

/* The vCPUs of one VM in one cluster. */
typedef struct Piece {
        uint32_t vm, n;
        uint32_t vcpu[CPUS_MAX];
} Piece;

/* The next VM that has vCPUs in the cluster, looking from *from_vcpu on; false: there is none. */
static bool piece_next(const Model *model, const Cluster *cluster, uint32_t *from_vcpu, Piece *ret) {
        const Topology *topology = model->topology;

        ret->n = 0;
        for (uint32_t i = *from_vcpu; i < model->host->n_vcpus; i++) {
                int cpu = model_own_cpu(model, i);
                if (ret->n > 0 && model->host->vcpu[i].vm != ret->vm)
                        break;
                *from_vcpu = i + 1;
                if (cpu < 0 || &topology->cluster[topology->cpu[topology->slot_of[cpu]].cluster] != cluster)
                        continue;
                ret->vm = model->host->vcpu[i].vm;
                ret->vcpu[ret->n++] = i;
        }
        return ret->n > 0;
}

static unsigned board_taken(const Board *board, const Cluster *cluster) {
        unsigned taken = 0;

        for (unsigned slot = cluster->first_slot; slot < cluster->first_slot + cluster->n_cpus; slot++)
                taken += board->taken[slot];
        return taken;
}

/* Takes a hole for a piece in another cluster of the node that is at least as full. */
static bool hole_take(Board *board, Want *want, const Cluster *cluster, unsigned used, bool contiguous) {
        const Node *node = &board->topology->node[cluster->node];

        for (unsigned i = node->first_cluster; i < node->first_cluster + node->n_clusters; i++) {
                const Cluster *other = &board->topology->cluster[i];
                if (other != cluster && board_taken(board, other) >= used &&
                    piece_take(board, want, other, want->n, contiguous))
                        return true;
        }
        return false;
}

/* Whether each piece of the cluster has such a hole; moves them if so. */
static bool cluster_empty(Board *board, Model *model, const Cluster *cluster, unsigned used, bool contiguous) {
        const Topology *topology = board->topology;
        uint32_t vcpu[VM_VCPUS_MAX], from = 0;
        Want all = {}, want;
        Piece piece;

        while (piece_next(model, cluster, &from, &piece)) {
                want_init(model, piece.vm, &want);
                want.n = piece.n;
                if (all.n_got + piece.n > VM_VCPUS_MAX || !hole_take(board, &want, cluster, used, contiguous)) {
                        want_undo(board, &all);
                        return false;
                }
                for (unsigned i = 0; i < piece.n; i++) {
                        vcpu[all.n_got] = piece.vcpu[i];
                        all.slot[all.n_got++] = want.slot[i];
                }
        }
        for (unsigned i = 0; i < all.n_got; i++) {
                board->taken[topology->slot_of[model_own_cpu(model, vcpu[i])]] = false;
                model_give(model, vcpu[i], topology->cpu[all.slot[i]].os);
        }
        return true;
}

void vsched_compact(Board *board, Model *model, bool contiguous) {
        const Topology *topology = board->topology;

        for (unsigned i = 0; i < topology->n_clusters; i++) {
                const Cluster *cluster = &topology->cluster[i];
                unsigned used = board_taken(board, cluster);
                if (used > 0 && used <= cluster->n_cpus / 2 && cluster_empty(board, model, cluster, used, contiguous))
                        return;
        }
}
