/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Which node takes a new group best, without a look at the clusters.
 *
 * For each node the board counts the clusters by their free CPUs. That is all
 * that the choice among nodes depends on for a group that has no place yet and
 * may use whole nodes, which is what most arrivals are: so a host of hundreds
 * of clusters costs little more than one of ten. The choice is the very one
 * that fit.c makes cluster by cluster, and a test compares them.
 */

#include "core/work.h"

#include <assert.h>

enum { PICKS_MAX = 16 };

/* Free counts of the clusters that a group would take. */
typedef struct Picks {
        unsigned n;
        uint8_t hole[PICKS_MAX];
} Picks;

typedef struct NodeChoice {
        int node; /* -1: none has room */
        unsigned span;
        int64_t loss;
        Picks picks;
} NodeChoice;

void holes_note(Board *board, unsigned node, unsigned n_free, int change) {
        Holes *holes = &board->holes[node];

        if (n_free == 0 || n_free > HOLE_MAX)
                return;
        holes->n[n_free] = (uint16_t)(holes->n[n_free] + change);
        if (holes->n[n_free])
                holes->sizes |= UINT64_C(1) << (n_free - 1);
        else
                holes->sizes &= ~(UINT64_C(1) << (n_free - 1));
}

/* Of each size: how many have been picked already. */
static unsigned picks_of(const Picks *picks, unsigned size) {
        unsigned n = 0;

        for (unsigned i = 0; i < picks->n; i++)
                n += picks->hole[i] == size;
        return n;
}

/* What the largest so many that were not picked hold together. */
static unsigned holes_top(const Holes *holes, const Picks *picks, unsigned n) {
        unsigned sum = 0;

        for (uint64_t sizes = holes->sizes; sizes && n > 0;) {
                unsigned size = 64 - (unsigned)__builtin_clzll(sizes), here = holes->n[size] - picks_of(picks, size);

                if (here > n)
                        here = n;
                sum += here * size;
                n -= here;
                sizes &= ~(UINT64_C(1) << (size - 1));
        }
        return sum;
}

/* The smallest (to spread: the largest) size of at least that much of which
 * not all were picked; 0: none. */
static unsigned holes_pick(const Holes *holes, const Picks *picks, unsigned least, bool spread) {
        uint64_t sizes = least > HOLE_MAX ? 0 : least < 2 ? holes->sizes : holes->sizes & ~UINT64_C(0) << (least - 1);

        while (sizes) {
                unsigned size = spread ? 64 - (unsigned)__builtin_clzll(sizes) : 1 + (unsigned)__builtin_ctzll(sizes);

                if (holes->n[size] > picks_of(picks, size))
                        return size;
                sizes &= ~(UINT64_C(1) << (size - 1));
        }
        return 0;
}

/* Keeps them in the order in which they are filled up. */
static void picks_add(Picks *picks, unsigned hole, bool spread) {
        unsigned at = picks->n++;

        for (; at > 0 && (spread ? picks->hole[at - 1] < hole : picks->hole[at - 1] > hole); at--)
                picks->hole[at] = picks->hole[at - 1];
        picks->hole[at] = (uint8_t)hole;
}

/* As options_fill() of fit.c. */
static bool holes_fill(const Holes *holes, unsigned n, unsigned span, bool spread, Picks *ret) {
        ret->n = 0;
        while (n > 0) {
                unsigned top, hole;

                if (span == 0)
                        return false;
                top = span > 1 ? holes_top(holes, ret, span - 1) : 0;
                hole = holes_pick(holes, ret, top < n ? n - top : 1, spread);
                if (hole == 0)
                        return false;
                picks_add(ret, hole, spread);
                n = n > hole ? n - hole : 0;
                span--;
        }
        return true;
}

