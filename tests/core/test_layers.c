/* SPDX-License-Identifier: Apache-2.0 */

/*
 * More vCPUs than CPUs: homes in layers. Table cases on one small host, then
 * seeded random hosts, each plan of which is judged by the oracle. Run with a
 * seed as argument to replay that one.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model.h"
#include "oracle.h"

enum { SEEDS = 200, ROUNDS = 16 };

static uint64_t first_seed = 1, n_seeds = SEEDS, serial;
static Topology topology;
static Snapshot snapshot;
static Policy policy;
static History history;
static Plan plan, again;
static PlanWork *work;
static int64_t now_ns;

static int begin(void **state) {
        (void)state;
        model_topology(&topology, 2, 4, 4, 1); /* 32 CPUs, clusters of 4, 16 a node */
        snapshot_clear(&snapshot);
        policy_defaults(&policy);
        history_clear(&history);
        history.started = true;
        history.credits_milli = 64000;
        now_ns = 0;
        return 0;
}

static uint32_t add(SchedPolicy sched, unsigned n_vcpus, unsigned first, unsigned last) {
        uint32_t vm = model_add_vm(&snapshot, &topology, n_vcpus, first, last, serial++);

        snapshot.vm[vm].policy.sched = sched;
        return vm;
}

/* A round that is applied; a second one right after it must keep everything. */
static void round_goes(void) {
        const PlanRequest round = {.kind = PLAN_ROUND, .vm = -1};
        char why[ORACLE_WHY_SIZE];

        plan_make(&topology, &snapshot, &policy, &history, &round, now_ns, work, &plan);
        if (oracle_step(&topology, &snapshot, &policy, &history, &plan, now_ns, work, &again, why))
                fail_msg("%s", why);
        now_ns += 20000000000;
}

static unsigned heads_on(unsigned cpu) {
        unsigned n = 0;

        for (uint32_t i = 0; i < snapshot.n_vcpus; i++)
                n += plan.target[i].cpu == (int)cpu;
        return n;
}

static void heads_are(unsigned first, unsigned last, unsigned least, unsigned most) {
        for (unsigned cpu = first; cpu <= last; cpu++) {
                assert_true(heads_on(cpu) >= least && heads_on(cpu) <= most);
        }
}

static unsigned count_verdicts(VerdictKind kind) {
        unsigned n = 0;

        for (uint32_t vm = 0; vm < snapshot.n_vms; vm++)
                n += plan.verdict[vm].kind == kind;
        return n;
}

static void shares_evenly_in_few_clusters(void **state) {
        (void)state;
        for (unsigned layers = 1; layers <= 6; layers++) {
                for (unsigned i = 0; i < 8; i++)
                        add(i % 2 ? SCHED_DYNAMIC : SCHED_CLUSTER, 4, 0, 31);
                round_goes();
                heads_are(0, 31, layers, layers);
                for (uint32_t vm = 0; vm < snapshot.n_vms; vm++) {
                        assert_int_equal(plan.verdict[vm].clusters, 1);
                        assert_int_equal(plan.verdict[vm].kind, vm < 8 ? VERDICT_PLACED : VERDICT_LAYERED);
                        assert_int_equal(plan.verdict[vm].layer, vm / 8);
                }
        }
}

static void a_static_vm_is_never_shared_with(void **state) {
        uint32_t fixed = add(SCHED_STATIC, 8, 0, 15);

        (void)state;
        for (unsigned i = 0; i < 4; i++)
                add(SCHED_DYNAMIC, 4, 0, 15);
        round_goes();
        assert_int_equal(plan.verdict[fixed].kind, VERDICT_PLACED);
        for (unsigned i = 0; i < 8; i++)
                assert_int_equal(heads_on((unsigned)plan.target[i].cpu), 1);
        assert_int_equal(count_verdicts(VERDICT_LAYERED), 2);
}

static void a_static_vm_that_comes_takes_its_cpus(void **state) {
        (void)state;
        for (unsigned i = 0; i < 16; i++)
                add(SCHED_DYNAMIC, 4, 0, 31);
        round_goes();
        heads_are(0, 31, 2, 2);
        for (unsigned i = 0; i < 4; i++)
                model_remove_vm(&snapshot, 0);
        uint32_t fixed = add(SCHED_STATIC, 8, 0, 31);
        round_goes();
        round_goes();
        /* It is placed before the VMs that wait for CPUs of their own, or after
         * them: it never shares. */
        if (plan.verdict[fixed].kind == VERDICT_PLACED)
                for (unsigned i = 0; i < 8; i++)
                        assert_int_equal(
                                heads_on((unsigned)plan.target[snapshot.vm[fixed].first_vcpu + i].cpu), 1);
        else
                assert_int_equal(plan.verdict[fixed].kind, VERDICT_SHARED);
}

