/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * For benches: repeats a placement on the index that the last plan_make left in
 * *work, so that it can be timed alone. The arguments of that plan_make must
 * still be what they were; the plan is not touched.
 */

#include "core/plan.h"

/* Takes a VM off the board; false: the plan did not place it exclusively. */
bool probe_take_off(PlanWork *work, uint32_t vm);
/* Places it as if it had just arrived, without ejecting anybody. */
bool probe_place(PlanWork *work, uint32_t vm);
/* Puts back what the last plan_make had. */
void probe_undo(PlanWork *work);
