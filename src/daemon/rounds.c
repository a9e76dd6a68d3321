/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The one path on which anything is ever written while the daemon runs:
 *
 *   observe       the host door fills the snapshot from libvirt's facts and /proc
 *   annotate      state says which masks are ours, settings say what is wanted
 *   plan          core/ decides
 *   prepare       state names the masks that will be written, and is saved
 *   apply         the writes, a slice at a time, each checked before and after
 *   finish        state says what was written, and is saved
 *
 * Nothing is carried from round to round but State and History. When a write
 * fails, the CPU that it should have freed stays taken ("stuck"), and moves
 * that count on it are left for the next round: two vCPUs never end on one CPU
 * because one of them could not go.
 */

#include "daemon/rounds.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/helpers.h"
#include "daemon/hold.h"
#include "daemon/prefer.h"
#include "util/log.h"

#define SECOND_NS INT64_C(1000000000)

int rounds_new(Host host, const Settings *settings, State *state, const char *state_path, Rounds **ret) {
        Rounds *rounds = calloc(1, sizeof(*rounds));

        if (!rounds)
                return -ENOMEM;
        *rounds = (Rounds){.host = host, .settings = settings, .state = state, .state_path = state_path};
        rounds->topology = calloc(1, sizeof(*rounds->topology));
        rounds->snapshot = calloc(1, sizeof(*rounds->snapshot));
        rounds->trial_snapshot = calloc(1, sizeof(*rounds->trial_snapshot));
        rounds->plan = calloc(1, sizeof(*rounds->plan));
        rounds->trial = calloc(1, sizeof(*rounds->trial));
        rounds->history = calloc(1, sizeof(*rounds->history));
        rounds->trial_history = calloc(1, sizeof(*rounds->trial_history));
        rounds->work = calloc(1, plan_work_size());
        if (!rounds->topology || !rounds->snapshot || !rounds->trial_snapshot || !rounds->plan || !rounds->trial ||
            !rounds->history || !rounds->trial_history || !rounds->work) {
                rounds_free(rounds);
                return -ENOMEM;
        }
        snapshot_clear(rounds->snapshot);
        history_clear(rounds->history);
        *ret = rounds;
        return 0;
}

Rounds *rounds_free(Rounds *rounds) {
        if (rounds) {
                free(rounds->topology);
                free(rounds->snapshot);
                free(rounds->trial_snapshot);
                free(rounds->plan);
                free(rounds->trial);
                free(rounds->history);
                free(rounds->trial_history);
                free(rounds->work);
                free(rounds->helper_write);
                free(rounds);
        }
        return NULL;
}

static int64_t rounds_now(const Rounds *rounds) {
        return rounds->host.ops->now_ns(rounds->host.self);
}

void rounds_settings_changed(Rounds *rounds) {
        rounds->have_topology = false;
}

/* CPUs that were online in this boot or are known to be, and are not now. */
static void rounds_note_offline(Rounds *rounds) {
        State *state = rounds->state;

        if (cpuset_is_empty(&state->cpus_seen))
                state->cpus_seen = rounds->online;
        cpuset_or(&rounds->offline, &state->cpus_seen);
        cpuset_subtract(&rounds->offline, &rounds->online);
}

static bool hotplug_is_recent(const Rounds *rounds, int64_t now, int within_s) {
        return rounds->hotplug_seen && now - rounds->hotplug_ns < within_s * SECOND_NS;
}

/*
 * CPUs came or went. Before 6.2 the kernel then gives every thread the mask of
 * its cpuset; it may do so a moment before or after we learn of it, and once for
 * each CPU. That is no quarrel, neither what was seen already nor what is soon.
 */
static void rounds_note_hotplug(Rounds *rounds, int64_t now) {
        rounds->hotplug_seen = true;
        rounds->hotplug_ns = now;
        rounds->topology_doubtful = true;
        for (unsigned i = 0; i < rounds->state->n_threads; i++)
                rounds->state->thread[i].drift = 0;
}

/* Reads the topology again where the online CPUs are not those that it has, and
 * once more a little later: the kernel's files do not change all at once. */
