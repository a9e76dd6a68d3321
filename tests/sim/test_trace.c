/* SPDX-License-Identifier: Apache-2.0 */

#include "sim/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static int read_text(const char *text, TraceForm form, Trace **ret, Complaint *ret_why) {
        FILE *file = fmemopen((char *)(uintptr_t)text, strlen(text), "r");

        assert_non_null(file);
        int r = trace_read(file, "x.trace", form, ret, ret_why);
        fclose(file);
        return r;
}

static void reads_events(void **state) {
        Trace *trace = NULL;
        Complaint why;

        (void)state;
        assert_int_equal(read_text("# topology: numa:1 core:4\n# a remark\n\n"
                                   "60 create a 2 0-3\n61.5 range a 0-1,3\r\n70 destroy a\n80 create a 1 2",
                                   FORM_TRACE, &trace, &why), 0);
        assert_string_equal(trace->topology, "numa:1 core:4");
        assert_int_equal(trace->n_events, 4);
        assert_int_equal(trace->n_vms, 2); /* a name that comes again is another VM */
        assert_int_equal(trace->event[1].kind, EVENT_RANGE);
        assert_int_equal(trace->event[1].time_ns, 61500000000);
        assert_int_equal(cpuset_count(pool_get(&trace->ranges, trace->event[1].range)), 3);
        assert_int_equal(trace->event[3].vm, 1);
        assert_int_equal(trace->vm[0].n_vcpus, 2);
        trace_free(trace);
}

static void reads_snapshots(void **state) {
        Trace *trace = NULL;
        Complaint why;

        (void)state;
        assert_int_equal(read_text("snapshot one\nvm 2 0-3\nvm 1 0\nsnapshot two\nvm 4 0-3\n", FORM_SNAPSHOTS, &trace,
                                   &why), 0);
        assert_int_equal(trace->n_headings, 2);
        assert_string_equal(trace->heading[1], "two");
        assert_int_equal(trace->n_vms, 3);
        trace_free(trace);
}

static void names_the_line(void **state) {
        static const struct {
                TraceForm form;
                const char *text, *why;
        } cases[] = {
                {FORM_TRACE, "# topology: numa:1\n", "x.trace: nothing to replay in it"},
                {FORM_TRACE, "60 create a 2\n", "x.trace:1: not `TIME create"},
                {FORM_TRACE, "60 create a 2 0-3 x y z\n", "x.trace:1: too many words"},
                {FORM_TRACE, "60 make a 2 0-3\n", "x.trace:1: not `TIME create"},
                {FORM_TRACE, "x create a 2 0-3\n", "x.trace:1: \"x\" is no time"},
                {FORM_TRACE, ".5 create a 2 0-3\n", "x.trace:1: \".5\" is no time"},
                {FORM_TRACE, "99999999999999999999 create a 2 0-3\n", "x.trace:1: \"9999"},
                {FORM_TRACE, "60 create a 2 0-3\n59 destroy a\n", "x.trace:2: time 59 runs backwards"},
                {FORM_TRACE, "60 create a 0 0-3\n", "x.trace:1: \"0\" is no number of vCPUs"},
                {FORM_TRACE, "60 create a 513 0-3\n", "x.trace:1: \"513\" is no number of vCPUs"},
                {FORM_TRACE, "60 create a -1 0-3\n", "x.trace:1: \"-1\" is no number of vCPUs"},
                {FORM_TRACE, "60 create a 2 3-0\n", "x.trace:1: \"3-0\" is no CPU list"},
                {FORM_TRACE, "60 create a 2 0-4096\n", "x.trace:1: CPU list \"0-4096\": CPU numbers end at 4095"},
                {FORM_TRACE, "60 create a 2 0-3\n\n70 create a 2 0-3\n", "x.trace:3: VM a is created twice"},
                {FORM_TRACE, "60 destroy a\n", "x.trace:1: there is no VM a to destroy"},
                {FORM_TRACE, "60 create a 1 0\n70 destroy a\n80 destroy a\n", "x.trace:3: there is no VM a to destroy"},
                {FORM_TRACE, "60 range a 0\n", "x.trace:1: there is no VM a to change"},
                {FORM_SNAPSHOTS, "vm 2 0-3\n", "x.trace:1: a VM before the first `snapshot NAME`"},
                {FORM_SNAPSHOTS, "snapshot a\n60 create a 2 0-3\n", "x.trace:2: neither `snapshot NAME` nor"},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                Trace *trace = NULL;
                Complaint why = {};
                assert_int_equal(read_text(cases[i].text, cases[i].form, &trace, &why), INPUT_BAD);
                assert_null(trace);
                if (strncmp(why.text, cases[i].why, strlen(cases[i].why)) != 0)
                        fail_msg("said \"%s\", not \"%s\"", why.text, cases[i].why);
        }
}

static void refuses_too_many_vms(void **state) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        Trace *trace = NULL;
        Complaint why = {};

        (void)state;
        for (int i = 0; i < 2049; i++)
                fprintf(out, "%d create v%d 1 0-3\n", i, i);
        fclose(out);
        assert_int_equal(read_text(text, FORM_TRACE, &trace, &why), INPUT_BAD);
        assert_string_equal(why.text, "x.trace:2049: more than 2048 VMs or 32768 vCPUs at a time");
        free(text);
}

static void names_a_file_that_is_not_there(void **state) {
        Trace *trace = NULL;
        Complaint why = {};

        (void)state;
        assert_int_equal(trace_load("/nonexistent/x", FORM_TRACE, &trace, &why), INPUT_BAD);
        assert_string_equal(why.text, "/nonexistent/x: No such file or directory");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(reads_events),
                cmocka_unit_test(reads_snapshots),
                cmocka_unit_test(names_the_line),
                cmocka_unit_test(refuses_too_many_vms),
                cmocka_unit_test(names_a_file_that_is_not_there),
        };

        return cmocka_run_group_tests_name("sim/trace", tests, NULL, NULL);
}
