/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Other ways to give CPUs to VMs, to compare with: models written from what is
 * documented of them, not the programs themselves.
 */

#include "sim/model.h"
#include "sim/random.h"

typedef enum RivalKind {
        RIVAL_RANDOM,     /* any free CPUs: what an idle-seeking scheduler amounts to */
        RIVAL_FIRST_FIT,  /* the lowest free CPUs */
        RIVAL_BEST_FIT,   /* fewest clusters, smallest hole; never moves anything */
        RIVAL_K8S_UNCORE, /* Kubernetes' static CPU manager, prefer-align-cpus-by-uncorecache */
        RIVAL_NOVA,       /* OpenStack Nova, hw:cpu_policy=dedicated */
        RIVAL_VSCHED,     /* VSched as documented: one node, contiguous runs at the minimum, or unmanaged */
        RIVAL_VSCHED_ANY, /* the same with any free CPUs of a cluster */
} RivalKind;

typedef struct Rival {
        RivalKind kind;
        Random random;
} Rival;

/* One round: the newest VM, then the others that have no CPUs of their own, in
 * order of arrival. destroyed: a VM has just gone. */
void rival_round(Rival *rival, Model *model, bool destroyed);
