/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Overcommitment in layers. Who can not have CPUs of its own, but may share
 * (its policy is dynamic or cluster), gets homes on CPUs of VMs that share as
 * well: layer 0 are the owners, each further vCPU on a CPU is a layer above.
 *
 * The plan is made for the VMs' sake in this order: where a vCPU has its home
 * it keeps it; a VM without homes takes the CPUs with the fewest sharers, of
 * these those in the fewest clusters; what is uneven then sinks: a vCPU moves
 * while some CPU of its range has at least two sharers less than its own has.
 * So inside a range no two CPUs differ by more than one where the vCPUs on the
 * fuller one could go to the other, and a plan made again keeps everything: it
 * finds all homes legal, and nothing uneven.
 *
 * This costs no credits: a home that moves is less than a VM that moves, since
 * nobody owned that CPU. What is then done for fewer clusters does: see tidy.c.
 * Layer 0 is the exclusive planner's alone, which tries
 * these VMs again in each round, before this runs.
 */

#include "core/work.h"

#include <assert.h>
#include <string.h>

enum { CLOSED = UINT16_MAX, TURNS_MAX = 16 };

static bool vm_may_layer(const PlanWork *work, uint32_t vm) {
        const VmWork *vw = &work->vm[vm];

        return vw->kind == VERDICT_PLACED && !vw->exclusive && vw->n_movable > 0 &&
               work->snapshot->vm[vm].policy.sched != SCHED_STATIC && !vm_locks_cores(work, vm) &&
               work->policy->overcommit_layers > 1;
}

static bool slot_is_open(const PlanWork *work, unsigned slot) {
        return work->sharers[slot] < work->policy->overcommit_layers;
}

/* Layer 0: CPUs of VMs that share count one, all others that are owned are closed. */
static void count_owners(PlanWork *work) {
        const Topology *topology = work->topology;

        for (unsigned slot = 0; slot < topology->n_cpus; slot++) {
                int32_t owner = work->board.owner[slot];
                uint32_t vm = owner == NOBODY ? 0 : work->snapshot->vcpu[owner].vm;

                work->sharers[slot] = owner != NOBODY;
                if (owner != NOBODY &&
                    (work->snapshot->vm[vm].policy.sched == SCHED_STATIC || work->vm[vm].crowded))
                        work->sharers[slot] = CLOSED;
        }
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++) {
                const VcpuWork *w = &work->vcpu[i];

                if (w->class != VCPU_MOVABLE && w->stand != NO_SLOT)
                        work->sharers[w->stand] = CLOSED;
        }
}

/* Nobody else may be on a core that some VM has for itself. */
static void close_locked_cores(PlanWork *work) {
        const Topology *topology = work->topology;

        for (unsigned slot = 0; work->any_locks && slot < topology->n_cpus; slot++) {
                const Core *core = &topology->core[topology->cpu[slot].core];
                int32_t owner = work->board.owner[slot];

                if (owner == NOBODY || !vm_locks_cores(work, work->snapshot->vcpu[owner].vm))
                        continue;
                for (unsigned i = core->first_slot; i < (unsigned)core->first_slot + core->n_cpus; i++)
                        work->sharers[i] = CLOSED;
        }
}

static void slot_note(PlanWork *work, int slot) {
        work->in_slot.word[slot / 64] |= UINT64_C(1) << (slot % 64);
}

/* What the VM has in each cluster and node. */
static void vm_tally(PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];

        memset(work->in_cluster, 0, work->topology->n_clusters * sizeof(work->in_cluster[0]));
        memset(work->in_node, 0, work->topology->n_nodes * sizeof(work->in_node[0]));
        memset(&work->in_slot, 0, sizeof(work->in_slot));
        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                const VcpuWork *w = &work->vcpu[i];
                int slot = w->class == VCPU_MOVABLE ? w->home : w->stand;

                if (slot == NO_SLOT)
                        continue;
                slot_note(work, slot);
                work->in_cluster[work->topology->cpu[slot].cluster]++;
                work->in_node[work->topology->cpu[slot].node]++;
        }
}

static void home_take(PlanWork *work, uint32_t vcpu, unsigned slot) {
        assert(work->vcpu[vcpu].home == NO_SLOT && slot_is_open(work, slot));
        work->vcpu[vcpu].home = (int16_t)slot;
        work->sharers[slot]++;
        slot_note(work, (int)slot);
        work->in_cluster[work->topology->cpu[slot].cluster]++;
        work->in_node[work->topology->cpu[slot].node]++;
}

