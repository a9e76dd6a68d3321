/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How a modelled host shares its CPUs, where VMs may (dynamic and cluster):
 * judged from homes, ranges and policies alone, like judge.h.
 */

#include "core/plan.h"
#include "sim/complaint.h"
#include "sim/model.h"

/* Sums over the events that count; a mean is the sum divided by events. */
typedef struct LayerStats {
        uint64_t events;
        uint64_t heads, cpus;       /* vCPUs with a home, and CPUs that are open to them */
        uint64_t spread;            /* the most heads on an open CPU less the fewest */
        uint64_t uneven;            /* vCPUs that could live on a CPU with at least two heads less */
        uint64_t layered, homeless; /* VMs that share some CPU; VMs without homes */
        uint64_t clusters, minima;  /* of the VMs with homes */
        uint32_t highest;           /* heads on one CPU, ever */
} LayerStats;

/* Adds what the host is like now. */
void layers_add(LayerStats *stats, Model *model, const Policy *policy);

/* Whether vCPUs on each CPU may be there together, by policy and number; and
 * whether the plan's layers are numbered and even. 0, or INPUT_BAD and *ret_why. */
int layers_audit(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                 Complaint *ret_why);
