/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The order of the writes: a CPU is freed before it is given.
 *
 * Each slot has at most one owner before and one after, so the moves form
 * chains and rings. A chain is written from its free end. A ring is opened by
 * parking one of its vCPUs on a spare CPU; only when no CPU is spare do two
 * VMs meet on one CPU for the moment between two writes.
 */

#include "core/work.h"

#include <assert.h>
#include <string.h>

/* A slot that its owner left for a while. */
typedef struct Loan {
        int32_t vcpu;
        int slot;
} Loan;

static void emit(PlanWork *work, uint32_t vcpu, MoveKind kind, int from, int to, SetId mask) {
        Plan *plan = work->plan;
        const Cpu *cpu = work->topology->cpu;

        assert(plan->n_moves < 2 * VCPUS_MAX);
        plan->move[plan->n_moves++] = (Move){
                .vcpu = vcpu,
                .kind = kind,
                .from = from == NO_SLOT ? (int16_t)-1 : (int16_t)cpu[from].os,
                .to = to == NO_SLOT ? (int16_t)-1 : (int16_t)cpu[to].os,
                .mask = mask,
        };
}

SetId slot_mask(PlanWork *work, int slot) {
        CpuSet set;

        cpuset_clear(&set);
        cpuset_add(&set, work->topology->cpu[slot].os);
        return pool_intern(&work->snapshot->pool, &set);
}

static bool needs_write(const PlanWork *work, uint32_t vcpu) {
        SetId mask = work->plan->target[vcpu].mask;

        return mask != SET_NONE && mask != work->snapshot->vcpu[vcpu].mask;
}

/* The slot that the vCPU is known to hold until it is written. */
static int held_slot(const PlanWork *work, uint32_t vcpu) {
        VcpuClass class = work->vcpu[vcpu].class;

        return class == VCPU_MOVABLE || class == VCPU_PINNED ? work->vcpu[vcpu].origin : NO_SLOT;
}

static void emit_vcpu(PlanWork *work, uint32_t vcpu) {
        VcpuWork *w = &work->vcpu[vcpu];
        int from = w->changed ? NO_SLOT : held_slot(work, vcpu);

        work->emitted[vcpu] = true;
        /* Also one that is released, and is not movable any more. */
        if (w->origin != NO_SLOT && work->holder[w->origin] == (int32_t)vcpu)
                work->holder[w->origin] = NOBODY;
        emit(work, vcpu, w->why, from, w->home != NO_SLOT ? w->home : w->class == VCPU_MOVABLE ? w->seat : NO_SLOT,
             work->plan->target[vcpu].mask);
        if (w->class == VCPU_MOVABLE && w->seat != NO_SLOT) {
                work->holder[w->seat] = (int32_t)vcpu;
                w->origin = w->seat;
        }
}

/* Whether the home is still under a vCPU that shares with nobody, and leaves it in this round. */
static bool home_is_held(const PlanWork *work, uint32_t vcpu) {
        int slot = work->vcpu[vcpu].home;
        int32_t holder = slot == NO_SLOT ? NOBODY : work->holder[slot];

        return holder != NOBODY && holder != (int32_t)vcpu && needs_write(work, (uint32_t)holder) &&
               work->snapshot->vm[work->snapshot->vcpu[holder].vm].policy.sched == SCHED_STATIC;
}

/* Takes the vCPU off the CPU that it has; its home comes last. */
static void emit_late(PlanWork *work, uint32_t vcpu) {
        VcpuWork *w = &work->vcpu[vcpu];
        SetId range = allowed_mask(work, w->allowed);

        w->late = work->emitted[vcpu] = true;
        if (w->origin == NO_SLOT || range == work->snapshot->vcpu[vcpu].mask)
                return;
        emit(work, vcpu, w->why, w->changed ? NO_SLOT : w->origin, NO_SLOT, range);
        if (work->holder[w->origin] == (int32_t)vcpu)
                work->holder[w->origin] = NOBODY;
        w->origin = NO_SLOT;
}

/* What lets CPUs go without taking one: releases, VMs that become SHARED, and
 * those that live in layers, where nobody has to go first. */
static void emit_leavers(PlanWork *work) {
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++)
                if (!needs_write(work, i) || (work->vcpu[i].class == VCPU_MOVABLE && work->vcpu[i].seat != NO_SLOT))
                        continue;
                else if (home_is_held(work, i))
                        emit_late(work, i);
                else
                        emit_vcpu(work, i);
}

/* Writes the chain that ends in a slot which nobody holds. */
static void emit_chain(PlanWork *work, uint32_t vcpu) {
        while (!work->emitted[vcpu] && work->holder[work->vcpu[vcpu].seat] == NOBODY) {
                int origin = held_slot(work, vcpu), next = NOBODY;

                emit_vcpu(work, vcpu);
                if (origin != NO_SLOT && work->holder[origin] == NOBODY)
                        next = work->next_owner[origin];
                if (next == NOBODY || work->emitted[next] || !needs_write(work, (uint32_t)next))
                        return;
                vcpu = (uint32_t)next;
        }
}

static int spare_slot(const PlanWork *work, uint32_t vcpu) {
        const Allowed *allowed = &work->allowed[work->vcpu[vcpu].allowed];

        for (unsigned slot = 0; slot < work->topology->n_cpus; slot++)
                if (work->holder[slot] == NOBODY && slot_is_free(&work->board, slot) &&
                    slots_have(&allowed->slots, slot))
                        return (int)slot;
        return NO_SLOT;
}

