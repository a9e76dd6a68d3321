/* SPDX-License-Identifier: Apache-2.0 */

/* The judge on hands dealt by hand: 2 nodes of 2 clusters of 2 cores of 2 threads. */

#include "sim/host_spec.h"
#include "sim/judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static Topology topology;
static Policy policy;
static Judge judge;
static uint32_t last_serial;

static Model *new_model(bool first_touch) {
        ModelOptions options = {.first_touch = first_touch};
        Model *model = NULL;
        Complaint why;

        assert_int_equal(host_spec_load("numa:2 l3:2 core:2 pu:2", LEVEL_L3, &topology, &why), 0);
        policy_defaults(&policy);
        vm_policy_defaults(&options.vm_policy);
        assert_int_equal(model_new(&topology, &options, &model), 0);
        judge = (Judge){};
        last_serial = 0;
        return model;
}

/* A VM with the range first-last whose vCPUs own the CPUs, in order; -1 ends. */
static uint32_t add_vm(Model *model, unsigned first, unsigned last, uint16_t n_vcpus, const int *cpus) {
        CpuSet range = {};
        uint32_t serial = last_serial++;

        cpuset_add_range(&range, first, last);
        assert_true(model_create(model, serial, "vm", n_vcpus, &range));
        uint32_t vcpu = model->host->vm[model_find(model, serial)].first_vcpu;
        for (; cpus && *cpus >= 0; cpus++)
                model_give(model, vcpu++, (unsigned)*cpus);
        return serial;
}

#define CPUS(...) ((const int[]){__VA_ARGS__, -1})

static void counts_clusters_beyond_the_minimum(void **state) {
        Model *model = new_model(false);
        Judgement j;

        (void)state;
        add_vm(model, 0, 15, 4, CPUS(0, 1, 4, 5));  /* two clusters, one would do */
        add_vm(model, 0, 15, 2, CPUS(2, 10));       /* two nodes */
        add_vm(model, 6, 9, 3, CPUS(6, 7, 8));      /* its range allows no better */
        add_vm(model, 0, 15, 2, CPUS(11));          /* only one of two placed */
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.vms, 4);
        assert_int_equal(j.placed, 3);
        assert_int_equal(j.unplaced, 1);
        assert_int_equal(j.above, 2);
        assert_int_equal(j.excess, 2);
        assert_int_equal(j.minima, 1 + 1 + 2);
        assert_int_equal(j.node_excess, 1);
        assert_int_equal(j.owned_cpus, 10);
        assert_int_equal(j.violations, 0);
        model_free(model);
}

static void counts_minima_in_cores_where_asked(void **state) {
        static const uint8_t cores_everywhere[NODES_MAX];
        Model *model = new_model(false);
        Judgement j;

        (void)state;
        add_vm(model, 0, 15, 3, CPUS(0, 2, 4));
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.excess, 1);
        judge_host(&judge, model, &policy, cores_everywhere, &j);
        assert_int_equal(j.excess, 0);
        assert_int_equal(j.minima, 2);
        add_vm(model, 0, 15, 3, CPUS(8, 9, 10)); /* two on one core: threads count */
        judge_host(&judge, model, &policy, cores_everywhere, &j);
        assert_int_equal(j.minima, 2 + 1);
        assert_int_equal(j.excess, 0);
        model_free(model);
}

static void counts_shared_and_doubled_cores(void **state) {
        Model *model = new_model(false);
        Judgement j;

        (void)state;
        add_vm(model, 0, 15, 3, CPUS(0, 1, 2));
        add_vm(model, 0, 15, 1, CPUS(3));
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.shared_cores, 1);
        assert_int_equal(j.doubled_cores, 2);
        model_free(model);
}

static void sees_violations(void **state) {
        Model *model = new_model(false);
        Judgement j;

        (void)state;
        add_vm(model, 0, 15, 1, CPUS(0));
        add_vm(model, 0, 15, 1, CPUS(0));
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.violations, 1);
        assert_int_equal(j.placed, 0);
        add_vm(model, 0, 3, 1, CPUS(7)); /* outside its range */
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.violations, 2);
        cpuset_add(&policy.skip, 9);
        add_vm(model, 0, 15, 1, CPUS(9)); /* never to be given away */
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.violations, 3);
        model_free(model);
}

