/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A helper has no range of its own: what it may use is the mask from before us,
 * and a mask of ours is always a part of that. Whoever narrows a helper later has
 * spoken, and his mask is from then on the one from before us.
 *
 * A thread inherits the mask of the thread that starts it, and QEMU starts workers
 * all the time. Every helper that was there when we first wrote one of its process
 * has an entry in the state, so one without an entry and with less than the
 * emulator's own thread had before us got that from us: it is adopted, with the
 * emulator's mask as the one to go back to.
 */

#include "daemon/helpers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/helpers.h"
#include "daemon/rounds_internal.h"

enum { DRIFT_MAX = 3 }; /* so often in RELATED_DRIFT_S we write against somebody else */

#define SECOND_NS INT64_C(1000000000)

struct HelperWrite {
        uint32_t helper; /* index into the snapshot's helper[] */
        bool release; /* the mask is the one from before us */
        CpuSet mask;
};

static void helper_ref(const Snapshot *snapshot, uint32_t index, ThreadRef *ret) {
        const Helper *helper = &snapshot->helper[index];
        const Vm *vm = &snapshot->vm[helper->vm];

        *ret = (ThreadRef){.pid = vm->pid,
                           .tid = helper->tid,
                           .process_start_ticks = vm->start_ticks,
                           .thread_start_ticks = helper->start_ticks,
                           .number = THREAD_HELPER};
        memcpy(ret->uuid, vm->uuid, sizeof(ret->uuid));
}

static ThreadState *helper_entry(Rounds *rounds, uint32_t index) {
        ThreadRef ref;

        helper_ref(rounds->snapshot, index, &ref);
        return state_find(rounds->state, &ref);
}

static const CpuSet *helper_mask(const Rounds *rounds, uint32_t index) {
        return pool_get(&rounds->snapshot->pool, rounds->snapshot->helper[index].mask);
}

static bool mask_is(const Rounds *rounds, SetId of_state, const CpuSet *mask) {
        const CpuSet *set = pool_get(rounds->state->pool, of_state);

        return set && cpuset_equal(set, mask);
}

/* What counts as the mask from before us; the range is always the same, so that
 * undoing goes back to exactly that. */
static void entry_set_before(ThreadState *entry, SetId before) {
        entry->before = entry->range_before = entry->range_then = before;
}

bool helpers_matter(const Rounds *rounds) {
        const State *state = rounds->state;

        if (rounds->settings->policy.helpers != HELPERS_LEAVE)
                return true;
        for (unsigned i = 0; i < state->n_threads; i++)
                if (state->thread[i].thread.number == THREAD_HELPER)
                        return true;
        return false;
}

/* --- what has become of them --- */

/* A write that may not have happened (we crashed on the way): the mask tells. */
static void entry_settle(Rounds *rounds, ThreadState *entry, const CpuSet *mask) {
        if (mask_is(rounds, entry->intended, mask))
                entry->written = entry->intended;
        entry->intended = SET_NONE;
}

static void entry_note_drift(Rounds *rounds, ThreadState *entry, const CpuSet *mask) {
        int64_t now = rounds->host.ops->now_ns(rounds->host.self);
        SetId theirs;

        if (!state_differs(rounds->state, entry, &rounds->online, mask)) {
                if (now - entry->drift_at_ns > RELATED_DRIFT_S * SECOND_NS)
                        entry->drift = 0;
                return;
        }
        theirs = state_intern(rounds->state, mask);
        if (theirs == SET_NONE)
                return;
        entry_set_before(entry, theirs);
        entry->written = SET_NONE;
        entry->drift_at_ns = now;
        if (entry->drift < UINT8_MAX)
                entry->drift++;
}

static void helper_annotate(Rounds *rounds, uint32_t index, bool hotplug) {
        const Snapshot *snapshot = rounds->snapshot;
        ThreadState *entry = helper_entry(rounds, index);
        const CpuSet *mask = helper_mask(rounds, index);

        if (!entry)
                return;
        entry->seen = true;
        if (!mask)
                return;
        entry_settle(rounds, entry, mask);
        /* What libvirt wrote for an emulatorpin has nothing to do with the mask from before us. */
        if (!hotplug && !snapshot->vm[snapshot->helper[index].vm].emulator_named)
                entry_note_drift(rounds, entry, mask);
}

/* A helper that got its mask from the emulator's own thread, which we hold. */
static void helper_adopt(Rounds *rounds, uint32_t index, const ThreadState *emulator) {
        const CpuSet *mask = helper_mask(rounds, index),
                     *before = pool_get(rounds->state->pool, emulator->before);
        ThreadRef ref;

        if (!mask || cpuset_equal(mask, before) || !cpuset_is_subset(mask, before))
                return;
        helper_ref(rounds->snapshot, index, &ref);
        ThreadState *entry = state_get(rounds->state, &ref);
        SetId written = state_intern(rounds->state, mask);
        if (!entry)
                return; /* no memory: tried again at the next look */
        entry_set_before(entry, emulator->before);
        entry->written = written;
        entry->seen = true;
}

