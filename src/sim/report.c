/* SPDX-License-Identifier: Apache-2.0 */

#include "sim/report.h"

#include "util/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>

void report_row(Replay *replay, bool heading, FILE *file) {
        Figures f;

        stats_figures(&replay->stats, replay->topology, &f);
        if (heading) {
                fprintf(file, "%u clusters on %u nodes, %u CPUs; %.1f VMs on average, %.1f %% of the CPUs\n\n",
                        replay->topology->n_clusters, replay->topology->n_nodes, replay->topology->n_cpus, f.vms,
                        f.occupancy_pct);
                fprintf(file, "%-11s %9s %9s %8s %8s %7s %8s %8s %7s %9s\n", "policy", "excess %", "above %",
                        "unplaced", "bad %", "nodes", "moves/ev", "crossing", "shared", "plan p99");
        }
        fprintf(file, "%-11s %9.2f %9.2f %8.2f %8.2f %7.3f %8.3f %8.3f %7.2f", policy_name(replay->policy),
                f.excess_pct, f.above_min_pct, f.unplaced, f.bad_pct, f.node_excess, f.moves_per_event,
                f.cross_node_moves_per_event, f.shared_cores);
        if (replay->planner)
                fprintf(file, " %6.0f us\n", latency_permille(&replay->latency[TIME_PLAN], 990) / 1000.0);
        else
                fprintf(file, " %9s\n", "-");
}

static double mean(double sum, double n) {
        return n > 0 ? sum / n : 0;
}

/* Of the VMs with homes: how many clusters they span beyond their minima. */
static double layers_excess_pct(const LayerStats *layers) {
        double excess = (double)layers->clusters - (double)layers->minima;

        return 100 * mean(excess, (double)layers->minima);
}

static double home_moves(const Replay *replay) {
        return mean((double)replay->planner->home_moves, replay->next);
}

static void report_layers(const Replay *replay, FILE *file) {
        const LayerStats *l = &replay->layers;
        double events = (double)l->events;

        fprintf(file,
                "layers: %.2f vCPUs on a CPU on average, at most %u; most less fewest %.2f on average, uneven vCPUs "
                "%.3f\n"
                "        %.1f VMs share, %.2f have no home; clusters above the minima %.2f %%; %.3f homes moved an event\n",
                mean((double)l->heads, (double)l->cpus), l->highest, mean((double)l->spread, events),
                mean((double)l->uneven, events), mean((double)l->layered, events), mean((double)l->homeless, events),
                layers_excess_pct(l), home_moves(replay));
}

void report_notes(Replay *replay, FILE *file) {
        const Planner *planner = replay->planner;

        if (replay->stats.violations > 0)
                fprintf(file, "%s: %" PRIu64 " VIOLATIONS: CPUs owned twice or outside the allowed set\n",
                        policy_name(replay->policy), replay->stats.violations);
        if (!planner)
                return;
        if (replay->layers.events > 0)
                report_layers(replay, file);
        if (planner->findings.bad_plans > 0)
                fprintf(file, "planner: %" PRIu64 " BAD PLANS, the first: %s\n", planner->findings.bad_plans,
                        planner->findings.first.text);
        if (planner->findings.overlaps > 0)
                fprintf(file, "planner: %" PRIu64 " moves onto a CPU that was still owned\n", planner->findings.overlaps);
        if (planner->writes_failed + planner->deaths + planner->range_changes > 0)
                fprintf(file,
                        "faults: %" PRIu64 " of %" PRIu64 " writes refused, %" PRIu64 " VMs died and %" PRIu64
                        " ranges changed between plan and application, %" PRIu64 " moves were put off\n",
                        planner->writes_failed, planner->writes, planner->deaths, planner->range_changes,
                        planner->put_off);
}

/* Sets a member; an allocation that failed is noticed when all is dumped. */
static void put(json_t *object, bool *failed, const char *key, json_t *value) {
        if (json_object_set_new(object, key, value) < 0)
                *failed = true;
}

static double rounded(double value) {
        return (double)(int64_t)(value * 1e6 + 0.5) / 1e6;
}

static void put_latency(json_t *object, bool *failed, Latency *latency, const char *p50, const char *p99) {
        put(object, failed, p50, json_integer(latency_permille(latency, 500)));
        put(object, failed, p99, json_integer(latency_permille(latency, 990)));
}

/* The most memory that this program has had resident, in KiB; 0: not known.
 * (getrusage would count what the program's parent had.) */
static long peak_kib(void) {
        AUTO_FCLOSE FILE *file = fopen("/proc/self/status", "re");
        char line[256];
        long kib = 0;

        while (file && fgets(line, sizeof(line), file))
                if (sscanf(line, "VmHWM: %ld", &kib) == 1)
                        break;
        return kib;
}