static void home_leave(PlanWork *work, uint32_t vcpu) {
        int slot = work->vcpu[vcpu].home;

        if (slot == NO_SLOT)
                return;
        assert(work->sharers[slot] > 0 && work->sharers[slot] != CLOSED);
        work->vcpu[vcpu].home = NO_SLOT;
        work->sharers[slot]--;
        work->in_cluster[work->topology->cpu[slot].cluster]--;
        work->in_node[work->topology->cpu[slot].node]--;
}

/* Whether the VM could have a home on that slot, however full it is. A VM that
 * must not leave its memory stays on the nodes where it has homes. */
static bool slot_is_legal(const PlanWork *work, uint32_t vm, uint32_t allowed, unsigned slot) {
        return slots_have(&work->allowed[allowed].slots, slot) &&
               vm_may_use_node(work, vm, work->topology->cpu[slot].node);
}

static int remembered_slot(const PlanWork *work, uint32_t vcpu) {
        const Vcpu *v = &work->snapshot->vcpu[vcpu];

        if (v->home >= 0)
                return work->topology->slot_of[v->home];
        return work->vcpu[vcpu].known && !work->vcpu[vcpu].changed ? work->vcpu[vcpu].origin : NO_SLOT;
}

static void vm_keep_homes(PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                int slot = remembered_slot(work, i);

                if (work->vcpu[i].class == VCPU_MOVABLE && slot >= 0 && slot_is_open(work, (unsigned)slot) &&
                    slot_is_legal(work, vm, work->vcpu[i].allowed, (unsigned)slot))
                        home_take(work, i, (unsigned)slot);
        }
}

/* The fewest sharers of a CPU that the group may use and that is not full. */
static unsigned group_lowest(const PlanWork *work, const Group *group) {
        unsigned lowest = CLOSED;

        for (unsigned slot = 0; slot < work->topology->n_cpus; slot++)
                if (slot_is_open(work, slot) && work->sharers[slot] < lowest &&
                    slot_is_legal(work, group->vm, group->allowed, slot))
                        lowest = work->sharers[slot];
        return lowest;
}

/* Whether the group's next vCPU may live there: on the level at hand, and not
 * where its VM lives already unless it can not but do that. */
static bool slot_is_on_level(const PlanWork *work, const Group *group, unsigned slot, unsigned level) {
        return work->sharers[slot] == level && (work->doubling || !slots_have(&work->in_slot, slot)) &&
               slot_is_legal(work, group->vm, group->allowed, slot);
}

/* CPUs with so many sharers, by cluster; returns how many. */
static unsigned count_level(PlanWork *work, const Group *group, unsigned level) {
        unsigned n = 0;

        memset(work->level_room, 0, work->topology->n_clusters * sizeof(work->level_room[0]));
        for (unsigned slot = 0; slot < work->topology->n_cpus; slot++)
                if (slot_is_on_level(work, group, slot, level)) {
                        work->level_room[work->topology->cpu[slot].cluster]++;
                        n++;
                }
        return n;
}

/* Of the clusters that are not marked: one where the VM is, else the tightest
 * that takes all, else the roomiest. -1: none has room. */
static int pick_cluster(const PlanWork *work, unsigned first, unsigned n, unsigned left) {
        int best = -1;

        for (unsigned c = first; c < first + n; c++) {
                unsigned room = work->level_room[c], have = best < 0 ? 0 : work->level_room[best];
                bool base = work->in_cluster[c] > 0, better;

                if (room == 0 || work->cluster_mark[c] == work->stamp)
                        continue;
                if (best < 0)
                        better = true;
                else if (base != (work->in_cluster[best] > 0))
                        better = base;
                else if ((room >= left) != (have >= left))
                        better = room >= left;
                else
                        better = room >= left ? room < have : room > have;
                if (better)
                        best = (int)c;
        }
        return best;
}

/* The clusters, beside its own, that the VM needs for n more vCPUs there; 0 is
 * told apart from "they do not fit" by *ret_fits. */
static unsigned clusters_needed(PlanWork *work, unsigned first, unsigned n_clusters, unsigned n,
                                bool *ret_fits) {
        unsigned needed = 0;

        work->stamp++;
        while (n > 0) {
                int c = pick_cluster(work, first, n_clusters, n);

                if (c < 0)
                        break;
                work->cluster_mark[c] = work->stamp;
                needed += work->in_cluster[c] == 0;
                n -= work->level_room[c] < n ? work->level_room[c] : n;
        }
        *ret_fits = n == 0;
        return needed;
}

