/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Holds a plan against the snapshot that it was made for, one step at a time:
 * a loop of rounds would repair a bad plan before anybody saw it.
 */

#include "core/plan.h"
#include "sim/complaint.h"

/*
 * Checks that each move changes something and ends inside the allowed set, that
 * no CPU is owned twice once all moves are made, that the moves end where the
 * targets say, and that each verdict is true. 0; or INPUT_BAD and *ret_why.
 */
int audit_plan(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                 Complaint *ret_why);
