/* SPDX-License-Identifier: Apache-2.0 */

/*
 * After the plan: state names the masks that will be written and is saved, the
 * writes are made a slice at a time, and state is saved with what was written.
 * So whatever ends the daemon in between, the next one knows each mask of ours.
 */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/helpers.h"
#include "daemon/prefer.h"
#include "daemon/rounds_internal.h"

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
                vcpu_thread_ref(snapshot, move->vcpu, &ref);
                ThreadState *entry = state_get(rounds->state, &ref);
                if (!entry)
                        return -ENOMEM;
                if (prefer_name(rounds, move, entry) < 0)
                        return -ENOMEM;
                if (entry->before == SET_NONE) {
                        entry->before = rounds_set_to_state(rounds, vcpu->mask);
                        entry->range_before = rounds_set_to_state(rounds, vcpu->range);
                        entry->range_then = entry->range_before;
                }
                entry->intended = rounds_set_to_state(rounds, move->mask);
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
int rounds_claim(Rounds *rounds, uint32_t vm) {
        const Vm *v = &rounds->snapshot->vm[vm];
        int n = 0;

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                Vcpu *vcpu = &rounds->snapshot->vcpu[i];
                const Target *target = &rounds->plan->target[i];
                ThreadRef ref;

                if (vcpu->mask == SET_NONE || vcpu->mask != target->mask || vcpu->mask == vcpu->range ||
                    vcpu->before != SET_NONE)
                        continue;
                vcpu_thread_ref(rounds->snapshot, i, &ref);
                ThreadState *entry = state_get(rounds->state, &ref);
                if (!entry)
                        return -ENOMEM;
                entry->before = entry->written = rounds_set_to_state(rounds, vcpu->mask);
                entry->range_before = entry->range_then = rounds_set_to_state(rounds, vcpu->range);
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

int rounds_prepare(Rounds *rounds, const Move *moves, uint32_t n) {
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
        entry->drift_counted = false;
        entry->range_then = rounds_set_to_state(rounds, vcpu->range);
        entry->intended = SET_NONE;
        entry->intended_home = -1;
        vcpu->before = rounds_set_to_snapshot(rounds, entry->before);
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

        vcpu_thread_ref(snapshot, move->vcpu, &ref);
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
                entry->drift_counted = false; /* written, and written over at once? */
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
