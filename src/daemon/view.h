/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The answers of the control interface (data/io.vsched.Daemon.varlink) as
 * JSON, made from the last round. Pure: reads what it is given, writes nothing.
 * Every function returns a new reference, or NULL when memory ran out.
 */

#include <jansson.h>

#include "core/plan.h"

/* The last round, as the daemon keeps it. */
typedef struct View {
        const Topology *topology;
        const Snapshot *snapshot;
        const Policy *policy;
        const Plan *plan;
        /* CPUs that the machine has but that are offline, for the map. */
        const CpuSet *offline;
        bool acting; /* false: observing or paused, the plan is only wanted */
        bool paused;
} View;

/* Index of the VM with that UUID or else name; -1: none. */
int view_find_vm(const View *view, const char *scope);

json_t *view_score(const Score *score);
json_t *view_vm(const View *view, uint32_t vm, bool detail);
json_t *view_moves(const View *view);  /* []Move */
json_t *view_host(const View *view);   /* the parameters of GetHost's reply */
/* The parameters of Explain's reply. credits_milli: what the bucket holds. */
json_t *view_explain(const View *view, uint32_t vm, int64_t credits_milli);
/* []Change: the VMs of which two views differ, or that the later view's plan
 * moves. now and then are in the same order, but for VMs that one of them lacks. */
json_t *view_changes(const View *now, const View *then);
/* VSched's JSON for VM vm, -1 for all: an object by UUID. VMs without a vCPU
 * that owns a CPU are left out. */
json_t *view_affinity(const View *view, int vm);

/* A string value of any bytes: what is not UTF-8 becomes U+FFFD. NULL: no memory. */
json_t *view_text(const char *text);
