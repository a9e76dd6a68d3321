/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How places are weighed against each other (core/fit.c), where whole plans
 * seldom show it: a later step of the same plan would mend what this one spoiled.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/work.h"
#include "model.h"

static Topology topology;
static Snapshot snapshot;
static Policy policy;
static History history;
static Plan plan;
static PlanWork *work;
static Fit fit;

static int begin(void **state) {
        (void)state;
        snapshot_clear(&snapshot);
        policy_defaults(&policy);
        policy.credits_per_event_milli = policy.credits_per_10s_milli = 0; /* nobody is moved */
        history_clear(&history);
        return 0;
}

static uint32_t add(unsigned n_vcpus) {
        static uint64_t serial;

        return model_add_vm(&snapshot, &topology, n_vcpus, 0, topology.n_cpus - 1u, serial++);
}

/* VMs of one vCPU each on those CPUs. */
static void occupy(unsigned first, unsigned last, unsigned step) {
        for (unsigned cpu = first; cpu <= last; cpu += step)
                model_seat(&snapshot, snapshot.vm[add(1)].first_vcpu, cpu);
}

static void make(void) {
        const PlanRequest request = {.kind = PLAN_ROUND, .vm = -1};

        plan_make(&topology, &snapshot, &policy, &history, &request, 0, work, &plan);
}

/* A cluster in which the VM has a pinned vCPU costs no span: moving one vCPU
 * there is better than leaving all where they are, on two further clusters. */
static void own_clusters_cost_no_span(void **state) {
        uint32_t vm, first;

        (void)state;
        model_topology(&topology, 1, 4, 4, 1);
        vm = add(4);
        first = snapshot.vm[vm].first_vcpu;
        model_set_range(&snapshot, first, 0, 0);
        model_seat(&snapshot, first + 1, 4);
        model_seat(&snapshot, first + 2, 5);
        model_seat(&snapshot, first + 3, 8);
        occupy(1, 2, 1);
        occupy(6, 7, 1);
        occupy(9, 15, 1);
        make();
        assert_int_equal(plan.n_moves, 0);
        assert_int_equal(plan.verdict[vm].clusters, 3);
        board_mark(work);
        vm_unseat(work, vm);
        assert_true(group_fit(work, &work->group[work->vm[vm].first_group], span_limit(2), &fit));
        assert_int_equal(fit.span_more, 1);
        assert_int_equal(fit.n_parts, 2);
        assert_int_equal(fit.part[0].cluster + fit.part[1].cluster, 0 + 1);
}

/* Four free CPUs on either node: there beside four others, here on two idle cores. */
static void idle_cores_before_strangers(void **state) {
        uint32_t vm;

        (void)state;
        model_topology(&topology, 2, 1, 4, 2);
        policy.smt = SMT_TRUE;
        occupy(0, 6, 2);
        occupy(8, 11, 1);
        vm = add(2);
        for (uint32_t v = 0; v <= vm; v++)
                snapshot.vm[v].policy.smt = SMT_TRUE;
        snapshot.vm[vm].policy.layout = LAYOUT_PACK;
        make();
        assert_int_equal(plan.n_moves, 2);
        for (unsigned i = 0; i < 2; i++) {
                int cpu = plan.target[snapshot.vm[vm].first_vcpu + i].cpu;

                assert_true(cpu >= 12 && cpu <= 15);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(own_clusters_cost_no_span, begin),
                cmocka_unit_test_setup(idle_cores_before_strangers, begin),
        };

        work = malloc(plan_work_size());
        if (!work)
                return 1;
        int r = cmocka_run_group_tests(tests, NULL, NULL);

        free(work);
        return r;
}
