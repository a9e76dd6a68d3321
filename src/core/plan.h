/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The planner: Snapshot + Topology + Policy + History + now -> Plan.
 *
 * It is a pure function of its arguments: no clock, no allocation, no I/O, and
 * it can not fail. A VM that can not be helped gets a verdict that says so.
 */

#include "core/history.h"
#include "core/policy.h"
#include "core/snapshot.h"
#include "core/topology.h"

typedef enum VerdictKind {
        VERDICT_PLACED,      /* every vCPU has its own CPU (others may live there in layers), on the fewest clusters */
        VERDICT_SPREAD,      /* every vCPU has its own CPU, on more clusters or nodes than the minimum */
        VERDICT_SHARED,      /* not exclusively placed: runs on what nobody owns, or its whole range; or its pins share CPUs */
        VERDICT_LAYERED,     /* not exclusively placed: every vCPU has a home on a CPU that it shares, in some layer */
        VERDICT_PINNED,      /* its operator pinned every vCPU to one CPU */
        VERDICT_FOREIGN,     /* some thread was narrowed by somebody else before us */
        VERDICT_EXCLUDED,    /* configuration says: not managed */
        VERDICT_UNPLACEABLE, /* no legal CPU for some vCPU */
        VERDICT_CONTESTED,   /* somebody else keeps changing its masks: we back off */
        VERDICT_UNSEEN,      /* libvirt knows it, but its threads can not be seen */
        VERDICT_KINDS,
} VerdictKind;

typedef enum VerdictReason {
        REASON_NONE,
        REASON_FULL,            /* fewer free CPUs in its range than vCPUs */
        REASON_BLOCKED,         /* CPUs would do, but their owners may not move */
        REASON_NO_CREDITS,      /* an improvement is known and waits for credits */
        REASON_COOL_DOWN,       /* an improvement is known and waits for a cool-down */
        REASON_FRAGMENTED,      /* no improvement found within the search limits */
        REASON_MEMORY,          /* its memory or devices hold it on a node */
        REASON_RANGE_EMPTY,     /* range, cpuset, online and skip-cpuset leave nothing */
        REASON_RANGE_TOO_SMALL, /* more vCPUs than CPUs in its whole range */
        REASON_RANGE_NOT_NODES, /* range-affinity=false and the range is not whole nodes */
        REASON_CONFIGURED,      /* manage=no; or manage=observe: judged where it stands */
        REASON_STARTING,
        REASON_NO_PID,
        REASON_NO_PROCESS,
        REASON_HIDDEN,
        REASON_STRANGER,
        REASON_NO_THREADS,
        REASON_LIMIT,           /* past a documented limit */
        REASON_WRITE_FAILED,    /* the kernel refused our last write */
        REASONS,
} VerdictReason;

typedef struct Verdict {
        VerdictKind kind;
        VerdictReason reason;
        uint16_t clusters, min_clusters; /* spanned after the plan; fewest its own range allows */
        uint16_t nodes, min_nodes;
        uint16_t n_exclusive;  /* vCPUs that own their CPU after the plan: layer 0 */
        uint16_t layer;        /* the highest layer of its vCPUs */
        uint16_t n_pinned;     /* vCPUs pinned by the operator */
        uint16_t n_foreign;    /* vCPUs narrowed by somebody else */
        uint16_t cpus_twice;   /* CPUs that two of its own or another VM's pins share */
        uint16_t doubled_cores; /* cores that carry two vCPUs which are no guest siblings */
        bool remote_memory;    /* runs off the node that holds most of its memory */
        int32_t blocker;       /* index of a VM that stands in the way; -1: none known */
} Verdict;

/* Where a vCPU is meant to be after the plan. */
typedef struct Target {
        int16_t cpu; /* OS number of its own CPU, or where it lives in a layer; -1: neither */
        uint8_t layer; /* so many vCPUs have that CPU before it, its owner first */
        SetId mask;  /* mask to hold; SET_NONE: leave the thread alone */
} Target;

typedef enum MoveKind {
        MOVE_PLACE,     /* first placement */
        MOVE_REPAIR,    /* somebody changed our mask: put it back */
        MOVE_YIELD,     /* the range changed, or an operator pinned another vCPU here */
        MOVE_MAKE_ROOM, /* lets an arriving VM in */
        MOVE_DEFRAG,    /* fewer nodes or clusters */
        MOVE_SMT,       /* fewer strangers on one core */
        MOVE_SHARE,     /* a SHARED VM's mask grew or shrank; a LAYERED VM's home is another one */
        MOVE_RELEASE,   /* no longer managed: back to the range */
        MOVE_HOLD,      /* the same CPU is its own, but its policy holds another mask (see hold.h) */
        MOVE_KINDS,
} MoveKind;

/* One mask to write. Moves are in the order in which they must be applied. */
typedef struct Move {
        uint32_t vcpu;   /* index into the snapshot's vcpu[] */
        MoveKind kind;
        int16_t from, to; /* OS numbers of CPUs owned before and after; -1: none */
        SetId mask;      /* what to write */
} Move;

/* Lower is better, compared member by member from the top. */
typedef struct Score {
        uint32_t unplaced;        /* managed VMs that are not exclusively placed */
        uint32_t excess_nodes;
        uint32_t excess_clusters;
        uint32_t shared_cores;    /* cores that carry vCPUs of two VMs */
} Score;

typedef struct Plan {
        Score before, after;
        int64_t credits_spent_milli;
        uint32_t n_moves;
        Move move[2 * VCPUS_MAX]; /* a cycle may need a vCPU written twice */
        Verdict verdict[VMS_MAX]; /* by VM */
        Target target[VCPUS_MAX]; /* by vCPU */
        CpuSet owned;             /* CPUs that one vCPU owns after the plan, or where some live in layers */
        uint32_t demand_vcpus;    /* vCPUs that want a CPU, all managed VMs */
        uint32_t supply_cpus;     /* CPUs that some managed VM may use */
} Plan;

typedef enum PlanKind {
        PLAN_ROUND,    /* an ordinary round */
        PLAN_REASSIGN, /* best reachable score, unlimited credits, no cool-down */
} PlanKind;

typedef struct PlanRequest {
        PlanKind kind;
        int32_t vm; /* PLAN_REASSIGN: this VM only, -1 for all. It takes its FOREIGN threads over. */
} PlanRequest;

/* The planner's scratch memory; its content means nothing between calls. */
typedef struct PlanWork PlanWork;
size_t plan_work_size(void); /* bytes; align as malloc does */

/*
 * Decides a round. now_ns is any monotonic clock in nanoseconds. History is
 * brought forward to now (credits accrue, VMs that have gone are forgotten);
 * what the moves cost is taken out by history_commit, once they are applied.
 */
void plan_make(const Topology *topology, Snapshot *snapshot, const Policy *policy,
               History *history, const PlanRequest *request, int64_t now_ns,
               PlanWork *work, Plan *ret);

/* Takes a plan's credits and starts the cool-downs of what it moved. */
void history_commit(History *history, const Snapshot *snapshot, const Policy *policy,
                    const Plan *plan, int64_t now_ns);

/* The allowed set of a vCPU: range AND cpuset AND online, minus skip-cpuset,
 * minus isolated CPUs where the operator named no range. May be empty. */
void vcpu_allowed(const Topology *topology, const Snapshot *snapshot, const Policy *policy,
                  uint32_t vcpu, CpuSet *ret);

/* <0, 0, >0 as a is better than, equal to, worse than b. */
int score_compare(const Score *a, const Score *b);
