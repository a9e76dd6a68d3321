/* SPDX-License-Identifier: Apache-2.0 */

/* The audit finds what is planted: each case spoils one thing in a sound plan. */

#include "sim/audit.h"
#include "sim/host_spec.h"
#include "sim/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static Topology topology;
static Policy policy;
static Plan plan;
static History history;
static Model *model;

static void add_vm(uint32_t serial, unsigned first, unsigned last, uint16_t n_vcpus) {
        CpuSet range = {};

        cpuset_add_range(&range, first, last);
        assert_true(model_create(model, serial, "vm", n_vcpus, &range));
}

/* VM 0 has 2 vCPUs and any CPU, VM 1 has 3 and CPUs 4-7, VM 2 needs 9 of 8 CPUs. */
static int setup(void **state) {
        static const PlanRequest request = {.kind = PLAN_ROUND, .vm = -1};
        ModelOptions options = {};
        Complaint why;

        (void)state;
        assert_int_equal(host_spec_load("numa:2 l3:2 core:4 pu:1", LEVEL_L3, &topology, &why), 0);
        policy_defaults(&policy);
        vm_policy_defaults(&options.vm_policy);
        assert_int_equal(model_new(&topology, &options, &model), 0);
        add_vm(0, 0, 15, 2);
        add_vm(1, 4, 7, 3);
        add_vm(2, 0, 7, 9);
        PlanWork *work = malloc(plan_work_size());
        history_clear(&history);
        plan_make(&topology, model->host, &policy, &history, &request, 0, work, &plan);
        free(work);
        return 0;
}

static int teardown(void **state) {
        (void)state;
        model = model_free(model);
        return 0;
}

static void finds(const char *what) {
        Complaint why = {};

        assert_int_equal(audit_plan(&topology, model->host, &policy, &plan, &why), INPUT_BAD);
        if (!strstr(why.text, what))
                fail_msg("said \"%s\", not \"%s\"", why.text, what);
}

/* The move of that vCPU. */
static Move *move_of(uint32_t vcpu) {
        for (uint32_t i = 0; i < plan.n_moves; i++)
                if (plan.move[i].vcpu == vcpu)
                        return &plan.move[i];
        fail_msg("vCPU %u has no move", vcpu);
        return NULL;
}

static SetId only(unsigned cpu) {
        CpuSet set = {};

        cpuset_add(&set, cpu);
        return pool_intern(&model->host->pool, &set);
}

static void accepts_a_sound_plan(void **state) {
        Complaint why = {};

        (void)state;
        if (audit_plan(&topology, model->host, &policy, &plan, &why) != 0)
                fail_msg("%s", why.text);
        assert_int_equal(plan.verdict[2].kind, VERDICT_SHARED);
}

static void finds_a_move_of_nothing(void **state) {
        (void)state;
        move_of(0)->mask = model->host->vcpu[0].mask;
        finds("writes the mask that vCPU 0 has");
}

static void finds_a_move_without_a_vcpu(void **state) {
        (void)state;
        move_of(0)->vcpu = 14;
        finds("names no vCPU");
}

static void finds_a_move_out_of_range(void **state) {
        (void)state;
        Move *move = move_of(2); /* of VM 1 */
        move->mask = only(8);
        finds("out of its allowed set");
}

static void finds_a_move_to_where_it_is(void **state) {
        (void)state;
        Move *move = move_of(0);
        move->kind = MOVE_DEFRAG;
        move->from = move->to;
        finds("to itself");
}

static void finds_a_lost_move(void **state) {
        (void)state;
        *move_of(0) = plan.move[--plan.n_moves];
        finds("do not end at its target");
}

static void finds_a_cpu_given_twice(void **state) {
        (void)state;
        Move *move = move_of(0);
        move->to = plan.target[1].cpu;
        move->mask = only((unsigned)move->to);
        plan.target[0] = (Target){.cpu = move->to, .mask = move->mask};
        finds("is owned by 2 vCPUs");
}

static void finds_a_false_word(void **state) {
        (void)state;
        plan.verdict[0].kind = VERDICT_SHARED;
        finds("is called SHARED and owns all its CPUs");
        plan.verdict[0].kind = VERDICT_SPREAD;
        finds("wrong word");
        plan.verdict[0].kind = VERDICT_PLACED;
        plan.verdict[2].kind = VERDICT_PLACED;
        finds("is called placed and owns 0 CPUs of 9");
}

/* 24 vCPUs that share on the 16 CPUs. */
static void replan_with_layers(void) {
        static const PlanRequest request = {.kind = PLAN_ROUND, .vm = -1};
        PlanWork *work = malloc(plan_work_size());

        model_destroy_all(model);
        for (uint32_t i = 0; i < 6; i++) {
                add_vm(10 + i, 0, 15, 4);
                model->host->vm[i].policy.sched = SCHED_DYNAMIC;
        }
        history_clear(&history);
        plan_make(&topology, model->host, &policy, &history, &request, 0, work, &plan);
        free(work);
}

static void judges_layers(void **state) {
        Complaint why;

        (void)state;
        replan_with_layers();
        assert_int_equal(plan.verdict[5].kind, VERDICT_LAYERED);
        assert_int_equal(audit_plan(&topology, model->host, &policy, &plan, &why), 0);
        model->host->vm[0].policy.sched = model->host->vm[1].policy.sched = SCHED_STATIC;
        model->host->vm[2].policy.sched = model->host->vm[3].policy.sched = SCHED_STATIC;
        finds("which is not to be shared");
        replan_with_layers();
        plan.target[23].layer = 2;
        finds("is in layer 2 of 2");
        replan_with_layers();
        policy.overcommit_layers = 1;
        finds("is in layer 1 of 2");
        policy.overcommit_layers = 6;
        for (uint32_t i = 0; i < 2; i++) { /* two move from CPUs with two heads to one that has two */
                Target *target = &plan.target[20 + i];
                target->cpu = plan.target[22].cpu;
                target->mask = plan.target[22].mask;
                for (uint32_t m = 0; m < plan.n_moves; m++)
                        if (plan.move[m].vcpu == 20 + i)
                                plan.move[m].mask = target->mask;
        }
        finds("others have two less");
}

static void finds_a_false_count(void **state) {
        (void)state;
        plan.verdict[0].clusters++;
        finds("its verdict says");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(accepts_a_sound_plan, setup, teardown),
                cmocka_unit_test_setup_teardown(finds_a_move_of_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(finds_a_move_without_a_vcpu, setup, teardown),
                cmocka_unit_test_setup_teardown(finds_a_move_out_of_range, setup, teardown),
                cmocka_unit_test_setup_teardown(finds_a_move_to_where_it_is, setup, teardown),
                cmocka_unit_test_setup_teardown(finds_a_lost_move, setup, teardown),
                cmocka_unit_test_setup_teardown(finds_a_cpu_given_twice, setup, teardown),
                cmocka_unit_test_setup_teardown(finds_a_false_word, setup, teardown),
                cmocka_unit_test_setup_teardown(judges_layers, setup, teardown),
                cmocka_unit_test_setup_teardown(finds_a_false_count, setup, teardown),
        };

        return cmocka_run_group_tests_name("sim/audit", tests, NULL, NULL);
}