static int rounds_refresh_topology(Rounds *rounds) {
        CpuSet online = {};
        int64_t now = rounds_now(rounds);
        int r = rounds->host.ops->read_online(rounds->host.self, &online);

        if (r < 0) {
                snprintf(rounds->trouble, sizeof(rounds->trouble), "can not read the online CPUs: %s", strerror(-r));
                return r;
        }
        bool changed = rounds->have_topology && !cpuset_equal(&online, &rounds->online);
        bool doubtful = rounds->topology_doubtful && !hotplug_is_recent(rounds, now, SECOND_READ_S);
        if (rounds->have_topology && !changed && !doubtful)
                return 0;
        Topology *fresh = calloc(1, sizeof(*fresh));
        if (!fresh)
                return -ENOMEM;
        char why[256] = "";
        r = rounds->host.ops->read_topology(rounds->host.self, rounds->settings->level, fresh, why);
        if (r < 0) {
                snprintf(rounds->trouble, sizeof(rounds->trouble), "can not read the topology: %.200s",
                         why[0] ? why : strerror(-r));
                free(fresh);
                return r;
        }
        cpuset_or(&rounds->offline, &rounds->online);
        free(rounds->topology);
        rounds->topology = fresh;
        rounds->online = online;
        rounds->have_topology = true;
        rounds->topology_doubtful = false;
        if (changed)
                rounds_note_hotplug(rounds, now);
        rounds_note_offline(rounds);
        return 0;
}

static void thread_ref(const Snapshot *snapshot, uint32_t index, ThreadRef *ret) {
        const Vcpu *vcpu = &snapshot->vcpu[index];
        const Vm *vm = &snapshot->vm[vcpu->vm];

        *ret = (ThreadRef){.pid = vm->pid,
                           .tid = vcpu->tid,
                           .process_start_ticks = vm->start_ticks,
                           .thread_start_ticks = vcpu->start_ticks,
                           .number = vcpu->number};
        memcpy(ret->uuid, vm->uuid, sizeof(ret->uuid));
}

static SetId set_to_snapshot(Rounds *rounds, SetId id) {
        return id == SET_NONE ? SET_NONE : pool_intern(&rounds->snapshot->pool, pool_get(rounds->state->pool, id));
}

static SetId set_to_state(Rounds *rounds, SetId id) {
        return id == SET_NONE ? SET_NONE : state_intern(rounds->state, pool_get(&rounds->snapshot->pool, id));
}

static bool set_is(const CpuSet *a, const CpuSet *b) {
        return a && b && cpuset_equal(a, b);
}

/*
 * A write that the state only intended (we crashed on the way) has happened or
 * has not: the mask tells. Returns false when we turn out to hold nothing.
 */
static bool entry_settle(State *state, ThreadState *entry, const CpuSet *mask) {
        const CpuSet *intended = pool_get(state->pool, entry->intended);

        if (!intended)
                return true;
        if (set_is(intended, mask)) {
                entry->written = entry->intended;
                entry->held = entry->intended_home >= 0;
                entry->home = entry->held ? entry->intended_home : (int16_t)cpuset_single(intended);
        }
        entry->intended = SET_NONE;
        entry->intended_home = -1;
        return entry->written != SET_NONE || !set_is(pool_get(state->pool, entry->before), mask);
}

/* We do not hold this thread's mask (any more). The CPU that it had is kept as
 * a wish, and what it preferred as a debt; without both the entry is dropped.
 * False: it was. */
static bool entry_let_go(State *state, ThreadState *entry) {
        entry->before = entry->range_before = entry->range_then = SET_NONE;
        entry->written = entry->intended = SET_NONE;
        entry->held = false;
        entry->intended_home = -1;
        entry->drift = 0;
        if (entry->home >= 0 || prefer_owes(entry))
                return true;
        state_drop(state, entry);
        return false;
}

/*
 * A mask that changed together with the range is libvirt's, written for the
 * operator: what we wrote and what was before it are history. Only the CPU is
 * remembered, as a wish. Notes the range for the next look. True when the range
 * of a thread that we held has changed.
 */
static bool entry_follow_range(Rounds *rounds, ThreadState *entry, SetId snapshot_range, bool differs) {
        const CpuSet *range = pool_get(&rounds->snapshot->pool, snapshot_range);
        bool held = entry->before != SET_NONE;

        if (!range || set_is(range, pool_get(rounds->state->pool, entry->range_then)))
                return false;
        if (differs) {
                entry->before = entry->range_before = entry->written = entry->preferred_before = SET_NONE;
                entry->held = false;
        }
        entry->drift = 0; /* a change seen before libvirt told of the range was no quarrel */
        entry->range_then = entry->before == SET_NONE ? SET_NONE : set_to_state(rounds, snapshot_range);
        return held;
}

