/* SPDX-License-Identifier: Apache-2.0 */

#include "core/probe.h"

#include "core/work.h"

/* As a VM that has just arrived: it stands nowhere. */
static void vm_forget(PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++)
                if (work->vcpu[i].class == VCPU_MOVABLE)
                        work->vcpu[i].stand = work->vcpu[i].keep = NO_SLOT;
}

bool probe_take_off(PlanWork *work, uint32_t vm) {
        if (work->vm[vm].kind != VERDICT_PLACED || !work->vm[vm].exclusive || work->vm[vm].n_movable == 0)
                return false;
        work->board.n_journal = 0;
        board_mark(work);
        vm_unseat(work, vm);
        vm_forget(work, vm);
        return true;
}

bool probe_place(PlanWork *work, uint32_t vm) {
        return vm_place_free(work, vm);
}

void probe_undo(PlanWork *work) {
        board_roll_back(work, 0);
}