/* Takes a vCPU from the slot that it holds to another, for the time being. */
static void park(PlanWork *work, uint32_t vcpu, MoveKind kind, int to) {
        VcpuWork *w = &work->vcpu[vcpu];

        emit(work, vcpu, kind, w->origin, to, to == NO_SLOT ? allowed_mask(work, w->allowed) : slot_mask(work, to));
        work->holder[w->origin] = NOBODY;
        if (to != NO_SLOT)
                work->holder[to] = (int32_t)vcpu;
        w->origin = (int16_t)to;
}

static bool is_in_ring(const PlanWork *work, uint32_t vcpu) {
        return !work->emitted[vcpu] && needs_write(work, vcpu);
}

/* A vCPU outside of all rings that could clear one of the slots where vcpu may
 * be, by going to a spare CPU; NOBODY. */
static int32_t find_helper(const PlanWork *work, uint32_t vcpu, int *ret_spare) {
        const Allowed *allowed = &work->allowed[work->vcpu[vcpu].allowed];

        for (unsigned slot = 0; slot < work->topology->n_cpus; slot++) {
                int32_t helper = work->holder[slot];

                if (helper == NOBODY || !slots_have(&allowed->slots, slot) || is_in_ring(work, (uint32_t)helper) ||
                    work->vcpu[helper].class != VCPU_MOVABLE || work->vcpu[helper].seat != (int)slot)
                        continue;
                *ret_spare = spare_slot(work, (uint32_t)helper);
                if (*ret_spare != NO_SLOT)
                        return helper;
        }
        return NOBODY;
}

/* Each ring member in turn; returns the next one, or first again at the end. */
static uint32_t ring_next(const PlanWork *work, uint32_t vcpu, uint32_t first) {
        int32_t next = work->holder[work->vcpu[vcpu].seat];

        return next == NOBODY || !is_in_ring(work, (uint32_t)next) ? first : (uint32_t)next;
}

static bool may_park(const PlanWork *work, uint32_t vcpu) {
        int origin = work->vcpu[vcpu].origin;

        return origin != NO_SLOT && work->holder[origin] == (int32_t)vcpu;
}

/*
 * Opens a ring: parks one of its vCPUs on a spare CPU. Where no member may use
 * one, a vCPU that is in no ring goes to the spare CPU and back, and lends its
 * own meanwhile. Where that can not be either, the first member owns no CPU for
 * the moment between two writes.
 */
static void open_ring(PlanWork *work, uint32_t first, Loan *ret_loan) {
        uint32_t vcpu = first;
        int spare;

        ret_loan->vcpu = NOBODY;
        do {
                spare = may_park(work, vcpu) ? spare_slot(work, vcpu) : NO_SLOT;
                if (spare != NO_SLOT) {
                        park(work, vcpu, work->vcpu[vcpu].why, spare);
                        return;
                }
                vcpu = ring_next(work, vcpu, first);
        } while (vcpu != first);
        do {
                int32_t helper = may_park(work, vcpu) ? find_helper(work, vcpu, &spare) : NOBODY;

                if (helper != NOBODY) {
                        *ret_loan = (Loan){.vcpu = helper, .slot = work->vcpu[helper].origin};
                        park(work, (uint32_t)helper, MOVE_MAKE_ROOM, spare);
                        park(work, vcpu, work->vcpu[vcpu].why, ret_loan->slot);
                        return;
                }
                vcpu = ring_next(work, vcpu, first);
        } while (vcpu != first);
        if (may_park(work, first))
                park(work, first, work->vcpu[first].why, NO_SLOT);
        else
                work->holder[work->vcpu[first].seat] = NOBODY;
}

/* The helper goes back to the slot that it lent. */
static void end_loan(PlanWork *work, const Loan *loan) {
        VcpuWork *w;

        if (loan->vcpu == NOBODY)
                return;
        w = &work->vcpu[loan->vcpu];
        assert(work->holder[loan->slot] == NOBODY);
        emit(work, (uint32_t)loan->vcpu, MOVE_MAKE_ROOM, w->origin, loan->slot,
             work->plan->target[loan->vcpu].mask);
        work->holder[w->origin] = NOBODY;
        work->holder[loan->slot] = loan->vcpu;
        w->origin = (int16_t)loan->slot;
}

/* Who holds which slot now; of two on one slot the one that stands there. */
static void find_holders(PlanWork *work) {
        for (unsigned slot = 0; slot < work->topology->n_cpus; slot++)
                work->holder[slot] = work->next_owner[slot] = NOBODY;
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++) {
                const VcpuWork *w = &work->vcpu[i];

                work->emitted[i] = false;
                if (w->seat != NO_SLOT)
                        work->next_owner[w->seat] = (int32_t)i;
                if (w->home != NO_SLOT && w->home == w->origin)
                        continue; /* whoever comes lives there beside it */
                if (w->origin != NO_SLOT && (work->holder[w->origin] == NOBODY || w->stand == w->origin))
                        work->holder[w->origin] = (int32_t)i;
        }
}

void work_order_moves(PlanWork *work) {
        uint32_t n = work->snapshot->n_vcpus;

        find_holders(work);
        emit_leavers(work);
        for (uint32_t i = 0; i < n; i++)
                if (needs_write(work, i) && !work->emitted[i])
                        emit_chain(work, i);
        for (uint32_t i = 0; i < n; i++)
                while (is_in_ring(work, i)) {
                        Loan loan;

                        open_ring(work, i, &loan);
                        for (uint32_t j = i; j < n; j++)
                                if (is_in_ring(work, j))
                                        emit_chain(work, j);
                        end_loan(work, &loan);
                }
        for (uint32_t i = 0; i < n; i++)
                if (work->vcpu[i].late)
                        emit_vcpu(work, i);
}
