/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the rival policies share: a host as taken and free slots. */

#include "sim/rival.h"

typedef struct Board {
        const Topology *topology;
        bool taken[CPUS_MAX]; /* by slot */
} Board;

/* A VM that wants CPUs, and those that it has got so far. */
typedef struct Want {
        unsigned n;             /* vCPUs */
        unsigned n_got;
        bool allowed[CPUS_MAX]; /* by slot */
        uint16_t slot[VM_VCPUS_MAX];
} Want;

bool board_is_free(const Board *board, const Want *want, unsigned slot);
void board_take(Board *board, Want *want, unsigned slot);
/* Gives back all that the VM has got. */
void want_undo(Board *board, Want *want);
unsigned board_free(const Board *board, const Want *want, unsigned first, unsigned n);
/* Takes the lowest free slots of an interval, at most until the VM has enough. */
void board_take_from(Board *board, Want *want, unsigned first, unsigned n);

/* Each takes all n CPUs and returns true, or none and false. */
bool take_best_fit(Board *board, Want *want);
bool take_k8s_uncore(Board *board, Want *want);
bool take_nova(Board *board, Want *want);
bool take_vsched(Board *board, Want *want, bool contiguous);
/* VSched's defragmentation when a VM has gone: empties one cluster, if all of
 * its pieces fit into fuller clusters of the node. */
void vsched_compact(Board *board, Model *model, bool contiguous);
/* What a VM may use, by slot. */
void want_init(const Model *model, uint32_t vm, Want *ret);
