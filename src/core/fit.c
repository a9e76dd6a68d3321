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

enum {
        KEPT_TRIED_MAX = 5, /* clusters that a group stands in: all subsets of so many are tried */
        /* What a free CPU in a node counts against future fit. VMs that are tied
         * to a node arrive in any: what is free is better spread over all nodes. */
        NODE_BALANCE = 30,
};

unsigned group_room(const PlanWork *work, const Group *group, unsigned cluster) {
        return cluster_room(work, group->vm, &work->allowed[group->allowed].slots, cluster);
}

/* Marks the clusters and nodes that the VM uses already. */
static void mark_base(PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];

        work->stamp++;
        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                const VcpuWork *w = &work->vcpu[i];
                int slot = w->class == VCPU_MOVABLE ? w->seat : w->stand;

                if (slot == NO_SLOT)
                        continue;
                work->cluster_mark[work->topology->cpu[slot].cluster] = work->stamp;
                work->node_mark[work->topology->cpu[slot].node] = work->stamp;
        }
}

static bool keep_is_open(const PlanWork *work, uint32_t vcpu) {
        int keep = work->vcpu[vcpu].keep;

        return keep != NO_SLOT && slot_suits(work, work->snapshot->vcpu[vcpu].vm, (unsigned)keep);
}

/* Counts for each cluster how many of the group could stay where they stand. */
static void mark_kept(PlanWork *work, const Group *group) {
        for (unsigned i = 0; i < group->n; i++) {
                uint32_t vcpu = work->member[group->first_member + i];
                unsigned cluster;

                if (!keep_is_open(work, vcpu))
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

static int64_t cube(int64_t n) {
        return n * n * n;
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

/* One cluster for all: no sorting, no dividing. */
static bool options_fit_one(PlanWork *work, const Group *group, unsigned n_options, bool spread, Fit *ret) {
        const Option *best = NULL;

        for (unsigned i = 0; i < n_options; i++) {
                const Option *o = &work->option[i];

                if (o->room >= group->n && (!best || o->kept > best->kept ||
                                            (o->kept == best->kept && (spread ? option_after(o, best) : option_before(o, best)))))
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

bool group_fit(PlanWork *work, const Group *group, SpanLimit limit, Fit *ret) {
        bool found = false;

        mark_base(work, group->vm);
        mark_kept(work, group);
        for (unsigned node = 0; node < work->topology->n_nodes; node++) {
                unsigned room = 0, n_options;
                int span = limit.of[vm_node_grain(work, group->vm, node)];

                if (span < 0 || node_has_too_little(work, group, node) || !vm_may_use_node(work, group->vm, node))
                        continue;
                n_options = node_options(work, group, node, 0, &room);
                if (room < group->n || !options_fit(work, group, n_options, (unsigned)span,
                                                       vm_spreads(work, group->vm, node), &work->part))
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

        mark_base(work, group->vm);
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

/* The same where the VM uses clusters already, or may use some nodes only. */
static int span_needed_beside(const PlanWork *work, const Group *group, Grain grain) {
        int best = -1;

        for (unsigned node = 0; node < work->topology->n_nodes; node++) {
                const Node *nd = &work->topology->node[node];
                uint16_t count[CPUS_MAX + 1];
                unsigned left = group->n, largest = 0;
                int span = 0;

                if (!vm_may_use_node(work, group->vm, node))
                        continue;
                for (unsigned c = nd->first_cluster; c < (unsigned)nd->first_cluster + nd->n_clusters; c++) {
                        unsigned capacity = allowed_capacity(work, group->allowed, c, grain);

                        if (work->cluster_mark[c] == work->stamp)
                                left -= capacity < left ? capacity : left;
                        for (; largest < capacity; largest++)
                                count[largest + 1] = 0;
                        if (work->cluster_mark[c] != work->stamp && capacity > 0)
                                count[capacity]++;
                }
                for (; left > 0 && largest > 0; largest--)
                        for (unsigned i = 0; left > 0 && i < count[largest]; i++) {
                                left -= largest < left ? largest : left;
                                span++;
                        }
                if (left == 0 && (best < 0 || span < best))
                        best = span;
        }
        return best;
}

SpanLimit group_span_limit(PlanWork *work, const Group *group, unsigned extra) {
        SpanLimit limit;
        unsigned clusters, nodes;
        bool base = work->vm[group->vm].bound;

        mark_base(work, group->vm);
        for (unsigned node = 0; node < work->topology->n_nodes; node++)
                base |= work->node_mark[node] == work->stamp;
        for (Grain grain = GRAIN_THREAD; grain <= GRAIN_PAIR; grain++) {
                if (grain != GRAIN_THREAD && work->topology->smt_width < 2) {
                        limit.of[grain] = -1;
                        continue;
                }
                if (base)
                        limit.of[grain] = span_needed_beside(work, group, grain);
                else {
                        allowed_minimum(work, group->allowed, group->n, grain, &clusters, &nodes);
                        limit.of[grain] = nodes == 1 ? (int)clusters : -1;
                }
                if (limit.of[grain] >= 0)
                        limit.of[grain] += (int)extra;
        }
        return limit;
}

SpanLimit span_limit(unsigned clusters) {
        return (SpanLimit){.of = {(int)clusters, (int)clusters, (int)clusters}};
}

bool span_limit_is_none(SpanLimit limit) {
        return limit.of[GRAIN_THREAD] < 0 && limit.of[GRAIN_CORE] < 0 && limit.of[GRAIN_PAIR] < 0;
}

/* Without SMT any free slot is as good as another, but for the host's first. */
static int cluster_pick_any(const PlanWork *work, const Group *group, unsigned cluster) {
        const Cluster *c = &work->topology->cluster[cluster];
        const uint64_t *allowed = work->allowed[group->allowed].slots.word, *is_free = work->board.free.word;
        unsigned end = (unsigned)c->first_slot + c->n_cpus;
        int first = NO_SLOT;

        for (unsigned slot = c->first_slot; slot < end;) {
                uint64_t word = (allowed[slot / 64] & is_free[slot / 64]) >> (slot % 64);

                if (word == 0) {
                        slot = (slot / 64 + 1) * 64;
                        continue;
                }
                slot += (unsigned)__builtin_ctzll(word);
                if (slot >= end)
                        break;
                if (work->topology->cpu[slot].core != work->first_core)
                        return (int)slot;
                first = (int)slot++;
        }
        return first;
}

static int cluster_pick(const PlanWork *work, const Group *group, unsigned cluster) {
        const Cluster *c = &work->topology->cluster[cluster];
        const SlotSet *allowed = &work->allowed[group->allowed].slots;
        unsigned best_grade = UINT_MAX;
        int best = NO_SLOT;

        if (work->topology->smt_width < 2)
                return cluster_pick_any(work, group, cluster);
        for (unsigned slot = c->first_slot; slot < (unsigned)c->first_slot + c->n_cpus; slot++) {
                unsigned grade;

                if (!slots_have(allowed, slot) || !slot_suits(work, group->vm, slot))
                        continue;
                grade = slot_grade(work, group->vm, slot);
                if (grade == 0)
                        return (int)slot;
                if (grade < best_grade) {
                        best_grade = grade;
                        best = (int)slot;
                }
        }
        return best;
}

static int member_cluster(const PlanWork *work, uint32_t vcpu) {
        int keep = work->vcpu[vcpu].keep;

        return keep == NO_SLOT ? -1 : work->topology->cpu[keep].cluster;
}

/* Seats up to take members in a cluster. pass 0: where they stand; 1: those
 * that stand in the same cluster; 2: any. Returns how many it seated. */
static unsigned part_seat(PlanWork *work, const Group *group, unsigned cluster, unsigned take, unsigned pass) {
        unsigned seated = 0;

        for (unsigned i = 0; i < group->n && seated < take; i++) {
                uint32_t vcpu = work->member[group->first_member + i];
                int slot;

                if (work->vcpu[vcpu].seat != NO_SLOT ||
                    (pass < 2 && member_cluster(work, vcpu) != (int)cluster))
                        continue;
                if (pass == 0 && !keep_is_open(work, vcpu))
                        continue;
                slot = pass == 0 ? work->vcpu[vcpu].keep : cluster_pick(work, group, cluster);
                assert(slot != NO_SLOT);
                board_seat(work, vcpu, slot);
                seated++;
        }
        return seated;
}

void group_seat(PlanWork *work, const Group *group, const Fit *fit) {
        uint16_t left[FIT_PARTS_MAX];

        for (unsigned i = 0; i < fit->n_parts; i++)
                left[i] = fit->part[i].take;
        for (unsigned pass = 0; pass < 3; pass++)
                for (unsigned i = 0; i < fit->n_parts; i++)
                        left[i] = (uint16_t)(left[i] -
                                             part_seat(work, group, fit->part[i].cluster, left[i], pass));
}

bool group_seat_in(PlanWork *work, const Group *group, const RoomTarget *target) {
        unsigned room = 0;

        mark_base(work, group->vm);
        mark_kept(work, group);
        for (unsigned i = 0; i < target->n_clusters; i++) {
                unsigned c = target->cluster[i];

                work->option[i] = (Option){
                        .cluster = (uint16_t)c,
                        .room = (uint16_t)group_room(work, group, c),
                        .free = work->board.cluster_free[c],
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
