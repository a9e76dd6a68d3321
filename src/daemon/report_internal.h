/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is remembered from round to round to tell what is new, and who tells it:
 * report.c in the log, report_events.c as events. */

#include "daemon/report.h"

enum { REPORT_LINE_MAX = 3500, REPORT_BUCKETS = 4096 };

/* What was said of a VM last time. */
typedef struct Said {
        char name[VM_NAME_SIZE];
        char uuid[VM_UUID_SIZE];
        uint64_t start_ticks;
        VerdictKind kind;
        VerdictReason reason;
        WishFault fault;
        uint64_t ranges; /* a hash of its vCPUs' ranges, by vCPU */
        CpuSet range; /* all of them together */
        uint16_t next; /* in its bucket, plus 1; 0: it is the last */
        bool here; /* is in this round, too */
} Said;

struct Report {
        Events *events;
        uint32_t n;
        Said said[VMS_MAX];
        uint16_t bucket[REPORT_BUCKETS]; /* by UUID: an index of said, plus 1 */
        bool seen; /* said is of a round, if only of no VM */
        uint32_t moved[VMS_MAX][MOVE_KINDS]; /* of this round */
        CpuSet online; /* as the last round had it */
        char trouble[256];
        char line[REPORT_LINE_MAX];
        size_t used;
        unsigned n_left_out;
        bool leftovers_told; /* what was there when we came: once */
};

/* First of all: what the round has moved. */
void report_count_moves(Report *report, const Rounds *rounds);
/* The events of one VM; said: NULL when it is new. */
void report_vm_events(const Report *report, const Rounds *rounds, uint32_t v, const Said *said);
void report_vm_went(const Report *report, const Rounds *rounds, const Said *said);
/* CPUs that came or went since the last round. */
void report_cpu_events(Report *report, const Rounds *rounds);

/* What the VM's ranges are together, and a hash of each vCPU's. */
void report_ranges(const Snapshot *snapshot, const Vm *vm, Said *ret);