/* Its operator has spoken: a back-off from somebody else's writes is over. */
static void rounds_forget_quarrel(Rounds *rounds, const Vm *vm) {
        History *history = rounds->history;

        for (uint32_t i = 0; i < history->n_vms; i++)
                if (history->vm[i].start_ticks == vm->start_ticks && strcmp(history->vm[i].uuid, vm->uuid) == 0)
                        history->vm[i].contested_until_ns = 0;
}

static void entry_count_drift(Rounds *rounds, ThreadState *entry, bool drifted, int64_t now) {
        if (drifted && hotplug_is_recent(rounds, now, HOTPLUG_S))
                entry->drift = 0;
        else if (drifted && rounds->acting) {
                if (entry->drift < UINT8_MAX)
                        entry->drift++;
                entry->drift_at_ns = now;
        } else if (!drifted && now - entry->drift_at_ns > RELATED_DRIFT_S * SECOND_NS)
                entry->drift = 0;
}

/* What is left of the mask that we wrote: the kernel leaves offline CPUs out. */
static SetId entry_written_online(Rounds *rounds, const ThreadState *entry) {
        CpuSet written;

        if (entry->written == SET_NONE)
                return SET_NONE;
        written = *pool_get(rounds->state->pool, entry->written);
        cpuset_and(&written, &rounds->online);
        return cpuset_is_empty(&written) ? set_to_snapshot(rounds, entry->written)
                                         : pool_intern(&rounds->snapshot->pool, &written);
}

/* Adds to one vCPU what the state knows of its thread. */
static void vcpu_annotate(Rounds *rounds, uint32_t index, int64_t now) {
        Snapshot *snapshot = rounds->snapshot;
        Vcpu *vcpu = &snapshot->vcpu[index];
        ThreadRef ref;

        vcpu->before = vcpu->range_then = vcpu->written = vcpu->intended = SET_NONE;
        vcpu->home = -1;
        vcpu->layered = false;
        vcpu->drift = 0;
        if (vcpu->tid <= 0)
                return;
        thread_ref(snapshot, index, &ref);
        ThreadState *entry = state_find(rounds->state, &ref);
        if (!entry)
                return;
        const CpuSet *mask = pool_get(&snapshot->pool, vcpu->mask);
        if (entry->before != SET_NONE && mask && !entry_settle(rounds->state, entry, mask) &&
            !entry_let_go(rounds->state, entry))
                return;
        bool differs = mask && state_differs(rounds->state, entry, &rounds->online, mask);
        prefer_look(rounds, entry);
        if (entry_follow_range(rounds, entry, vcpu->range, differs))
                rounds_forget_quarrel(rounds, &snapshot->vm[vcpu->vm]);
        bool drifted = differs && entry->before != SET_NONE;
        entry_count_drift(rounds, entry, drifted, now);
        entry->seen = true;
        vcpu->home = entry->home;
        vcpu->layered = entry->layered;
        vcpu->drift = drifted ? entry->drift : 0;
        vcpu->range_then = set_to_snapshot(rounds, entry->range_then);
        vcpu->written = entry_written_online(rounds, entry);
        vcpu->before = set_to_snapshot(rounds, entry->before);
        if (entry->before != SET_NONE && vcpu->range != SET_NONE &&
            !set_is(pool_get(&snapshot->pool, vcpu->range), pool_get(rounds->state->pool, entry->range_before)))
                vcpu->before = vcpu->range; /* the old mask is not what its operator wants now */
}

static void rounds_annotate(Rounds *rounds, int64_t now) {
        Snapshot *snapshot = rounds->snapshot;

        snapshot->fresh = rounds->online;
        cpuset_subtract(&snapshot->fresh, &rounds->state->cpus_seen);
        for (uint32_t i = 0; i < snapshot->n_vms; i++) {
                Vm *vm = &snapshot->vm[i];
                vm->wish.fault = settings_vm_policy(rounds->settings, vm->name, &vm->wish, &vm->policy);
        }
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++)
                vcpu_annotate(rounds, i, now);
        helpers_annotate(rounds, hotplug_is_recent(rounds, now, HOTPLUG_S));
}

/* Forgets threads that have ended. A thread that merely is not in this
 * snapshot (libvirt may be in trouble) is kept. */
