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

static void emit(PlanWork *work, uint32_t vcpu, int from, int to, SetId mask) {
        Plan *plan = work->plan;
        const Cpu *cpu = work->topology->cpu;

        assert(plan->n_moves < 2 * VCPUS_MAX);
        plan->move[plan->n_moves++] = (Move){
                .vcpu = vcpu,
                .kind = work->vcpu[vcpu].why,
                .from = from == NO_SLOT ? (int16_t)-1 : (int16_t)cpu[from].os,
                .to = to == NO_SLOT ? (int16_t)-1 : (int16_t)cpu[to].os,
                .mask = mask,
        };
}

static SetId slot_mask(PlanWork *work, int slot) {
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
        return work->vcpu[vcpu].class == VCPU_MOVABLE ? work->vcpu[vcpu].origin : NO_SLOT;
}

static void emit_vcpu(PlanWork *work, uint32_t vcpu) {
        const VcpuWork *w = &work->vcpu[vcpu];
        int from = w->changed ? NO_SLOT : held_slot(work, vcpu);

        work->emitted[vcpu] = true;
        if (held_slot(work, vcpu) != NO_SLOT && work->holder[w->origin] == (int32_t)vcpu)
                work->holder[w->origin] = NOBODY;
        emit(work, vcpu, from, w->class == VCPU_MOVABLE ? w->seat : NO_SLOT, work->plan->target[vcpu].mask);
}

/* What lets CPUs go without taking one: releases, and VMs that become SHARED. */
static void emit_leavers(PlanWork *work) {
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++)
                if (needs_write(work, i) && (work->vcpu[i].class != VCPU_MOVABLE || work->vcpu[i].seat == NO_SLOT))
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

/* Opens a ring: parks one of its vCPUs on a spare CPU, whoever may use one. */
static void open_ring(PlanWork *work, uint32_t first) {
        uint32_t vcpu = first;

        do {
                int spare = spare_slot(work, vcpu);
                int origin = work->vcpu[vcpu].origin;

                if (spare != NO_SLOT && origin != NO_SLOT && work->holder[origin] == (int32_t)vcpu) {
                        emit(work, vcpu, origin, spare, slot_mask(work, spare));
                        work->holder[origin] = NOBODY;
                        work->holder[spare] = (int32_t)vcpu;
                        work->vcpu[vcpu].origin = (int16_t)spare;
                        return;
                }
                vcpu = (uint32_t)work->holder[work->vcpu[vcpu].seat];
        } while (vcpu != first && !work->emitted[vcpu] && needs_write(work, vcpu));
        /* No CPU is spare: the first takes its CPU while the other still is there. */
        work->holder[work->vcpu[first].seat] = NOBODY;
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
                while (needs_write(work, i) && !work->emitted[i]) {
                        open_ring(work, i);
                        for (uint32_t j = i; j < n; j++)
                                if (needs_write(work, j) && !work->emitted[j])
                                        emit_chain(work, j);
                }
}
