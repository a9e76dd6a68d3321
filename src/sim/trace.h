/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Traces and snapshot sets: the workloads that vas-sim replays, as text files.
 *
 *     # topology: numa:4 l3:10 core:8 pu:1
 *     60 create vm0 2 0-319
 *     120 range vm0 0-79
 *     180 destroy vm0
 *
 * Times are in seconds and never run backwards. Other lines that start with #,
 * and empty ones, mean nothing. A snapshot set has, instead, lines `snapshot
 * NAME`, each followed by its VMs, `vm VCPUS CPULIST`.
 */

#include "core/cpuset.h"
#include "sim/complaint.h"

#include <stdint.h>
#include <stdio.h>

typedef enum EventKind {
        EVENT_CREATE,
        EVENT_DESTROY,
        EVENT_RANGE, /* the operator changes a VM's range */
        EVENT_SNAPSHOT, /* a snapshot set's heading: what is alive goes, a new set begins */
} EventKind;

typedef struct Event {
        int64_t time_ns;
        EventKind kind;
        uint32_t vm;     /* index into vm[], or into heading[] */
        SetId range;     /* of the trace's own pool */
        uint32_t line;
} Event;

typedef struct TraceVm {
        char *name;
        uint16_t n_vcpus;
} TraceVm;

typedef struct Trace {
        char *topology; /* as the first line has it; NULL: it has none */
        uint32_t n_events, n_vms, n_headings;
        Event *event;
        TraceVm *vm;    /* one for each create */
        char **heading;
        CpuSetPool ranges;
} Trace;

typedef enum TraceForm { FORM_TRACE, FORM_SNAPSHOTS } TraceForm;

/* Reads a file, "-" for standard input. 0, INPUT_BAD with the file and line
 * in *ret_why, or -errno. */
int trace_load(const char *path, TraceForm form, Trace **ret, Complaint *ret_why);
/* The same from an open file; path only names it in complaints. */
int trace_read(FILE *file, const char *path, TraceForm form, Trace **ret, Complaint *ret_why);
Trace *trace_free(Trace *trace);
static inline void cleanup_trace(Trace **p) {
        trace_free(*p);
}
