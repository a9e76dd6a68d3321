/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Where a group of vCPUs fits among the free CPUs.
 *
 * Within a node: every cluster with room is an option. Clusters that the VM
 * uses anyhow come first, then those where its vCPUs stand (staying costs
 * nothing), then the smallest clusters that together still suffice, so that
 * large holes stay large for those who need them.
 */

#include "core/work.h"

#include <assert.h>
#include <limits.h>

enum { KEPT_TRIED_MAX = 5 }; /* clusters that a group stands in: all subsets of so many are tried */

unsigned group_room(const PlanWork *work, const Group *group, unsigned cluster) {
        return cluster_room(work, group->vm, &work->allowed[group->allowed], cluster);
}

/* Counts for each cluster how many of the group could stay where they stand. */
static void mark_kept(PlanWork *work, const Group *group) {
        for (unsigned i = 0; i < group->n; i++) {
                uint32_t vcpu = work->member[group->first_member + i];
                unsigned cluster;

                if (!vcpu_may_keep(work, vcpu))
                        continue;
                cluster = work->topology->cpu[work->vcpu[vcpu].keep].cluster;
                if (work->kept_mark[cluster] != work->stamp)
                        work->kept[cluster] = 0;
                work->kept_mark[cluster] = work->stamp;
                work->kept[cluster]++;
        }
}

/* Adds the node's options to the n that there are; returns how many there are
 * then, and adds their room. */
static unsigned node_options(PlanWork *work, const Group *group, unsigned node, unsigned n, unsigned *room_sum) {
        const Node *nd = &work->topology->node[node];
        const Allowed *allowed = &work->allowed[group->allowed];
        unsigned first = nd->first_cluster, end = first + nd->n_clusters;

        if (first < allowed->first_cluster)
                first = allowed->first_cluster;
        if (end > allowed->end_cluster)
                end = allowed->end_cluster;
        for (unsigned c = first; c < end; c++) {
                unsigned room = group_room(work, group, c), kept = work->kept_mark[c] == work->stamp ? work->kept[c] : 0;

                if (room == 0)
                        continue;
                work->option[n++] = (Option){
                        .cluster = (uint16_t)c,
                        .room = (uint16_t)room,
                        .kept = (uint16_t)(kept < room ? kept : room),
                        .free = work->board.cluster_free[c],
                        .idle = work->board.cluster_idle[c],
                        .base = work->cluster_mark[c] == work->stamp,
                        .first_core = (int)c == work->first_core_cluster,
                };
                *room_sum += room;
        }
        return n;
}

static bool option_before(const Option *a, const Option *b) {
        if (a->room != b->room)
                return a->room < b->room;
        if (a->free != b->free)
                return a->free < b->free;
        if (a->first_core != b->first_core)
                return b->first_core;
        return a->cluster < b->cluster;
}

static bool option_after(const Option *a, const Option *b) {
        if (a->room != b->room)
                return a->room > b->room;
        if (a->free != b->free)
                return a->free > b->free;
        if (a->first_core != b->first_core)
                return b->first_core;
        return a->cluster < b->cluster;
}

/* spread: the largest first. */
static void options_sort(Option *option, unsigned n, bool spread) {
        for (unsigned gap = n / 2; gap > 0; gap /= 2)
                for (unsigned i = gap; i < n; i++) {
                        Option o = option[i];
                        unsigned j = i;

                        for (; j >= gap && (spread ? option_after(&o, &option[j - gap])
                                                  : option_before(&o, &option[j - gap]));
                             j -= gap)
                                option[j] = option[j - gap];
                        option[j] = o;
                }
}

/* Chooses up to span of the sorted options that are not chosen yet, the
 * smallest that still suffice for n. */
static bool options_fill(Option *option, unsigned n_options, unsigned n, unsigned span, bool spread) {
        while (n > 0) {
                unsigned top = 0, left = span, pick = n_options;

                if (span == 0)
                        return false;
                for (unsigned i = 0; i < n_options && left > 1; i++) {
                        const Option *o = &option[spread ? i : n_options - 1 - i];

                        if (!o->chosen) {
                                top += o->room;
                                left--;
                        }
                }
                for (unsigned i = 0; i < n_options && pick == n_options; i++)
                        if (!option[i].chosen && option[i].room + top >= n)
                                pick = i;
                if (pick == n_options)
                        return false;
                option[pick].chosen = true;
                n = n > option[pick].room ? n - option[pick].room : 0;
                span--;
        }
        return true;
}

/* Cores that take new vCPUs there would share with other VMs. */
static unsigned option_strangers(const PlanWork *work, const Option *option, unsigned take) {
        unsigned stay = option->kept < take ? option->kept : take;

        return work->topology->smt_width < 2 || take - stay <= option->idle ? 0 : take - stay - option->idle;
}