/* The node where n vCPUs find room on the fewest clusters: first among those
 * where the VM is. -1: on no single node. */
static int pick_node(PlanWork *work, unsigned n) {
        unsigned best_needed = 0;
        int best = -1;

        for (unsigned i = 0; i < work->topology->n_nodes; i++) {
                const Node *node = &work->topology->node[i];
                bool fits, better;
                unsigned needed = clusters_needed(work, node->first_cluster, node->n_clusters, n, &fits);

                if (!fits)
                        continue;
                if (best < 0)
                        better = true;
                else if ((work->in_node[i] > 0) != (work->in_node[best] > 0))
                        better = work->in_node[i] > 0;
                else
                        better = needed < best_needed;
                if (better) {
                        best = (int)i;
                        best_needed = needed;
                }
        }
        return best;
}

/* Gives homes in the cluster to the group's next vCPUs without one. */
static unsigned seat_in_cluster(PlanWork *work, const Group *group, unsigned cluster, unsigned level,
                                unsigned most) {
        const Cluster *c = &work->topology->cluster[cluster];
        unsigned n = 0, at = 0;

        for (unsigned slot = c->first_slot; slot < (unsigned)c->first_slot + c->n_cpus && n < most; slot++) {
                if (!slot_is_on_level(work, group, slot, level))
                        continue;
                while (at < group->n && work->vcpu[work->member[group->first_member + at]].home != NO_SLOT)
                        at++;
                if (at == group->n)
                        break;
                home_take(work, work->member[group->first_member + at], slot);
                n++;
        }
        return n;
}

/* Homes for n vCPUs of the group on CPUs of one level, which has that many. */
static void group_fill_level(PlanWork *work, const Group *group, unsigned level, unsigned n) {
        int node = pick_node(work, n);
        unsigned first = node < 0 ? 0 : work->topology->node[node].first_cluster;
        unsigned n_clusters = node < 0 ? work->topology->n_clusters : work->topology->node[node].n_clusters;

        while (n > 0) {
                int c;
                unsigned took;

                work->stamp++; /* nothing is marked */
                c = pick_cluster(work, first, n_clusters, n);
                took = c < 0 ? 0 : seat_in_cluster(work, group, (unsigned)c, level, n);
                assert(took > 0);
                work->level_room[c] = (uint16_t)(work->level_room[c] - took);
                n -= took;
        }
}

static unsigned group_homeless(const PlanWork *work, const Group *group) {
        unsigned n = 0;

        for (unsigned i = 0; i < group->n; i++)
                n += work->vcpu[work->member[group->first_member + i]].home == NO_SLOT;
        return n;
}

/* False: its range is full to the last layer. */
static bool group_find_homes(PlanWork *work, const Group *group) {
        unsigned left = group_homeless(work, group);

        while (left > 0) {
                unsigned level = group_lowest(work, group), room;

                if (level == CLOSED)
                        return false;
                work->doubling = false;
                room = count_level(work, group, level);
                work->doubling = room == 0;
                if (room == 0)
                        room = count_level(work, group, level);
                if (room > left)
                        room = left;
                group_fill_level(work, group, level, room);
                left -= room;
        }
        return true;
}

static bool vm_has_home(const PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++)
                if (work->vcpu[i].home != NO_SLOT)
                        return true;
        return false;
}

/* Homes for all of the VM or for none of it. */
static bool vm_find_homes(PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];
        const VmWork *vw = &work->vm[vm];
        bool found = true;

        vm_tally(work, vm);
        for (unsigned g = 0; g < vw->n_groups && found; g++)
                found = group_find_homes(work, &work->group[vw->first_group + g]);
        for (uint32_t i = v->first_vcpu; !found && i < v->first_vcpu + v->n_vcpus; i++)
                home_leave(work, i);
        return found;
}

/* Clusters that the VM spans more when the vCPU goes from one slot to another. */
static int span_change(const PlanWork *work, unsigned from, unsigned to) {
        unsigned a = work->topology->cpu[from].cluster, b = work->topology->cpu[to].cluster;

        return a == b ? 0 : (work->in_cluster[b] == 0) - (work->in_cluster[a] == 1);
}

static bool may_sink_to(const PlanWork *work, uint32_t vcpu, unsigned slot) {
        uint32_t vm = work->snapshot->vcpu[vcpu].vm;
        const VcpuWork *w = &work->vcpu[vcpu];

        if (work->sharers[slot] + 2u > work->sharers[w->home] || !slot_is_legal(work, vm, w->allowed, slot))
                return false;
        return work->snapshot->vm[vm].policy.cross_node || work->vm[vm].bound ||
               work->in_node[work->topology->cpu[slot].node] > 0;
}

