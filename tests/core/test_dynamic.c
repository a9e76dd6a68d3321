/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The controller against a host with fair CPUs: what is asked of a CPU beyond
 * its whole is waiting. Cases first, then seeded random loads, in which every
 * single change is judged. Run with a seed as argument to replay that one.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/dynamic.h"
#include "model.h"

#define MS INT64_C(1000000)

enum { SIM_VCPUS = 64, SIM_VMS = 16, SEEDS = 300, PASSES = 400, PERIOD_MS = 250 };

typedef struct Sim {
        Topology topology;
        DynamicPolicy policy;
        DynamicCpus cpus;
        DynamicVcpu vcpu[SIM_VCPUS];
        DynamicTrack track[SIM_VCPUS];
        DynamicVm vm[SIM_VMS];
        DynamicWork work;
        CpuSet allowed[SIM_VMS];
        unsigned n, n_vms;
        unsigned demand[SIM_VCPUS]; /* permille */
        unsigned hog[CPUS_MAX];     /* permille of others, by CPU */
        int64_t now_ns;
        DynamicChange change[SIM_VCPUS];
        uint32_t n_changes;
        unsigned total;             /* changes since the beginning */
} Sim;

static Sim sim;

static void sim_start(unsigned nodes, unsigned clusters, unsigned cores, unsigned threads) {
        memset(&sim, 0, sizeof(sim));
        model_topology(&sim.topology, nodes, clusters, cores, threads);
        dynamic_policy_defaults(&sim.policy);
        sim.cpus.sampled = sim.topology.online;
        sim.now_ns = 1;
}

/* A VM with homes on the CPUs first .. and a range of low .. high. */
static void sim_vm(unsigned n, unsigned first, unsigned low, unsigned high) {
        cpuset_add_range(&sim.allowed[sim.n_vms], low, high);
        for (unsigned i = 0; i < n; i++) {
                sim.vcpu[sim.n] = (DynamicVcpu){
                        .vm = sim.n_vms, .home = (int16_t)(first + i), .allowed = &sim.allowed[sim.n_vms], .sampled = true};
                sim.track[sim.n].at = (int16_t)(first + i);
                cpuset_add(&sim.cpus.owned, first + i);
                sim.n++;
        }
        sim.n_vms++;
}

/* Shares a CPU's time: everybody gets what he asks for up to an equal part,
 * and what some leave goes to the others. */
static void share_cpu(int cpu) {
        unsigned want[SIM_VCPUS + 1], got[SIM_VCPUS + 1] = {}, who[SIM_VCPUS + 1], n = 0, left = PERMILLE;
        bool again = true;

        for (unsigned i = 0; i < sim.n; i++)
                if (sim.track[i].at == cpu) {
                        want[n] = sim.demand[i];
                        who[n++] = i;
                }
        want[n] = sim.hog[cpu];
        who[n++] = SIM_VCPUS;
        while (again && left > 0) {
                unsigned hungry = 0;

                again = false;
                for (unsigned i = 0; i < n; i++)
                        hungry += got[i] < want[i];
                for (unsigned i = 0, part = hungry ? left / hungry : 0; i < n && part > 0; i++) {
                        unsigned more = want[i] - got[i] < part ? want[i] - got[i] : part;

                        got[i] += more;
                        left -= more;
                        again |= more > 0;
                }
        }
        sim.cpus.busy_permille[cpu] = (uint16_t)(PERMILLE - left);
        for (unsigned i = 0; i < n; i++)
                if (who[i] < SIM_VCPUS) {
                        sim.vcpu[who[i]].run_permille = (uint16_t)got[i];
                        sim.vcpu[who[i]].wait_permille = (uint16_t)(want[i] - got[i]);
                }
}

static void sim_pass(void) {
        for (unsigned slot = 0; slot < sim.topology.n_cpus; slot++)
                share_cpu(sim.topology.cpu[slot].os);
        sim.now_ns += PERIOD_MS * MS;
        sim.n_changes = dynamic_step(&sim.topology, &sim.policy, &sim.cpus, sim.vcpu, sim.n, sim.track, sim.vm,
                                     &sim.work, sim.now_ns, sim.change);
        sim.total += sim.n_changes;
}

static void sim_passes(unsigned n) {
        for (unsigned i = 0; i < n; i++)
                sim_pass();
}

