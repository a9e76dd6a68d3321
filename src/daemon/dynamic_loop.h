/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The dynamic binding of the running service: four times a second, while some
 * VM is dynamic, samples go into core/dynamic and its changes are written.
 * Nobody dynamic: no timer, no open file.
 */

#include "core/dynamic.h"
#include "daemon/rounds.h"

typedef struct Dynamic Dynamic;

typedef struct DynamicCounters {
        uint64_t passes, left, moved_on, returned, failed;
        uint32_t vcpus, away; /* now */
        int64_t last_pass_ns; /* duration of the last pass, writes included */
} DynamicCounters;

/* rounds and settings are borrowed. 0 or -ENOMEM. */
int dynamic_new(Rounds *rounds, const Settings *settings, Dynamic **ret);
Dynamic *dynamic_free(Dynamic *dynamic);

/*
 * After a round is done: follows the vCPUs of dynamic VMs that have a home, and
 * nobody when acting is false. What is remembered of a thread stays. Returns
 * the number of vCPUs followed, or -errno.
 */
int dynamic_sync(Dynamic *dynamic, bool acting);

/* One pass; nothing when there was a round since dynamic_sync(). No round may be
 * applying. 0 or -errno. */
int dynamic_pass(Dynamic *dynamic);

const DynamicCounters *dynamic_counters(const Dynamic *dynamic);
