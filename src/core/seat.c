/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The seats that a round begins with: first those of threads that may not be
 * touched, then where our threads stand, then where they are remembered to
 * have been. What finds its seat taken has to yield.
 */

#include "core/work.h"

static bool seat_is_open(const PlanWork *work, uint32_t vcpu, int slot) {
        const Allowed *allowed = &work->allowed[work->vcpu[vcpu].allowed];

        return slot >= 0 && slots_have(&allowed->slots, (unsigned)slot) &&
               slot_is_free(&work->board, (unsigned)slot);
}

/* Two that may not be touched can stand on one CPU: the first owns it. A pinned
 * one can stand on none: its CPU is offline. */
static void seat_fixed(PlanWork *work) {
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++) {
                const VcpuWork *w = &work->vcpu[i];
                VmWork *vw = &work->vm[work->snapshot->vcpu[i].vm];

                if (w->class == VCPU_MOVABLE)
                        continue;
                if (w->stand == NO_SLOT)
                        vw->crowded = true;
                else if (slot_is_free(&work->board, (unsigned)w->stand))
                        board_seat(work, i, w->stand);
                else {
                        int32_t owner = work->board.owner[w->stand];

                        vw->crowded = true;
                        work->vm[work->snapshot->vcpu[owner].vm].crowded = true;
                }
        }
}

static void seat_movable(PlanWork *work) {
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++) {
                VcpuWork *w = &work->vcpu[i];

                if (w->class != VCPU_MOVABLE || w->stand == NO_SLOT)
                        continue;
                if (seat_is_open(work, i, w->stand)) {
                        board_seat(work, i, w->stand);
                        w->keep = w->stand;
                } else {
                        w->stand = NO_SLOT;
                        w->why = MOVE_YIELD;
                }
        }
}

static int home_slot(const PlanWork *work, uint32_t vcpu) {
        int home = work->snapshot->vcpu[vcpu].home;

        return home < 0 ? NO_SLOT : work->topology->slot_of[home];
}

/* Seats what has no seat at its home. Known threads one by one; a VM that we
 * do not hold (yet) only as a whole, else it is better placed from scratch. */
static void vm_seat_homes(PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];
        uint32_t mark = board_mark(work);
        bool known = false, missing = false;

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                const VcpuWork *w = &work->vcpu[i];
                int home = home_slot(work, i);

                known |= w->known || w->stand != NO_SLOT;
                if (w->class != VCPU_MOVABLE || w->seat != NO_SLOT)
                        continue;
                if (seat_is_open(work, i, home))
                        board_seat(work, i, home);
                else
                        missing = true;
        }
        if (missing && !known)
                board_roll_back(work, mark);
        work->board.journaling = false;
        work->board.n_journal = 0;
}

void work_seat_standing(PlanWork *work) {
        seat_fixed(work);
        seat_movable(work);
        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                if (work->vm[vm].kind == VERDICT_PLACED)
                        work->vm[vm].stood = vm_is_complete(work, vm);
}

void work_seat_homes(PlanWork *work) {
        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                if (work->vm[vm].kind == VERDICT_PLACED && !work->vm[vm].stood)
                        vm_seat_homes(work, vm);
}