static void layers_have_a_limit(void **state) {
        (void)state;
        policy.overcommit_layers = 2;
        for (unsigned i = 0; i < 9; i++)
                add(SCHED_CLUSTER, 4, 0, 15);
        round_goes();
        heads_are(0, 15, 2, 2);
        assert_int_equal(count_verdicts(VERDICT_SHARED), 1);
        policy.overcommit_layers = 1;
        round_goes();
        heads_are(0, 15, 1, 1);
        assert_int_equal(count_verdicts(VERDICT_LAYERED), 0);
        assert_int_equal(count_verdicts(VERDICT_SHARED), 5);
}

static void everybody_comes_down_when_room_appears(void **state) {
        (void)state;
        for (unsigned i = 0; i < 24; i++)
                add(SCHED_DYNAMIC, 4, 0, 31);
        round_goes();
        heads_are(0, 31, 3, 3);
        for (unsigned left = 23; left >= 8; left--) {
                model_remove_vm(&snapshot, (left * 7) % snapshot.n_vms);
                round_goes();
                heads_are(0, 31, left / 8, (left + 7) / 8);
        }
        assert_int_equal(count_verdicts(VERDICT_PLACED), 8);
        for (uint32_t i = 0; i < snapshot.n_vcpus; i++)
                assert_false(snapshot.vcpu[i].layered);
}

static void a_free_cpu_comes_before_a_higher_layer(void **state) {
        uint32_t last;

        (void)state;
        for (unsigned i = 0; i < 7; i++)
                add(SCHED_DYNAMIC, 4, 0, 31);
        add(SCHED_DYNAMIC, 2, 0, 31);
        last = add(SCHED_DYNAMIC, 4, 0, 31);
        round_goes();
        heads_are(0, 31, 1, 2);
        assert_int_equal(plan.verdict[last].kind, VERDICT_LAYERED);
        assert_int_equal(plan.verdict[last].layer, 1);
}

/* A VM that lives where two others own the CPUs. */
static uint32_t add_layered(unsigned cpu, unsigned other) {
        uint32_t vm = add(SCHED_DYNAMIC, 2, 0, 31), first = snapshot.vm[vm].first_vcpu;

        model_seat(&snapshot, first, cpu);
        model_seat(&snapshot, first + 1, other);
        snapshot.vcpu[first].layered = snapshot.vcpu[first + 1].layered = true;
        return vm;
}

/* Everybody in layer 1 is in one cluster, but two that would do well to change. */
static uint32_t two_that_span(void) {
        for (unsigned i = 0; i < 8; i++)
                add(SCHED_DYNAMIC, 4, 0, 31);
        round_goes();
        uint32_t first = add_layered(0, 4);
        add_layered(1, 5);
        for (unsigned cpu = 2; cpu < 32; cpu += 2)
                if (cpu != 4)
                        add_layered(cpu, cpu + 1);
        return first;
}

static void homes_are_changed_for_fewer_clusters(void **state) {
        uint32_t first = two_that_span();

        (void)state;
        history.credits_milli = 5000;
        policy.credits_per_10s_milli = 0;
        policy.credits_per_event_milli = 0;
        round_goes();
        assert_int_equal(plan.n_moves, 2);
        assert_int_equal(plan.credits_spent_milli, 200);
        assert_int_equal(history.credits_milli, 4800);
        assert_int_equal(plan.verdict[first].clusters, 1);
        assert_int_equal(plan.verdict[first + 1].clusters, 1);
        heads_are(0, 31, 2, 2);
}

static void without_credits_homes_are_not_changed(void **state) {
        uint32_t first = two_that_span();

        (void)state;
        history.credits_milli = 199;
        policy.credits_per_10s_milli = 0;
        policy.credits_per_event_milli = 0;
        round_goes();
        assert_int_equal(plan.n_moves, 0);
        assert_int_equal(plan.verdict[first].clusters, 2);
}

static unsigned move_of(int cpu, uint32_t vm, bool to) {
        for (uint32_t m = 0; m < plan.n_moves; m++)
                if (snapshot.vcpu[plan.move[m].vcpu].vm == vm &&
                    (to ? plan.move[m].to : plan.move[m].from) == cpu)
                        return m;
        fail_msg("VM %u has no move for CPU %d", vm, cpu);
        return 0;
}

/* A static VM has to go elsewhere; others come to live on its CPUs. */
static void nobody_comes_before_a_static_vm_has_gone(void **state) {
        const PlanRequest round = {.kind = PLAN_ROUND, .vm = -1};
        uint32_t fixed = add(SCHED_STATIC, 4, 0, 31), second;

        (void)state;
        for (unsigned i = 0; i < 4; i++) {
                model_seat(&snapshot, snapshot.vm[fixed].first_vcpu + i, i);
                snapshot.vcpu[snapshot.vm[fixed].first_vcpu + i].range = model_set(&snapshot, 16, 31);
        }
        add(SCHED_DYNAMIC, 4, 0, 3);
        second = add(SCHED_DYNAMIC, 4, 0, 3);
        plan_make(&topology, &snapshot, &policy, &history, &round, now_ns, work, &plan);
        assert_int_equal(plan.verdict[second].kind, VERDICT_LAYERED);
        for (int cpu = 0; cpu < 4; cpu++)
                assert_true(move_of(cpu, fixed, false) < move_of(cpu, second, true));
}

