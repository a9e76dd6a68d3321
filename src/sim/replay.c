/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The replay: each event changes the modelled host, one round follows, then
 * the host is judged. Time is the trace's own. The first tenth of the events
 * fills the host and counts for nothing but violations.
 *
 * With ticks, rounds also come every interval between two events, and credits
 * by time accrue, as in the daemon. Without, credits come with events alone and
 * the figures of two runs compare.
 */

#include "sim/replay.h"

#include "util/cleanup.h"

#include <errno.h>

enum {
        BURST_MILLI = 64000,
        INTERVAL_NS = 5000000000LL,
        SECOND_NS = 1000000000,
};

/* What rivals are called inside. */
static RivalKind rival_kind(PolicyKind policy) {
        static const RivalKind kinds[POLICY_KINDS] = {
                [POLICY_RANDOM] = RIVAL_RANDOM,     [POLICY_FIRST_FIT] = RIVAL_FIRST_FIT,
                [POLICY_BEST_FIT] = RIVAL_BEST_FIT, [POLICY_K8S_UNCORE] = RIVAL_K8S_UNCORE,
                [POLICY_NOVA] = RIVAL_NOVA,         [POLICY_VSCHED] = RIVAL_VSCHED,
                [POLICY_VSCHED_ANY] = RIVAL_VSCHED_ANY,
        };

        return kinds[policy];
}

static void policy_of(const Options *options, Policy *ret) {
        policy_defaults(ret);
        ret->smt = options->smt;
        ret->layout = options->layout;
        ret->overcommit_layers = options->overcommit_layers;
        ret->cool_down_ns = (int64_t)options->cool_down_s * SECOND_NS;
        ret->credits_per_event_milli = options->budget_milli;
        ret->burst_milli = BURST_MILLI;
        if (!options->ticks)
                ret->credits_per_10s_milli = 0;
}

static int replay_init(Replay *replay) {
        const Options *options = replay->options;
        ModelOptions model = {.first_touch = options->first_touch};
        Policy policy;

        vm_policy_defaults(&model.vm_policy);
        model.vm_policy.smt = options->smt;
        model.vm_policy.layout = options->layout;
        model.vm_policy.sched = replay->policy == POLICY_PLANNER ? options->sched : SCHED_STATIC;
        model.vm_policy.cross_node = !options->first_touch;
        int r = model_new(replay->topology, &model, &replay->model);
        if (r < 0)
                return r;
        replay->series = calloc(replay->trace->n_events, sizeof(*replay->series));
        if (!replay->series)
                return -ENOMEM;
        replay->rival = (Rival){rival_kind(replay->policy), {options->seed}};
        if (replay->policy != POLICY_PLANNER)
                return 0;
        policy_of(options, &policy);
        r = planner_new(replay->model, &policy, &replay->planner);
        if (r < 0)
                return r;
        replay->planner->check = true;
        replay->planner->faults = options->faults;
        replay->planner->random = (Random){options->seed};
        return 0;
}

int replay_new(const Trace *trace, const Topology *topology, const Options *options, PolicyKind policy,
               Replay **ret) {
        CLEANUP(cleanup_replay) Replay *replay = calloc(1, sizeof(*replay));

        if (!replay)
                return -ENOMEM;
        replay->trace = trace;
        replay->topology = topology;
        replay->options = options;
        replay->policy = policy;
        int r = replay_init(replay);
        if (r == 0)
                *ret = STEAL_PTR(replay);
        return r;
}

Replay *replay_free(Replay *replay) {
        if (!replay)
                return NULL;
        planner_free(replay->planner);
        model_free(replay->model);
        for (unsigned kind = 0; kind < TIME_KINDS; kind++)
                latency_deinit(&replay->latency[kind]);
        free(replay->series);
        free(replay);
        return NULL;
}

/* By node, whether minima count threads; NULL: everywhere. A rival knows no
 * other way. */
static const uint8_t *threads_regime(const Replay *replay) {
        if (!replay->planner || replay->options->smt == SMT_TRUE || replay->options->smt == SMT_OWN_CORES)
                return NULL;
        return replay->options->smt == SMT_FALSE ? replay->no_threads : replay->planner->history->threads_regime;
}

static void judge(Replay *replay, Judgement *ret) {
        static const Policy none;

        judge_host(&replay->judge, replay->model, replay->planner ? &replay->planner->policy : &none,
                   threads_regime(replay), ret);
}

