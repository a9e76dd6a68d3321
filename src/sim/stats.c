/* SPDX-License-Identifier: Apache-2.0 */

#include "sim/stats.h"

#include <errno.h>
#include <stdlib.h>

int latency_add(Latency *latency, int64_t ns) {
        if (latency->n == latency->room) {
                uint32_t room = latency->room ? latency->room * 2 : 1024;
                uint32_t *grown = reallocarray(latency->ns, room, sizeof(*grown));
                if (!grown)
                        return -ENOMEM;
                latency->ns = grown;
                latency->room = room;
        }
        latency->ns[latency->n++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
        return 0;
}

void latency_deinit(Latency *latency) {
        free(latency->ns);
        *latency = (Latency){};
}

static int compare_ns(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return (x > y) - (x < y);
}

uint32_t latency_permille(Latency *latency, unsigned permille) {
        if (latency->n == 0)
                return 0;
        qsort(latency->ns, latency->n, sizeof(latency->ns[0]), compare_ns);
        return latency->ns[(uint64_t)(latency->n - 1) * permille / 1000];
}

void stats_add(Stats *stats, const Judgement *judgement, bool counted) {
        stats->violations += judgement->violations;
        if (!counted)
                return;
        stats->events++;
        stats->vms += judgement->vms;
        stats->vcpus += judgement->vcpus;
        stats->placed += judgement->placed;
        stats->unplaced += judgement->unplaced;
        stats->above += judgement->above;
        stats->excess += judgement->excess;
        stats->minima += judgement->minima;
        stats->node_excess += judgement->node_excess;
        stats->shared_cores += judgement->shared_cores;
        stats->doubled_cores += judgement->doubled_cores;
        stats->remote_vms += judgement->remote_vms;
        stats->owned_cpus += judgement->owned_cpus;
        stats->moves += judgement->moves;
        stats->cross_moves += judgement->cross_moves;
        if (judgement->vms > 0)
                stats->above_ratio += (double)judgement->above / judgement->vms;
}

static double ratio(double part, double whole) {
        return whole > 0 ? part / whole : 0;
}

void stats_figures(const Stats *stats, const Topology *topology, Figures *ret) {
        double events = (double)stats->events;

        *ret = (Figures){
                .events = stats->events,
                .violations = stats->violations,
                .vms = ratio((double)stats->vms, events),
                .excess_pct = 100 * ratio((double)stats->excess, (double)stats->minima),
                .above_min_pct = 100 * ratio(stats->above_ratio, events),
                .unplaced = ratio((double)stats->unplaced, events),
                .node_excess = ratio((double)stats->node_excess, events),
                .moves_per_event = ratio((double)stats->moves, events),
                .cross_node_moves_per_event = ratio((double)stats->cross_moves, events),
                .shared_cores = ratio((double)stats->shared_cores, events),
                .doubled_cores = ratio((double)stats->doubled_cores, events),
                .remote_vms = ratio((double)stats->remote_vms, events),
                .occupancy_pct = 100 * ratio((double)stats->vcpus, events * topology->n_cpus),
        };
        ret->bad_pct = ret->above_min_pct + 100 * ratio((double)stats->unplaced, (double)stats->vms);
}