/* Whether a part but the last is in the node. */
static bool fit_has_node(const PlanWork *work, const Fit *fit, unsigned node) {
        for (unsigned i = 0; i + 1 < fit->n_parts; i++)
                if (work->topology->cluster[fit->part[i].cluster].node == node)
                        return true;
        return false;
}

/* Divides n over the chosen options: what is kept stays, then the fullest
 * clusters are filled up, so that what remains free remains in one piece. */
static void options_divide(const PlanWork *work, const Group *group, const Option *option, unsigned n_options,
                           unsigned n, Fit *ret) {
        uint16_t node = NODES_MAX;
        unsigned kept = 0, kept_all;

        ret->n_parts = 0;
        ret->span_more = 0;
        ret->loss = 0;
        ret->strangers = 0;
        ret->nodes_more = 0;
        for (unsigned i = 0; i < n_options; i++)
                if (option[i].chosen)
                        kept += option[i].kept;
        if (kept > n)
                kept = n;
        kept_all = kept;
        n -= kept;
        for (unsigned i = 0; i < n_options; i++) {
                unsigned keep = option[i].kept < kept ? option[i].kept : kept, take;

                if (!option[i].chosen)
                        continue;
                take = option[i].room - keep < n ? option[i].room - keep : n;
                kept -= keep;
                n -= take;
                take += keep;
                if (take == 0)
                        continue;
                assert(ret->n_parts < FIT_PARTS_MAX);
                ret->part[ret->n_parts].cluster = option[i].cluster;
                ret->part[ret->n_parts++].take = (uint16_t)take;
                ret->span_more += !option[i].base;
                if (node != work->topology->cluster[option[i].cluster].node) {
                        node = work->topology->cluster[option[i].cluster].node;
                        ret->nodes_more += !fit_has_node(work, ret, node) && work->node_mark[node] != work->stamp;
                }
                ret->strangers += option_strangers(work, &option[i], take);
                ret->loss += cube(option[i].free) - cube((int64_t)option[i].free - take);
        }
        assert(n == 0);
        ret->cost_milli = 0;
        for (unsigned i = 0; i < group->n; i++) {
                int slot = work->vcpu[work->member[group->first_member + i]].keep;

                if (slot != NO_SLOT)
                        ret->cost_milli += work->topology->cpu[slot].node == node ? COST_IN_NODE : COST_CROSS_NODE;
        }
        ret->cost_milli -= (int64_t)kept_all * COST_IN_NODE;
}

static int fit_compare(const Fit *a, const Fit *b) {
        if (a->nodes_more != b->nodes_more)
                return a->nodes_more < b->nodes_more ? -1 : 1;
        if (a->span_more != b->span_more)
                return a->span_more < b->span_more ? -1 : 1;
        if (a->cost_milli != b->cost_milli)
                return a->cost_milli < b->cost_milli ? -1 : 1;
        if (a->strangers != b->strangers)
                return a->strangers < b->strangers ? -1 : 1;
        return (a->loss > b->loss) - (a->loss < b->loss);
}

/* The clusters (indexes into option[]) where most of the group stands. */
static unsigned options_most_kept(const Option *option, unsigned n_options, unsigned *ret) {
        unsigned n = 0;

        for (unsigned i = 0; i < n_options; i++) {
                unsigned j;

                if (option[i].kept == 0 || option[i].base)
                        continue;
                if (n == KEPT_TRIED_MAX && option[ret[n - 1]].kept >= option[i].kept)
                        continue;
                if (n < KEPT_TRIED_MAX)
                        n++;
                for (j = n - 1; j > 0 && option[ret[j - 1]].kept < option[i].kept; j--)
                        ret[j] = ret[j - 1];
                ret[j] = i;
        }
        return n;
}

/* To spread is to want what best fit shuns; free nodes are wanted either way. */
static void fit_weigh(const PlanWork *work, Fit *fit, bool spread) {
        if (spread)
                fit->loss = -fit->loss;
        if (fit->n_parts > 0)
                fit->loss -= (int64_t)NODE_BALANCE *
                             work->board.node_free[work->topology->cluster[fit->part[0].cluster].node];
}

