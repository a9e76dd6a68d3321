/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/prefer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/log.h"

bool prefer_wanted(const Rounds *rounds, const Move *move) {
        const Snapshot *snapshot = rounds->snapshot;

        return rounds->tidal != TIDAL_NONE && move->to >= 0 &&
               snapshot->vm[snapshot->vcpu[move->vcpu].vm].policy.sched == SCHED_DYNAMIC &&
               cpuset_single(pool_get(&snapshot->pool, move->mask)) < 0;
}

bool prefer_example(const Rounds *rounds, ThreadRef *ret) {
        const Snapshot *snapshot = rounds->snapshot;

        for (uint32_t i = 0; rounds->have_view && i < snapshot->n_vcpus; i++) {
                const Vcpu *vcpu = &snapshot->vcpu[i];
                const Vm *vm = &snapshot->vm[vcpu->vm];

                if (vm->policy.sched != SCHED_DYNAMIC || vcpu->tid <= 0)
                        continue;
                *ret = (ThreadRef){.pid = vm->pid,
                                   .tid = vcpu->tid,
                                   .process_start_ticks = vm->start_ticks,
                                   .thread_start_ticks = vcpu->start_ticks,
                                   .number = vcpu->number};
                memcpy(ret->uuid, vm->uuid, sizeof(ret->uuid));
                return true;
        }
        for (unsigned i = 0; i < rounds->state->n_threads; i++)
                if (rounds->state->thread[i].way != TIDAL_NONE) {
                        *ret = rounds->state->thread[i].thread;
                        return true;
                }
        return false;
}

void prefer_look(const Rounds *rounds, ThreadState *entry) {
        const TidalOps *tidal = rounds->host.ops->tidal;
        CpuSet set;

        if (entry->way == TIDAL_NONE || !tidal)
                return;
        entry->prefers = -1;
        if (tidal->read_preferred(rounds->host.self, &entry->thread, entry->way, &set) == 0 &&
            !cpuset_is_empty(&set)) {
                int cpu = cpuset_single(&set);

                entry->prefers = cpu >= 0 ? (int16_t)cpu : (int16_t)-2;
        }
}

int prefer_name(const Rounds *rounds, const Move *move, ThreadState *entry) {
        CpuSet set;

        if (!prefer_wanted(rounds, move) || entry->way != TIDAL_NONE)
                return 0;
        entry->preferred_before = SET_NONE;
        if (rounds->host.ops->tidal->read_preferred(rounds->host.self, &entry->thread, rounds->tidal, &set) ==
                    0 &&
            !cpuset_is_empty(&set)) {
                entry->preferred_before = state_intern(rounds->state, &set);
                if (entry->preferred_before == SET_NONE)
                        return -ENOMEM;
        }
        entry->way = rounds->tidal;
        return 0;
}

/* A mask without a preference. The mask is the greater good: it is written also
 * when the preference may not be. */
static WriteStatus write_plain(Rounds *rounds, ThreadState *entry, const CpuSet *mask, CpuSet *ret_mask) {
        const HostOps *ops = rounds->host.ops;
        WriteStatus released = WRITE_OK, status;

        if (entry->way != TIDAL_NONE && ops->tidal)
                released = ops->tidal->release(rounds->host.self, &entry->thread, entry->way);
        if (released == WRITE_OK)
                entry->prefers = -1;
        status = ops->write_mask(rounds->host.self, &entry->thread, mask, ret_mask);
        /* A group's file that has gone has taken the preference with it. */
        return status == WRITE_OK && released != WRITE_STALE ? released : status;
}

WriteStatus prefer_write(Rounds *rounds, const Move *move, ThreadState *entry, const CpuSet *mask,
                         CpuSet *ret_mask) {
        CpuSet home = {};
        WriteStatus status;

        if (move->kind == MOVE_RELEASE)
                return prefer_restore(rounds, entry, mask, ret_mask);
        if (!prefer_wanted(rounds, move))
                return write_plain(rounds, entry, mask, ret_mask);
        cpuset_add(&home, (unsigned)move->to);
        status = rounds->host.ops->tidal->bind(rounds->host.self, &entry->thread, entry->way, mask, &home,
                                               ret_mask);
        if (status == WRITE_OK)
                entry->prefers = move->to;
        return status;
}

WriteStatus prefer_restore(Rounds *rounds, ThreadState *entry, const CpuSet *mask, CpuSet *ret_mask) {
        const CpuSet *preferred = pool_get(rounds->state->pool, entry->preferred_before);
        const TidalOps *tidal = rounds->host.ops->tidal;

        if (entry->way == TIDAL_NONE || !preferred || !tidal)
                return write_plain(rounds, entry, mask, ret_mask);
        return tidal->bind(rounds->host.self, &entry->thread, entry->way, mask, preferred, ret_mask);
}

static bool wants_values(const TidalValues *values) {
        return values->threshold >= 0 || values->task_group >= 0;
}

/* What the settings want of the host-wide values. */
static TidalValues values_wanted(const Rounds *rounds) {
        const Settings *settings = rounds->settings;

        if (rounds->tidal == TIDAL_NONE || settings->util_source == UTIL_LEAVE ||
            !settings_want_dynamic(settings))
                return (TidalValues){.threshold = -1, .task_group = -1};
        return (TidalValues){
                .threshold = settings_named(settings, SET_UTIL_THRESH) ? (int)settings->util_thresh : -1,
                .task_group = settings->util_source == UTIL_TASKGROUP};
}