/* Helpers of one VM lie together. */
static uint32_t vm_helpers_end(const Snapshot *snapshot, uint32_t first) {
        uint32_t end = first;

        while (end < snapshot->n_helpers && snapshot->helper[end].vm == snapshot->helper[first].vm)
                end++;
        return end;
}

/* The entry of the emulator's own thread, where we have written that; else false. */
static bool emulator_held(Rounds *rounds, uint32_t first, uint32_t end, ThreadState *ret) {
        for (uint32_t i = first; i < end; i++) {
                const ThreadState *entry =
                        rounds->snapshot->helper[i].kind == HELPER_EMULATOR ? helper_entry(rounds, i) : NULL;

                if (entry && entry->before != SET_NONE && entry->written != SET_NONE) {
                        *ret = *entry;
                        return true;
                }
        }
        return false;
}

void helpers_annotate(Rounds *rounds, bool hotplug) {
        const Snapshot *snapshot = rounds->snapshot;
        ThreadState emulator;

        for (uint32_t first = 0, end; first < snapshot->n_helpers; first = end) {
                end = vm_helpers_end(snapshot, first);
                for (uint32_t i = first; i < end; i++)
                        helper_annotate(rounds, i, hotplug);
                if (!emulator_held(rounds, first, end, &emulator))
                        continue;
                for (uint32_t i = first; i < end; i++)
                        if (!helper_entry(rounds, i))
                                helper_adopt(rounds, i, &emulator);
        }
}

/* --- what is to be written --- */

/* One write, named in the state. 0 or -ENOMEM. */
static int helper_name_write(Rounds *rounds, ThreadState *entry, uint32_t index, const CpuSet *mask,
                             bool release) {
        if (!rounds->helper_write)
                rounds->helper_write = calloc(HELPERS_MAX, sizeof(*rounds->helper_write));
        entry->intended = rounds->helper_write ? state_intern(rounds->state, mask) : SET_NONE;
        if (entry->intended == SET_NONE)
                return -ENOMEM;
        rounds->helper_write[rounds->n_helper_writes++] =
                (HelperWrite){.helper = index, .release = release, .mask = *mask};
        return 0;
}

/* Whether libvirt has written the thread's mask for an operator's pin: nothing of
 * ours is left to be undone. */
static bool pin_is_written(const Rounds *rounds, uint32_t index, const ThreadState *entry,
                           const CpuSet *mask) {
        const Helper *helper = &rounds->snapshot->helper[index];

        return rounds->snapshot->vm[helper->vm].emulator_named &&
               (helper->kind == HELPER_EMULATOR || helper->kind == HELPER_IOTHREAD) &&
               state_differs(rounds->state, entry, &rounds->online, mask);
}

/* Back to the mask from before us. 1, or -ENOMEM. */
static int helper_plan_release(Rounds *rounds, uint32_t index, ThreadState *entry, const CpuSet *mask) {
        if (mask_is(rounds, entry->before, mask) || pin_is_written(rounds, index, entry, mask)) {
                state_drop(rounds->state, entry);
                return 1;
        }
        int r = helper_name_write(rounds, entry, index, pool_get(rounds->state->pool, entry->before), true);
        return r < 0 ? r : 1;
}

/* A helper is noted even where nothing is written: see the essay. */
static ThreadState *helper_claim(Rounds *rounds, uint32_t index, const CpuSet *mask) {
        SetId before = state_intern(rounds->state, mask);
        ThreadState *entry;
        ThreadRef ref;

        helper_ref(rounds->snapshot, index, &ref);
        entry = before == SET_NONE ? NULL : state_get(rounds->state, &ref);
        if (entry)
                entry_set_before(entry, before);
        return entry;
}

/* 1: the state has changed; 0; or -ENOMEM. */
static int helper_plan_place(Rounds *rounds, uint32_t index, const CpuSet *wanted, const CpuSet *mask) {
        ThreadState *entry = helper_entry(rounds, index);
        bool claimed = !entry;
        CpuSet want = *wanted;

        if (claimed && !(entry = helper_claim(rounds, index, mask)))
                return -ENOMEM;
        if (entry->drift >= DRIFT_MAX)
                return 0;
        cpuset_and(&want, pool_get(rounds->state->pool, entry->before));
        if (cpuset_is_empty(&want))
                want = *pool_get(rounds->state->pool, entry->before);
        if (!cpuset_equal(&want, mask)) {
                int r = helper_name_write(rounds, entry, index, &want, false);
                return r < 0 ? r : 1;
        }
        claimed |= entry->written == SET_NONE;
        if (entry->written == SET_NONE)
                entry->written = state_intern(rounds->state, mask);
        return claimed;
}

