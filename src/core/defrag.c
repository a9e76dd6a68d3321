/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Defragmentation: a VM that spans more nodes or clusters than it must is
 * taken off the board and placed anew, others making room where needed; the
 * new place is kept when it is a strict gain that the credits pay for.
 */

#include "core/work.h"

#include <limits.h>

static bool span_is_better(Span a, Span b) {
        return a.nodes != b.nodes ? a.nodes < b.nodes : a.clusters < b.clusters;
}

typedef enum Badness { BAD_NODES, BAD_CLUSTERS, BAD_KINDS } Badness;

static bool vm_is_bad(PlanWork *work, uint32_t vm, Badness badness) {
        const VmWork *vw = &work->vm[vm];
        Span span;

        if (work->topology->smt_width > 1)
                work_minimum(work, vm);
        if (vw->kind != VERDICT_PLACED || !vw->exclusive)
                return false;
        span = vm_span(work, vm);
        if (badness == BAD_NODES)
                return span.nodes > vw->min_nodes;
        return span.nodes <= vw->min_nodes && span.clusters > vw->min_clusters;
}

bool vm_is_cooling(const PlanWork *work, uint32_t vm) {
        return work->request->kind == PLAN_ROUND && work->history->vm[vm].cool_until_ns > work->now_ns;
}

/* Seats a group that is off the board on fewer nodes or clusters than its VM had. */
static bool group_place_better(PlanWork *work, const Group *group, Span before, const uint64_t *nodes,
                               int64_t limit_milli) {
        const VmWork *vw = &work->vm[group->vm];

        if (before.nodes > 1) {
                for (unsigned extra = 0; extra < 2; extra++)
                        if (group_make_room(work, group, group_span_limit(work, group, extra), false, limit_milli))
                                return true;
                for (unsigned span = vw->min_clusters; span < before.clusters; span++)
                        if (group_make_room_on(work, group, span_limit(span), nodes, limit_milli))
                                return true;
                return false;
        }
        for (unsigned extra = 0; vw->min_clusters + extra < before.clusters; extra++) {
                SpanLimit limit = group_span_limit(work, group, extra);

                for (unsigned grain = 0; grain < 3; grain++)
                        if (limit.of[grain] >= (int)before.clusters)
                                limit.of[grain] = (int)before.clusters - 1;
                if (group_make_room(work, group, limit, false, limit_milli))
                        return true;
        }
        return false;
}

/* Several groups: each where it fits best, without moving others. */
static bool vm_place_better(PlanWork *work, uint32_t vm, Span before, const uint64_t *nodes, int64_t limit_milli) {
        const VmWork *vw = &work->vm[vm];

        if (vw->n_groups == 1 && vw->n_movable == work->snapshot->vm[vm].n_vcpus)
                return group_place_better(work, &work->group[vw->first_group], before, nodes, limit_milli);
        return vm_place_free(work, vm) && span_is_better(vm_span(work, vm), before);
}

static void vm_nodes(const PlanWork *work, uint32_t vm, uint64_t ret[NODE_WORDS]) {
        const Vm *v = &work->snapshot->vm[vm];

        for (unsigned i = 0; i < NODE_WORDS; i++)
                ret[i] = 0;
        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++)
                if (work->vcpu[i].seat != NO_SLOT) {
                        unsigned node = work->topology->cpu[work->vcpu[i].seat].node;

                        ret[node / 64] |= UINT64_C(1) << (node % 64);
                }
}

/* Returns whether the VM has a better place now. */
static bool vm_defrag(PlanWork *work, uint32_t vm) {
        uint32_t mark = board_mark(work);
        Span before = vm_span(work, vm);
        VerdictReason *hint = &work->vm[vm].hint;
        uint64_t nodes[NODE_WORDS];

        if (vm_is_cooling(work, vm)) {
                *hint = REASON_COOL_DOWN;
                return false;
        }
        vm_nodes(work, vm, nodes);
        vm_unseat(work, vm);
        if (vm_place_better(work, vm, before, nodes, work_limit(work)) &&
            (work->unlimited || work_credits_left(work) >= 0)) {
                work_note_moves(work, MOVE_DEFRAG);
                *hint = REASON_NONE;
                return true;
        }
        board_roll_back(work, mark);
        *hint = work->unlimited || work->history->credits_milli >= work->policy->burst_milli ? REASON_FRAGMENTED
                                                                                             : REASON_NO_CREDITS;
        return false;
}

bool work_defrag(PlanWork *work) {
        bool mended = false;

        work->defragging = true;
        for (Badness badness = BAD_NODES; badness < BAD_KINDS; badness++)
                for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                        if (vm_is_bad(work, vm, badness))
                                mended |= vm_defrag(work, vm);
        work->defragging = false;
        return mended;
}
