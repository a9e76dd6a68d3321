/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The one path on which anything is ever written while the daemon runs:
 *
 *   observe       the host door fills the snapshot from libvirt's facts and /proc
 *   annotate      state says which masks are ours, settings say what is wanted (rounds_annotate.c)
 *   plan          core/ decides
 *   prepare       state names the masks that will be written, and is saved
 *   apply         the writes, a slice at a time, each checked before and after
 *   finish        state says what was written, and is saved (these three: rounds_write.c)
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
#include "daemon/rounds_internal.h"
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

int64_t rounds_now(const Rounds *rounds) {
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

bool rounds_hotplug_is_recent(const Rounds *rounds, int64_t now, int within_s) {
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
        bool doubtful = rounds->topology_doubtful && !rounds_hotplug_is_recent(rounds, now, SECOND_READ_S);
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

bool rounds_mask_holds(const Rounds *rounds, const ThreadRef *thread, const CpuSet *known) {
        CpuSet mask;
        int r = rounds->host.ops->read_mask(rounds->host.self, thread, &mask);

        return r == -ESRCH || (r == 0 && set_is(known, &mask));
}

/* Whether the threads that are to be written still have the masks that the plan was made
 * from, where these are of an earlier look. */
static bool rounds_masks_hold(const Rounds *rounds) {
        const Snapshot *snapshot = rounds->snapshot;

        for (uint32_t m = 0; m < rounds->plan->n_moves; m++) {
                uint32_t vcpu = rounds->plan->move[m].vcpu;
                ThreadRef ref;

                vcpu_thread_ref(snapshot, vcpu, &ref);
                if (!rounds_mask_holds(rounds, &ref, pool_get(&snapshot->pool, snapshot->vcpu[vcpu].mask)))
                        return false;
        }
        return helpers_masks_hold(rounds);
}

/* Makes what was planned ready to be applied. 0 or -errno: nothing is moved. */
static int rounds_get_ready(Rounds *rounds, const PlanRequest *request, bool news) {
        int claimed = request->kind == PLAN_REASSIGN && request->vm >= 0
                              ? rounds_claim(rounds, (uint32_t)request->vm)
                              : 0;
        int helpers = claimed < 0 ? 0 : helpers_plan(rounds);
        int r = claimed < 0 ? claimed : helpers < 0 ? helpers : 0;

        if (r == 0 && news && !rounds_masks_hold(rounds)) {
                rounds->plan->n_moves = 0;
                helpers_drop_writes(rounds);
                rounds->retry_soon = true;
                helpers = 0;
        }
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

static int rounds_observe(Rounds *rounds, const FactList *facts, Look look) {
        int r = rounds_refresh_topology(rounds);

        if (r == 0)
                r = state_compact(rounds->state);
        if (look == LOOK_NEWS && rounds->topology_doubtful) /* the kernel may have changed any mask */
                look = LOOK_VCPUS;
        if (r == 0)
                r = rounds->host.ops->observe(rounds->host.self, facts, rounds->topology, look, rounds->snapshot);
        rounds->have_view = r == 0;
        if (r < 0 && !rounds->trouble[0])
                snprintf(rounds->trouble, sizeof(rounds->trouble), "can not observe the host: %s", strerror(-r));
        return r;
}

/* Events do not keep us from looking at all as often as by default. Helpers' masks are
 * nobody's business but where they are, or were, written. */
static Look how_closely(const Rounds *rounds, const RoundRequest *request, int64_t now) {
        if (request->full)
                return LOOK_FULL;
        if (request->only_events && !request->reassign && now - rounds->looked_at_all_ns < LOOK_AT_ALL_S * SECOND_NS)
                return LOOK_NEWS;
        return helpers_matter(rounds) ? LOOK_HELPERS : LOOK_VCPUS;
}

static int rounds_begin_unnoted(Rounds *rounds, const FactList *facts, const RoundRequest *request) {
        int64_t started = rounds_now(rounds);
        PlanRequest plan_for;

        assert(!rounds->applying);
        rounds->trouble[0] = '\0';
        Look look = how_closely(rounds, request, started);
        int r = rounds_observe(rounds, facts, look);
        if (r < 0)
                return r;
        if (look != LOOK_NEWS)
                rounds->looked_at_all_ns = started;
        rounds->acting = request->act;
        rounds_annotate(rounds, started);
        rounds_forget_dead(rounds);
        rounds->n_out_of_date = snapshot_out_of_date(rounds->snapshot);
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
                r = rounds_get_ready(rounds, &plan_for, look == LOOK_NEWS);
                if (r < 0)
                        return r;
        }
        return found ? 0 : 1;
}

int rounds_begin(Rounds *rounds, const FactList *facts, const RoundRequest *request) {
        int r = rounds_begin_unnoted(rounds, facts, request);

        rounds->counters.rounds_failed += r < 0;
        if (r < 0 && !rounds->trouble[0])
                snprintf(rounds->trouble, sizeof(rounds->trouble), "%s", strerror(-r));
        return r;
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
        if (rounds_observe(rounds, facts, LOOK_HELPERS) == 0) {
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
