/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Placing a VM: each group in one node on the fewest clusters, else in one
 * node, else over the fewest nodes. A VM is seated as a whole or not at all.
 */

#include "core/work.h"

#include <assert.h>
#include <limits.h>

enum {
        SPREAD_TO_RAISE = 2, /* clusters beyond the minimum for which others may be spread */
        NODE_PARTS = 8,      /* one of so many of a node's CPUs may be vacated for one VM, before it waits */
};

bool vm_is_complete(const PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++)
                if (work->vcpu[i].class == VCPU_MOVABLE && work->vcpu[i].seat == NO_SLOT)
                        return false;
        return true;
}

bool vm_may_use_node(const PlanWork *work, uint32_t vm, unsigned node) {
        const VmWork *vw = &work->vm[vm];

        return !vw->bound || (vw->node[node / 64] >> (node % 64) & 1);
}

void vm_unseat(PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++)
                if (work->vcpu[i].class == VCPU_MOVABLE && work->vcpu[i].seat != NO_SLOT) {
                        if (work->vcpu[i].stand == NO_SLOT)
                                work->vcpu[i].keep = work->vcpu[i].seat;
                        board_unseat(work, i);
                }
}

int64_t vm_cost(const PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];
        const Cpu *cpu = work->topology->cpu;
        int64_t cost = 0;

        if (work->vm[vm].forced)
                return 0;
        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                const VcpuWork *w = &work->vcpu[i];

                if (w->class != VCPU_MOVABLE || w->stand == NO_SLOT || w->seat == NO_SLOT || w->seat == w->stand)
                        continue;
                if (cpu[w->seat].node != cpu[w->stand].node)
                        cost += COST_CROSS_NODE;
                else if (cpu[w->seat].cluster != cpu[w->stand].cluster)
                        cost += COST_IN_NODE;
                else
                        cost += COST_IN_CLUSTER;
        }
        return cost;
}

Span vm_span(PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];
        Span span = {0, 0};

        work->stamp++;
        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                const VcpuWork *w = &work->vcpu[i];
                int slot = w->class == VCPU_MOVABLE ? w->seat : w->stand;
                const Cpu *cpu = &work->topology->cpu[slot == NO_SLOT ? 0 : slot];

                if (slot == NO_SLOT)
                        continue;
                span.clusters += work->cluster_mark[cpu->cluster] != work->stamp;
                span.nodes += work->node_mark[cpu->node] != work->stamp;
                work->cluster_mark[cpu->cluster] = work->stamp;
                work->node_mark[cpu->node] = work->stamp;
        }
        return span;
}

static unsigned group_seated(const PlanWork *work, const Group *group) {
        unsigned n = 0;

        for (unsigned i = 0; i < group->n; i++)
                n += work->vcpu[work->member[group->first_member + i]].seat != NO_SLOT;
        return n;
}

/* The part of a group that has no seat, as a group of its own at the end of
 * the member list. */
static Group group_rest(PlanWork *work, const Group *group) {
        Group rest = *group;

        rest.first_member = work->n_members;
        rest.n = 0;
        for (unsigned i = 0; i < group->n; i++) {
                uint32_t vcpu = work->member[group->first_member + i];

                if (work->vcpu[vcpu].seat == NO_SLOT)
                        work->member[rest.first_member + rest.n++] = vcpu;
        }
        return rest;
}

int64_t work_cost(const PlanWork *work) {
        int64_t cost = 0;

        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                if (work->vm[vm].kind == VERDICT_PLACED)
                        cost += vm_cost(work, vm);
        return cost;
}

int64_t work_credits_left(const PlanWork *work) {
        return work->history->credits_milli - work->spent_milli - work_cost(work);
}

/*
 * What a search may cost: whole steps that the credits pay for, and any number
 * of changes to seats that were taken in this round. One VM does not get it all:
 * the price of a dear place finds cheap ones for several. So what makes room is
 * small beside a node, or waits until the bucket is full and nobody else needs
 * the credits.
 */
int64_t work_limit(const PlanWork *work) {
        int64_t left = work_credits_left(work), limit = left * 2 / 3;
        int64_t most = (int64_t)(work->topology->n_cpus / work->topology->n_nodes) * COST_CROSS_NODE / NODE_PARTS;

        if (work->unlimited)
                return INT64_MAX / 2;
        if (!work->defragging && left < work->policy->burst_milli && limit > most)
                limit = most;
        return limit / COST_IN_CLUSTER * COST_IN_CLUSTER + COST_IN_CLUSTER - 1;
}

static bool group_place_in_node(PlanWork *work, const Group *group, unsigned extra) {
        if (!group_fit(work, group, group_span_limit(work, group, extra), &work->fit))
                return false;
        group_seat(work, group, &work->fit);
        return true;
}

/* In one node, at others' expense: first without, then with spreading them. */
static bool group_place_by_force(PlanWork *work, const Group *group) {
        for (unsigned extra = 1; extra <= SPREAD_TO_RAISE; extra++)
                if (group_make_room(work, group, group_span_limit(work, group, extra), false, work_limit(work)))
                        return true;
        if (work->vm[group->vm].crowded)
                return false; /* it will not be exclusive: nobody is spread for that */
        for (unsigned extra = 0; extra <= SPREAD_TO_RAISE; extra++)
                if (group_make_room(work, group, group_span_limit(work, group, extra), true, work_limit(work)))
                        return true;
        return false;
}

