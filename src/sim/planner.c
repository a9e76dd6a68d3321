/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Rounds as the daemon makes them. Applying goes move by move, in the plan's
 * order, and never gives a CPU away that somebody still owns: after a failed
 * write the rest of its chain has to wait for the next round. Faults strike
 * between the plan and its application, since there the plan is already old:
 * a VM is gone, a range is another one, the kernel says no.
 */

#include "sim/planner.h"

#include "core/probe.h"
#include "sim/audit.h"
#include "util/cleanup.h"

#include <errno.h>
#include <string.h>
#include <time.h>

int planner_new(Model *model, const Policy *policy, Planner **ret) {
        Planner *planner = calloc(1, sizeof(*planner));

        if (!planner)
                return -ENOMEM;
        planner->history = malloc(sizeof(*planner->history));
        planner->plan = malloc(sizeof(*planner->plan));
        planner->work = malloc(plan_work_size());
        if (!planner->history || !planner->plan || !planner->work) {
                planner_free(planner);
                return -ENOMEM;
        }
        planner->model = model;
        planner->policy = *policy;
        history_clear(planner->history);
        *ret = planner;
        return 0;
}

Planner *planner_free(Planner *planner) {
        if (planner) {
                free(planner->history);
                free(planner->plan);
                free(planner->work);
                free(planner);
        }
        return NULL;
}

enum { PROBES = 3 };

/* What becomes of a round's moves. */
typedef struct Applying {
        uint16_t owners[CPUS_MAX]; /* vCPUs that own the CPU now */
        int dead;                  /* a VM that died meanwhile; -1: none */
} Applying;

static void owners_count(const Model *model, Applying *ret) {
        memset(ret->owners, 0, sizeof(ret->owners));
        for (uint32_t i = 0; i < model->host->n_vcpus; i++) {
                int cpu = model_own_cpu(model, i);
                if (cpu >= 0)
                        ret->owners[cpu]++;
        }
}

/* Whether the move may be written now; counts the ones that come too early. */
static bool move_is_due(Planner *planner, const Applying *applying, const Move *move) {
        const Model *model = planner->model;
        const Vcpu *vcpu = &model->host->vcpu[move->vcpu];

        if (vcpu->vm == applying->dead)
                return false;
        if (!cpuset_is_subset(pool_get(&model->host->pool, move->mask), pool_get(&model->host->pool, vcpu->cpuset)))
                return false; /* the kernel would clip it */
        if (move->to >= 0 && model->host->vm[vcpu->vm].policy.sched == SCHED_STATIC && applying->owners[move->to] > 0 && model_own_cpu(model, move->vcpu) != move->to) {
                bool faulty = planner->faults.writes || planner->faults.deaths || planner->faults.ranges;
                planner->put_off += faulty;
                planner->findings.overlaps += !faulty;
                return !faulty;
        }
        return true;
}

static void apply_move(Planner *planner, Applying *applying, const Move *move) {
        Model *model = planner->model;
        int had = model_own_cpu(model, move->vcpu);

        if (!move_is_due(planner, applying, move))
                return;
        planner->writes++;
        planner->home_moves += model->host->vcpu[move->vcpu].home >= 0 && move->to >= 0 &&
                               model->host->vcpu[move->vcpu].home != move->to;
        if (random_chance(&planner->random, planner->faults.writes)) {
                model->host->vcpu[move->vcpu].intended = move->mask;
                planner->writes_failed++;
                return;
        }
        planner->union_changes +=
                snapshot_union_changes(model->host, move->vcpu, pool_get(&model->host->pool, move->mask));
        if (move->kind == MOVE_RELEASE)
                model_release(model, move->vcpu, move->mask);
        else
                model_write(model, move->vcpu, move->mask, move->to);
        int has = model_own_cpu(model, move->vcpu);
        if (had >= 0)
                applying->owners[had]--;
        if (has >= 0)
                applying->owners[has]++;
}

/* Gives some VM the range that another one has, if it is wide enough. */
static void fault_range(Planner *planner) {
        Model *model = planner->model;
        Random *random = &planner->random;
        uint32_t vm = random_below(random, model->host->n_vms), other = random_below(random, model->host->n_vms);
        const Vcpu *donor = &model->host->vcpu[model->host->vm[other].first_vcpu];
        CpuSet range = *pool_get(&model->host->pool, donor->range);

        if (cpuset_count(&range) < model->host->vm[vm].n_vcpus)
                return;
        model_set_range(model, vm, &range);
        planner->range_changes++;
}

/* What the daemon's state file keeps of homes: whether they are shared. */
static void note_layers(Planner *planner) {
        Snapshot *host = planner->model->host;

        for (uint32_t i = 0; i < host->n_vcpus; i++)
                if (host->vcpu[i].home == planner->plan->target[i].cpu)
                        host->vcpu[i].layered = planner->plan->verdict[host->vcpu[i].vm].kind == VERDICT_LAYERED;
}

static void plan_apply(Planner *planner) {
        Model *model = planner->model;
        Applying applying = {.dead = -1};

        if (model->host->n_vms > 0 && random_chance(&planner->random, planner->faults.ranges))
                fault_range(planner);
        if (model->host->n_vms > 0 && random_chance(&planner->random, planner->faults.deaths))
                applying.dead = (int)random_below(&planner->random, model->host->n_vms);
        owners_count(model, &applying);
        for (uint32_t i = 0; i < planner->plan->n_moves; i++)
                apply_move(planner, &applying, &planner->plan->move[i]);
        note_layers(planner);
        if (applying.dead >= 0) {
                model_destroy(model, (uint32_t)applying.dead);
                planner->deaths++;
        }
}

static int64_t clock_ns(clockid_t clock) {
        struct timespec now;

        clock_gettime(clock, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/*
 * Times one placement. Processor time would cost more to read than it takes,
 * so this is time on the wall, the best of a few: one of them is undisturbed.
 */
static int64_t time_placement(Planner *planner) {
        uint32_t newest = planner->model->host->n_vms - 1;
        int64_t best_ns = -1;

        for (unsigned i = 0; i < PROBES; i++) {
                if (!probe_take_off(planner->work, newest))
                        return -1;
                int64_t began_ns = clock_ns(CLOCK_MONOTONIC);
                bool placed = probe_place(planner->work, newest);
                int64_t took_ns = clock_ns(CLOCK_MONOTONIC) - began_ns;
                probe_undo(planner->work);
                if (!placed)
                        return -1;
                if (best_ns < 0 || took_ns < best_ns)
                        best_ns = took_ns;
        }
        return best_ns;
}

static void check_plan(Planner *planner) {
        Complaint why;

        if (audit_plan(planner->model->topology, planner->model->host, &planner->policy, planner->plan, &why) == 0)
                return;
        if (planner->findings.bad_plans++ == 0)
                planner->findings.first = why;
}

void planner_round(Planner *planner, const PlanRequest *request, int64_t now_ns, RoundTime *ret_time) {
        Model *model = planner->model;
        int64_t began_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);

        plan_make(model->topology, model->host, &planner->policy, planner->history, request, now_ns, planner->work,
                  planner->plan);
        ret_time->plan_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - began_ns;
        ret_time->place_ns = model->host->n_vms > 0 ? time_placement(planner) : -1;
        if (planner->check)
                check_plan(planner);
        history_commit(planner->history, model->host, &planner->policy, planner->plan, now_ns);
        plan_apply(planner);
        model_settle(model);
}
