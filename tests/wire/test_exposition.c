/* SPDX-License-Identifier: Apache-2.0 */

/* Metrics as text: both forms to the letter, and what is no metric is refused. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/exposition.h"

static const char good[] =
        "[{'name': 'a_seconds', 'kind': 'counter', 'unit': 'seconds', 'help': 'one \\'two\\n', 'samples':"
        " [{'suffix': '_total', 'labels': {'x': 'q\\'\\\\\\n\\u001b\\u00e9', 'y': ''}, 'value': 12345678901},"
        "  {'suffix': '_total', 'labels': {}, 'value': 0.1}]},"
        " {'name': 'b', 'kind': 'gauge', 'unit': '', 'help': '', 'samples': []}]";

/* JSON with ' for ", and \' for \". */
static json_t *parse(const char *text) {
        char copy[1024];
        size_t n = 0;
        json_t *json;

        for (; *text && n < sizeof(copy) - 1; text++)
                copy[n++] = *text == '\'' ? '"' : *text;
        copy[n] = '\0';
        json = json_loads(copy, 0, NULL);
        assert_non_null(json);
        return json;
}

static void check(ExpositionForm form, const char *wanted) {
        json_t *json = parse(good);
        char *text = NULL;

        assert_int_equal(exposition_new(json, form, &text), 0);
        assert_string_equal(text, wanted);
        free(text);
        json_decref(json);
}

static void prometheus(void **state) {
        (void)state;
        check(EXPOSITION_PROMETHEUS, "# HELP a_seconds_total one \"two\\n\n"
                                     "# TYPE a_seconds_total counter\n"
                                     "a_seconds_total{x=\"q\\\"\\\\\\n???\",y=\"\"} 12345678901\n"
                                     "a_seconds_total 0.1\n"
                                     "# HELP b \n"
                                     "# TYPE b gauge\n");
}

static void openmetrics(void **state) {
        (void)state;
        check(EXPOSITION_OPENMETRICS, "# HELP a_seconds one \\\"two\\n\n"
                                      "# TYPE a_seconds counter\n"
                                      "# UNIT a_seconds seconds\n"
                                      "a_seconds_total{x=\"q\\\"\\\\\\n???\",y=\"\"} 12345678901\n"
                                      "a_seconds_total 0.1\n"
                                      "# HELP b \n"
                                      "# TYPE b gauge\n"
                                      "# EOF\n");
}

static void what_is_no_metric_is_refused(void **state) {
        static const char *const bad[] = {
                "{}",
                "['a']",
                "[{}]",
                "[{'name': 'a b', 'kind': 'gauge', 'unit': '', 'help': '', 'samples': []}]",
                "[{'name': '', 'kind': 'gauge', 'unit': '', 'help': '', 'samples': []}]",
                "[{'name': '1a', 'kind': 'gauge', 'unit': '', 'help': '', 'samples': []}]",
                "[{'name': 'a', 'kind': 'summary', 'unit': '', 'help': '', 'samples': []}]",
                "[{'name': 'a', 'kind': 'gauge', 'unit': 'x y', 'help': '', 'samples': []}]",
                "[{'name': 'a', 'kind': 'gauge', 'unit': '', 'samples': []}]",
                "[{'name': 'a', 'kind': 'gauge', 'unit': '', 'help': '', 'samples': {}}]",
                "[{'name': 'a', 'kind': 'gauge', 'unit': '', 'help': '', 'samples': [{}]}]",
                "[{'name': 'a', 'kind': 'gauge', 'unit': '', 'help': '', 'samples':"
                " [{'suffix': '\\n', 'labels': {}, 'value': 1}]}]",
                "[{'name': 'a', 'kind': 'gauge', 'unit': '', 'help': '', 'samples':"
                " [{'suffix': '', 'labels': {}, 'value': '1'}]}]",
                "[{'name': 'a', 'kind': 'gauge', 'unit': '', 'help': '', 'samples':"
                " [{'suffix': '', 'labels': {'x y': 'z'}, 'value': 1}]}]",
                "[{'name': 'a', 'kind': 'gauge', 'unit': '', 'help': '', 'samples':"
                " [{'suffix': '', 'labels': {'x': 1}, 'value': 1}]}]",
        };

        (void)state;
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                json_t *json = parse(bad[i]);
                char *text = (char *)bad;

                assert_int_equal(exposition_new(json, EXPOSITION_PROMETHEUS, &text), -EBADMSG);
                assert_ptr_equal(text, bad);
                json_decref(json);
        }
        assert_int_equal(exposition_new(NULL, EXPOSITION_PROMETHEUS, NULL), -EBADMSG);
}

static void too_many_are_refused(void **state) {
        json_t *list = json_array(),
               *one = parse("{'name': 'a', 'kind': 'gauge', 'unit': '', 'help': '', 'samples': []}");

        (void)state;
        for (unsigned i = 0; i <= 1000; i++)
                assert_int_equal(json_array_append(list, one), 0);
        assert_int_equal(exposition_new(list, EXPOSITION_PROMETHEUS, NULL), -EBADMSG);
        json_decref(one);
        json_decref(list);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(prometheus),
                cmocka_unit_test(openmetrics),
                cmocka_unit_test(what_is_no_metric_is_refused),
                cmocka_unit_test(too_many_are_refused),
        };

        return cmocka_run_group_tests_name("wire/exposition", tests, NULL, NULL);
}