static void leaves_operators_their_pins(void **state) {
        Model *model = new_model(false);
        Judgement j;

        (void)state;
        add_vm(model, 5, 5, 1, NULL);
        add_vm(model, 5, 5, 1, NULL);
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.violations, 0);
        assert_int_equal(j.unplaced, 2);
        add_vm(model, 0, 15, 1, CPUS(5)); /* ours on top is one */
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.violations, 1);
        model_free(model);
}

static void counts_moves(void **state) {
        Model *model = new_model(false);
        Judgement j;

        (void)state;
        uint32_t a = add_vm(model, 0, 15, 3, CPUS(0, 1, 2));
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.moves, 0); /* a first placement is none */
        uint32_t first = model->host->vm[model_find(model, a)].first_vcpu;
        model_give(model, first, 1);
        model_give(model, first + 1, 0);
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.moves, 0); /* the same CPUs */
        model_give(model, first, 3);
        model_give(model, first + 2, 8);
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.moves, 2);
        assert_int_equal(j.cross_moves, 1);
        model_free(model);
}

static void memory_stays_where_it_was_first_touched(void **state) {
        Model *model = new_model(true);
        Judgement j;

        (void)state;
        uint32_t a = add_vm(model, 0, 15, 2, CPUS(0, 1));
        model_settle(model);
        const Vm *vm = &model->host->vm[model_find(model, a)];
        assert_int_equal(vm->n_mem, 1);
        assert_int_equal(vm->mem[0].permille, 1000);
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.remote_vms, 0);
        model_give(model, vm->first_vcpu, 8);
        model_settle(model);
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.remote_vms, 1);
        model_free(model);
}

static void the_pool_is_cleared_out(void **state) {
        Model *model = new_model(false);
        Judgement j;

        (void)state;
        for (uint64_t i = 0; i < 12000; i++) { /* any sets that nothing uses */
                CpuSet set = {.word = {0, i}};
                pool_intern(&model->host->pool, &set);
        }
        add_vm(model, 0, 15, 2, CPUS(3, 4));
        model_settle(model);
        assert_true(model->host->pool.n < 10);
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.placed, 1);
        assert_true(judge.owner[3] && judge.owner[4]);
        model_free(model);
}

static void a_vm_that_goes_leaves_the_others_whole(void **state) {
        Model *model = new_model(false);
        Judgement j;

        (void)state;
        uint32_t a = add_vm(model, 0, 15, 2, CPUS(0, 1));
        uint32_t b = add_vm(model, 0, 15, 3, CPUS(4, 5, 6));
        uint32_t c = add_vm(model, 0, 15, 1, CPUS(8));
        model_destroy(model, (uint32_t)model_find(model, b));
        assert_int_equal(model_find(model, b), -1);
        assert_int_equal(model_find(model, a), 0);
        assert_int_equal(model_find(model, c), 1);
        assert_int_equal(model->host->n_vcpus, 3);
        assert_int_equal(model->host->vcpu[2].vm, 1);
        assert_int_equal(model->host->vm[1].first_vcpu, 2);
        judge_host(&judge, model, &policy, NULL, &j);
        assert_int_equal(j.placed, 2);
        assert_int_equal(judge.owner[8], c + 1);
        model_free(model);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(counts_clusters_beyond_the_minimum),
                cmocka_unit_test(counts_minima_in_cores_where_asked),
                cmocka_unit_test(counts_shared_and_doubled_cores),
                cmocka_unit_test(sees_violations),
                cmocka_unit_test(leaves_operators_their_pins),
                cmocka_unit_test(counts_moves),
                cmocka_unit_test(memory_stays_where_it_was_first_touched),
                cmocka_unit_test(the_pool_is_cleared_out),
                cmocka_unit_test(a_vm_that_goes_leaves_the_others_whole),
        };

        return cmocka_run_group_tests_name("sim/judge", tests, NULL, NULL);
}
