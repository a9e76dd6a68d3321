/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Defragmentation: a VM that spans more nodes or clusters than it must is
 * taken off the board and placed anew; the new place is kept when it is a
 * strict gain that the credits pay for.
 */

#include "core/work.h"

static bool span_is_better(Span a, Span b) {
        return a.nodes != b.nodes ? a.nodes < b.nodes : a.clusters < b.clusters;
}

static bool vm_is_bad(PlanWork *work, uint32_t vm) {
        const VmWork *vw = &work->vm[vm];
        Span span;

        if (vw->kind != VERDICT_PLACED || !vw->exclusive)
                return false;
        span = vm_span(work, vm);
        return span.nodes > vw->min_nodes || span.clusters > vw->min_clusters;
}

static bool vm_is_cooling(const PlanWork *work, uint32_t vm) {
        return work->request->kind == PLAN_ROUND && work->history->vm[vm].cool_until_ns > work->now_ns;
}

static void vm_set_why(PlanWork *work, uint32_t vm, MoveKind why) {
        const Vm *v = &work->snapshot->vm[vm];

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++)
                if (work->vcpu[i].class == VCPU_MOVABLE && work->vcpu[i].stand != NO_SLOT)
                        work->vcpu[i].why = why;
}

/* Returns whether the VM has a better place now. */
static bool vm_defrag(PlanWork *work, uint32_t vm) {
        uint32_t mark = board_mark(work);
        Span before = vm_span(work, vm);
        int64_t paid = vm_cost(work, vm), cost;

        vm_unseat(work, vm);
        if (!vm_place(work, vm) || !span_is_better(vm_span(work, vm), before)) {
                board_roll_back(work, mark);
                work->vm[vm].hint = REASON_FRAGMENTED;
                return false;
        }
        cost = vm_cost(work, vm) - paid;
        if (cost > 0 && vm_is_cooling(work, vm))
                work->vm[vm].hint = REASON_COOL_DOWN;
        else if (cost > work->budget_milli && !work->unlimited)
                work->vm[vm].hint = REASON_NO_CREDITS;
        else {
                work->budget_milli -= cost;
                vm_set_why(work, vm, MOVE_DEFRAG);
                return true;
        }
        board_roll_back(work, mark);
        return false;
}

bool work_defrag(PlanWork *work) {
        bool mended = false;

        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                if (vm_is_bad(work, vm))
                        mended |= vm_defrag(work, vm);
        return mended;
}
