/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Small hosts and VMs for the planner's tests. */

#include "core/plan.h"

/* An even host: CPUs numbered in order, SMT siblings adjacent. */
void model_topology(Topology *ret, unsigned nodes, unsigned clusters, unsigned cores, unsigned threads);
/* Clusters of the given sizes (in CPUs, without SMT), 0 ends a node, two 0 end the list. */
void model_topology_uneven(Topology *ret, const unsigned *sizes);

/* Adds a VM whose vCPUs all have that range (CPU list first..last) and run
 * anywhere in it; returns its index. Its UUID is made from serial. */
uint32_t model_add_vm(Snapshot *snapshot, const Topology *topology, unsigned n_vcpus, unsigned first, unsigned last,
                      uint64_t serial);
void model_set_range(Snapshot *snapshot, uint32_t vcpu, unsigned first, unsigned last);
/* The vCPU was pinned to cpu by us. */
void model_seat(Snapshot *snapshot, uint32_t vcpu, unsigned cpu);
SetId model_set(Snapshot *snapshot, unsigned first, unsigned last);
/* Removes a VM; those after it move up. */
void model_remove_vm(Snapshot *snapshot, uint32_t vm);
/* What the plan would make of the snapshot once all is written. */
void model_apply(Snapshot *snapshot, const Plan *plan);

/* Numbers from a seed (splitmix64). */
typedef struct Dice {
        uint64_t state;
} Dice;
uint64_t dice_next(Dice *dice);
unsigned dice_below(Dice *dice, unsigned n);
