/* SPDX-License-Identifier: Apache-2.0 */

/* The daemon's rounds on a kernel with preferred sets: what is written, in which
 * order, and what is given back. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tidal_kernel.h"

/* Bound in order, left alone afterwards, not written after a crash, and as
 * before once stopped. */
static void test_binds_and_restores(void **state) {
        char why[SETTINGS_WHY_SIZE];

        (void)state;
        assert_int_equal(kernel.backend.kind, BACKEND_TIDAL);
        assert_int_equal(settings_set(&kernel.settings, SET_SKIP_CPUSET, "0", "a test", why), 0);
        round_run();
        assert_string_equal(kernel.log,
                            "501 preferred_cpuset=|;501 mask=1,2,3,4,5,6,7;501 preferred_cpuset=4|;"
                            "502 preferred_cpuset=|;502 mask=1,2,3,4,5,6,7;502 preferred_cpuset=5|;");
        assert_state(0, "1-7", "4");
        assert_state(1, "1-7", "5");
        assert_int_equal(dynamic_sync(kernel.dynamic, true), 0); /* our own controller follows nobody */
        assert_int_equal(dynamic_counters(kernel.dynamic)->vcpus, 2);
        round_run();
        assert_string_equal(kernel.log, "");
        daemon_crash();
        daemon_start();
        assert_int_equal(kernel.backend.kind, BACKEND_TIDAL);
        round_run();
        assert_string_equal(kernel.log, "");
        daemon_stop();
        assert_string_equal(kernel.log, "502 preferred_cpuset=|;502 mask=0,1,2,3,4,5,6,7;"
                                        "501 preferred_cpuset=|;501 mask=0,1,2,3,4,5,6,7;");
        assert_state(0, "0-7", "");
        assert_state(1, "0-7", "");
}

/* What was preferred before us is preferred again after us. */
static void test_restores_what_was_preferred(void **state) {
        (void)state;
        store(preferred_path(0), "6-7\n");
        round_run();
        assert_state(0, "0-7", "4");
        daemon_crash();
        daemon_start();
        daemon_stop();
        assert_state(0, "0-7", "6-7");
        assert_state(1, "0-7", "");
}

/* Present, but off: the files would take writes, and get none. */
static void test_nothing_is_written_when_off(void **state) {
        (void)state;
        write_cmdline("quiet");
        kernel.settings.util_source = UTIL_TASKGROUP;
        choose();
        assert_int_equal(kernel.backend.kind, BACKEND_EMULATED);
        assert_non_null(strstr(kernel.backend.why, "it is off"));
        round_run();
        assert_string_equal(kernel.log, "501 mask=4;502 mask=5;");
        daemon_stop();
        assert_null(strstr(kernel.log, "preferred"));
        read_values(85, 0);
        tree_remove(kernel.tree, "proc/stat");
        choose();
        assert_int_equal(kernel.backend.kind, BACKEND_NONE);
        assert_non_null(strstr(kernel.backend.why, "/proc/stat"));
        kernel.settings.emulate = false;
        choose();
        assert_int_equal(kernel.backend.kind, BACKEND_NONE);
        assert_non_null(strstr(kernel.backend.why, "it is off"));
        assert_non_null(strstr(kernel.backend.why, "emulate = never"));
}

/* It may not be written: the mask is left alone then, and the line says why. */
static void test_denied(void **state) {
        (void)state;
        kernel.error = -EACCES;
        round_run();
        assert_string_equal(kernel.log, "501 preferred_cpuset=4|;502 preferred_cpuset=5|;");
        assert_non_null(strstr(kernel.rounds->trouble, "CAP_DAC_OVERRIDE"));
        assert_true(kernel.rounds->denied);
        kernel.error = 0;
        daemon_stop();
        assert_string_equal(kernel.log, ""); /* nothing was done: nothing is undone */
}

/* The preference alone is lost (a write to the cpuset does that): it comes back. */
static void test_lost_preference(void **state) {
        (void)state;
        round_run();
        store(preferred_path(0), "\n");
        round_run();
        assert_string_equal(kernel.log, "501 preferred_cpuset=4|;");
}

static void test_policy_switches(void **state) {
        (void)state;
        round_run();
        kernel.settings.sched = SCHED_STATIC;
        round_run();
        assert_state(0, "4", "");
        assert_state(1, "5", "");
        kernel.settings.sched = SCHED_DYNAMIC;
        round_run();
        assert_state(0, "0-7", "4");
        kernel.settings.sched = SCHED_CLUSTER;
        round_run();
        assert_state(0, "4-7", "");
        daemon_stop();
        assert_state(0, "0-7", "");
}

