/* SPDX-License-Identifier: Apache-2.0 */

/* Replays: every plan is audited, every state is judged. */

#include "sim/host_spec.h"
#include "sim/replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { EVENTS = 700 };

static Topology topology;

static Options defaults(void) {
        char *argv[] = {(char[]){"vas-sim"}, (char[]){"--trace"}, (char[]){"x"}, NULL};
        Options options;
        Complaint why;

        assert_int_equal(options_parse(3, argv, &options, &why), 0);
        return options;
}

static Trace *load(const char *name, TraceForm form, uint32_t n_events) {
        char path[512];
        Trace *trace = NULL;
        Complaint why = {};

        snprintf(path, sizeof(path), "%s/%s", TRACES, name);
        if (trace_load(path, form, &trace, &why) || host_spec_load(trace->topology, LEVEL_AUTO, &topology, &why))
                fail_msg("%s", why.text);
        if (trace->n_events > n_events)
                trace->n_events = n_events;
        return trace;
}

static Replay *run(const Trace *trace, const Options *options, PolicyKind policy) {
        Replay *replay = NULL;

        assert_int_equal(replay_new(trace, &topology, options, policy, &replay), 0);
        while (!replay_is_done(replay))
                assert_int_equal(replay_step(replay), 0);
        return replay;
}

static void check_clean(const Replay *replay, const char *what) {
        if (replay->stats.violations > 0)
                fail_msg("%s: %u violations", what, (unsigned)replay->stats.violations);
        if (replay->planner && replay->planner->findings.bad_plans > 0)
                fail_msg("%s: %s", what, replay->planner->findings.first.text);
        if (replay->planner && replay->planner->findings.overlaps > 0)
                fail_msg("%s: %u overlaps", what, (unsigned)replay->planner->findings.overlaps);
}

static void every_plan_is_sound(void **state) {
        static const char *const traces[] = {"k1-odd-95.trace", "k2-odd-90.trace", "e1-azure-85.trace", "k4-odd-90.trace"};
        static const Smt smt[] = {SMT_AUTO, SMT_TRUE, SMT_FALSE, SMT_OWN_CORES};

        (void)state;
        for (size_t i = 0; i < sizeof(traces) / sizeof(traces[0]); i++) {
                Options options = defaults();
                options.smt = smt[i % 4];
                options.first_touch = i % 2;
                Trace *trace = load(traces[i], FORM_TRACE, EVENTS);
                Replay *replay = run(trace, &options, POLICY_PLANNER);
                check_clean(replay, traces[i]);
                replay_free(replay);
                trace_free(trace);
        }
}

static void faults_heal(void **state) {
        Options options = defaults();
        Trace *trace = load("k2-odd-90.trace", FORM_TRACE, EVENTS);

        (void)state;
        options.faults = (FaultRates){.writes = 50000, .deaths = 20000, .ranges = 50000};
        Replay *replay = run(trace, &options, POLICY_PLANNER);
        assert_true(replay->planner->writes_failed > 0);
        assert_true(replay->planner->deaths > 0);
        assert_true(replay->planner->range_changes > 0);
        assert_int_equal(replay->stats.violations, 0);
        if (replay->planner->findings.bad_plans > 0)
                fail_msg("%s", replay->planner->findings.first.text);
        replay_free(replay);
        trace_free(trace);
}

static void figures(const Replay *replay, Figures *ret) {
        stats_figures(&replay->stats, &topology, ret);
}

static void the_same_run_gives_the_same_figures(void **state) {
        Options options = defaults();
        Trace *trace = load("k4-odd-90.trace", FORM_TRACE, EVENTS);
        Figures first, second;

        (void)state;
        Replay *replay = run(trace, &options, POLICY_PLANNER);
        figures(replay, &first);
        replay_free(replay);
        replay = run(trace, &options, POLICY_PLANNER);
        figures(replay, &second);
        replay_free(replay);
        assert_memory_equal(&first, &second, sizeof(first));
        trace_free(trace);
}

static void rivals_are_clean_and_worse(void **state) {
        Options options = defaults();
        Trace *trace = load("k4-odd-90.trace", FORM_TRACE, EVENTS);
        Figures ours, theirs;
        Replay *replay = run(trace, &options, POLICY_PLANNER);

        (void)state;
        figures(replay, &ours);
        replay_free(replay);
        for (PolicyKind policy = POLICY_PLANNER + 1; policy < POLICY_KINDS; policy++) {
                replay = run(trace, &options, policy);
                check_clean(replay, policy_name(policy));
                figures(replay, &theirs);
                if (theirs.bad_pct <= ours.bad_pct)
                        fail_msg("%s: %f %% bad, ours %f %%", policy_name(policy), theirs.bad_pct, ours.bad_pct);
                replay_free(replay);
        }
        trace_free(trace);
}

static void without_credits_nothing_moves(void **state) {
        Options options = defaults();
        Trace *trace = load("k1-odd-85.trace", FORM_TRACE, EVENTS);
        Figures f;

        (void)state;
        options.budget_milli = 0;
        Replay *replay = run(trace, &options, POLICY_PLANNER);
        figures(replay, &f);
        assert_true(f.moves_per_event == 0);
        replay_free(replay);
        trace_free(trace);
}

static void snapshots_are_placed(void **state) {
        Options options = defaults();
        Trace *trace = load("e1-odd-95.snap", FORM_SNAPSHOTS, UINT32_MAX);
        Replay *replay = NULL;
        SnapshotResult result;
        unsigned n = 0;

        (void)state;
        assert_int_equal(replay_new(trace, &topology, &options, POLICY_PLANNER, &replay), 0);
        for (; replay_snapshot(replay, &result) == 0; n++) {
                assert_true(result.vms > 0);
                assert_int_equal(result.violations, 0);
                assert_string_equal(result.name, trace->heading[n]);
        }
        assert_int_equal(n, trace->n_headings);
        replay_free(replay);
        trace_free(trace);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_plan_is_sound),
                cmocka_unit_test(faults_heal),
                cmocka_unit_test(the_same_run_gives_the_same_figures),
                cmocka_unit_test(rivals_are_clean_and_worse),
                cmocka_unit_test(without_credits_nothing_moves),
                cmocka_unit_test(snapshots_are_placed),
        };

        return cmocka_run_group_tests_name("sim/replay", tests, NULL, NULL);
}
