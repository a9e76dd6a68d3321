/* SPDX-License-Identifier: Apache-2.0 */

/* The figures of a host: each against what the scene was made of. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/view_metrics.h"
#include "scene.h"

static json_t *metrics_of(const View *view) {
        static RoundCounters rounds;
        static DynamicCounters dynamic;
        MetricsInput input = {.view = view,
                              .counters = &rounds,
                              .dynamic = &dynamic,
                              .version = "0",
                              .acting = view && view->acting};
        json_t *metrics = view_metrics(&input);

        assert_non_null(metrics);
        return metrics;
}

/* The value of vsched_NAME whose only label has that value; label NULL: none. -1: there is none. */
static double value_of(const json_t *metrics, const char *name, const char *label) {
        const json_t *metric, *sample;
        size_t i, j;

        json_array_foreach (metrics, i, metric) {
                if (strcmp(json_string_value(json_object_get(metric, "name")) + strlen("vsched_"), name) != 0)
                        continue;
                json_array_foreach (json_object_get(metric, "samples"), j, sample) {
                        void *first = json_object_iter(json_object_get(sample, "labels"));
                        const char *text = first ? json_string_value(json_object_iter_value(first)) : NULL;

                        if ((!label && !text) || (label && text && strcmp(text, label) == 0))
                                return json_number_value(json_object_get(sample, "value"));
                }
        }
        return -1;
}

static void assert_value(const View *view, const char *name, const char *label, double wanted) {
        json_t *metrics = metrics_of(view);
        double found = value_of(metrics, name, label);

        if (found != wanted)
                fail_msg("vsched_%s %s is %g, not %g", name, label ? label : "", found, wanted);
        json_decref(metrics);
}

static void assert_fit(const Scene *scene, unsigned cluster, unsigned node, unsigned host) {
        Fit fit;

        view_fit(&scene->view, &fit);
        assert_int_equal(fit.cluster, cluster);
        assert_int_equal(fit.node, node);
        assert_int_equal(fit.host, host);
}

static void names_are_unique_and_each_metric_has_samples(void **state) {
        Scene *scene = scene_by_name("mixed");
        json_t *metrics = metrics_of(&scene->view), *seen = json_object(), *metric;
        size_t i;

        (void)state;
        json_array_foreach (metrics, i, metric) {
                const char *name = json_string_value(json_object_get(metric, "name"));

                assert_null(json_object_get(seen, name));
                json_object_set(seen, name, metric);
                assert_int_equal(strncmp(name, "vsched_", 7), 0);
                assert_true(json_array_size(json_object_get(metric, "samples")) > 0);
                assert_true(strlen(json_string_value(json_object_get(metric, "help"))) > 10);
        }
        json_decref(seen);
        json_decref(metrics);
        scene_free(scene);
}

static void vms_are_counted_by_verdict(void **state) {
        Scene *scene = scene_by_name("mixed");

        (void)state;
        assert_value(&scene->view, "vms", "PLACED", 2);
        assert_value(&scene->view, "vms", "UNSEEN", 1);
        assert_value(&scene->view, "vms", "CONTESTED", 0);
        assert_value(&scene->view, "vcpus", NULL, 23);
        assert_value(&scene->view, "owned_cpus", NULL, 11);
        assert_value(&scene->view, "shared_cpus", NULL, 8);
        assert_value(&scene->view, "overcommit_ratio", NULL, 1.25);
        scene_free(scene);
}

static void an_empty_host_has_figures_but_no_ratio(void **state) {
        Scene *scene = scene_by_name("empty");

        (void)state;
        assert_value(&scene->view, "vms", "PLACED", 0);
        assert_value(&scene->view, "overcommit_ratio", NULL, -1);
        assert_value(&scene->view, "largest_fit_vcpus", "host", 8);
        scene_free(scene);
}

