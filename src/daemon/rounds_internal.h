/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the rounds share. */

#include "daemon/rounds.h"

int64_t rounds_now(const Rounds *rounds);

/* Whether CPUs came or went within so many seconds. */
bool rounds_hotplug_is_recent(const Rounds *rounds, int64_t now, int within_s);

/* Who a vCPU of the snapshot is. */
void vcpu_thread_ref(const Snapshot *snapshot, uint32_t index, ThreadRef *ret);

/* The same set, in the other's pool. */
SetId rounds_set_to_snapshot(Rounds *rounds, SetId id);
SetId rounds_set_to_state(Rounds *rounds, SetId id);
bool set_is(const CpuSet *a, const CpuSet *b);

/* Whether the thread has that mask still; true also of one that has ended, which a write
 * finds out. False where that can not be known. */
bool rounds_mask_holds(const Rounds *rounds, const ThreadRef *thread, const CpuSet *known);

/* Drops an entry that holds nothing any more; whether it did. */
bool entry_let_go(State *state, ThreadState *entry);

void rounds_annotate(Rounds *rounds, int64_t now);
void rounds_forget_dead(Rounds *rounds);
uint32_t snapshot_out_of_date(const Snapshot *snapshot);
void rounds_settle_quarrels(Rounds *rounds);

/* Names what will be written in the state, and saves that. 0 or -errno: nothing is named. */
int rounds_prepare(Rounds *rounds, const Move *moves, uint32_t n);
int rounds_claim(Rounds *rounds, uint32_t vm);
