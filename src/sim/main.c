/* SPDX-License-Identifier: Apache-2.0 */

/* vas-sim: replays traces and snapshots through the planner, and writes traces. */

#include "sim/capture.h"
#include "sim/host_spec.h"
#include "sim/options.h"
#include "sim/progress.h"
#include "sim/report.h"
#include "sim/svg.h"
#include "sim/watch.h"
#include "util/cleanup.h"

#include <errno.h>
#include <string.h>

enum { EXIT_FAILED = 1, EXIT_BAD_INPUT = 2 };

/* Reads what is to be replayed, and the host that it is replayed on. */
static int load_input(const Options *options, Trace **ret_trace, Topology *ret_topology, Complaint *ret_why) {
        TraceForm form = options->mode == MODE_TRACE ? FORM_TRACE : FORM_SNAPSHOTS;
        CLEANUP(cleanup_trace) Trace *trace = NULL;
        int r = trace_load(options->file, form, &trace, ret_why);

        if (r)
                return r;
        const char *spec = options->topology ? options->topology : trace->topology;
        if (!spec)
                return complain(ret_why, "%s: no line \"# topology: ...\" in it, so --topology is needed", options->file);
        r = host_spec_load(spec, options->level, ret_topology, ret_why);
        if (r == 0)
                *ret_trace = STEAL_PTR(trace);
        return r;
}

static int run_replay(Replay *replay) {
        Progress progress;
        int r = 0;

        progress_begin(&progress);
        while (r == 0 && !replay_is_done(replay)) {
                progress_show(&progress, policy_name(replay->policy), replay->next, replay->trace->n_events);
                r = replay_step(replay);
        }
        progress_end(&progress);
        return r;
}

/* Runs all policies one after the other, and reports. */
static int run_policies(const Options *options, const Trace *trace, const Topology *topology, Replay **replay) {
        int r = 0;

        for (unsigned i = 0; i < options->n_policies; i++) {
                r = replay_new(trace, topology, options, options->policy[i], &replay[i]);
                if (r == 0)
                        r = run_replay(replay[i]);
                if (r < 0)
                        return r;
                if (!options->json)
                        report_row(replay[i], i == 0, stdout);
        }
        if (options->json)
                return report_json(replay, options->n_policies, stdout);
        for (unsigned i = 0; i < options->n_policies; i++)
                report_notes(replay[i], stdout);
        return 0;
}

static int run_shown(const Options *options, const Trace *trace, const Topology *topology, FILE *svg) {
        Replay *replay[POLICY_KINDS] = {};
        int r = run_policies(options, trace, topology, replay);

        if (r == 0 && svg) {
                svg_write(replay, options->n_policies, svg);
                if (fflush(svg) != 0 || ferror(svg))
                        r = -EIO;
        }
        for (unsigned i = 0; i < POLICY_KINDS; i++)
                replay_free(replay[i]);
        return r;
}

static int run_trace(const Options *options, Complaint *ret_why) {
        CLEANUP(cleanup_trace) Trace *trace = NULL;
        AUTO_FREE Topology *topology = calloc(1, sizeof(*topology));
        AUTO_FCLOSE FILE *svg = NULL;

        if (!topology)
                return -ENOMEM;
        int r = load_input(options, &trace, topology, ret_why);
        if (r)
                return r;
        if (options->watch)
                return watch_run(trace, topology, options);
        if (options->svg) {
                svg = fopen(options->svg, "we");
                if (!svg)
                        return complain(ret_why, "%s: %s", options->svg, strerror(errno));
        }
        return run_shown(options, trace, topology, svg);
}

static int run_snapshots(const Options *options, Complaint *ret_why) {
        CLEANUP(cleanup_trace) Trace *trace = NULL;
        CLEANUP(cleanup_replay) Replay *replay = NULL;
        AUTO_FREE Topology *topology = calloc(1, sizeof(*topology));
        unsigned n = 0;
        int r;

        if (!topology)
                return -ENOMEM;
        r = load_input(options, &trace, topology, ret_why);
        if (r == 0)
                r = replay_new(trace, topology, options, options->policy[0], &replay);
        if (r)
                return r;
        AUTO_FREE SnapshotResult *result = calloc(trace->n_headings, sizeof(*result));
        if (!result)
                return -ENOMEM;
        while ((r = replay_snapshot(replay, &result[n])) == 0) {
                if (!options->json)
                        report_snapshot_row(&result[n], n == 0, stdout);
                n++;
        }
        if (r < 0)
                return r;
        return options->json ? report_snapshots_json(result, n, stdout) : 0;
}

static int run_generate(const Options *options, Complaint *ret_why) {
        AUTO_FREE Topology *topology = calloc(1, sizeof(*topology));

        if (!topology)
                return -ENOMEM;
        int r = host_spec_load(options->topology, options->level, topology, ret_why);
        if (r)
                return r;
        AUTO_FREE char *text = host_spec_text(options->topology);
        if (!text)
                return -ENOMEM;
        GenerateOptions generate = {options->mix, options->occupancy_pct, options->n_events, options->seed, text};
        return generate_trace(topology, &generate, stdout);
}

static int run(const Options *options, Complaint *ret_why) {
        switch (options->mode) {
        case MODE_HELP:
                fputs(options_help, stdout);
                return 0;
        case MODE_VERSION:
                puts("vas-sim " VAS_VERSION);
                return 0;
        case MODE_TRACE:
                return run_trace(options, ret_why);
        case MODE_SNAPSHOTS:
                return run_snapshots(options, ret_why);
        case MODE_CAPTURE:
                return capture_run(options, stdout, ret_why);
        case MODE_GENERATE:
                return run_generate(options, ret_why);
        }
        return -EINVAL;
}

int main(int argc, char **argv) {
        Options options;
        Complaint why;
        int r = options_parse(argc, argv, &options, &why);

        if (r == 0)
                r = run(&options, &why);
        if (r == 0 && (fflush(stdout) != 0 || ferror(stdout)))
                r = -EIO;
        if (r == 0)
                return 0;
        fprintf(stderr, "vas-sim: %s\n", r == INPUT_BAD ? why.text : strerror(-r));
        return r == INPUT_BAD ? EXIT_BAD_INPUT : EXIT_FAILED;
}