static int helper_plan(Rounds *rounds, uint32_t index, const CpuSet *wanted) {
        const CpuSet *mask = helper_mask(rounds, index);
        ThreadState *entry;

        if (!mask || rounds->snapshot->helper[index].tid <= 0)
                return 0;
        if (wanted)
                return helper_plan_place(rounds, index, wanted, mask);
        entry = helper_entry(rounds, index);
        return entry ? helper_plan_release(rounds, index, entry, mask) : 0;
}

int helpers_plan(Rounds *rounds) {
        const Snapshot *snapshot = rounds->snapshot;
        const Policy *policy = &rounds->settings->policy;
        CpuSet unowned, cpus;
        int changed = 0;

        rounds->n_helper_writes = rounds->next_helper_write = 0;
        helpers_unowned(rounds->topology, snapshot, policy, rounds->plan, &unowned);
        for (uint32_t first = 0, end; first < snapshot->n_helpers; first = end) {
                end = vm_helpers_end(snapshot, first);
                bool wanted = helpers_cpus(rounds->topology, snapshot, policy, rounds->plan, &unowned,
                                           snapshot->helper[first].vm, &cpus);
                for (uint32_t i = first; i < end; i++) {
                        int r = helper_plan(rounds, i, wanted ? &cpus : NULL);
                        if (r < 0) {
                                rounds->n_helper_writes = 0;
                                return r;
                        }
                        changed += r;
                }
        }
        return changed;
}

bool helpers_masks_hold(const Rounds *rounds) {
        for (uint32_t i = 0; i < rounds->n_helper_writes; i++) {
                const CpuSet *known = helper_mask(rounds, rounds->helper_write[i].helper);
                ThreadRef ref;

                helper_ref(rounds->snapshot, rounds->helper_write[i].helper, &ref);
                if (!rounds_mask_holds(rounds, &ref, known))
                        return false;
        }
        return true;
}

/* Nothing of ours is there, or what was there before this write. */
static void entry_unname(Rounds *rounds, ThreadState *entry) {
        entry->intended = SET_NONE;
        if (entry->written == SET_NONE)
                state_drop(rounds->state, entry);
}

void helpers_drop_writes(Rounds *rounds) {
        for (uint32_t i = 0; i < rounds->n_helper_writes; i++) {
                ThreadState *entry = helper_entry(rounds, rounds->helper_write[i].helper);

                if (entry)
                        entry_unname(rounds, entry);
        }
        rounds->n_helper_writes = 0;
}

/* --- the writes --- */

static void write_failed(Rounds *rounds, ThreadState *entry) {
        rounds->counters.writes_failed++;
        rounds->retry_soon = true;
        entry_unname(rounds, entry);
}

/* The kernel has left another mask than ours: the thread's cpuset is smaller than we
 * knew. Undone is undone; else it is not tried for ever. */
static void write_clipped(Rounds *rounds, const HelperWrite *write, ThreadState *entry, const CpuSet *found) {
        if (write->release) {
                state_drop(rounds->state, entry);
                return;
        }
        rounds->counters.writes_failed++;
        entry->intended = SET_NONE;
        entry->written = state_intern(rounds->state, found);
        entry->drift_at_ns = rounds->host.ops->now_ns(rounds->host.self);
        entry->drift++;
}

static void write_done(Rounds *rounds, const HelperWrite *write, ThreadState *entry) {
        rounds->counters.helpers_done++;
        if (write->release) {
                state_drop(rounds->state, entry);
                return;
        }
        entry->written = entry->intended;
        entry->intended = SET_NONE;
}

static void helper_write(Rounds *rounds, const HelperWrite *write) {
        ThreadState *entry = helper_entry(rounds, write->helper);
        CpuSet found = {};
        WriteStatus status;

        if (!entry)
                return;
        rounds->counters.writes++;
        status = rounds->host.ops->write_mask(rounds->host.self, &entry->thread, &write->mask, &found);
        if (!cpuset_is_empty(&found))
                rounds->snapshot->helper[write->helper].mask = pool_intern(&rounds->snapshot->pool, &found);
        switch (status) {
        case WRITE_OK:
                write_done(rounds, write, entry);
                break;
        case WRITE_STALE:
                state_drop(rounds->state, entry);
                break;
        case WRITE_REFUSED:
                if (cpuset_is_empty(&found))
                        write_failed(rounds, entry);
                else
                        write_clipped(rounds, write, entry, &found);
                break;
        case WRITE_DENIED:
                rounds->denied = true;
                snprintf(rounds->trouble, sizeof(rounds->trouble),
                         "the kernel forbids to change affinities: CAP_SYS_NICE is missing");
                write_failed(rounds, entry);
                break;
        case WRITE_RETRY:
                rounds->counters.writes_failed++;
                rounds->retry_soon = true; /* written or not: the next look settles it */
                break;
        }
}

bool helpers_apply_next(Rounds *rounds) {
        if (rounds->next_helper_write >= rounds->n_helper_writes)
                return false;
        helper_write(rounds, &rounds->helper_write[rounds->next_helper_write++]);
        return true;
}
