/* SPDX-License-Identifier: Apache-2.0 */

/* Where a VM's threads that are no vCPUs go: 2 nodes of 2 clusters of 4 CPUs. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/helpers.h"
#include "model.h"

static Topology topology;
static Snapshot snapshot;
static Policy policy;
static History history;
static Plan plan;
static PlanWork *work;

static int begin(void **state) {
        (void)state;
        snapshot_clear(&snapshot);
        policy_defaults(&policy);
        policy.helpers = HELPERS_CLUSTER;
        policy.layout = LAYOUT_PACK;
        history_clear(&history);
        model_topology(&topology, 2, 2, 4, 1);
        return 0;
}

static uint32_t add(unsigned n_vcpus, unsigned first, unsigned last) {
        return model_add_vm(&snapshot, &topology, n_vcpus, first, last, snapshot.n_vms);
}

/* Plans, and says whether the helpers of that VM go exactly to first .. last. */
static bool go_to(uint32_t vm, unsigned first, unsigned last) {
        const PlanRequest request = {.kind = PLAN_ROUND, .vm = -1};
        CpuSet unowned, cpus = {}, wanted = {};

        plan_make(&topology, &snapshot, &policy, &history, &request, 0, work, &plan);
        helpers_unowned(&topology, &snapshot, &policy, &plan, &unowned);
        cpuset_add_range(&wanted, first, last);
        return helpers_cpus(&topology, &snapshot, &policy, &plan, &unowned, vm, &cpus) && cpuset_equal(&cpus, &wanted);
}

static bool are_left(uint32_t vm) {
        const PlanRequest request = {.kind = PLAN_ROUND, .vm = -1};
        CpuSet unowned, cpus;

        plan_make(&topology, &snapshot, &policy, &history, &request, 0, work, &plan);
        helpers_unowned(&topology, &snapshot, &policy, &plan, &unowned);
        return !helpers_cpus(&topology, &snapshot, &policy, &plan, &unowned, vm, &cpus);
}

static void leave_is_the_default(void **state) {
        (void)state;
        policy_defaults(&policy);
        assert_int_equal(policy.helpers, HELPERS_LEAVE);
        assert_true(are_left(add(2, 0, 15)));
}

static void what_the_cluster_has_left(void **state) {
        uint32_t vm;

        (void)state;
        vm = add(2, 4, 5);
        assert_true(go_to(vm, 6, 7));
        add(1, 7, 7); /* an operator's pin owns its CPU, too */
        assert_true(go_to(vm, 6, 6));
}

static void else_what_the_node_has_left(void **state) {
        uint32_t vm;

        (void)state;
        vm = add(4, 4, 7);
        assert_true(go_to(vm, 0, 3));
        add(3, 0, 2);
        assert_true(go_to(vm, 3, 3));
        add(1, 3, 3); /* the other node is idle, and far */
        assert_true(are_left(vm));
}

static void of_all_its_clusters(void **state) {
        uint32_t vm;

        (void)state;
        vm = add(6, 8, 13);
        assert_true(go_to(vm, 14, 15));
        cpuset_add(&policy.skip, 14);
        assert_true(go_to(vm, 15, 15));
        cpuset_add(&topology.isolated, 15);
        assert_true(go_to(vm, 0, 0) || are_left(vm)); /* nothing of its node is left */
        assert_true(are_left(vm));
}

static void housekeeping_is_what_vcpus_never_get(void **state) {
        uint32_t vm, pinned;

        (void)state;
        policy.helpers = HELPERS_HOUSEKEEPING;
        cpuset_add_range(&policy.skip, 2, 3);
        cpuset_add(&policy.skip, 100); /* not there */
        vm = add(2, 8, 15);
        pinned = add(1, 5, 5);
        assert_true(go_to(vm, 2, 3));
        assert_true(go_to(pinned, 2, 3));
        cpuset_clear(&policy.skip);
        cpuset_add(&policy.skip, 100);
        assert_true(are_left(vm));
}

static void who_has_no_cpus_has_no_cluster(void **state) {
        uint32_t vm;

        (void)state;
        vm = add(5, 0, 3); /* SHARED */
        assert_true(are_left(vm));
        assert_int_equal(plan.verdict[vm].kind, VERDICT_SHARED);
        cpuset_add(&policy.skip, 15);
        policy.helpers = HELPERS_HOUSEKEEPING;
        assert_true(go_to(vm, 15, 15));
}

static void others_are_not_ours(void **state) {
        uint32_t vm;

        (void)state;
        vm = add(2, 4, 7);
        assert_false(are_left(vm));
        snapshot.vm[vm].emulator_named = true;
        assert_true(are_left(vm));
        snapshot.vm[vm].emulator_named = false;
        snapshot.vm[vm].policy.manage = MANAGE_OBSERVE;
        assert_true(are_left(vm));
        snapshot.vm[vm].policy.manage = MANAGE_NO;
        assert_true(are_left(vm));
        snapshot.vm[vm].policy.manage = MANAGE_AUTO;
        snapshot.vm[vm].sight = SIGHT_STARTING;
        assert_true(are_left(vm));
        snapshot.vm[vm].sight = SIGHT_OK;
        snapshot.vcpu[snapshot.vm[vm].first_vcpu].mask = model_set(&snapshot, 4, 5); /* somebody narrowed it */
        assert_true(are_left(vm));
        assert_int_equal(plan.verdict[vm].kind, VERDICT_FOREIGN);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(leave_is_the_default, begin),
                cmocka_unit_test_setup(what_the_cluster_has_left, begin),
                cmocka_unit_test_setup(else_what_the_node_has_left, begin),
                cmocka_unit_test_setup(of_all_its_clusters, begin),
                cmocka_unit_test_setup(housekeeping_is_what_vcpus_never_get, begin),
                cmocka_unit_test_setup(who_has_no_cpus_has_no_cluster, begin),
                cmocka_unit_test_setup(others_are_not_ours, begin),
        };
        int failed;

        work = calloc(1, plan_work_size());
        failed = cmocka_run_group_tests(tests, NULL, NULL);
        free(work);
        return failed;
}
