/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The daemon's rounds on a kernel with preferred sets, when things go wrong: it
 * dies between any two writes, a write is refused, the file of the thread is not
 * there. What an operator had preferred must come back, whatever happened.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tidal_kernel.h"

enum { WRITES = 6 }; /* three for each of the two vCPUs */

static void set(SettingKey id, const char *value) {
        char why[SETTINGS_WHY_SIZE];

        assert_int_equal(settings_set(&kernel.settings, id, value, "a test", why), 0);
}

/* Its operator prefers 6-7 for each vCPU; CPU 0 is not for VMs, so that a mask
 * that was written differs from the one before. */
static void operator_prefers(void) {
        for (unsigned i = 0; i < 2; i++)
                store(preferred_path(i), "6-7\n");
        set(SET_SKIP_CPUSET, "0");
}

static void manage_nobody(void) {
        VmRule *rule = &kernel.settings.rule[0];

        memset(rule, 0, sizeof(*rule));
        strcpy(rule->glob, "*");
        rule->policy.manage = MANAGE_NO;
        rule->has_manage = true;
        kernel.settings.n_rules = 1;
}

static void assert_given_back(void) {
        assert_state(0, "0-7", "6-7");
        assert_state(1, "0-7", "6-7");
}

/* A fresh host, on which the daemon died before that write of its first round. */
static void die_at(void **state, unsigned write) {
        tidal_teardown(state);
        tidal_setup(state);
        operator_prefers();
        daemon_die_at(write);
        round_run();
        assert_true(kernel.dead);
}

static void test_dies_and_goes_on(void **state) {
        for (unsigned write = 1; write <= WRITES; write++) {
                die_at(state, write);
                daemon_restart();
                round_run();
                assert_state(0, "1-7", "4");
                assert_state(1, "1-7", "5");
                daemon_stop();
                assert_given_back();
        }
}

static void test_dies_and_is_static(void **state) {
        for (unsigned write = 1; write <= WRITES; write++) {
                die_at(state, write);
                kernel.settings.sched = SCHED_STATIC;
                daemon_restart();
                round_run();
                assert_state(0, "4", "");
                assert_state(1, "5", "");
                daemon_stop();
                assert_given_back();
        }
}

/* Nobody comes to bind them again: a round, or a stop, gives back what it can. */
static void test_dies_and_manages_nobody(void **state) {
        for (unsigned write = 1; write <= WRITES; write++) {
                die_at(state, write);
                manage_nobody();
                daemon_restart();
                round_run();
                round_run();
                assert_given_back();
                assert_string_equal(kernel.log, "");
                die_at(state, write);
                daemon_restart();
                daemon_stop(); /* as 'recover' does: without a round */
                assert_given_back();
        }
}

/* What was lost is not given back over what somebody prefers since. */
static void test_dies_and_is_preferred_anew(void **state) {
        die_at(state, 2);
        store(preferred_path(0), "2-3\n");
        manage_nobody();
        daemon_restart();
        round_run();
        assert_state(0, "0-7", "2-3");
        assert_state(1, "0-7", "6-7");
}

/* Its operator gives a vCPU another range: what we preferred goes, and what was
 * preferred in the old one is history. */
static void test_operator_gives_another_range(void **state) {
        VmFact *fact = kernel.facts->vm[0];

        (void)state;
        operator_prefers();
        round_run();
        fact->range = reallocarray(fact->range, 2, sizeof(*fact->range));
        fact->range[1] = cpus("4");
        fact->n_ranges = 2;
        fact->vcpu[0].range = 1;
        fact->generation += 1000;
        write_thread(0, "4");
        round_run();
        assert_string_equal(kernel.log, "501 preferred_cpuset=|;");
        daemon_stop();
        assert_state(0, "4", "");
        assert_state(1, "0-7", "6-7");
}

/* It dies while it gives back. */
static void test_dies_in_the_stop(void **state) {
        for (unsigned write = 1; write <= WRITES; write++) {
                tidal_teardown(state);
                tidal_setup(state);
                operator_prefers();
                round_run();
                daemon_die_at(write);
                daemon_stop();
                daemon_restart();
                daemon_stop();
                assert_given_back();
        }
}

