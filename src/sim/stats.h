/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A replay's figures, summed up event by event, and what is printed of them. */

#include "sim/judge.h"

/* Nanoseconds by kind of round. */
typedef struct Latency {
        uint32_t n, room;
        uint32_t *ns;
} Latency;

int latency_add(Latency *latency, int64_t ns); /* 0 or -ENOMEM */
void latency_deinit(Latency *latency);
/* The value that so many permille of the samples do not exceed; 0: no samples.
 * Sorts the samples. */
uint32_t latency_permille(Latency *latency, unsigned permille);

typedef struct Stats {
        uint64_t events;
        uint64_t vms, placed, unplaced, above, excess, minima, node_excess;
        uint64_t shared_cores, doubled_cores, remote_vms, owned_cpus, vcpus;
        uint64_t moves, cross_moves;
        uint64_t violations; /* of all events, the first ones too */
        double above_ratio;  /* sum over events of above / vms */
} Stats;

/* counted: false for the fill, of which only violations count. */
void stats_add(Stats *stats, const Judgement *judgement, bool counted);

typedef struct Figures {
        uint64_t events, violations;
        double vms, excess_pct, above_min_pct, unplaced, bad_pct, node_excess;
        double moves_per_event, cross_node_moves_per_event;
        double shared_cores, doubled_cores, remote_vms, occupancy_pct;
} Figures;

void stats_figures(const Stats *stats, const Topology *topology, Figures *ret);
