/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* vas-sim's command line, checked and as plain values. */

#include "core/plan.h"
#include "sim/complaint.h"
#include "sim/generate.h"

typedef enum Mode {
        MODE_HELP,
        MODE_VERSION,
        MODE_TRACE,
        MODE_SNAPSHOTS,
        MODE_CAPTURE,
        MODE_GENERATE,
} Mode;

typedef enum PolicyKind {
        POLICY_PLANNER, /* ours */
        POLICY_RANDOM,
        POLICY_FIRST_FIT,
        POLICY_BEST_FIT,
        POLICY_K8S_UNCORE,
        POLICY_NOVA,
        POLICY_VSCHED,
        POLICY_VSCHED_ANY,
        POLICY_KINDS,
} PolicyKind;

const char *policy_name(PolicyKind policy);

/* How often things go wrong, per million. */
typedef struct FaultRates {
        uint32_t writes; /* of writes: the kernel refuses */
        uint32_t deaths; /* of rounds: a VM dies after the plan was made */
        uint32_t ranges; /* of rounds: a VM's range changes after the plan was made */
} FaultRates;

typedef struct Options {
        Mode mode;
        const char *topology; /* NULL: the trace's own */
        const char *file;     /* trace, snapshot set or capture */
        const char *reassign; /* of a capture: "all", a UUID or a name; NULL: an ordinary round */
        ClusterLevel level;
        PolicyKind policy[POLICY_KINDS];
        unsigned n_policies;
        Smt smt;
        Layout layout;
        SchedPolicy sched;
        uint8_t overcommit_layers;
        int32_t budget_milli;
        int32_t cool_down_s;
        bool first_touch;
        bool ticks, json, watch;
        const char *svg;
        FaultRates faults;
        Mix mix;
        double occupancy_pct;
        uint32_t n_events;
        uint64_t seed;
} Options;

/* 0, or INPUT_BAD and *ret_why. */
int options_parse(int argc, char **argv, Options *ret, Complaint *ret_why);
extern const char options_help[];