/* One of the values on its way: what is wanted of it, what it is, and the state's
 * notes of it. */
typedef struct Value {
        const char *name;
        int wanted, now;
        int *before, *written;
        bool *told, settled;
} Value;

/* What to write; -1: nothing. The state's notes are then those of after the write. */
static int value_decide(const Value *value) {
        bool ours = *value->before >= 0, as_written = value->now == *value->written;
        /* Named and not written: we crashed on the way. */
        bool unwritten = !value->settled && value->now == *value->before;
        int before = *value->before;

        if (ours && !as_written && !unwritten) {
                if (!*value->told)
                        log_warning("another program has set %s to %d (ours: %d): it is left so", value->name,
                                    value->now, *value->written);
                *value->told = true;
                if (value->wanted < 0)
                        *value->before = *value->written = -1;
                return -1;
        }
        *value->told = false;
        if (value->wanted < 0) {
                *value->before = *value->written = -1;
                return ours && as_written ? before : -1;
        }
        if (value->now < 0)
                return -1;
        if (!ours)
                *value->before = value->now;
        *value->written = value->wanted;
        return value->wanted != value->now ? value->wanted : -1;
}

/* Makes the host-wide values what is wanted. The state names a change before it
 * is made, and forgets it after it was taken back. */
static int values_sync(Rounds *rounds, const TidalValues *wanted) {
        const TidalOps *tidal = rounds->host.ops->tidal;
        State *state = rounds->state;
        TidalValues now, change, before = state->values_before, written = state->values_written;
        int r = 0;

        if (!tidal || (!wants_values(wanted) && !wants_values(&before)))
                return 0;
        tidal->read_values(rounds->host.self, &now);
        change.threshold = value_decide(&(Value){"sched_util_low_pct", wanted->threshold, now.threshold,
                                                 &before.threshold, &written.threshold,
                                                 &rounds->values_told[0], rounds->values_settled});
        change.task_group = value_decide(&(Value){"DA_UTIL_TASKGROUP", wanted->task_group, now.task_group,
                                                  &before.task_group, &written.task_group,
                                                  &rounds->values_told[1], rounds->values_settled});
        if (wants_values(wanted)) {
                state->values_before = before;
                state->values_written = written;
                if (wants_values(&change))
                        r = state_save(state, rounds->state_path);
        }
        if (r == 0 && wants_values(&change))
                r = tidal->write_values(rounds->host.self, &change);
        if (r < 0) {
                rounds->values_settled = false;
                return r;
        }
        rounds->values_settled = true;
        if (memcmp(&before, &state->values_before, sizeof(before)) == 0 &&
            memcmp(&written, &state->values_written, sizeof(written)) == 0)
                return 0;
        state->values_before = before;
        state->values_written = written;
        return state_save(state, rounds->state_path);
}

void prefer_values(Rounds *rounds) {
        TidalValues wanted = values_wanted(rounds);
        int r = values_sync(rounds, &wanted);

        if (r < 0)
                snprintf(rounds->trouble, sizeof(rounds->trouble),
                         "can not set sched_util_low_pct and DA_UTIL_TASKGROUP: %s%s", strerror(-r),
                         r == -EACCES || r == -EPERM ? "; CAP_DAC_OVERRIDE is missing" : "");
}

int prefer_values_restore(Rounds *rounds) {
        TidalValues none = {.threshold = -1, .task_group = -1};
        int r = values_sync(rounds, &none);

        if (r < 0)
                log_error("can not restore sched_util_low_pct and DA_UTIL_TASKGROUP: %s", strerror(-r));
        return r;
}

bool prefer_owes(const ThreadState *entry) {
        return entry->way != TIDAL_NONE && entry->preferred_before != SET_NONE;
}

/* What was preferred before us is preferred again, unless something is. */
static WriteStatus give_back(const Rounds *rounds, const ThreadState *entry) {
        const HostOps *ops = rounds->host.ops;
        CpuSet now, mask;
        int r = ops->tidal->read_preferred(rounds->host.self, &entry->thread, entry->way, &now);

        if (r == 0 && !cpuset_is_empty(&now))
                return WRITE_OK;
        if (r == 0)
                r = ops->read_mask(rounds->host.self, &entry->thread, &mask);
        if (r < 0)
                return r == -ESRCH || r == -ENOENT ? WRITE_STALE : WRITE_RETRY;
        return ops->tidal->bind(rounds->host.self, &entry->thread, entry->way, &mask,
                                pool_get(rounds->state->pool, entry->preferred_before), &mask);
}

void prefer_clean(Rounds *rounds) {
        const TidalOps *tidal = rounds->host.ops->tidal;

        for (unsigned i = tidal ? rounds->state->n_threads : 0; i-- > 0;) {
                ThreadState *entry = &rounds->state->thread[i];
                WriteStatus status;

                if (entry->way == TIDAL_NONE || entry->before != SET_NONE)
                        continue;
                status = prefer_owes(entry) ? give_back(rounds, entry)
                                            : tidal->release(rounds->host.self, &entry->thread, entry->way);
                if (status != WRITE_OK && status != WRITE_STALE)
                        continue;
                entry->way = TIDAL_NONE;
                entry->preferred_before = SET_NONE;
                if (entry->home < 0)
                        state_drop(rounds->state, entry);
        }
}
