/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Rounds: observe -> plan -> apply, over the host door. A round knows neither
 * sockets nor libvirt's threads: the loop hands it the facts, and gives it the
 * time to apply its writes a slice at a time.
 *
 * The order that makes a crash harmless: the state file names what is about to
 * be written before the first write, and what was written after the last.
 */

#include "core/plan.h"
#include "daemon/settings.h"
#include "daemon/state.h"
#include "platform/host.h"
#include "util/histogram.h"

enum {
        RELATED_DRIFT_S = 60, /* two changes of our mask within this time are a quarrel */
        HOTPLUG_S = 10,       /* but not so soon after CPUs came or went */
        SECOND_READ_S = 2,    /* when the topology is read again after CPUs came or went */
        LOOK_AT_ALL_S = 5,    /* at most so long only what events name is looked at */
};

typedef struct RoundCounters {
        uint64_t rounds, rounds_with_moves;
        uint64_t rounds_failed;   /* nothing could be observed, or the state not be saved */
        uint64_t moves_done, holds_done, writes_failed, drift_repaired, strangers_met;
        uint64_t writes;          /* sched_setaffinity calls that were tried, restores included */
        int64_t last_round_ns;    /* CPU-side duration of the last observe + plan */
        uint64_t helpers_done;       /* masks of threads that are no vCPUs */
        uint64_t mask_union_changes; /* writes that changed the union of a VM's masks */
        uint32_t moves_wanted;    /* of the last plan */
        uint64_t done[MOVE_KINDS]; /* moves and holds, by kind */
        Histogram duration;       /* of observe + plan */
} RoundCounters;

/* What a round is for. */
typedef struct RoundRequest {
        bool act;             /* write; else only decide */
        bool full;            /* take nothing from a cache */
        bool only_events;     /* look at nothing but what the facts tell anew */
        const char *reassign; /* NULL: an ordinary round; "all", or a VM's UUID or name */
} RoundRequest;

typedef struct HelperWrite HelperWrite;

typedef struct Rounds {
        Host host;
        const Settings *settings;
        State *state;
        const char *state_path;
        Topology *topology;
        Snapshot *snapshot; /* of the last round; masks are brought up to date by its writes */
        Plan *plan;         /* of the last round */
        Plan *trial;        /* of plans that are only asked for */
        Snapshot *trial_snapshot;
        History *history, *trial_history;
        PlanWork *work;
        CpuSet online, offline;
        bool have_topology;
        int64_t hotplug_ns;     /* when CPUs last came or went; meaningless before that */
        int64_t looked_at_all_ns; /* when every VM was last looked at; 0: never */
        bool hotplug_seen;      /* in this process's time */
        bool topology_doubtful; /* read while the kernel may have been in the middle of its files */
        bool have_view;     /* snapshot and plan are of a finished observation */
        bool acting;        /* this round writes */
        bool values_settled, values_told[2]; /* see prefer.c */
        bool tlbi_limited;  /* each change of the union of a VM's masks costs a flush */
        TidalWay tidal;     /* how dynamic vCPUs prefer their home; TIDAL_NONE: our controller binds them */
        /* The writes under way: moves next_move .. plan->n_moves. */
        bool applying;
        uint32_t next_move;
        HelperWrite *helper_write; /* after these; see helpers.h. NULL: never any */
        uint32_t n_helper_writes, next_helper_write;
        CpuSet stuck;       /* CPUs that a failed write left occupied */
        bool denied;        /* the kernel has refused a write for want of CAP_SYS_NICE */
        bool retry_soon;    /* something should be looked at again at once */
        uint16_t n_changed_vms, changed_vm[VMS_MAX]; /* masks of theirs were found changed, and were not before */
        uint32_t n_out_of_date; /* vCPUs of which /proc and libvirt's list do not say the same */
        RoundCounters counters;
        char trouble[256];  /* what keeps rounds from working now; "" when nothing does */
} Rounds;

/* settings, state and state_path are borrowed. 0 or -ENOMEM. */
int rounds_new(Host host, const Settings *settings, State *state, const char *state_path, Rounds **ret);
Rounds *rounds_free(Rounds *rounds);

/*
 * Observes, plans, and prepares the writes (saves the state). No round may be
 * applying. Returns 0; 1 when the VM to reassign is not there (the round is then
 * an ordinary one); or -errno, with rounds->trouble saying what failed.
 */
int rounds_begin(Rounds *rounds, const FactList *facts, const RoundRequest *request);

/*
 * Carries out MOVE_HOLD moves between two rounds, with all that belongs to a
 * write: named in the state before, noted after. 0 or -errno when nothing could
 * be written; what became of each is in the snapshot's masks.
 */
int rounds_hold(Rounds *rounds, const Move *move, uint32_t n);

/* Applies writes for about budget_ns; true once all are done and the state is saved. */
bool rounds_apply_some(Rounds *rounds, int64_t budget_ns);

/*
 * Leaves the writes that are still to be done undone, because nothing may be
 * written any more (paused, or mode = observe now): saves the state. What has
 * been written stays; it stands on its own, since a CPU is freed before it is
 * given. Of a round that is not applying: nothing.
 */
void rounds_cancel(Rounds *rounds);

/*
 * A plan on trial, of which nothing remains but trial and trial_snapshot: first
 * these and the history become copies of what the last round saw and left; what
 * the caller then changes in trial_snapshot is planned for.
 */
void rounds_trial_begin(Rounds *rounds);
void rounds_trial_plan(Rounds *rounds, const PlanRequest *request);

/* Plans a reassignment on what the last round saw and leaves no trace but in
 * trial and trial_snapshot. Returns 0; 1 when that VM is not there. */
int rounds_try_reassign(Rounds *rounds, const char *scope);

/*
 * Looks at the host once more, before everything is undone: an operator may have
 * changed a range since the last round. Ends the writes under way; the view of
 * the last round stays. What can not be seen now stays as it was last seen.
 */
void rounds_look(Rounds *rounds, const FactList *facts);

/*
 * Gives every thread that we hold its mask from before us. keep_homes: remember
 * where everything was, for the next start; else forget. Works without libvirt
 * and without any round before. Saves the state: -errno when that failed, else 0.
 */
int rounds_restore(Rounds *rounds, bool keep_homes, unsigned *ret_restored, unsigned *ret_failed);

/* Forgets the cluster level's topology: the next round reads it again. */
void rounds_settings_changed(Rounds *rounds);