/* Moves the vCPU to a CPU with at least two sharers less, unless that makes its
 * VM span more than so many clusters more. */
static bool vcpu_sink(PlanWork *work, uint32_t vcpu, int most) {
        unsigned home = (unsigned)work->vcpu[vcpu].home;
        int best = NO_SLOT, best_change = 0;

        if (work->sharers[home] < work->lowest + 2u)
                return false;
        for (unsigned slot = 0; slot < work->topology->n_cpus; slot++) {
                int change;

                if (!may_sink_to(work, vcpu, slot))
                        continue;
                change = span_change(work, home, slot);
                if (best == NO_SLOT || change < best_change ||
                    (change == best_change && work->sharers[slot] < work->sharers[best])) {
                        best = (int)slot;
                        best_change = change;
                }
        }
        if (best == NO_SLOT || best_change > most)
                return false;
        home_leave(work, vcpu);
        home_take(work, vcpu, (unsigned)best);
        return true;
}

static bool sink_all(PlanWork *work, int most) {
        bool moved = false;

        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++) {
                const Vm *v = &work->snapshot->vm[vm];

                if (!work->vm[vm].layered)
                        continue;
                vm_tally(work, vm);
                for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++)
                        if (work->vcpu[i].class == VCPU_MOVABLE)
                                moved |= vcpu_sink(work, i, most);
        }
        return moved;
}

/* Each move lowers the sum of the squares of sharers: it ends. */
static bool work_even_out(PlanWork *work) {
        bool moved = false;
        int most = -1;

        work->lowest = CLOSED;
        for (unsigned slot = 0; slot < work->topology->n_cpus; slot++)
                if (work->sharers[slot] < work->lowest)
                        work->lowest = work->sharers[slot];
        while (most <= 1) {
                bool now = sink_all(work, most);

                moved |= now;
                most = now ? -1 : most + 1;
        }
        return moved;
}

/* Homes for the VMs that have none, or not all. One that gives up those that it
 * has may make room for one before it: whether to look again. */
static bool find_homes(PlanWork *work) {
        bool again = false;

        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                if (!work->vm[vm].layered && vm_may_layer(work, vm)) {
                        bool has = vm_has_home(work, vm);

                        work->vm[vm].layered = vm_find_homes(work, vm);
                        again |= has != work->vm[vm].layered;
                }
        return again;
}

static SetId home_mask(PlanWork *work, int slot) {
        CpuSet set;

        cpuset_clear(&set);
        cpuset_add(&set, work->topology->cpu[slot].os);
        return pool_intern(&work->snapshot->pool, &set);
}

/* The layer on a CPU is counted from its owner, or from 0, in the vCPUs' order. */
static void set_targets(PlanWork *work) {
        for (unsigned slot = 0; slot < work->topology->n_cpus; slot++)
                work->n_sitting[slot] = work->board.owner[slot] != NOBODY;
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++) {
                VcpuWork *w = &work->vcpu[i];
                Target *target = &work->plan->target[i];

                if (w->home == NO_SLOT)
                        continue;
                target->cpu = (int16_t)work->topology->cpu[w->home].os;
                target->layer = (uint8_t)work->n_sitting[w->home]++;
                target->mask = w->origin == w->home ? work->snapshot->vcpu[i].mask : home_mask(work, w->home);
                if (!w->changed)
                        w->why = MOVE_SHARE;
        }
}

Span vm_home_span(PlanWork *work, uint32_t vm) {
        Span span = {0, 0};

        vm_tally(work, vm);
        for (unsigned c = 0; c < work->topology->n_clusters; c++)
                span.clusters += work->in_cluster[c] > 0;
        for (unsigned n = 0; n < work->topology->n_nodes; n++)
                span.nodes += work->in_node[n] > 0;
        return span;
}

void work_layers(PlanWork *work) {
        bool any = false;

        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++) {
                work->vm[vm].layered = false;
                any |= vm_may_layer(work, vm);
        }
        if (!any)
                return;
        count_owners(work);
        close_locked_cores(work);
        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                if (vm_may_layer(work, vm)) {
                        vm_tally(work, vm);
                        vm_keep_homes(work, vm);
                }
        for (unsigned turn = 0; turn < TURNS_MAX; turn++) {
                bool changed = find_homes(work);

                changed |= work_even_out(work);
                changed |= work_tidy_layers(work);
                if (!changed)
                        break;
        }
        set_targets(work);
}
