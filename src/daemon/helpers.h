/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A round's part for the VMs' helpers (emulator, I/O and vhost threads), where
 * emulator-threads asks for it. They are written after the vCPUs of the round, and
 * named in the state like these, so that a stop, recover or the start after a crash
 * undo them in the same way.
 */

#include "daemon/rounds.h"

/* Whether any helper is, or is to be, written: else their masks are not looked at. */
bool helpers_matter(const Rounds *rounds);

/* Notes what has become of helpers that we hold; hotplug: CPUs came or went just now,
 * and the kernel may have widened masks. */
void helpers_annotate(Rounds *rounds, bool hotplug);

/* Decides the writes and names them in the state, which is to be saved before the
 * first of them. How many entries of the state that changed; or -ENOMEM. */
int helpers_plan(Rounds *rounds);

/* Whether the helpers that are to be written still have the masks of the snapshot. */
bool helpers_masks_hold(const Rounds *rounds);

/* Takes back what was planned, and that it was ours to write: nothing of it is written. */
void helpers_drop_writes(Rounds *rounds);

/* Makes the next write; false: there is none left. */
bool helpers_apply_next(Rounds *rounds);