static void put_layers(json_t *object, bool *failed, const Replay *replay) {
        const LayerStats *l = &replay->layers;
        double events = (double)l->events;

        put(object, failed, "layers_mean", json_real(rounded(mean((double)l->heads, (double)l->cpus))));
        put(object, failed, "layers_max", json_integer(l->highest));
        put(object, failed, "layers_spread", json_real(rounded(mean((double)l->spread, events))));
        put(object, failed, "uneven_vcpus", json_real(rounded(mean((double)l->uneven, events))));
        put(object, failed, "sharing_vms", json_real(rounded(mean((double)l->layered, events))));
        put(object, failed, "homeless_vms", json_real(rounded(mean((double)l->homeless, events))));
        put(object, failed, "home_excess_pct", json_real(rounded(layers_excess_pct(l))));
        put(object, failed, "home_moves_per_event", json_real(rounded(home_moves(replay))));
}

static json_t *figures_json(Replay *replay, bool *failed) {
        json_t *object = json_object();
        Latency *latency = replay->latency;
        Figures f;

        stats_figures(&replay->stats, replay->topology, &f);
        put(object, failed, "policy", json_string(policy_name(replay->policy)));
        put(object, failed, "events", json_integer((json_int_t)f.events));
        put(object, failed, "vms", json_real(rounded(f.vms)));
        put(object, failed, "excess_pct", json_real(rounded(f.excess_pct)));
        put(object, failed, "above_min_pct", json_real(rounded(f.above_min_pct)));
        put(object, failed, "unplaced", json_real(rounded(f.unplaced)));
        put(object, failed, "bad_pct", json_real(rounded(f.bad_pct)));
        put(object, failed, "node_excess", json_real(rounded(f.node_excess)));
        put(object, failed, "moves_per_event", json_real(rounded(f.moves_per_event)));
        put(object, failed, "cross_node_moves_per_event", json_real(rounded(f.cross_node_moves_per_event)));
        put(object, failed, "shared_cores", json_real(rounded(f.shared_cores)));
        put(object, failed, "doubled_cores", json_real(rounded(f.doubled_cores)));
        put(object, failed, "remote_vms", json_real(rounded(f.remote_vms)));
        put(object, failed, "occupancy_pct", json_real(rounded(f.occupancy_pct)));
        put(object, failed, "violations", json_integer((json_int_t)f.violations));
        if (replay->planner) {
                put(object, failed, "bad_plans", json_integer((json_int_t)replay->planner->findings.bad_plans));
                put(object, failed, "overlaps", json_integer((json_int_t)replay->planner->findings.overlaps));
                put(object, failed, "union_changes_per_event",
                    json_real(rounded(mean((double)replay->planner->union_changes, replay->next))));
        }
        if (replay->layers.events > 0)
                put_layers(object, failed, replay);
        put(object, failed, "peak_kib", json_integer(peak_kib()));
        put_latency(object, failed, &latency[TIME_PLACE], "place_p50_ns", "place_p99_ns");
        put_latency(object, failed, &latency[TIME_MAKE_ROOM], "make_room_p50_ns", "make_room_p99_ns");
        put_latency(object, failed, &latency[TIME_DEFRAG], "defrag_p50_ns", "defrag_p99_ns");
        put_latency(object, failed, &latency[TIME_PLAN], "plan_p50_ns", "plan_p99_ns");
        return object;
}

static int dump(json_t *value, bool failed, FILE *file) {
        int r = failed || !value || json_dumpf(value, file, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) < 0 ? -ENOMEM : 0;

        json_decref(value);
        if (r == 0)
                fputc('\n', file);
        return r;
}

int report_json(Replay *const *replay, unsigned n, FILE *file) {
        bool failed = false;

        if (n == 1) {
                json_t *object = figures_json(replay[0], &failed);
                return dump(object, failed, file);
        }
        json_t *array = json_array();
        for (unsigned i = 0; i < n; i++)
                if (json_array_append_new(array, figures_json(replay[i], &failed)) < 0)
                        failed = true;
        return dump(array, failed, file);
}

void report_snapshot_row(const SnapshotResult *result, bool heading, FILE *file) {
        if (heading)
                fprintf(file, "%-12s %6s %7s %9s %11s\n", "snapshot", "VMs", "excess", "unplaced", "violations");
        fprintf(file, "%-12s %6u %7u %9u %11u\n", result->name, result->vms, result->excess, result->unplaced,
                result->violations);
}

int report_snapshots_json(const SnapshotResult *result, unsigned n, FILE *file) {
        json_t *array = json_array();
        bool failed = false;

        for (unsigned i = 0; i < n; i++) {
                json_t *object = json_object();
                put(object, &failed, "snapshot", json_string(result[i].name));
                put(object, &failed, "vms", json_integer(result[i].vms));
                put(object, &failed, "excess", json_integer(result[i].excess));
                put(object, &failed, "unplaced", json_integer(result[i].unplaced));
                put(object, &failed, "violations", json_integer(result[i].violations));
                if (json_array_append_new(array, object) < 0)
                        failed = true;
        }
        return dump(array, failed, file);
}
