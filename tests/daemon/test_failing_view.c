/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is shown, when memory runs out on the way: the whole answer or none, and
 * never one with something left out. Each allocation of our own code fails once.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/view_metrics.h"
#include "fail_once.h"
#include "scene.h"
#include "wire/exposition.h"
#include "wire/varlink.h"

enum { CALLS_MAX = 100000 };

static Scene *scene;
static unsigned n_struck;

static json_t *make_vms(void) {
        json_t *all = json_array();

        for (uint32_t v = 0; all && v < scene->snapshot.n_vms; v++)
                if (json_array_append_new(all, view_vm(&scene->view, v, true)) < 0) {
                        json_decref(all);
                        return NULL;
                }
        return all;
}

static json_t *make_explain(void) {
        json_t *all = json_array();

        for (uint32_t v = 0; all && v < scene->snapshot.n_vms; v++)
                if (json_array_append_new(all, view_explain(&scene->view, v, 300)) < 0) {
                        json_decref(all);
                        return NULL;
                }
        return all;
}

static json_t *make_host(void) {
        return view_host(&scene->view);
}

static json_t *make_moves(void) {
        return view_moves(&scene->view);
}

static json_t *make_affinity(void) {
        return view_affinity(&scene->view, -1);
}

static json_t *make_metrics(void) {
        static const RoundCounters rounds;
        static const DynamicCounters dynamic;
        MetricsInput input = {.view = &scene->view, .counters = &rounds, .dynamic = &dynamic, .version = "1"};

        return view_metrics(&input);
}

/* As text, and back. */
static json_t *make_exposition(void) {
        bool armed = fault.armed;
        char *text = NULL;

        fault.armed = false;
        json_t *metrics = make_metrics();
        fault.armed = armed;
        int r = exposition_new(metrics, EXPOSITION_PROMETHEUS, &text);
        fault.armed = false;
        json_decref(metrics);
        json_t *json = r == 0 ? json_string(text) : NULL;
        free(text);
        fault.armed = armed;
        return json;
}

static json_t *make_call(void) {
        VarlinkCall call;
        size_t length;
        json_t *parameters = json_pack("{ss}", "scope", "all");
        char *text = parameters ? varlink_pack_call("a.b.C", parameters, false, &length) : NULL;

        parameters = NULL;

        if (text && varlink_call_parse(text, length - 1, &call) == 0) {
                parameters = json_incref(call.parameters);
                varlink_call_done(&call);
        }
        free(text);
        return parameters;
}

/* All answers with no failure and with each are the same, or there is none. */
static void whole_or_none(const char *what, json_t *(*make)(void)) {
        json_t *whole = make();

        assert_non_null(whole);
        for (unsigned at = 1; at < CALLS_MAX; at++) {
                fault_arm(FAULT_PLAIN, at);
                json_t *json = make();
                fault_disarm();
                if (json && !json_equal(json, whole))
                        fail_msg("%s: call %u (%s): a part is left out", what, at, fault.call);
                json_decref(json);
                if (fault.n < at)
                        break;
                if (json && strcmp(fault.call, "free") != 0)
                        fail_msg("%s: call %u (%s): its failure was passed over", what, at, fault.call);
                n_struck++;
        }
        json_decref(whole);
}

static void answers_are_whole_or_none(void **state) {
        (void)state;
        scene = scene_by_name("mixed");
        assert_non_null(scene);
        whole_or_none("view_vm", make_vms);
        whole_or_none("view_explain", make_explain);
        whole_or_none("view_host", make_host);
        whole_or_none("view_moves", make_moves);
        whole_or_none("view_affinity", make_affinity);
        whole_or_none("view_metrics", make_metrics);
        whole_or_none("exposition", make_exposition);
        whole_or_none("varlink", make_call);
        scene_free(scene);
        print_message("# %u calls failed\n", n_struck);
        assert_true(n_struck > 500);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(answers_are_whole_or_none)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
