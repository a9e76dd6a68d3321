/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Between the plan and the threads: which mask a thread holds for its home.
 *
 * The planner knows homes alone: it gives each vCPU a CPU of its own, whatever
 * the VM's policy. What is held for that home depends on the policy: static,
 * the home itself; dynamic, the home or, while that is too busy, the CPU where
 * the vCPU is away (or, where the kernel does the leaving, all that it may use);
 * cluster, all of its VM's clusters that no static VM owns.
 */

#include "core/plan.h"
#include "daemon/state.h"

/* Before a plan: a thread that holds such a mask of ours is shown to the planner
 * as one that is bound to its home. */
void hold_hide(State *state, Snapshot *snapshot);

/*
 * After it: masks are shown as they are again, the plan's targets and moves
 * become what is to be held, and MOVE_HOLD moves are added for the threads that
 * keep their home and are to hold another mask. prefer: dynamic vCPUs hold their
 * whole allowed set, and their home is what they prefer in it (see prefer.h).
 */
void hold_plan(State *state, const Topology *topology, const Policy *policy, bool prefer, Snapshot *snapshot,
               Plan *plan);

/* Notes for each vCPU that is at its home whether that is its own or one in a
 * layer, so that the next round (or start) knows who owns the CPU. */
void hold_note_layers(State *state, const Snapshot *snapshot, const Plan *plan);

/* The state's entry of a vCPU's thread; NULL: none. */
ThreadState *hold_entry(State *state, const Snapshot *snapshot, uint32_t vcpu);