static void nothing_is_said_of_a_host_that_was_not_seen(void **state) {
        (void)state;
        assert_value(NULL, "host_seen", NULL, 0);
        assert_value(NULL, "rounds", NULL, 0);
        assert_value(NULL, "host_cpus", NULL, -1);
        assert_value(NULL, "vms", "PLACED", -1);
}

static void an_observer_tells_what_is_and_what_would_be(void **state) {
        Scene *scene = scene_by_name("mixed");

        (void)state;
        assert_value(&scene->view, "excess_clusters", NULL, 1);
        scene->view.acting = false;
        assert_value(&scene->view, "excess_clusters", NULL, 2);
        assert_value(&scene->view, "planned", "excess_clusters", 1);
        assert_value(&scene->view, "unplaced_vms", NULL, 2);
        assert_value(&scene->view, "moves_wanted", NULL, 2);
        scene_free(scene);
}

static void pins_are_judged(void **state) {
        Scene *scene = scene_by_name("smt");

        (void)state;
        assert_value(&scene->view, "cpus_pinned_twice", NULL, 1);
        assert_value(&scene->view, "pinned_excess_clusters", NULL, 0);
        scene->plan.verdict[3].clusters = 3;
        scene->plan.verdict[3].doubled_cores = 2;
        scene->plan.verdict[4].remote_memory = true;
        assert_value(&scene->view, "pinned_excess_clusters", NULL, 2);
        assert_value(&scene->view, "doubled_cores", NULL, 2);
        assert_value(&scene->view, "remote_memory_vms", NULL, 1);
        scene_free(scene);
}

/* 16 cores of 2 threads, 4 clusters: core n has the CPUs n and n + 16. */
static void what_still_fits_depends_on_smt(void **state) {
        Scene *scene = scene_by_name("smt");

        (void)state;
        /* Free: 20-23 | 12-15, 28-31 but for 12 (pinned), 14 and 15 (isolated). */
        assert_fit(scene, 5, 5, 9);
        scene->policy.smt = SMT_FALSE; /* cores 13, 14 and 15 have nobody */
        assert_fit(scene, 3, 3, 3);
        scene->policy.smt = SMT_OWN_CORES; /* 13, 29, 30, 31 */
        assert_fit(scene, 4, 4, 4);
        scene->policy.smt = SMT_AUTO;
        scene->snapshot.vm[1].policy.smt = SMT_OWN_CORES; /* db1, on 4-7 */
        assert_fit(scene, 5, 5, 5);
        scene_free(scene);
}

static void histograms_count_upwards(void **state) {
        Histogram histogram = {};

        (void)state;
        histogram_add(&histogram, histogram_bounds_ns[0]);
        histogram_add(&histogram, histogram_bounds_ns[0] + 1);
        histogram_add(&histogram, histogram_bounds_ns[HISTOGRAM_BUCKETS - 1] + 1);
        assert_int_equal(histogram.count, 3);
        assert_int_equal(histogram.bucket[0], 1);
        assert_int_equal(histogram.bucket[1], 2);
        assert_int_equal(histogram.bucket[HISTOGRAM_BUCKETS - 1], 2);
        assert_int_equal(histogram.sum_ns,
                         2 * histogram_bounds_ns[0] + histogram_bounds_ns[HISTOGRAM_BUCKETS - 1] + 2);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_are_unique_and_each_metric_has_samples),
                cmocka_unit_test(vms_are_counted_by_verdict),
                cmocka_unit_test(an_empty_host_has_figures_but_no_ratio),
                cmocka_unit_test(nothing_is_said_of_a_host_that_was_not_seen),
                cmocka_unit_test(an_observer_tells_what_is_and_what_would_be),
                cmocka_unit_test(pins_are_judged),
                cmocka_unit_test(what_still_fits_depends_on_smt),
                cmocka_unit_test(histograms_count_upwards),
        };

        return cmocka_run_group_tests_name("daemon/metrics", tests, NULL, NULL);
}
