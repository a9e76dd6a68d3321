/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A trace against one policy, one event after the other. */

#include "sim/options.h"
#include "sim/planner.h"
#include "sim/rival.h"
#include "sim/stats.h"
#include "sim/trace.h"

/* Rounds by what the plan did, the costliest thing first. */
typedef enum RoundKind {
        ROUND_DEFRAG,    /* it repaired fragmentation */
        ROUND_MAKE_ROOM, /* it ejected somebody for an arriving VM */
        ROUND_PLACE,     /* it placed an arriving VM, and that was all */
        ROUND_QUIET,     /* nothing of these */
        ROUND_ALL,
        ROUND_KINDS,
} RoundKind;

typedef struct Replay {
        const Trace *trace;
        const Topology *topology;
        const Options *options;
        PolicyKind policy;
        Model *model;
        Planner *planner; /* NULL for a rival */
        Rival rival;
        Judge judge;
        uint8_t no_threads[NODES_MAX];
        uint32_t next;          /* event */
        int64_t last_ns;
        Judgement *series;      /* after each event */
        Stats stats;
        Latency latency[ROUND_KINDS];
} Replay;

int replay_new(const Trace *trace, const Topology *topology, const Options *options, PolicyKind policy,
               Replay **ret);
Replay *replay_free(Replay *replay);
static inline void cleanup_replay(Replay **p) {
        replay_free(*p);
}
/* The next event of the trace, and the round it causes. 0 or -errno. */
int replay_step(Replay *replay);
bool replay_is_done(const Replay *replay);

/* How one snapshot of a set came out. */
typedef struct SnapshotResult {
        const char *name;
        uint32_t vms, excess, unplaced, violations;
} SnapshotResult;

/* Places the next snapshot of a set from scratch; 1: there is none left. */
int replay_snapshot(Replay *replay, SnapshotResult *ret);