/* Tries one subset of the clusters where the group stands. */
static bool subset_fit(PlanWork *work, const Group *group, unsigned n_options, unsigned span, bool spread,
                       const unsigned *stands, unsigned n_stands, unsigned subset, Fit *ret) {
        unsigned room = 0, n_subset = (unsigned)__builtin_popcount(subset);

        if (n_subset > span)
                return false;
        for (unsigned i = 0; i < n_options; i++)
                work->option[i].chosen = work->option[i].base;
        for (unsigned i = 0; i < n_stands; i++)
                if (subset >> i & 1)
                        work->option[stands[i]].chosen = true;
        for (unsigned i = 0; i < n_options; i++)
                if (work->option[i].chosen)
                        room += work->option[i].room;
        if (room < group->n && !options_fill(work->option, n_options, group->n - room, span - n_subset,
                                                spread))
                return false;
        options_divide(work, group, work->option, n_options, group->n, ret);
        fit_weigh(work, ret, spread);
        return true;
}

static bool one_before(const PlanWork *work, unsigned n, bool spread, const Option *a, const Option *b) {
        unsigned a_strangers = option_strangers(work, a, n), b_strangers = option_strangers(work, b, n);

        if (a->kept != b->kept)
                return a->kept > b->kept;
        if (a_strangers != b_strangers)
                return a_strangers < b_strangers;
        return spread ? option_after(a, b) : option_before(a, b);
}

/* One cluster for all: no sorting, no dividing. */
static bool options_fit_one(PlanWork *work, const Group *group, unsigned n_options, bool spread, Fit *ret) {
        const Option *best = NULL;

        for (unsigned i = 0; i < n_options; i++) {
                const Option *o = &work->option[i];

                if (o->room < group->n)
                        continue;
                if (!best || one_before(work, group->n, spread, o, best))
                        best = o;
        }
        if (!best)
                return false;
        work->one[0] = *best;
        work->one[0].chosen = true;
        options_divide(work, group, work->one, 1, group->n, ret);
        fit_weigh(work, ret, spread);
        return true;
}

/* The best of the options that were collected. */
static bool options_fit(PlanWork *work, const Group *group, unsigned n_options, unsigned span, bool spread, Fit *ret) {
        unsigned stands[KEPT_TRIED_MAX], n_stands;
        bool found = false, base = false;

        for (unsigned i = 0; i < n_options; i++)
                base |= work->option[i].base;
        if (span == 1 && !base)
                return options_fit_one(work, group, n_options, spread, ret);
        options_sort(work->option, n_options, spread);
        n_stands = options_most_kept(work->option, n_options, stands);
        for (unsigned subset = 0; subset < 1u << n_stands; subset++) {
                if (!subset_fit(work, group, n_options, span, spread, stands, n_stands, subset, &work->trial))
                        continue;
                if (!found || fit_compare(&work->trial, ret) < 0)
                        *ret = work->trial;
                found = true;
        }
        return found;
}

/* A quick no; an owner of whole cores may also take what is closed to others. */
static bool node_has_too_little(const PlanWork *work, const Group *group, unsigned node) {
        return work->board.node_free[node] < group->n && !work->any_locks;
}

/* The best place of the group in one node. */
static bool node_fit(PlanWork *work, const Group *group, unsigned node, SpanLimit limit, Fit *ret) {
        unsigned room = 0, n_options;
        int span = limit.of[vm_node_grain(work, group->vm, node)];

        if (span < 0 || node_has_too_little(work, group, node) || !vm_may_use_node(work, group->vm, node))
                return false;
        n_options = node_options(work, group, node, 0, &room);
        return room >= group->n && options_fit(work, group, n_options, (unsigned)span,
                                               vm_spreads(work, group->vm, node), ret);
}

/* The node where all stand who stand anywhere; -1: there is none, or several. */
static int group_node(const PlanWork *work, const Group *group) {
        int node = -1;

        for (unsigned i = 0; i < group->n; i++) {
                int keep = work->vcpu[work->member[group->first_member + i]].keep;

                if (keep == NO_SLOT)
                        continue;
                if (node >= 0 && work->topology->cpu[keep].node != node)
                        return -1;
                node = work->topology->cpu[keep].node;
        }
        return node;
}

bool group_fit(PlanWork *work, const Group *group, SpanLimit limit, Fit *ret) {
        bool found = false, base = vm_mark_base(work, group->vm);
        int home = base ? -1 : group_node(work, group);

        mark_kept(work, group);
        /* One cluster at home: no other node can be better, since all would have to cross. */
        if (home >= 0 && node_fit(work, group, (unsigned)home, limit, ret) && ret->span_more == 1)
                return true;
        if (!base && limit.of[GRAIN_THREAD] > 0 && !group_stands(work, group) &&
            holes_suffice(work, group, (unsigned)limit.of[GRAIN_THREAD]))
                return holes_fit(work, group, (unsigned)limit.of[GRAIN_THREAD], ret);
        for (unsigned node = 0; node < work->topology->n_nodes; node++) {
                if (!node_fit(work, group, node, limit, &work->part))
                        continue;
                if (!found || fit_compare(&work->part, ret) < 0)
                        *ret = work->part;
                found = true;
        }
        return found;
}

