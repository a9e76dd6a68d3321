/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Judges the state of a modelled host from outside: it looks only at the masks
 * that the threads have and at the ranges, never at what a planner says of
 * itself, so that every policy is measured by the same rule.
 */

#include "sim/model.h"

typedef struct Judgement {
        uint32_t vms, vcpus;
        uint32_t placed, unplaced;  /* VMs exclusively placed, and not */
        uint32_t above;             /* placed VMs on more clusters than their minimum */
        uint32_t excess, minima;    /* clusters, over placed VMs */
        uint32_t node_excess;       /* nodes, over placed VMs */
        uint32_t shared_cores;      /* cores owned by two VMs */
        uint32_t doubled_cores;     /* cores that carry two vCPUs, be they of one VM or two */
        uint32_t remote_vms;        /* placed VMs with a vCPU off the nodes of their memory */
        uint32_t owned_cpus;
        uint32_t violations;        /* CPUs owned twice or outside the allowed set */
        uint32_t moves, cross_moves; /* since the judgement before */
} Judgement;

typedef struct Judge {
        uint32_t owner[CPUS_MAX];        /* by slot: serial + 1 of the VM that owns it; 0: nobody */
        uint32_t owner_before[CPUS_MAX];
        uint8_t n_owners[CPUS_MAX], n_pinned[CPUS_MAX]; /* vCPUs by slot, counted to 255 */
        uint8_t n_sharing[CPUS_MAX]; /* of these: by policy ready to share it with others */
} Judge;

/* The fewest clusters for the VM, in threads. */
unsigned judge_minimum(Model *model, const Policy *policy, uint32_t vm);

/* Judges the host. threads_regime: by node index, whether threads count (else
 * cores) for a VM's minimum; NULL: threads everywhere. */
void judge_host(Judge *judge, Model *model, const Policy *policy, const uint8_t *threads_regime,
                Judgement *ret);