static void rounds_forget_dead(Rounds *rounds) {
        State *state = rounds->state;
        CpuSet mask;

        for (unsigned i = state->n_threads; i-- > 0;) {
                ThreadState *entry = &state->thread[i];
                if (!entry->seen &&
                    rounds->host.ops->read_mask(rounds->host.self, &entry->thread, &mask) == -ESRCH)
                        state_drop(state, entry);
                else
                        entry->seen = false;
        }
}

/* No event tells of vCPUs plugged in or out: their threads do. */
static uint32_t count_out_of_date(const Snapshot *snapshot) {
        uint32_t count = 0;

        for (uint32_t v = 0; v < snapshot->n_vms; v++) {
                const Vm *vm = &snapshot->vm[v];
                count += vm->n_unlisted;
                for (uint32_t i = vm->first_vcpu; vm->sight == SIGHT_OK && i < vm->first_vcpu + vm->n_vcpus; i++)
                        count += snapshot->vcpu[i].tid == 0;
        }
        return count;
}

/* A VM in back-off is tried afresh once that has passed. */
static void rounds_settle_quarrels(Rounds *rounds) {
        const Snapshot *snapshot = rounds->snapshot;

        for (uint32_t v = 0; v < snapshot->n_vms; v++) {
                if (rounds->plan->verdict[v].kind != VERDICT_CONTESTED)
                        continue;
                const Vm *vm = &snapshot->vm[v];
                for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                        ThreadRef ref;
                        thread_ref(snapshot, i, &ref);
                        ThreadState *entry = state_find(rounds->state, &ref);
                        if (entry)
                                entry->drift = 0;
                }
        }
}

/* Whether the mask is another one than the CPU alone that is the vCPU's own. */
static bool move_holds(const Rounds *rounds, const Move *move) {
        return move->to >= 0 && pool_single(&rounds->snapshot->pool, move->mask) != move->to;
}

/* Names in the state what is about to be written. 0 or -ENOMEM. */
static int rounds_name_writes(Rounds *rounds, const Move *moves, uint32_t n) {
        const Snapshot *snapshot = rounds->snapshot;

        for (uint32_t m = 0; m < n; m++) {
                const Move *move = &moves[m];
                const Vcpu *vcpu = &snapshot->vcpu[move->vcpu];
                ThreadRef ref;
                thread_ref(snapshot, move->vcpu, &ref);
                ThreadState *entry = state_get(rounds->state, &ref);
                if (!entry)
                        return -ENOMEM;
                if (prefer_name(rounds, move, entry) < 0)
                        return -ENOMEM;
                if (entry->before == SET_NONE) {
                        entry->before = set_to_state(rounds, vcpu->mask);
                        entry->range_before = set_to_state(rounds, vcpu->range);
                        entry->range_then = entry->range_before;
                }
                entry->intended = set_to_state(rounds, move->mask);
                entry->intended_home = move_holds(rounds, move) ? move->to : (int16_t)-1;
                if (entry->before == SET_NONE || entry->intended == SET_NONE)
                        return -ENOMEM;
        }
        return 0;
}

/*
 * A thread that a reassign takes over, and that stands already where the plan
 * wants it, is never written; it is noted as ours all the same, or the next
 * round would find it narrowed by a stranger again. Returns how many were noted,
 * or -ENOMEM.
 */
static int rounds_claim(Rounds *rounds, uint32_t vm) {
        const Vm *v = &rounds->snapshot->vm[vm];
        int n = 0;

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                Vcpu *vcpu = &rounds->snapshot->vcpu[i];
                const Target *target = &rounds->plan->target[i];
                ThreadRef ref;

                if (vcpu->mask == SET_NONE || vcpu->mask != target->mask || vcpu->mask == vcpu->range ||
                    vcpu->before != SET_NONE)
                        continue;
                thread_ref(rounds->snapshot, i, &ref);
                ThreadState *entry = state_get(rounds->state, &ref);
                if (!entry)
                        return -ENOMEM;
                entry->before = entry->written = set_to_state(rounds, vcpu->mask);
                entry->range_before = entry->range_then = set_to_state(rounds, vcpu->range);
                if (entry->before == SET_NONE)
                        return -ENOMEM;
                entry->home = target->cpu;
                entry->held = target->cpu >= 0 &&
                              pool_single(&rounds->snapshot->pool, vcpu->mask) != target->cpu;
                vcpu->before = vcpu->written = vcpu->mask;
                vcpu->range_then = vcpu->range;
                n++;
        }
        return n;
}

