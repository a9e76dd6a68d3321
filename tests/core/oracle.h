/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Judges one plan by what it does to the snapshot that it was made for. It
 * shares no code with the planner beyond vcpu_allowed and CpuSet.
 */

#include "core/plan.h"

enum { ORACLE_WHY_SIZE = 256 };

/* The rules of layers alone: who shares with whom, how evenly, how high. 0, or 1 and why. */
int oracle_layers(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                  char ret_why[ORACLE_WHY_SIZE]);

/*
 * Checks ranges, capacity (during the moves in their order and after them),
 * that what must not be touched is not, and every verdict. snapshot is the one
 * that the plan was made for, after plan_make. Returns 0; or 1 and why.
 */
int oracle_check(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                 char ret_why[ORACLE_WHY_SIZE]);

/*
 * The same, and: applies the plan to snapshot, commits history, plans again
 * and checks that nothing moves but for a strict gain. work and again are scratch.
 */
int oracle_step(const Topology *topology, Snapshot *snapshot, const Policy *policy, History *history,
                const Plan *plan, int64_t now_ns, PlanWork *work, Plan *again, char ret_why[ORACLE_WHY_SIZE]);
