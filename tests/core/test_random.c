/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Seeded random hosts, each plan of which is judged by the oracle. Run with a
 * seed as argument to replay that one.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "model.h"
#include "oracle.h"

enum { SEEDS = 400, ROUNDS = 12 };

static uint64_t first_seed = 1, n_seeds = SEEDS;
static Topology topology;
static Snapshot snapshot;
static Policy policy;
static History history;
static Plan plan, again;
static PlanWork *work;

static void random_topology(Dice *dice) {
        static const unsigned uneven[] = {3, 5, 8, 0, 6, 2, 4, 4, 0, 16, 0, 0};
        static const unsigned large[] = {100, 70, 0, 130, 0, 0};

        switch (dice_below(dice, 9)) {
        case 0:
                model_topology(&topology, 1, 1, 4, 1);
                return;
        case 1:
                model_topology(&topology, 2, 2, 4, 1);
                return;
        case 2:
                model_topology(&topology, 4, 4, 4, 1);
                return;
        case 3:
                model_topology(&topology, 2, 4, 4, 2);
                return;
        case 4:
                model_topology_uneven(&topology, uneven);
                return;
        case 5:
                model_topology_uneven(&topology, large);
                return;
        case 6:
                model_topology(&topology, 4, 10, 8, 1);
                return;
        case 7:
                model_topology(&topology, 2, 2, 8, 4);
                return;
        default:
                model_topology(&topology, 8, 2, 3, 2);
                return;
        }
}

static void random_range(Dice *dice, unsigned n_vcpus, unsigned *ret_first, unsigned *ret_last) {
        unsigned n = topology.n_cpus, width;

        switch (dice_below(dice, 4)) {
        case 0:
        case 1:
                *ret_first = 0;
                *ret_last = n - 1;
                return;
        case 2: {
                const Node *node = &topology.node[dice_below(dice, topology.n_nodes)];

                *ret_first = node->first_slot;
                *ret_last = (unsigned)node->first_slot + node->n_cpus - 1;
                return;
        }
        default:
                width = n_vcpus + dice_below(dice, 2 * n_vcpus + 3);
                if (width > n)
                        width = n;
                *ret_first = dice_below(dice, n - width + 1);
                *ret_last = *ret_first + width - 1;
        }
}

static void random_vcpu_state(Dice *dice, uint32_t vcpu) {
        CpuSet allowed;

        vcpu_allowed(&topology, &snapshot, &policy, vcpu, &allowed);
        switch (dice_below(dice, 24)) {
        case 0: { /* pinned by the operator */
                unsigned cpu = dice_below(dice, topology.n_cpus);

                model_set_range(&snapshot, vcpu, cpu, cpu);
                break;
        }
        case 1: /* somebody widened our mask */
                model_seat(&snapshot, vcpu, dice_below(dice, topology.n_cpus));
                snapshot.vcpu[vcpu].mask = snapshot.vcpu[vcpu].range;
                snapshot.vcpu[vcpu].before = model_set(&snapshot, 0, 0);
                snapshot.vcpu[vcpu].drift = (uint8_t)dice_below(dice, 3);
                break;
        case 2: /* a range of its own */
                model_set_range(&snapshot, vcpu, 0, dice_below(dice, topology.n_cpus));
                break;
        case 3: /* a remnant of a crash: two may sit on one CPU */
                if (!cpuset_is_empty(&allowed))
                        model_seat(&snapshot, vcpu, (unsigned)cpuset_next(&allowed, 0));
                break;
        case 4: /* remembered from before a clean stop */
                snapshot.vcpu[vcpu].home = (int16_t)dice_below(dice, topology.n_cpus);
                break;
        default:
                break;
        }
}

static void random_vm(Dice *dice, uint64_t serial) {
        static const unsigned sizes[] = {1, 1, 2, 2, 3, 4, 4, 5, 6, 8, 12, 16, 20, 40};
        unsigned n = sizes[dice_below(dice, 14)], first, last;
        uint32_t vm;

        if (n > topology.n_cpus)
                n = 1 + dice_below(dice, topology.n_cpus);
        random_range(dice, n, &first, &last);
        vm = model_add_vm(&snapshot, &topology, n, first, last, serial);
        snapshot.vm[vm].policy.cross_node = dice_below(dice, 3) > 0;
        if (dice_below(dice, 4) == 0) {
                snapshot.vm[vm].mem_source = MEM_STAT;
                snapshot.vm[vm].n_mem = 1;
                snapshot.vm[vm].mem[0] = (MemShare){
                        .node = topology.node[dice_below(dice, topology.n_nodes)].os, .permille = 1000};
        }
        if (dice_below(dice, 4) == 0)
                for (uint32_t i = 0; i < n; i++)
                        random_vcpu_state(dice, snapshot.vm[vm].first_vcpu + i);
        switch (dice_below(dice, 20)) {
        case 0:
                snapshot.vm[vm].policy.manage = MANAGE_NO;
                break;
        case 1:
                snapshot.vm[vm].policy.manage = MANAGE_OBSERVE;
                break;
        case 2: /* narrowed before us */
                if (cpuset_count(pool_get(&snapshot.pool, snapshot.vcpu[snapshot.vm[vm].first_vcpu].range)) > 1)
                        snapshot.vcpu[snapshot.vm[vm].first_vcpu].mask = model_set(&snapshot, first, first);
                break;
        case 3:
                snapshot.vm[vm].policy.manage = MANAGE_YES;
                break;
        default:
                break;
        }
}

static unsigned wanted_cpus(void) {
        return snapshot.n_vcpus;
}

static void run_seed(uint64_t seed) {
        Dice dice = {seed};
        const PlanRequest round = {.kind = PLAN_ROUND, .vm = -1};
        char why[ORACLE_WHY_SIZE];
        uint64_t serial = 0;
        unsigned load;

        random_topology(&dice);
        snapshot_clear(&snapshot);
        policy_defaults(&policy);
        history_clear(&history);
        if (dice_below(&dice, 4) == 0)
                cpuset_add(&policy.skip, dice_below(&dice, topology.n_cpus));
        load = topology.n_cpus * (50 + dice_below(&dice, 60)) / 100;
        while (wanted_cpus() < load)
                random_vm(&dice, serial++);
        for (int i = 0; i < ROUNDS; i++) {
                int64_t now = (int64_t)i * 20000000000;

                plan_make(&topology, &snapshot, &policy, &history, &round, now, work, &plan);
                if (oracle_step(&topology, &snapshot, &policy, &history, &plan, now, work, &again, why))
                        fail_msg("seed %llu, round %d: %s", (unsigned long long)seed, i, why);
                if (snapshot.n_vms > 0 && dice_below(&dice, 3) > 0)
                        model_remove_vm(&snapshot, dice_below(&dice, snapshot.n_vms));
                if (wanted_cpus() < load || dice_below(&dice, 4) == 0)
                        random_vm(&dice, serial++);
                if (snapshot.n_vms > 0 && dice_below(&dice, 4) == 0) /* let go of, or taken on again */
                        snapshot.vm[dice_below(&dice, snapshot.n_vms)].policy.manage =
                                dice_below(&dice, 3) ? MANAGE_NO : MANAGE_AUTO;
        }
}

static void every_plan_is_sound(void **state) {
        (void)state;
        for (uint64_t seed = first_seed; seed < first_seed + n_seeds; seed++)
                run_seed(seed);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(every_plan_is_sound)};

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