/* Takes back what rounds_name_writes() said, when nothing will be written. */
static void rounds_unname_writes(Rounds *rounds) {
        State *state = rounds->state;

        for (unsigned i = state->n_threads; i-- > 0;) {
                ThreadState *entry = &state->thread[i];
                entry->intended = SET_NONE;
                entry->intended_home = -1;
                if (entry->before != SET_NONE && entry->written == SET_NONE)
                        entry_let_go(state, entry);
        }
}

static int rounds_prepare(Rounds *rounds, const Move *moves, uint32_t n) {
        int r = rounds_name_writes(rounds, moves, n);

        if (r == 0)
                r = state_save(rounds->state, rounds->state_path);
        if (r < 0) {
                rounds_unname_writes(rounds);
                snprintf(rounds->trouble, sizeof(rounds->trouble), "can not save %.150s: %s; nothing is moved",
                         rounds->state_path, strerror(-r));
        }
        return r;
}

/* Makes what was planned ready to be applied. 0 or -errno: nothing is moved. */
static int rounds_get_ready(Rounds *rounds, const PlanRequest *request) {
        int claimed = request->kind == PLAN_REASSIGN && request->vm >= 0
                              ? rounds_claim(rounds, (uint32_t)request->vm)
                              : 0;
        int helpers = claimed < 0 ? 0 : helpers_plan(rounds);
        int r = claimed < 0 ? claimed : helpers < 0 ? helpers : 0;

        if (r == 0 && (claimed > 0 || helpers > 0 || rounds->plan->n_moves > 0))
                r = rounds_prepare(rounds, rounds->plan->move, rounds->plan->n_moves);
        prefer_clean(rounds);
        if (r < 0 || (rounds->plan->n_moves == 0 && rounds->n_helper_writes == 0))
                return r;
        rounds->applying = true;
        rounds->next_move = 0;
        cpuset_clear(&rounds->stuck);
        return 0;
}

/* Turns "all", a UUID or a name into what the planner is asked for; false:
 * there is no such VM. */
static bool plan_request(const Snapshot *snapshot, const char *reassign, PlanRequest *ret) {
        *ret = (PlanRequest){.kind = reassign ? PLAN_REASSIGN : PLAN_ROUND, .vm = -1};
        if (!reassign || strcmp(reassign, "all") == 0)
                return true;
        for (uint32_t v = 0; v < snapshot->n_vms; v++)
                if (strcasecmp(snapshot->vm[v].uuid, reassign) == 0)
                        ret->vm = (int32_t)v;
        for (uint32_t v = 0; v < snapshot->n_vms && ret->vm < 0; v++)
                if (strcmp(snapshot->vm[v].name, reassign) == 0)
                        ret->vm = (int32_t)v;
        if (ret->vm < 0)
                ret->kind = PLAN_ROUND;
        return ret->vm >= 0;
}

static int rounds_observe(Rounds *rounds, const FactList *facts, bool full) {
        int r = rounds_refresh_topology(rounds);

        if (r == 0)
                r = state_compact(rounds->state);
        if (r == 0)
                r = rounds->host.ops->observe(rounds->host.self, facts, rounds->topology, full, rounds->snapshot);
        rounds->have_view = r == 0;
        if (r < 0 && !rounds->trouble[0])
                snprintf(rounds->trouble, sizeof(rounds->trouble), "can not observe the host: %s", strerror(-r));
        return r;
}

static int rounds_begin_unnoted(Rounds *rounds, const FactList *facts, const RoundRequest *request) {
        int64_t started = rounds_now(rounds);
        PlanRequest plan_for;

        assert(!rounds->applying);
        rounds->trouble[0] = '\0';
        int r = rounds_observe(rounds, facts, request->full);
        if (r < 0)
                return r;
        rounds->acting = request->act;
        rounds_annotate(rounds, started);
        rounds_forget_dead(rounds);
        rounds->n_out_of_date = count_out_of_date(rounds->snapshot);
        bool found = plan_request(rounds->snapshot, request->reassign, &plan_for);
        hold_hide(rounds->state, rounds->snapshot);
        plan_make(rounds->topology, rounds->snapshot, &rounds->settings->policy, rounds->history, &plan_for, started,
                  rounds->work, rounds->plan);
        hold_plan(rounds->state, rounds->topology, &rounds->settings->policy, rounds->tidal != TIDAL_NONE,
                  rounds->snapshot, rounds->plan);
        rounds->counters.rounds++;
        rounds->counters.moves_wanted = rounds->plan->n_moves;
        rounds->counters.last_round_ns = rounds_now(rounds) - started;
        histogram_add(&rounds->counters.duration, rounds->counters.last_round_ns);
        rounds_settle_quarrels(rounds);
        if (request->act) {
                hold_note_layers(rounds->state, rounds->snapshot, rounds->plan);
                prefer_values(rounds);
                r = rounds_get_ready(rounds, &plan_for);
                if (r < 0)
                        return r;
        }
        return found ? 0 : 1;
}