static void test_leaves_a_hog_and_returns(void **context) {
        (void)context;
        sim_start(1, 2, 4, 1);
        sim_vm(1, 0, 0, 7);
        sim.demand[0] = 900;
        sim_passes(8);
        assert_int_equal(sim.total, 0);
        sim.hog[0] = PERMILLE;
        sim_passes(2);
        assert_int_equal(sim.total, 1);
        assert_int_equal(sim.track[0].at, 1);
        sim_passes(100);
        assert_int_equal(sim.total, 1);
        sim.hog[0] = 0;
        sim_passes(5);
        assert_int_equal(sim.track[0].at, 0);
        sim_passes(100);
        assert_int_equal(sim.total, 2);
}

static void test_lone_busy_vcpu_never_moves(void **context) {
        (void)context;
        sim_start(1, 2, 4, 2);
        sim_vm(4, 0, 0, 15);
        for (unsigned i = 0; i < 4; i++)
                sim.demand[i] = PERMILLE;
        sim_passes(1000);
        assert_int_equal(sim.total, 0);
}

static void test_stays_where_nothing_is_idle(void **context) {
        (void)context;
        sim_start(1, 2, 4, 1);
        sim_vm(1, 0, 0, 7);
        sim.demand[0] = 900;
        for (unsigned cpu = 0; cpu < 8; cpu++)
                sim.hog[cpu] = cpu == 0 ? PERMILLE : 200;
        sim_passes(200);
        assert_int_equal(sim.total, 0);
}

/* Cores of two CPUs: 0,1 2,3 | 4,5 6,7: the place that is left decides. */
static int target_with_busy(const char *busy) {
        sim_start(1, 2, 2, 2);
        sim_vm(1, 0, 0, 7);
        sim.demand[0] = 900;
        for (; *busy; busy++)
                sim.hog[*busy - '0'] = PERMILLE;
        sim_passes(6);
        return sim.track[0].at;
}

static void test_order_of_places(void **context) {
        (void)context;
        assert_int_equal(target_with_busy("0"), 2);      /* idle core in its cluster */
        assert_int_equal(target_with_busy("02"), 4);     /* idle core in its range */
        assert_int_equal(target_with_busy("0246"), 1);   /* idle sibling, own cluster first */
        assert_int_equal(target_with_busy("012346"), 5); /* idle sibling elsewhere */
        assert_int_equal(target_with_busy("01234567"), 0);
        sim_start(1, 2, 2, 2);
        sim_vm(1, 4, 0, 7);
        sim.demand[0] = 900;
        sim.hog[4] = PERMILLE;
        sim_passes(6);
        assert_int_equal(sim.track[0].at, 6); /* not 0, which is another cluster's */
}

static void test_flicker_is_not_idle(void **context) {
        (void)context;
        sim_start(1, 1, 2, 1);
        sim_vm(1, 0, 0, 1);
        sim.demand[0] = 900;
        sim.hog[0] = PERMILLE;
        for (unsigned i = 0; i < 100; i++) {
                sim.hog[1] = i % 2 ? PERMILLE : 0;
                sim_pass();
        }
        assert_int_equal(sim.total, 0);
}

static void test_unowned_before_owned(void **context) {
        (void)context;
        sim_start(1, 1, 4, 1);
        sim_vm(1, 0, 0, 3);
        cpuset_add(&sim.cpus.owned, 1);
        sim.demand[0] = 900;
        sim.hog[0] = PERMILLE;
        sim_passes(4);
        assert_int_equal(sim.track[0].at, 2);
}

static void test_makes_way_for_the_owner(void **context) {
        (void)context;
        sim_start(1, 1, 2, 1);
        sim_vm(1, 0, 0, 1);
        cpuset_add(&sim.cpus.owned, 1);
        sim.policy.wait_permille = 50;
        sim.hog[0] = PERMILLE;
        sim.demand[0] = 600;
        sim_passes(4);
        assert_int_equal(sim.track[0].at, 1);
        sim.hog[1] = 300; /* the owner wakes; together they would even fit */
        sim_passes(12);
        assert_int_equal(sim.track[0].at, 0);
        sim_passes(100);
        assert_int_equal(sim.track[0].at, 0);
}

static void test_two_do_not_take_one(void **context) {
        (void)context;
        sim_start(1, 1, 4, 1);
        sim_vm(1, 0, 0, 2);
        sim_vm(1, 1, 0, 2);
        sim.demand[0] = sim.demand[1] = 900;
        sim.hog[0] = sim.hog[1] = PERMILLE;
        sim_passes(40);
        assert_int_equal((sim.track[0].at == 2) + (sim.track[1].at == 2), 1);
        assert_int_equal(sim.total, 1);
}

