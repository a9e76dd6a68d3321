/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One round: what stands keeps standing, what has no seat is placed, what is
 * badly placed is improved within the credits, and whoever is left shares.
 */

#include "core/work.h"

#include <assert.h>

enum { PASSES_MAX = 16, SETTLINGS_MAX = 8, ROUND_STEPS = 56, WAITING_MAX = 64 };

size_t plan_work_size(void) {
        return sizeof(PlanWork);
}

static void work_init(PlanWork *work) {
        work->stamp = 0;
        work->hole_stamp = 0;
        work->room_node_set = NULL;
        work->spent_milli = 0;
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
        work->defragging = work->undoubled = false;
        work->first_core = work->first_core_cluster = -1;
        if (cpuset_is_empty(&work->policy->skip) && work->topology->slot_of[0] >= 0) {
                work->first_core = work->topology->cpu[work->topology->slot_of[0]].core;
                work->first_core_cluster = work->topology->cpu[work->topology->slot_of[0]].cluster;
        }
        work->unlimited = work->request->kind == PLAN_REASSIGN;
}

/* One improvement may open the way for another: until nothing changes. Returns
 * whether anything did. hopeless: what waits has just been tried in vain. */
static bool work_improve(PlanWork *work, bool hopeless) {
        bool changed = false;

        for (unsigned pass = 0; pass < PASSES_MAX; pass++) {
                bool placed = (pass > 0 || !hopeless) && work_place_all(work), mended = work_defrag(work);

                if (!placed && !mended && !work_unshare_cores(work))
                        break;
                changed = true;
        }
        return changed;
}

static bool work_is_perfect(PlanWork *work) {
        Score score;

        work_score(work, &score);
        return score.unplaced == 0 && score.excess_nodes == 0 && score.excess_clusters == 0;
}

/* Takes what has been decided for where everybody stands. */
static void work_settle(PlanWork *work) {
        work->spent_milli += work_cost(work);
        for (uint32_t i = 0; i < work->snapshot->n_vcpus; i++) {
                VcpuWork *w = &work->vcpu[i];

                if (w->class == VCPU_MOVABLE)
                        w->stand = w->keep = w->seat;
        }
        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                work->vm[vm].forced = work->vm[vm].threads = false;
        work_begin_regimes(work);
}

static void work_new_steps(PlanWork *work) {
        unsigned waiting = 0;

        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                waiting += work->vm[vm].kind == VERDICT_PLACED && !vm_is_complete(work, vm) &&
                           work->snapshot->vm[vm].policy.sched == SCHED_STATIC; /* others have homes meanwhile */
        if (waiting > WAITING_MAX)
                waiting = WAITING_MAX;
        work->round_nodes = (ROUND_STEPS + (waiting > 1 ? waiting - 1 : 0) * ROUND_STEPS / 2) *
                            (work->unlimited ? 10u : 1u);
}

/* What the next round would still improve on the same snapshot is done at
 * once, so that planning again keeps everything. */
static void work_decide(PlanWork *work) {
        bool placed;

        work_new_steps(work);
        placed = work_place_all(work);
        if (placed)
                work_settle(work);
        for (unsigned i = 0; i < SETTLINGS_MAX; i++) {
                bool changed;

                work_new_steps(work);
                changed = work_improve(work, i == 0 && !placed);
                work_settle(work);
                if (!changed || work_is_perfect(work))
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
        work->any_locks = false;
        for (uint32_t vm = 0; vm < snapshot->n_vms; vm++)
                work->any_locks |= vm_locks_cores(work, vm);
        for (uint32_t vm = 0; vm < snapshot->n_vms; vm++)
                work_minimum(work, vm);
        board_init(work);
        work_seat_standing(work);
        work_begin_regimes(work);
        work_score(work, &ret->before);
        work_seat_homes(work);
        work_bind_to_memory(work);

        work_decide(work);

        work_set_targets(work);
        work_layers(work);
        work_share(work);
        work_order_moves(work);
        work_judge(work);
        ret->credits_spent_milli = work->unlimited ? 0 : work->spent_milli;
}