int rounds_begin(Rounds *rounds, const FactList *facts, const RoundRequest *request) {
        int r = rounds_begin_unnoted(rounds, facts, request);

        rounds->counters.rounds_failed += r < 0;
        return r;
}

/* The verdict of a VM whose move was not made: what the plan says of it would
 * not be true. */
static void verdict_note_failure(Rounds *rounds, const Move *move) {
        Verdict *verdict = &rounds->plan->verdict[rounds->snapshot->vcpu[move->vcpu].vm];

        verdict->kind = VERDICT_UNPLACEABLE;
        verdict->reason = REASON_WRITE_FAILED;
        if (move->to >= 0 && verdict->n_exclusive > 0)
                verdict->n_exclusive--;
        if (move->from >= 0)
                cpuset_add(&rounds->stuck, (unsigned)move->from);
        rounds->counters.writes_failed++;
}

/* What the state and the snapshot say after a write that left mask behind. */
static void write_note(Rounds *rounds, const Move *move, ThreadState *entry, const CpuSet *mask) {
        Vcpu *vcpu = &rounds->snapshot->vcpu[move->vcpu];

        rounds->counters.mask_union_changes += snapshot_union_changes(rounds->snapshot, move->vcpu, mask);
        vcpu->mask = pool_intern(&rounds->snapshot->pool, mask);
        entry->written = state_intern(rounds->state, mask);
        entry->range_then = set_to_state(rounds, vcpu->range);
        entry->intended = SET_NONE;
        entry->intended_home = -1;
        vcpu->before = set_to_snapshot(rounds, entry->before);
        vcpu->written = vcpu->mask;
        vcpu->range_then = vcpu->range;
}

static void move_done(Rounds *rounds, const Move *move, ThreadState *entry, const CpuSet *mask) {
        write_note(rounds, move, entry, mask);
        entry->home = move->to;
        entry->layered = rounds->plan->verdict[rounds->snapshot->vcpu[move->vcpu].vm].kind == VERDICT_LAYERED;
        entry->held = move_holds(rounds, move);
        rounds->snapshot->vcpu[move->vcpu].home = move->to;
        rounds->counters.done[move->kind]++;
        if (move->kind == MOVE_HOLD)
                rounds->counters.holds_done++;
        else
                rounds->counters.moves_done++;
        if (move->kind == MOVE_REPAIR)
                rounds->counters.drift_repaired++;
        if (move->kind == MOVE_RELEASE)
                state_drop(rounds->state, entry);
}

/* The kernel left another mask than asked for, or none of ours. */
static void move_failed(Rounds *rounds, const Move *move, ThreadState *entry, const CpuSet *mask) {
        verdict_note_failure(rounds, move);
        if (!cpuset_is_empty(mask) && !set_is(mask, pool_get(&rounds->snapshot->pool,
                                                             rounds->snapshot->vcpu[move->vcpu].mask))) {
                write_note(rounds, move, entry, mask);
                entry->held = false;
                return;
        }
        entry->intended = SET_NONE;
        entry->intended_home = -1;
        if (entry->written == SET_NONE)
                entry_let_go(rounds->state, entry);
}