static unsigned node_room(const PlanWork *work, const Group *group, unsigned node) {
        const Node *nd = &work->topology->node[node];
        unsigned room = 0;

        if (!vm_may_use_node(work, group->vm, node))
                return 0;
        for (unsigned c = nd->first_cluster; c < (unsigned)nd->first_cluster + nd->n_clusters; c++)
                room += group_room(work, group, c);
        return room;
}

/* Nodes for the whole group around one of them, nearest first. Returns how
 * many are needed, 0 when all do not suffice. */
static unsigned nodes_around(const PlanWork *work, const Group *group, unsigned start, uint16_t *ret_node,
                             unsigned *ret_distance) {
        const Topology *topology = work->topology;
        bool used[NODES_MAX] = {false};
        unsigned left = group->n, n = 0;

        *ret_distance = 0;
        for (unsigned next = start; left > 0;) {
                unsigned room = node_room(work, group, next), best = UINT_MAX, best_room = 0;

                used[next] = true;
                if (room > 0) {
                        ret_node[n++] = (uint16_t)next;
                        *ret_distance += topology->distance[start][next];
                        left -= room < left ? room : left;
                }
                for (unsigned i = 0; i < topology->n_nodes; i++) {
                        unsigned r = used[i] ? 0 : node_room(work, group, i);

                        if (r == 0)
                                continue;
                        if (best == UINT_MAX || topology->distance[start][i] < topology->distance[start][best] ||
                            (topology->distance[start][i] == topology->distance[start][best] && r > best_room)) {
                                best = i;
                                best_room = r;
                        }
                }
                if (left > 0 && best == UINT_MAX)
                        return 0;
                next = best;
        }
        return n;
}

static void nodes_sort(uint16_t *node, unsigned n) {
        for (unsigned i = 1; i < n; i++)
                for (unsigned j = i; j > 0 && node[j] < node[j - 1]; j--) {
                        uint16_t swap = node[j];

                        node[j] = node[j - 1];
                        node[j - 1] = swap;
                }
}

/* The fewest clusters of these nodes together. */
static bool nodes_fit(PlanWork *work, const Group *group, const uint16_t *node, unsigned n_nodes, Fit *ret) {
        unsigned room = 0, n_options = 0;

        vm_mark_base(work, group->vm);
        mark_kept(work, group);
        for (unsigned i = 0; i < n_nodes; i++)
                n_options = node_options(work, group, node[i], n_options, &room);
        if (room < group->n)
                return false;
        for (unsigned span = 0; span <= group->n; span++)
                if (options_fit(work, group, n_options, span, false, ret))
                        return true;
        return false;
}

bool group_fit_nodes(PlanWork *work, const Group *group, Fit *ret) {
        uint16_t node[NODES_MAX];
        unsigned best = UINT_MAX, best_distance = 0;
        bool found = false;

        for (unsigned start = 0; start < work->topology->n_nodes; start++) {
                unsigned distance, n;

                if (node_room(work, group, start) == 0)
                        continue;
                n = nodes_around(work, group, start, node, &distance);
                if (n == 0 || n > best || (n == best && distance > best_distance))
                        continue;
                nodes_sort(node, n);
                if (!nodes_fit(work, group, node, n, &work->part))
                        continue;
                if (!found || n < best || distance < best_distance || fit_compare(&work->part, ret) < 0)
                        *ret = work->part;
                found = true;
                best = n;
                best_distance = distance;
        }
        return found;
}

bool group_seat_in(PlanWork *work, const Group *group, const RoomTarget *target) {
        unsigned room = 0;

        vm_mark_base(work, group->vm);
        mark_kept(work, group);
        for (unsigned i = 0; i < target->n_clusters; i++) {
                unsigned c = target->cluster[i];

                work->option[i] = (Option){
                        .cluster = (uint16_t)c,
                        .room = (uint16_t)group_room(work, group, c),
                        .free = work->board.cluster_free[c],
                        .idle = work->board.cluster_idle[c],
                        .chosen = true,
                };
                if (work->kept_mark[c] == work->stamp)
                        work->option[i].kept = work->kept[c] < work->option[i].room ? work->kept[c] : work->option[i].room;
                room += work->option[i].room;
        }
        if (room < group->n)
                return false;
        options_sort(work->option, target->n_clusters, false);
        options_divide(work, group, work->option, target->n_clusters, group->n, &work->trial);
        group_seat(work, group, &work->trial);
        return true;
}
