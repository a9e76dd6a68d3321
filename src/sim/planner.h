/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The daemon's planner over a modelled host: observe, plan, apply, remember,
 * with faults on demand between the plan and its application.
 */

#include "sim/complaint.h"
#include "sim/model.h"
#include "sim/options.h"
#include "sim/random.h"

/* What is wrong with plans. All must stay 0. */
typedef struct PlanFindings {
        uint64_t bad_plans; /* see audit.h */
        uint64_t overlaps;  /* moves onto a CPU that somebody still owned, no fault being to blame */
        Complaint first;    /* of the first bad plan */
} PlanFindings;

typedef struct Planner {
        Model *model;
        Policy policy;
        FaultRates faults;
        Random random;
        bool check;       /* audit each plan */
        History *history;
        Plan *plan;
        PlanWork *work;
        PlanFindings findings;
        uint64_t writes, writes_failed, deaths, range_changes;
        uint64_t union_changes; /* writes that changed the union of a VM's masks */
        uint64_t home_moves; /* writes that took a vCPU from one home to another */
        uint64_t put_off; /* moves that waited for a round, since a fault broke their chain */
} Planner;

int planner_new(Model *model, const Policy *policy, Planner **ret);
Planner *planner_free(Planner *planner);
/* What a round cost on this machine. */
typedef struct RoundTime {
        int64_t plan_ns;  /* processor time of the whole plan */
        int64_t place_ns; /* of placing the newest VM once more on the finished index; -1: not placed */
} RoundTime;

void planner_round(Planner *planner, const PlanRequest *request, int64_t now_ns, RoundTime *ret_time);