/* The costliest thing in a round; TIME_PLAN: nothing was moved. */
static TimeKind round_kind(const Plan *plan) {
        TimeKind kind = TIME_PLAN;

        for (uint32_t i = 0; i < plan->n_moves; i++) {
                if (plan->move[i].kind == MOVE_DEFRAG || plan->move[i].kind == MOVE_SMT)
                        return TIME_DEFRAG;
                if (plan->move[i].kind == MOVE_MAKE_ROOM)
                        kind = TIME_MAKE_ROOM;
        }
        return kind;
}

static int plan_round(Replay *replay, int64_t now_ns, bool arrival) {
        static const PlanRequest request = {.kind = PLAN_ROUND, .vm = -1};
        RoundTime time;

        planner_round(replay->planner, &request, now_ns, &time);
        TimeKind kind = round_kind(replay->planner->plan);
        int r = latency_add(&replay->latency[TIME_PLAN], time.plan_ns);
        if (r == 0 && kind != TIME_PLAN)
                r = latency_add(&replay->latency[kind], time.plan_ns);
        if (r == 0 && kind == TIME_PLAN && arrival && time.place_ns >= 0)
                r = latency_add(&replay->latency[TIME_PLACE], time.place_ns);
        return r;
}

/* Rounds between the last event and this one. */
static int run_ticks(Replay *replay, int64_t until_ns) {
        if (!replay->planner || !replay->options->ticks || replay->next == 0)
                return 0;
        for (int64_t now_ns = replay->last_ns + INTERVAL_NS; now_ns < until_ns; now_ns += INTERVAL_NS) {
                int r = plan_round(replay, now_ns, false);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int apply_event(Replay *replay, const Event *event) {
        const Trace *trace = replay->trace;
        const CpuSet *range = pool_get(&trace->ranges, event->range);
        int index = model_find(replay->model, event->vm);

        if (event->kind == EVENT_CREATE)
                return model_create(replay->model, event->vm, trace->vm[event->vm].name,
                                    trace->vm[event->vm].n_vcpus, range) ? 0 : -ENOSPC;
        if (index < 0) /* a fault killed it */
                return 0;
        if (event->kind == EVENT_DESTROY)
                model_destroy(replay->model, (uint32_t)index);
        else
                model_set_range(replay->model, (uint32_t)index, range);
        return 0;
}

int replay_step(Replay *replay) {
        const Event *event = &replay->trace->event[replay->next];
        Judgement *judgement = &replay->series[replay->next];
        int r = run_ticks(replay, event->time_ns);

        if (r == 0)
                r = apply_event(replay, event);
        if (r < 0)
                return r;
        if (replay->planner)
                r = plan_round(replay, event->time_ns, event->kind == EVENT_CREATE);
        else {
                rival_round(&replay->rival, replay->model, event->kind == EVENT_DESTROY);
                model_settle(replay->model);
        }
        judge(replay, judgement);
        stats_add(&replay->stats, judgement, replay->next >= replay->trace->n_events / 10);
        if (replay->planner && replay->options->sched != SCHED_STATIC &&
            replay->next >= replay->trace->n_events / 10)
                layers_add(&replay->layers, replay->model, &replay->planner->policy);
        replay->last_ns = event->time_ns;
        replay->next++;
        return r;
}

bool replay_is_done(const Replay *replay) {
        return replay->next == replay->trace->n_events;
}

int replay_snapshot(Replay *replay, SnapshotResult *ret) {
        static const PlanRequest request = {.kind = PLAN_REASSIGN, .vm = -1};
        const Trace *trace = replay->trace;
        Judgement judgement;
        RoundTime time;
        int r;

        if (replay_is_done(replay))
                return 1;
        const Event *heading = &trace->event[replay->next++];
        model_destroy_all(replay->model);
        for (; !replay_is_done(replay) && trace->event[replay->next].kind == EVENT_CREATE; replay->next++) {
                r = apply_event(replay, &trace->event[replay->next]);
                if (r < 0)
                        return r;
        }
        if (replay->planner) {
                history_clear(replay->planner->history);
                planner_round(replay->planner, &request, 0, &time);
        } else
                rival_round(&replay->rival, replay->model, false);
        judge(replay, &judgement);
        *ret = (SnapshotResult){trace->heading[heading->vm], judgement.vms, judgement.excess, judgement.unplaced,
                                judgement.violations};
        return 0;
}