static void test_task_group_counts_its_own(void **context) {
        (void)context;
        sim_start(1, 1, 4, 1);
        sim_vm(1, 0, 0, 3);
        sim.policy.source = DYNAMIC_TASKGROUP;
        sim.hog[0] = PERMILLE;
        sim.demand[0] = 800; /* the CPU is full, the vCPU's own share is below 85 % */
        sim_passes(40);
        assert_int_equal(sim.total, 0);
        sim.demand[0] = 900;
        sim_passes(4);
        assert_int_equal(sim.total, 1);
}

static void test_range_shrinks_while_away(void **context) {
        (void)context;
        sim_start(1, 1, 4, 1);
        sim_vm(1, 0, 0, 3);
        sim.demand[0] = 900;
        sim.hog[0] = PERMILLE;
        sim_passes(2);
        assert_int_equal(sim.track[0].at, 1);
        cpuset_remove(&sim.allowed[0], 1);
        sim_pass();
        assert_int_equal(sim.n_changes, 1);
        assert_int_equal(sim.track[0].at, 0);
}

/* A load that swings with any period, for ten minutes. */
static void test_swinging_load_is_bounded(void **context) {
        (void)context;
        for (unsigned period = 1; period < 60; period++) {
                sim_start(1, 1, 4, 1);
                sim_vm(1, 0, 0, 3);
                sim.demand[0] = 900;
                for (unsigned pass = 0; pass < 2400; pass++) {
                        sim.hog[0] = pass / period % 2 ? PERMILLE : 0;
                        sim_pass();
                }
                assert_true(sim.total <= 120);
                sim.hog[0] = 0;
                sim_passes(sim.policy.return_samples_max + 8);
                assert_int_equal(sim.track[0].at, 0);
        }
}

static void test_undo(void **context) {
        (void)context;
        sim_start(1, 1, 4, 1);
        sim_vm(1, 0, 0, 3);
        sim.demand[0] = 900;
        sim.hog[0] = PERMILLE;
        sim_passes(2);
        assert_int_equal(sim.n_changes, 1);
        dynamic_undo(&sim.track[0], &sim.change[0]);
        assert_int_equal(sim.track[0].at, 0);
        sim_passes(7); /* the dwell time counts */
        assert_int_equal(sim.total, 1);
        sim_pass();
        assert_int_equal(sim.total, 2);
}

static void test_gap_between_a_vms_changes(void **context) {
        (void)context;
        sim_start(1, 1, 8, 1);
        sim_vm(3, 0, 0, 7);
        sim.policy.vm_gap_ns = 10000 * MS;
        for (unsigned i = 0; i < 3; i++) {
                sim.demand[i] = 900;
                sim.hog[i] = PERMILLE;
        }
        sim_passes(41);
        assert_int_equal(sim.total, 1);
        sim_passes(40);
        assert_int_equal(sim.total, 2);
}

/* Random loads. */

static int64_t last_change[SIM_VCPUS], vm_change[SIM_VMS][2];

static void random_load(Dice *dice) {
        for (unsigned slot = 0; slot < sim.topology.n_cpus; slot++)
                if (dice_below(dice, 12) == 0)
                        sim.hog[sim.topology.cpu[slot].os] = dice_below(dice, 2) ? 0 : dice_below(dice, PERMILLE + 1);
        for (unsigned i = 0; i < sim.n; i++)
                if (dice_below(dice, 12) == 0)
                        sim.demand[i] = dice_below(dice, 3) ? dice_below(dice, PERMILLE + 1) : 0;
}

static void random_host(Dice *dice) {
        unsigned cpus, per_vm, at = 0;

        sim_start(1 + dice_below(dice, 2), 1 + dice_below(dice, 4), 1 + dice_below(dice, 4), 1 + dice_below(dice, 2));
        cpus = sim.topology.n_cpus;
        if (dice_below(dice, 2))
                sim.policy.source = DYNAMIC_TASKGROUP;
        sim.policy.thresh_permille = (uint16_t)dice_below(dice, PERMILLE + 1);
        while (sim.n_vms < SIM_VMS && at < cpus && dice_below(dice, 8)) {
                per_vm = 1 + dice_below(dice, 4);
                per_vm = per_vm > cpus - at ? cpus - at : per_vm;
                sim_vm(per_vm, at, dice_below(dice, at + 1), at + per_vm - 1 + dice_below(dice, cpus - at - per_vm + 1));
                at += per_vm + dice_below(dice, 3);
        }
        for (unsigned i = 0; i < SIM_VCPUS; i++)
                last_change[i] = -1000000 * MS;
        for (unsigned v = 0; v < SIM_VMS; v++)
                vm_change[v][0] = vm_change[v][1] = -1000000 * MS;
}

