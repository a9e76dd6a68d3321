/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What of the host can be checked by anybody, without a daemon: each file is below
 * root ("": the host itself). */

#include <sys/types.h>

#include "core/cpuset.h"

typedef enum RunDelay { RUN_DELAY_ON, RUN_DELAY_OFF, RUN_DELAY_MISSING } RunDelay;

typedef struct Outside {
        bool proc_hidden; /* other users' processes are, in /proc */
        RunDelay run_delay; /* whether the kernel counts for how long threads wait */
        bool has_group; /* the admin group exists */
        bool has_libvirt; /* some libvirt daemon's read-only socket is there */
        CpuSet offline;
} Outside;

void outside_read(const char *root, const char *admin_group, Outside *ret);

/* The id of a local group, from etc/group alone (no name service is asked);
 * (gid_t)-1 when there is none of that name. */
gid_t outside_group(const char *root, const char *name);
