/* SPDX-License-Identifier: Apache-2.0 */

#include "core/probe.h"

#include "core/work.h"

bool probe_take_off(PlanWork *work, uint32_t vm) {
        if (work->vm[vm].kind != VERDICT_PLACED || !work->vm[vm].exclusive || work->vm[vm].n_movable == 0)
                return false;
        work->board.n_journal = 0;
        board_mark(work);
        vm_unseat(work, vm);
        return true;
}

bool probe_place(PlanWork *work, uint32_t vm) {
        return vm_place_free(work, vm);
}

void probe_undo(PlanWork *work) {
        board_roll_back(work, 0);
}
