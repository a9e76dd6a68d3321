/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One round: what stands keeps standing, what has no seat is placed, what is
 * badly placed is improved within the credits, and whoever is left shares.
 */

#include "core/work.h"

#include <assert.h>

enum { PASSES_MAX = 16, ROUND_STEPS = 1000 };

size_t plan_work_size(void) {
        return sizeof(PlanWork);
}

static void work_init(PlanWork *work) {
        work->stamp = 0;
        work->hole_stamp = 0;
        work->room_node_set = NULL;
        work->round_nodes = work->request->kind == PLAN_REASSIGN ? 10 * ROUND_STEPS : ROUND_STEPS;
        for (uint32_t i = 0; i < work->snapshot->n_vms; i++)
                work->hole_mark[i] = 0;
        for (unsigned i = 0; i < work->topology->n_clusters; i++)
                work->cluster_mark[i] = work->kept_mark[i] = 0;
        for (unsigned i = 0; i < work->topology->n_nodes; i++)
                work->node_mark[i] = 0;
        for (unsigned i = 0; i < work->topology->n_cores; i++)
                work->core_mark[i] = 0;
        for (unsigned i = 0; i < work->topology->n_cpus; i++)
                work->slot_mark[i] = 0;
        work->defragging = false;
        work->unlimited = work->request->kind == PLAN_REASSIGN;
}

/* One improvement may open the way for another: until nothing changes. */
static void work_improve(PlanWork *work) {
        for (unsigned pass = 0; pass < PASSES_MAX; pass++) {
                bool placed = work_place_all(work), mended = work_defrag(work);

                if (!placed && !mended)
                        return;
        }
}

void plan_make(const Topology *topology, Snapshot *snapshot, const Policy *policy, History *history,
               const PlanRequest *request, int64_t now_ns, PlanWork *work, Plan *ret) {
        assert(snapshot->n_vms <= VMS_MAX && snapshot->n_vcpus <= VCPUS_MAX);
        history_forward(history, snapshot, policy, now_ns, work->history_scratch);
        work->topology = topology;
        work->snapshot = snapshot;
        work->policy = policy;
        work->history = history;
        work->request = request;
        work->now_ns = now_ns;
        work->plan = ret;
        work_init(work);
        ret->n_moves = 0;

        work_classify(work);
        for (uint32_t vm = 0; vm < snapshot->n_vms; vm++)
                work_minimum(work, vm);
        board_init(work);
        work_seat_standing(work);
        work_score(work, &ret->before);
        work_seat_homes(work);
        work_bind_to_memory(work);

        work_improve(work);

        work_set_targets(work);
        work_share(work);
        work_order_moves(work);
        work_judge(work);
        ret->credits_spent_milli = work->unlimited ? 0 : work_cost(work);
}
