/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What would happen if: the daemon's own planner, on a copy of what the last
 * round saw in which a VM has come, one has gone, or the host's policy is
 * another one. Nothing of the daemon's changes.
 */

#include "daemon/rounds.h"

/* The name that the VM that does not exist yet goes by. */
#define WHATIF_NAME "(new)"

typedef struct WhatIf {
        unsigned add_vcpus; /* 0: no VM comes */
        const char *range; /* where it may run: a list of CPUs or "nodeN"; NULL: everywhere */
        const char *remove; /* UUID or name; NULL: no VM goes */
        const char *reassign; /* "all", a UUID or a name; NULL: an ordinary round */
        bool has_sched;
        SchedPolicy sched; /* the host's policy */
} WhatIf;

typedef enum WhatIfEnd {
        WHATIF_PLANNED,
        WHATIF_NO_REMOVE, /* no such VM */
        WHATIF_NO_REASSIGN, /* no such VM */
        WHATIF_REFUSED, /* ret_why says so in one line */
} WhatIfEnd;

enum { WHATIF_WHY_SIZE = 256 };

/* The plan is in rounds->trial, what it is for in rounds->trial_snapshot, and
 * *ret_before is the score of the host as it is, both untouched on failure but
 * for the trial. There must be a view. */
WhatIfEnd whatif_plan(Rounds *rounds, const WhatIf *what, Score *ret_before, char ret_why[WHATIF_WHY_SIZE]);
