/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * On a kernel that has preferred sets of CPUs (see platform/tidal.h): a dynamic
 * vCPU's thread may run wherever it is allowed to, and prefers its home. The
 * kernel does the leaving and the returning.
 *
 * A preferred set is ours where the thread's entry in the state says by which
 * way it was written. What was preferred before us comes back when the mask does.
 * It is named in the state before it is cleared, and the entry is kept until it is
 * back, also where the mask never became ours.
 */

#include "daemon/rounds.h"

/* Whether that write is to leave a preference behind. */
bool prefer_wanted(const Rounds *rounds, const Move *move);

/* Some dynamic vCPU's thread, of the last round or from before a restart. */
bool prefer_example(const Rounds *rounds, ThreadRef *ret);

/* Notes what the entry's thread prefers now, if the preference is ours. */
void prefer_look(const Rounds *rounds, ThreadState *entry);

/* Before the state is saved: the way of the coming write, and what is preferred
 * before it. 0 or -ENOMEM. */
int prefer_name(const Rounds *rounds, const Move *move, ThreadState *entry);

/* The write of a move: the mask, with the preference that belongs to it. */
WriteStatus prefer_write(Rounds *rounds, const Move *move, ThreadState *entry, const CpuSet *mask,
                         CpuSet *ret_mask);

/* The write that undoes us. */
WriteStatus prefer_restore(Rounds *rounds, ThreadState *entry, const CpuSet *mask, CpuSet *ret_mask);

/* Whether something was preferred before us, and may have to be given back. */
bool prefer_owes(const ThreadState *entry);

/*
 * Of threads whose masks we do not hold (any more): takes our preference from
 * those whose mask has become their operator's, and gives back what was preferred
 * before us where the mask was never written (we crashed after the clearing, or
 * the write failed). After the coming writes were named: who is bound in this
 * round keeps what is owed to it.
 */
void prefer_clean(Rounds *rounds);

/*
 * The host-wide threshold and switch: as the settings want them, which is not at
 * all while nobody is dynamic or util-source = leave. What was before is in the
 * state. A value that another program has changed since is left, and told of once.
 */
void prefer_values(Rounds *rounds);
/* They become what they were before us, as far as they are still ours. 0 or -errno. */
int prefer_values_restore(Rounds *rounds);
