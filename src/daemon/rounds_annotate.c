/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Between the look and the plan: state says which of the masks that were seen
 * are ours, who changed them since, and whose they were before.
 */

#include <errno.h>
#include <string.h>

#include "daemon/helpers.h"
#include "daemon/prefer.h"
#include "daemon/rounds_internal.h"

#define SECOND_NS INT64_C(1000000000)

void vcpu_thread_ref(const Snapshot *snapshot, uint32_t index, ThreadRef *ret) {
        const Vcpu *vcpu = &snapshot->vcpu[index];
        const Vm *vm = &snapshot->vm[vcpu->vm];

        *ret = (ThreadRef){.pid = vm->pid,
                           .tid = vcpu->tid,
                           .process_start_ticks = vm->start_ticks,
                           .thread_start_ticks = vcpu->start_ticks,
                           .number = vcpu->number};
        memcpy(ret->uuid, vm->uuid, sizeof(ret->uuid));
}

SetId rounds_set_to_snapshot(Rounds *rounds, SetId id) {
        return id == SET_NONE ? SET_NONE : pool_intern(&rounds->snapshot->pool, pool_get(rounds->state->pool, id));
}

SetId rounds_set_to_state(Rounds *rounds, SetId id) {
        return id == SET_NONE ? SET_NONE : state_intern(rounds->state, pool_get(&rounds->snapshot->pool, id));
}

bool set_is(const CpuSet *a, const CpuSet *b) {
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
bool entry_let_go(State *state, ThreadState *entry) {
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
        entry->range_then = entry->before == SET_NONE ? SET_NONE : rounds_set_to_state(rounds, snapshot_range);
        return held;
}

/* Its operator has spoken: a back-off from somebody else's writes is over. */
static void rounds_forget_quarrel(Rounds *rounds, const Vm *vm) {
        History *history = rounds->history;

        for (uint32_t i = 0; i < history->n_vms; i++)
                if (history->vm[i].start_ticks == vm->start_ticks && strcmp(history->vm[i].uuid, vm->uuid) == 0)
                        history->vm[i].contested_until_ns = 0;
}

static void rounds_note_changed(Rounds *rounds, uint16_t vm) {
        if (rounds->n_changed_vms == 0 || rounds->changed_vm[rounds->n_changed_vms - 1] != vm)
                rounds->changed_vm[rounds->n_changed_vms++] = vm;
}

/* Each change counts once, however many looks it takes until we can put our mask back. */
static void entry_count_drift(Rounds *rounds, ThreadState *entry, uint16_t vm, bool drifted, int64_t now) {
        if (!drifted) {
                entry->drift_counted = false;
                if (now - entry->drift_at_ns > RELATED_DRIFT_S * SECOND_NS)
                        entry->drift = 0;
        } else if (rounds_hotplug_is_recent(rounds, now, HOTPLUG_S))
                entry->drift = 0;
        else if (rounds->acting && !entry->drift_counted) {
                if (entry->drift < UINT8_MAX)
                        entry->drift++;
                entry->drift_counted = true;
                entry->drift_at_ns = now;
                rounds_note_changed(rounds, vm);
        }
}

/* What is left of the mask that we wrote: the kernel leaves offline CPUs out. */
static SetId entry_written_online(Rounds *rounds, const ThreadState *entry) {
        CpuSet written;

        if (entry->written == SET_NONE)
                return SET_NONE;
        written = *pool_get(rounds->state->pool, entry->written);
        cpuset_and(&written, &rounds->online);
        return cpuset_is_empty(&written) ? rounds_set_to_snapshot(rounds, entry->written)
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
        vcpu_thread_ref(snapshot, index, &ref);
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
        entry_count_drift(rounds, entry, vcpu->vm, drifted, now);
        entry->seen = true;
        vcpu->home = entry->home;
        vcpu->layered = entry->layered;
        vcpu->drift = drifted ? entry->drift : 0;
        vcpu->range_then = rounds_set_to_snapshot(rounds, entry->range_then);
        vcpu->written = entry_written_online(rounds, entry);
        vcpu->before = rounds_set_to_snapshot(rounds, entry->before);
        if (entry->before != SET_NONE && vcpu->range != SET_NONE &&
            !set_is(pool_get(&snapshot->pool, vcpu->range), pool_get(rounds->state->pool, entry->range_before)))
                vcpu->before = vcpu->range; /* the old mask is not what its operator wants now */
}

void rounds_annotate(Rounds *rounds, int64_t now) {
        Snapshot *snapshot = rounds->snapshot;

        snapshot->fresh = rounds->online;
        cpuset_subtract(&snapshot->fresh, &rounds->state->cpus_seen);
        for (uint32_t i = 0; i < snapshot->n_vms; i++) {
                Vm *vm = &snapshot->vm[i];
                vm->wish.fault = settings_vm_policy(rounds->settings, vm->name, &vm->wish, &vm->policy);
        }
        rounds->n_changed_vms = 0;
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++)
                vcpu_annotate(rounds, i, now);
        helpers_annotate(rounds, rounds_hotplug_is_recent(rounds, now, HOTPLUG_S));
}

/* Forgets threads that have ended. A thread that merely is not in this
 * snapshot (libvirt may be in trouble) is kept. */
void rounds_forget_dead(Rounds *rounds) {
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
uint32_t snapshot_out_of_date(const Snapshot *snapshot) {
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
void rounds_settle_quarrels(Rounds *rounds) {
        const Snapshot *snapshot = rounds->snapshot;

        for (uint32_t v = 0; v < snapshot->n_vms; v++) {
                if (rounds->plan->verdict[v].kind != VERDICT_CONTESTED)
                        continue;
                const Vm *vm = &snapshot->vm[v];
                for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                        ThreadRef ref;
                        vcpu_thread_ref(snapshot, i, &ref);
                        ThreadState *entry = state_find(rounds->state, &ref);
                        if (entry) {
                                entry->drift = 0;
                                entry->drift_counted = false;
                        }
                }
        }
}
