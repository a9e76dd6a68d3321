/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A trace against one policy, one event after the other. */

#include "sim/options.h"
#include "sim/layers.h"
#include "sim/planner.h"
#include "sim/rival.h"
#include "sim/stats.h"
#include "sim/trace.h"

/* What is timed. Rounds are told apart by the costliest thing in them. */
typedef enum TimeKind {
        TIME_DEFRAG,    /* a round that repaired fragmentation */
        TIME_MAKE_ROOM, /* a round that ejected somebody for an arriving VM */
        TIME_PLACE,     /* one placement of an arriving VM, alone */
        TIME_PLAN,      /* any round */
        TIME_KINDS,
} TimeKind;

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
        LayerStats layers; /* only where CPUs may be shared */
        Latency latency[TIME_KINDS];
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