/* The kernel's way goes (a reboot option is not needed: rights may be taken). */
static void test_to_our_own_controller(void **state) {
        (void)state;
        round_run();
        write_cmdline("quiet");
        choose();
        round_run();
        assert_state(0, "4", "");
        assert_true(dynamic_counters(kernel.dynamic)->vcpus == 2);
}

/* Its operator pins a vCPU: the mask is his, and our preference goes. */
static void test_operator_pins(void **state) {
        (void)state;
        round_run();
        VmFact *fact = kernel.facts->vm[0];
        fact->range = reallocarray(fact->range, 2, sizeof(*fact->range));
        fact->range[1] = cpus("3");
        fact->n_ranges = 2;
        fact->vcpu[0].range = 1;
        fact->generation += 1000;
        write_thread(0, "3");
        round_run();
        assert_string_equal(kernel.log, "501 preferred_cpuset=|;");
        assert_state(0, "3", "");
        daemon_stop();
        assert_state(0, "3", "");
}

/* util-source = leave: neither is touched, whatever the threshold. */
static void test_values_are_left(void **state) {
        (void)state;
        set_threshold("60");
        round_run();
        assert_null(strstr(kernel.log, "sched_util_low_pct"));
        assert_null(strstr(kernel.log, "features"));
        kernel.settings.util_source = UTIL_TASKGROUP;
        round_run();
        read_values(60, 1);
        kernel.settings.util_source = UTIL_LEAVE; /* and given back when that is set later */
        round_run();
        read_values(85, 0);
        kernel.settings.util_source = UTIL_TASKGROUP;
        kernel.settings.sched = SCHED_STATIC; /* nobody is dynamic */
        round_run();
        assert_null(strstr(kernel.log, "sched_util_low_pct"));
}

/* Another program changes one: it is left, and the other is still restored. */
static void test_values_of_others(void **state) {
        (void)state;
        kernel.settings.util_source = UTIL_TASKGROUP;
        set_threshold("60");
        round_run();
        tree_write(kernel.tree, "proc/sys/kernel/sched_util_low_pct", "42\n");
        round_run();
        assert_string_equal(kernel.log, "");
        assert_true(kernel.rounds->values_told[0]);
        daemon_stop();
        read_values(42, 0);
}

/* We crash after the state was saved and before the value was written. */
static void test_values_and_a_crash(void **state) {
        (void)state;
        kernel.settings.util_source = UTIL_TASKGROUP;
        set_threshold("60");
        round_run();
        daemon_crash();
        tree_write(kernel.tree, "proc/sys/kernel/sched_util_low_pct", "85\n");
        daemon_start();
        round_run();
        assert_string_equal(kernel.log, "sched_util_low_pct=60|;");
        kernel.error = -EACCES;
        set_threshold("61");
        round_run();
        assert_non_null(strstr(kernel.rounds->trouble, "CAP_DAC_OVERRIDE"));
}

static void test_values(void **state) {
        (void)state;
        tree_write(kernel.tree, "proc/sys/kernel/sched_util_low_pct", "42\n");
        kernel.settings.util_source = UTIL_TASKGROUP;
        round_run(); /* no threshold was configured: the host's own stays */
        read_values(42, 1);
        tree_write(kernel.tree, "proc/sys/kernel/sched_util_low_pct", "85\n");
        kernel.settings.util_source = UTIL_LEAVE;
        round_run();
        read_values(85, 0);
        kernel.settings.util_source = UTIL_TASKGROUP;
        set_threshold("60");
        round_run();
        assert_non_null(strstr(kernel.log, "sched_util_low_pct=60|;features=DA_UTIL_TASKGROUP|;"));
        read_values(60, 1);
        assert_int_equal(kernel.named.threshold, 60); /* named in the state before it is written */
        assert_int_equal(kernel.named.task_group, 1);
        daemon_crash();
        daemon_start();
        round_run();
        assert_string_equal(kernel.log, "");
        set_threshold("70"); /* as a reload does */
        round_run();
        assert_string_equal(kernel.log, "sched_util_low_pct=70|;");
        daemon_crash(); /* what 'recover' finds: a state, and no round */
        daemon_start();
        daemon_stop();
        read_values(85, 0);
        daemon_stop();
        assert_string_equal(kernel.log, "");
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, tidal_setup, tidal_teardown)
                CASE(test_binds_and_restores),
                CASE(test_restores_what_was_preferred),
                CASE(test_nothing_is_written_when_off),
                CASE(test_denied),
                CASE(test_lost_preference),
                CASE(test_policy_switches),
                CASE(test_to_our_own_controller),
                CASE(test_operator_pins),
                CASE(test_values),
                CASE(test_values_are_left),
                CASE(test_values_of_others),
                CASE(test_values_and_a_crash),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