static void rounds_apply_move(Rounds *rounds, const Move *move) {
        const Snapshot *snapshot = rounds->snapshot;
        CpuSet mask = {};
        ThreadRef ref;

        thread_ref(snapshot, move->vcpu, &ref);
        ThreadState *entry = state_find(rounds->state, &ref);
        if (!entry)
                return; /* its first write of this round found it gone */
        if (move->to >= 0 && cpuset_has(&rounds->stuck, (unsigned)move->to)) {
                move_failed(rounds, move, entry, &mask);
                rounds->retry_soon = true;
                return;
        }
        rounds->counters.writes++;
        switch (prefer_write(rounds, move, entry, pool_get(&snapshot->pool, move->mask), &mask)) {
        case WRITE_OK:
                move_done(rounds, move, entry, &mask);
                break;
        case WRITE_STALE:
                state_drop(rounds->state, entry);
                rounds->retry_soon = true;
                break;
        case WRITE_DENIED:
                rounds->denied = true;
                snprintf(rounds->trouble, sizeof(rounds->trouble),
                         "the kernel forbids to change affinities: CAP_SYS_NICE%s is missing",
                         prefer_wanted(rounds, move) ? " or, for preferred_cpuset, CAP_DAC_OVERRIDE" : "");
                move_failed(rounds, move, entry, &mask);
                break;
        case WRITE_RETRY:
                rounds->retry_soon = true;
                if (cpuset_is_empty(&mask)) {
                        /* Written or not: the next look settles it, as after a crash. */
                        verdict_note_failure(rounds, move);
                        break;
                }
                move_failed(rounds, move, entry, &mask);
                break;
        case WRITE_REFUSED:
                move_failed(rounds, move, entry, &mask);
                rounds->retry_soon = true;
                break;
        }
}

/* All writes are done, or given up. */
static void rounds_end(Rounds *rounds) {
        int r;

        rounds->applying = false;
        rounds->counters.rounds_with_moves += rounds->plan->n_moves > 0;
        r = state_save(rounds->state, rounds->state_path);
        if (r < 0)
                snprintf(rounds->trouble, sizeof(rounds->trouble), "can not save %.200s: %s", rounds->state_path,
                         strerror(-r));
}

static void rounds_finish(Rounds *rounds) {
        if (rounds->plan->n_moves > 0)
                history_commit(rounds->history, rounds->snapshot, &rounds->settings->policy, rounds->plan,
                               rounds_now(rounds));
        rounds_end(rounds);
}

/* What stays "intended" is settled by the next round's look. */
void rounds_cancel(Rounds *rounds) {
        if (!rounds->applying)
                return;
        rounds->plan->n_moves = rounds->next_move; /* what is told of this round is what it did */
        rounds_end(rounds);
}

int rounds_hold(Rounds *rounds, const Move *move, uint32_t n) {
        int r;

        assert(!rounds->applying);
        r = rounds_prepare(rounds, move, n);
        if (r < 0)
                return r;
        cpuset_clear(&rounds->stuck);
        for (uint32_t i = 0; i < n; i++)
                rounds_apply_move(rounds, &move[i]);
        r = state_save(rounds->state, rounds->state_path);
        if (r < 0)
                snprintf(rounds->trouble, sizeof(rounds->trouble), "can not save %.200s: %s", rounds->state_path,
                         strerror(-r));
        return 0;
}

bool rounds_apply_some(Rounds *rounds, int64_t budget_ns) {
        int64_t until = rounds_now(rounds) + budget_ns;

        if (!rounds->applying)
                return true;
        do {
                if (rounds->next_move < rounds->plan->n_moves)
                        rounds_apply_move(rounds, &rounds->plan->move[rounds->next_move++]);
                else if (!helpers_apply_next(rounds)) {
                        rounds_finish(rounds);
                        return true;
                }
        } while (rounds_now(rounds) < until);
        return false;
}

/* Copies what is in use; the struct itself is sized by the limits. */
static void snapshot_copy(Snapshot *to, const Snapshot *from) {
        memcpy(to, from, offsetof(Snapshot, vm));
        memcpy(to->vm, from->vm, from->n_vms * sizeof(*to->vm));
        memcpy(to->vcpu, from->vcpu, from->n_vcpus * sizeof(*to->vcpu));
        memcpy(to->helper, from->helper, from->n_helpers * sizeof(*to->helper));
        to->pool.n = from->pool.n;
        memcpy(to->pool.bucket, from->pool.bucket, sizeof(to->pool.bucket));
        memcpy(to->pool.next, from->pool.next, (from->pool.n + 1) * sizeof(*to->pool.next));
        memcpy(to->pool.single, from->pool.single, (from->pool.n + 1) * sizeof(*to->pool.single));
        memcpy(to->pool.set, from->pool.set, (from->pool.n + 1) * sizeof(*to->pool.set));
}