/* Every change: true, legal, and within the limits. before: where all were. */
static void judge_changes(const int16_t *before) {
        CpuSet given = {};

        for (uint32_t c = 0; c < sim.n_changes; c++) {
                const DynamicChange *change = &sim.change[c];
                const DynamicVcpu *vcpu = &sim.vcpu[change->vcpu];

                assert_int_equal(change->from, before[change->vcpu]);
                assert_int_not_equal(change->from, change->to);
                assert_int_equal(sim.track[change->vcpu].at, change->to);
                assert_true(cpuset_has(vcpu->allowed, (unsigned)change->to));
                assert_true(sim.now_ns - last_change[change->vcpu] >= sim.policy.dwell_ns);
                assert_true(sim.now_ns - vm_change[vcpu->vm][1] >= sim.policy.vm_window_ns);
                last_change[change->vcpu] = sim.now_ns;
                vm_change[vcpu->vm][1] = vm_change[vcpu->vm][0];
                vm_change[vcpu->vm][0] = sim.now_ns;
                assert_int_equal(change->to == vcpu->home, change->kind == DYNAMIC_RETURN);
                assert_int_equal(change->from == vcpu->home, change->kind == DYNAMIC_LEAVE);
                if (change->to == vcpu->home)
                        continue;
                /* Away only to what was idle, and nobody else goes there. */
                assert_true(sim.cpus.busy_permille[change->to] < sim.policy.idle_permille);
                assert_false(cpuset_has(&given, (unsigned)change->to));
                cpuset_add(&given, (unsigned)change->to);
        }
        for (unsigned i = 0; i < sim.n; i++) {
                assert_true(cpuset_has(sim.vcpu[i].allowed, (unsigned)sim.track[i].at));
                if (sim.track[i].at == sim.vcpu[i].home && before[i] == sim.vcpu[i].home)
                        continue;
                for (unsigned j = 0; j < i; j++) /* never two who are away on one CPU */
                        assert_false(sim.track[j].at == sim.track[i].at && sim.track[j].at != sim.vcpu[j].home &&
                                     sim.track[i].at != sim.vcpu[i].home);
        }
}

static void run_seed(uint64_t seed) {
        Dice dice = {seed};
        int16_t before[SIM_VCPUS];

        random_host(&dice);
        for (unsigned pass = 0; pass < PASSES; pass++) {
                random_load(&dice);
                for (unsigned i = 0; i < sim.n; i++)
                        before[i] = sim.track[i].at;
                sim_pass();
                judge_changes(before);
        }
        /* The load goes away: everybody returns, and then stays. */
        memset(sim.hog, 0, sizeof(sim.hog));
        sim_passes(sim.policy.return_samples_max + 8 * SIM_VCPUS);
        for (unsigned i = 0; i < sim.n; i++)
                assert_int_equal(sim.track[i].at, sim.vcpu[i].home);
        unsigned total = sim.total;
        sim_passes(100);
        assert_int_equal(sim.total, total);
}

static uint64_t only_seed, seed_now;

static void test_random_loads(void **context) {
        (void)context;
        for (uint64_t seed = only_seed ? only_seed : 1; seed <= (only_seed ? only_seed : SEEDS); seed++) {
                seed_now = seed;
                run_seed(seed);
        }
        seed_now = 0;
}

static int tell_seed(void **context) {
        (void)context;
        if (seed_now)
                print_message("# the seed that failed: %llu\n", (unsigned long long)seed_now);
        return 0;
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_leaves_a_hog_and_returns),
                cmocka_unit_test(test_lone_busy_vcpu_never_moves),
                cmocka_unit_test(test_stays_where_nothing_is_idle),
                cmocka_unit_test(test_order_of_places),
                cmocka_unit_test(test_flicker_is_not_idle),
                cmocka_unit_test(test_unowned_before_owned),
                cmocka_unit_test(test_makes_way_for_the_owner),
                cmocka_unit_test(test_two_do_not_take_one),
                cmocka_unit_test(test_task_group_counts_its_own),
                cmocka_unit_test(test_range_shrinks_while_away),
                cmocka_unit_test(test_swinging_load_is_bounded),
                cmocka_unit_test(test_undo),
                cmocka_unit_test(test_gap_between_a_vms_changes),
                cmocka_unit_test_teardown(test_random_loads, tell_seed),
        };

        if (argc > 1)
                only_seed = strtoull(argv[1], NULL, 10);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
