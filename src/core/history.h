/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the planner remembers from round to round: the bucket of move credits,
 * each VM's cool-down and back-off, and each node's SMT regime. All else is
 * observed anew. A VM is known by UUID and process start time.
 */

#include "core/snapshot.h"

typedef struct VmHistory {
        char uuid[VM_UUID_SIZE];
        uint64_t start_ticks;
        int64_t cool_until_ns;      /* defrag leaves it alone until then */
        int64_t contested_until_ns; /* nothing of it is written until then */
} VmHistory;

typedef struct History {
        int64_t credits_milli;
        int64_t accrued_at_ns;  /* when credits by time were last added */
        bool started;           /* false before the first round */
        uint32_t n_vms;
        VmHistory vm[VMS_MAX];
        uint8_t threads_regime[NODES_MAX]; /* by node index: 1 = vCPUs share cores */
} History;

void history_clear(History *history);