void rounds_trial_begin(Rounds *rounds) {
        snapshot_copy(rounds->trial_snapshot, rounds->snapshot);
        *rounds->trial_history = *rounds->history;
}

void rounds_trial_plan(Rounds *rounds, const PlanRequest *request) {
        hold_hide(rounds->state, rounds->trial_snapshot);
        plan_make(rounds->topology, rounds->trial_snapshot, &rounds->settings->policy, rounds->trial_history, request,
                  rounds_now(rounds), rounds->work, rounds->trial);
        hold_plan(rounds->state, rounds->topology, &rounds->settings->policy, rounds->tidal != TIDAL_NONE,
                  rounds->trial_snapshot, rounds->trial);
}

int rounds_try_reassign(Rounds *rounds, const char *scope) {
        PlanRequest request;

        if (!plan_request(rounds->snapshot, scope, &request))
                return 1;
        rounds_trial_begin(rounds);
        rounds_trial_plan(rounds, &request);
        return 0;
}

/* The last round's snapshot steps aside: its plan is of that one. */
static void rounds_swap_snapshots(Rounds *rounds) {
        Snapshot *other = rounds->trial_snapshot;

        rounds->trial_snapshot = rounds->snapshot;
        rounds->snapshot = other;
}

void rounds_look(Rounds *rounds, const FactList *facts) {
        bool had_view = rounds->have_view;

        rounds_cancel(rounds);
        rounds_swap_snapshots(rounds);
        if (rounds_observe(rounds, facts, false) == 0) {
                rounds->acting = false;
                rounds_annotate(rounds, rounds_now(rounds));
                rounds_forget_dead(rounds);
        }
        rounds_swap_snapshots(rounds);
        rounds->have_view = had_view;
}

/* The mask that undoes us: what was there before while the range is still the
 * same, else the range; all CPUs, which the kernel clips to the thread's own
 * cpuset, when no range is known. */
static void restore_mask(const Rounds *rounds, const ThreadState *entry, CpuSet *ret) {
        const CpuSet *range_before = pool_get(rounds->state->pool, entry->range_before);
        const CpuSet *range = pool_get(rounds->state->pool, entry->range_then);

        if (set_is(range, range_before))
                *ret = *pool_get(rounds->state->pool, entry->before);
        else if (range && !cpuset_is_empty(range))
                *ret = *range;
        else {
                cpuset_clear(ret);
                cpuset_add_range(ret, 0, CPUS_MAX - 1);
        }
}

/* Undoes one thread. False: it could not be undone and is still held. */
static bool rounds_restore_thread(Rounds *rounds, ThreadState *entry) {
        CpuSet mask, found = {};
        WriteStatus status;

        restore_mask(rounds, entry, &mask);
        rounds->counters.writes++;
        status = prefer_restore(rounds, entry, &mask, &found);
        if (status == WRITE_REFUSED || status == WRITE_RETRY) {
                /* The old mask has left the cpuset: let the kernel clip the widest one. */
                cpuset_add_range(&mask, 0, CPUS_MAX - 1);
                rounds->counters.writes++;
                status = rounds->host.ops->write_mask(rounds->host.self, &entry->thread, &mask, &found);
        }
        rounds->denied |= status == WRITE_DENIED;
        return status == WRITE_OK || status == WRITE_STALE || (status == WRITE_REFUSED && !cpuset_is_empty(&found));
}

int rounds_restore(Rounds *rounds, bool keep_homes, unsigned *ret_restored, unsigned *ret_failed) {
        State *state = rounds->state;
        unsigned restored = 0, failed = 0;

        rounds->applying = false;
        prefer_clean(rounds);
        bool values_failed = prefer_values_restore(rounds) < 0;
        for (unsigned i = state->n_threads; i-- > 0;) {
                ThreadState *entry = &state->thread[i];
                if (entry->before != SET_NONE) {
                        if (!rounds_restore_thread(rounds, entry)) {
                                failed++;
                                continue;
                        }
                        restored++;
                }
                entry->way = TIDAL_NONE;
                if (!keep_homes)
                        entry->home = -1;
                entry_let_go(state, entry);
        }
        int r = state_save(state, rounds->state_path);
        if (r < 0)
                log_error("can not save %s: %s", rounds->state_path, strerror(-r));
        *ret_restored = restored;
        *ret_failed = failed + values_failed;
        return r;
}