/* Within one node: where it fits, else where others make room. */
static bool group_place_one_node(PlanWork *work, const Group *group, bool alone) {
        SpanLimit needed = group_span_limit(work, group, 0);

        if (span_limit_is_none(needed))
                return false;
        if (group_place_in_node(work, group, 0))
                return true;
        if (!alone && group_make_room(work, group, needed, false, work_limit(work)))
                return true;
        for (unsigned extra = 1; extra <= group->n; extra++)
                if (group_place_in_node(work, group, extra))
                        return true;
        return !alone && group_place_by_force(work, group);
}

static bool group_place_many_nodes(PlanWork *work, const Group *group) {
        if (!group_fit_nodes(work, group, &work->fit))
                return false;
        group_seat(work, group, &work->fit);
        return true;
}

static bool group_place(PlanWork *work, const Group *group, bool alone) {
        VmWork *vw = &work->vm[group->vm];
        bool auto_smt = work->topology->smt_width > 1 && work->snapshot->vm[group->vm].policy.smt == SMT_AUTO;

        if (group_place_one_node(work, group, alone))
                return true;
        if (auto_smt && !vw->threads) {
                vw->threads = true; /* no cores are left for it: threads will have to do */
                if (group_place_one_node(work, group, alone))
                        return true;
                vw->threads = false;
        }
        if (group_place_many_nodes(work, group))
                return true;
        vw->threads |= auto_smt;
        return auto_smt && group_place_many_nodes(work, group);
}

/* Notes why what stands elsewhere than before was moved. */
void work_note_moves(PlanWork *work, MoveKind why) {
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++) {
                VcpuWork *w = &work->vcpu[i];

                if (w->class != VCPU_MOVABLE || w->origin == NO_SLOT || w->seat == NO_SLOT || w->seat == w->origin)
                        continue;
                if (w->why == MOVE_PLACE)
                        w->why = why;
        }
        assert(work->unlimited || work_credits_left(work) >= 0);
}

/* Seats what has no seat yet. False, and nothing changed, when that can not be. */
static bool vm_place_groups(PlanWork *work, uint32_t vm, bool alone) {
        const VmWork *vw = &work->vm[vm];
        uint32_t mark = board_mark(work);

        for (unsigned g = 0; g < vw->n_groups; g++) {
                const Group *group = &work->group[vw->first_group + g];
                unsigned seated = group_seated(work, group);
                Group rest;

                if (seated == group->n)
                        continue;
                rest = seated ? group_rest(work, group) : *group;
                if (!group_place(work, &rest, alone)) {
                        board_roll_back(work, mark);
                        return false;
                }
        }
        return true;
}

bool vm_place(PlanWork *work, uint32_t vm) {
        return vm_place_groups(work, vm, false);
}

bool vm_place_free(PlanWork *work, uint32_t vm) {
        return vm_place_groups(work, vm, true);
}

static bool vm_has_seat(const PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++)
                if (work->vcpu[i].class == VCPU_MOVABLE && work->vcpu[i].seat != NO_SLOT)
                        return true;
        return false;
}

static bool vm_is_known(const PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++)
                if (work->vcpu[i].known)
                        return true;
        return false;
}

/* Who is served first: VMs that lost a seat, then those that arrive, then
 * those that have been waiting. */
typedef enum Turn { TURN_YIELD, TURN_ARRIVAL, TURN_WAITING, TURNS } Turn;

static Turn vm_turn(const PlanWork *work, uint32_t vm) {
        if (vm_has_seat(work, vm))
                return TURN_YIELD;
        return vm_is_known(work, vm) ? TURN_WAITING : TURN_ARRIVAL;
}

static bool vm_waits(const PlanWork *work, uint32_t vm) {
        return work->vm[vm].kind == VERDICT_PLACED && !work->vm[vm].exclusive;
}

/* Whether there are free CPUs enough on the host, wherever. On an overcommitted
 * one this ends most searches before they begin. */
static bool vm_could_fit(const PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];
        unsigned missing = 0, n_free = 0;

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++)
                missing += work->vcpu[i].class == VCPU_MOVABLE && work->vcpu[i].seat == NO_SLOT;
        for (unsigned node = 0; node < work->topology->n_nodes; node++)
                n_free += work->board.node_free[node];
        return missing <= n_free;
}

/* A VM that can not have CPUs of its own for all vCPUs gives up those it has. */
static bool vm_place_or_share(PlanWork *work, uint32_t vm) {
        VmWork *vw = &work->vm[vm];

        vw->exclusive = vm_could_fit(work, vm) && vm_place(work, vm);
        if (!vw->exclusive) {
                vm_unseat(work, vm);
                vw->forced = true;
        }
        if (!vw->exclusive && vw->bound_by_seats) {
                vw->bound = vw->bound_by_seats = false; /* it has lost them, and its memory is unknown */
                vw->exclusive = vm_place(work, vm);
        }
        if (vw->exclusive) {
                work_note_moves(work, MOVE_MAKE_ROOM);
                work_follow_regimes(work);
        }
        return vw->exclusive;
}

/* Returns whether any VM found a place. */
bool work_place_all(PlanWork *work) {
        bool placed = false;

        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                if (work->vm[vm].kind == VERDICT_PLACED)
                        work->vm[vm].exclusive = vm_is_complete(work, vm);
        for (Turn turn = TURN_YIELD; turn < TURNS; turn++)
                for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                        if (vm_waits(work, vm) && vm_turn(work, vm) == turn)
                                placed |= vm_place_or_share(work, vm);
        return placed;
}