static NodeChoice picks_weigh(const PlanWork *work, const Picks *picks, unsigned n, unsigned node, bool spread) {
        NodeChoice choice = {.node = (int)node, .picks = *picks};

        for (unsigned i = 0; i < picks->n && n > 0; i++) {
                unsigned take = picks->hole[i] < n ? picks->hole[i] : n;

                n -= take;
                choice.span++;
                choice.loss += cube(picks->hole[i]) - cube(picks->hole[i] - (int64_t)take);
        }
        if (spread)
                choice.loss = -choice.loss;
        choice.loss -= (int64_t)NODE_BALANCE * work->board.node_free[node];
        return choice;
}

/* Whether the set is made of whole nodes. */
static bool allowed_is_nodes(const PlanWork *work, const Allowed *allowed) {
        const Topology *topology = work->topology;
        const Node *first, *last;

        if (!allowed->whole || allowed->n_cpus == 0)
                return false;
        first = &topology->node[topology->cluster[allowed->first_cluster].node];
        last = &topology->node[topology->cluster[allowed->end_cluster - 1].node];
        return first->first_cluster == allowed->first_cluster &&
               last->first_cluster + last->n_clusters == allowed->end_cluster;
}

bool holes_suffice(const PlanWork *work, const Group *group, unsigned span) {
        return work->topology->smt_width < 2 && !work->any_locks && work->board.holes_known && span > 0 &&
               span <= PICKS_MAX && allowed_is_nodes(work, &work->allowed[group->allowed]);
}

static NodeChoice holes_choose(const PlanWork *work, const Group *group, unsigned span) {
        const Allowed *allowed = &work->allowed[group->allowed];
        unsigned node = work->topology->cluster[allowed->first_cluster].node;
        unsigned last = work->topology->cluster[allowed->end_cluster - 1].node;
        NodeChoice best = {.node = -1};

        for (; node <= last; node++) {
                bool spread = vm_spreads(work, group->vm, node);
                NodeChoice choice;
                Picks picks;

                if (work->board.node_free[node] < group->n || !vm_may_use_node(work, group->vm, node) ||
                    !holes_fill(&work->board.holes[node], group->n, span, spread, &picks))
                        continue;
                choice = picks_weigh(work, &picks, group->n, node, spread);
                if (best.node < 0 || choice.span < best.span || (choice.span == best.span && choice.loss < best.loss))
                        best = choice;
        }
        return best;
}

/* The next cluster with such a hole; the host's first core comes last. */
static unsigned hole_cluster(const PlanWork *work, const Node *node, unsigned hole, unsigned from) {
        for (unsigned c = from; c < (unsigned)node->first_cluster + node->n_clusters; c++)
                if (work->board.cluster_free[c] == hole && (int)c != work->first_core_cluster)
                        return c;
        assert(work->first_core_cluster >= 0 && work->board.cluster_free[work->first_core_cluster] == hole);
        return (unsigned)work->first_core_cluster;
}

bool holes_fit(const PlanWork *work, const Group *group, unsigned span, Fit *ret) {
        NodeChoice choice = holes_choose(work, group, span);
        const Picks *picks = &choice.picks;
        unsigned n = group->n, cluster = 0;

        if (choice.node < 0)
                return false;
        ret->n_parts = 0;
        for (unsigned i = 0; i < choice.span; i++) {
                const Node *node = &work->topology->node[choice.node];
                unsigned take = picks->hole[i] < n ? picks->hole[i] : n;
                bool again = i > 0 && picks->hole[i] == picks->hole[i - 1];

                cluster = hole_cluster(work, node, picks->hole[i], again ? cluster + 1 : node->first_cluster);
                ret->part[ret->n_parts].cluster = (uint16_t)cluster;
                ret->part[ret->n_parts++].take = (uint16_t)take;
                n -= take;
        }
        ret->nodes_more = 1;
        ret->span_more = choice.span;
        ret->cost_milli = 0;
        ret->strangers = 0;
        ret->loss = choice.loss;
        return true;
}