static void sched_of_vm(Dice *dice, uint32_t vm) {
        static const SchedPolicy kinds[] = {SCHED_DYNAMIC, SCHED_DYNAMIC, SCHED_CLUSTER, SCHED_CLUSTER,
                                            SCHED_STATIC};

        snapshot.vm[vm].policy.sched = kinds[dice_below(dice, 5)];
}

static void random_vm(Dice *dice) {
        static const unsigned sizes[] = {1, 1, 2, 2, 3, 4, 4, 5, 6, 8, 12, 20};
        unsigned n = sizes[dice_below(dice, 12)], first = 0, last = topology.n_cpus - 1u;

        if (dice_below(dice, 3) == 0) {
                first = dice_below(dice, topology.n_cpus - 1u);
                last = first + 1 + dice_below(dice, topology.n_cpus - first - 1);
        }
        uint32_t vm = add(SCHED_DYNAMIC, n, first, last);
        sched_of_vm(dice, vm);
        snapshot.vm[vm].policy.cross_node = dice_below(dice, 4) > 0;
        if (dice_below(dice, 5) == 0) {
                snapshot.vm[vm].mem_source = MEM_STAT;
                snapshot.vm[vm].n_mem = 1;
                snapshot.vm[vm].mem[0] = (MemShare){
                        .node = topology.node[dice_below(dice, topology.n_nodes)].os, .permille = 1000};
        }
        if (dice_below(dice, 12) == 0) {
                unsigned cpu = dice_below(dice, topology.n_cpus);

                model_set_range(&snapshot, snapshot.vm[vm].first_vcpu, cpu, cpu);
        }
}

static void random_host(Dice *dice) {
        static const unsigned uneven[] = {3, 5, 8, 0, 6, 2, 4, 4, 0, 16, 0, 0};

        switch (dice_below(dice, 4)) {
        case 0:
                model_topology(&topology, 1, 1, 4, 1);
                return;
        case 1:
                model_topology_uneven(&topology, uneven);
                return;
        case 2:
                model_topology(&topology, 2, 2, 4, 2);
                return;
        default:
                model_topology(&topology, 2, 4, 4, 1);
                return;
        }
}

static void run_seed(uint64_t seed) {
        const PlanRequest round = {.kind = PLAN_ROUND, .vm = -1};
        char why[ORACLE_WHY_SIZE];
        Dice dice = {seed};
        unsigned load;

        begin(NULL);
        random_host(&dice);
        policy.overcommit_layers = (uint8_t)(1 + dice_below(&dice, 7));
        load = topology.n_cpus * (80 + dice_below(&dice, 600)) / 100;
        while (snapshot.n_vcpus < load)
                random_vm(&dice);
        for (int i = 0; i < ROUNDS; i++, now_ns += 20000000000) {
                plan_make(&topology, &snapshot, &policy, &history, &round, now_ns, work, &plan);
                if (oracle_step(&topology, &snapshot, &policy, &history, &plan, now_ns, work, &again, why))
                        fail_msg("seed %llu, round %d: %s", (unsigned long long)seed, i, why);
                for (unsigned gone = dice_below(&dice, 4); gone > 0 && snapshot.n_vms > 0; gone--)
                        model_remove_vm(&snapshot, dice_below(&dice, snapshot.n_vms));
                if (snapshot.n_vms > 0 && dice_below(&dice, 4) == 0)
                        sched_of_vm(&dice, dice_below(&dice, snapshot.n_vms));
                while (snapshot.n_vcpus < load && dice_below(&dice, 3) > 0)
                        random_vm(&dice);
        }
}

static void every_plan_is_sound(void **state) {
        (void)state;
        for (uint64_t seed = first_seed; seed < first_seed + n_seeds; seed++)
                run_seed(seed);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_plan_is_sound),
                cmocka_unit_test_setup(shares_evenly_in_few_clusters, begin),
                cmocka_unit_test_setup(a_static_vm_is_never_shared_with, begin),
                cmocka_unit_test_setup(a_static_vm_that_comes_takes_its_cpus, begin),
                cmocka_unit_test_setup(layers_have_a_limit, begin),
                cmocka_unit_test_setup(everybody_comes_down_when_room_appears, begin),
                cmocka_unit_test_setup(homes_are_changed_for_fewer_clusters, begin),
                cmocka_unit_test_setup(without_credits_homes_are_not_changed, begin),
                cmocka_unit_test_setup(nobody_comes_before_a_static_vm_has_gone, begin),
                cmocka_unit_test_setup(a_free_cpu_comes_before_a_higher_layer, begin),
        };

        if (argc > 1) {
                first_seed = strtoull(argv[1], NULL, 10);
                n_seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
        }
        work = malloc(plan_work_size());
        if (!work)
                return 1;
        int r = cmocka_run_group_tests(tests, NULL, NULL);

        free(work);
        return r;
}
