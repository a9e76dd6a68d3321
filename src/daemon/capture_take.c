/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Masks of ours that are held for a home are hidden first, as before each plan:
 * then the state file's part of the story is in the snapshot, and whoever reads the
 * capture needs nothing but the planner.
 */

#include "daemon/capture_take.h"

#include <time.h>

#include "daemon/hold.h"
#include "util/cleanup.h"
#include "util/cpulist.h"
#include "wire/capture.h"
#include "wire/names.h"

static void prepare(Rounds *rounds, const uint64_t *key) {
        rounds_trial_begin(rounds);
        hold_hide(rounds->state, rounds->trial_snapshot);
        if (key)
                capture_hash_names(rounds->trial_snapshot, rounds->trial_history, key);
}

static json_t *plan_for(Rounds *rounds, const uint64_t *key, PlanKind kind, int64_t now) {
        prepare(rounds, key);
        plan_make(rounds->topology, rounds->trial_snapshot, &rounds->settings->policy, rounds->trial_history,
                  &(PlanRequest){.kind = kind, .vm = -1}, now, rounds->work, rounds->trial);
        return capture_plan(rounds->trial_snapshot, rounds->trial);
}

json_t *capture_take(Rounds *rounds, const char *xml, const uint64_t *key) {
        AUTO_FREE char *isolated = cpulist_new(&rounds->topology->isolated);
        int64_t now = rounds->host.ops->now_ns(rounds->host.self);
        json_t *json;

        if (!isolated)
                return NULL;
        prepare(rounds, key);
        json = capture_pack(rounds->trial_snapshot, rounds->trial_history, &rounds->settings->policy, now);
        json_t *more = json_pack("{s:i, s:s, s:I, s:I, s:s, s:s, s:s, s:o, s:o}", "vsched_capture",
                                 CAPTURE_FORM, "version", VAS_VERSION, "time", (json_int_t)time(NULL),
                                 "round", (json_int_t)rounds->counters.rounds, "topology_xml", xml,
                                 "cluster_level", level_name(rounds->topology->level), "isolated", isolated,
                                 "plan", plan_for(rounds, key, PLAN_ROUND, now), "reassign",
                                 plan_for(rounds, key, PLAN_REASSIGN, now));
        if (!json || !more || json_object_update(more, json) < 0) {
                json_decref(more);
                more = NULL;
        }
        json_decref(json);
        return more;
}