/* The state can not be saved, so nothing is written, and nothing is given up. */
static void test_state_can_not_be_saved(void **state) {
        RoundRequest request = {.act = true, .full = true};
        char path[sizeof(kernel.state_path)];

        (void)state;
        operator_prefers();
        round_run();
        daemon_stop(); /* it keeps the homes in mind */
        assert_given_back();
        memcpy(path, kernel.state_path, sizeof(path));
        kernel.rounds->state_path = "/proc/none/state.json";
        kernel.log[0] = '\0';
        assert_true(rounds_begin(kernel.rounds, kernel.facts, &request) < 0);
        assert_string_equal(kernel.log, "");
        kernel.rounds->state_path = path;
        manage_nobody();
        round_run();
        assert_string_equal(kernel.log, "");
        assert_given_back();
}

/* The mask may not be written: what was preferred stays, at once. */
static void test_mask_is_refused(void **state) {
        (void)state;
        operator_prefers();
        kernel.mask_status = WRITE_DENIED;
        round_run();
        assert_given_back();
        kernel.mask_status = WRITE_OK;
        round_run();
        assert_state(0, "1-7", "4");
        daemon_stop();
        assert_given_back();
}

/* The kernel refuses the home (EINVAL): a verdict says so, it is tried again, and
 * what was preferred before is not forgotten. */
static void test_preference_is_refused(void **state) {
        (void)state;
        operator_prefers();
        kernel.refuse = -EINVAL;
        round_run();
        assert_state(0, "1-7", "");
        assert_int_equal(kernel.rounds->plan->verdict[0].kind, VERDICT_UNPLACEABLE);
        assert_int_equal(kernel.rounds->plan->verdict[0].reason, REASON_WRITE_FAILED);
        assert_true(kernel.rounds->retry_soon);
        round_run();
        assert_non_null(strstr(kernel.log, "501 preferred_cpuset=4|;"));
        kernel.refuse = 0;
        round_run();
        assert_state(0, "1-7", "4");
        assert_state(1, "1-7", "5");
        assert_int_equal(kernel.rounds->plan->verdict[0].kind, VERDICT_PLACED);
        round_run();
        assert_string_equal(kernel.log, "");
        daemon_stop();
        assert_given_back();
}

/* The same for the mask that was there already, where nothing else changes. */
static void test_preference_is_refused_alone(void **state) {
        (void)state;
        store(preferred_path(0), "6-7\n");
        kernel.refuse = -EINVAL;
        round_run();
        assert_int_equal(kernel.rounds->plan->verdict[0].reason, REASON_WRITE_FAILED);
        kernel.refuse = 0;
        manage_nobody();
        round_run();
        assert_state(0, "0-7", "6-7");
        assert_state(1, "0-7", "");
}

/* No file for the thread: the vCPU's own group is used, in the same order, and
 * given back. Until a vCPU is known nothing says that there are such files. */
static void test_groups(void **state) {
        (void)state;
        use_groups();
        store(preferred_path(1), "6-7\n");
        choose();
        assert_int_equal(kernel.backend.kind, BACKEND_EMULATED);
        manage_nobody();
        round_run();
        kernel.settings.n_rules = 0;
        choose();
        assert_int_equal(kernel.backend.kind, BACKEND_TIDAL);
        assert_int_equal(kernel.backend.way, TIDAL_CGROUP);
        round_run();
        assert_string_equal(
                kernel.log,
                "501 cpuset.preferred_cpus=4|;"
                "502 cpuset.preferred_cpus=|;502 mask=0,1,2,3,4,5,6,7;502 cpuset.preferred_cpus=5|;");
        round_run();
        assert_string_equal(kernel.log, "");
        daemon_crash();
        daemon_start();
        assert_int_equal(kernel.backend.way, TIDAL_CGROUP);
        round_run();
        assert_string_equal(kernel.log, "");
        store(preferred_path(0), "\n");
        round_run();
        assert_state(0, "0-7", "4");
        daemon_stop();
        assert_state(0, "0-7", "");
        assert_state(1, "0-7", "6-7");
}

/* A group that others are in would bind them as well: it is never written. */
static void test_foreign_groups(void **state) {
        (void)state;
        use_groups();
        groups_are_shared();
        round_run();
        choose();
        assert_int_equal(kernel.backend.kind, BACKEND_EMULATED);
        round_run();
        assert_null(strstr(kernel.log, "preferred"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, tidal_setup, tidal_teardown)
                CASE(test_dies_and_goes_on),
                CASE(test_dies_and_is_static),
                CASE(test_dies_and_manages_nobody),
                CASE(test_dies_and_is_preferred_anew),
                CASE(test_operator_gives_another_range),
                CASE(test_dies_in_the_stop),
                CASE(test_state_can_not_be_saved),
                CASE(test_mask_is_refused),
                CASE(test_preference_is_refused),
                CASE(test_preference_is_refused_alone),
                CASE(test_groups),
                CASE(test_foreign_groups),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
