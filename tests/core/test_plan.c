/* SPDX-License-Identifier: Apache-2.0 */

/* Table cases: one small host each, and what the plan must say. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model.h"
#include "oracle.h"

static Topology topology;
static Snapshot snapshot;
static Policy policy;
static History history;
static Plan plan;
static PlanWork *work;

static int begin(void **state) {
        (void)state;
        model_topology(&topology, 2, 4, 4, 1); /* 32 CPUs, clusters of 4, 16 a node */
        snapshot_clear(&snapshot);
        policy_defaults(&policy);
        history_clear(&history);
        history.started = true;
        history.credits_milli = 64000;
        return 0;
}

static void make(PlanKind kind, int32_t vm) {
        const PlanRequest request = {.kind = kind, .vm = vm};
        char why[ORACLE_WHY_SIZE];

        plan_make(&topology, &snapshot, &policy, &history, &request, 0, work, &plan);
        if (oracle_check(&topology, &snapshot, &policy, &plan, why))
                fail_msg("%s", why);
}

static void round_is(unsigned n_moves) {
        make(PLAN_ROUND, -1);
        assert_int_equal(plan.n_moves, n_moves);
}

static uint32_t add(unsigned n_vcpus, unsigned first, unsigned last) {
        static uint64_t serial;

        return model_add_vm(&snapshot, &topology, n_vcpus, first, last, serial++);
}

/* A VM of ours whose vCPUs sit on n CPUs from first on. */
static uint32_t add_seated(unsigned n, unsigned cpu) {
        uint32_t vm = add(n, 0, topology.n_cpus - 1u);

        for (unsigned i = 0; i < n; i++)
                model_seat(&snapshot, snapshot.vm[vm].first_vcpu + i, cpu + i);
        return vm;
}

static Vcpu *vcpu_of(uint32_t vm, unsigned i) {
        return &snapshot.vcpu[snapshot.vm[vm].first_vcpu + i];
}

static int cpu_of(uint32_t vm, unsigned i) {
        return plan.target[snapshot.vm[vm].first_vcpu + i].cpu;
}

static void verdict_is(uint32_t vm, VerdictKind kind, VerdictReason reason) {
        assert_int_equal(plan.verdict[vm].kind, kind);
        assert_int_equal(plan.verdict[vm].reason, reason);
}

static void places_in_fewest_clusters(void **state) {
        uint32_t vm = add(6, 0, 31);

        (void)state;
        round_is(6);
        verdict_is(vm, VERDICT_PLACED, REASON_NONE);
        assert_int_equal(plan.verdict[vm].clusters, 2);
        assert_int_equal(plan.verdict[vm].nodes, 1);
        assert_int_equal(plan.credits_spent_milli, 0);
        assert_int_equal(plan.before.unplaced, 1);
        assert_int_equal(plan.after.unplaced, 0);
        assert_int_equal(plan.demand_vcpus, 6);
        assert_int_equal(plan.supply_cpus, 32);
        model_apply(&snapshot, &plan);
        round_is(0);
}

static void takes_the_smallest_hole_that_fits(void **state) {
        uint32_t vm;

        (void)state;
        add_seated(2, 4);  /* leaves 2 in its cluster */
        add_seated(1, 8); /* leaves 3 */
        vm = add(2, 0, 15);
        snapshot.vm[vm].policy.layout = LAYOUT_PACK;
        round_is(2);
        assert_int_equal(cpu_of(vm, 0), 6);
        assert_int_equal(cpu_of(vm, 1), 7);
}

static void larger_than_a_node_takes_two(void **state) {
        uint32_t vm = add(20, 0, 31);

        (void)state;
        round_is(20);
        verdict_is(vm, VERDICT_PLACED, REASON_NONE);
        assert_int_equal(plan.verdict[vm].nodes, 2);
        assert_int_equal(plan.verdict[vm].clusters, 5);
}

static void stays_inside_its_range(void **state) {
        uint32_t vm = add(3, 2, 6);

        (void)state;
        round_is(3);
        assert_int_equal(plan.verdict[vm].clusters, 1);
        assert_true(cpu_of(vm, 0) >= 4 && cpu_of(vm, 2) <= 6);
}

static void skipped_and_isolated_cpus_are_not_given(void **state) {
        uint32_t vm = add(2, 0, 3);

        (void)state;
        cpuset_add(&policy.skip, 0);
        cpuset_add(&topology.isolated, 1);
        snapshot.vm[vm].range_named = false;
        round_is(2);
        assert_int_equal(cpu_of(vm, 0), 2);
        assert_int_equal(cpu_of(vm, 1), 3);
        snapshot.vm[vm].range_named = true; /* then the operator meant CPU 1 */
        round_is(2);
        assert_int_equal(cpu_of(vm, 0), 1);
}

static void shares_when_full(void **state) {
        uint32_t vm;

        (void)state;
        for (unsigned i = 0; i < 31; i++)
                add_seated(1, i);
        vm = add(8, 0, 31);
        round_is(0); /* one CPU for eight would squeeze: it keeps its whole range */
        verdict_is(vm, VERDICT_SHARED, REASON_FULL);
        assert_int_equal(plan.verdict[vm].n_exclusive, 0);
}

static void never_squeezes_63_of_64(void **state) {
        (void)state;
        model_topology(&topology, 2, 8, 4, 1);
        for (unsigned i = 0; i < 63; i++)
                add_seated(1, i);
        uint32_t vm = add(8, 0, 63);

        make(PLAN_ROUND, -1);
        verdict_is(vm, VERDICT_SHARED, REASON_FULL);
        for (unsigned i = 0; i < 8; i++) {
                const CpuSet *mask = pool_get(&snapshot.pool, plan.target[snapshot.vm[vm].first_vcpu + i].mask);

                assert_true(cpuset_count(mask) >= 8);
        }
}

static void shares_what_nobody_owns(void **state) {
        uint32_t vm;

        (void)state;
        policy.credits_per_event_milli = 0;
        history.credits_milli = 0;
        for (unsigned i = 0; i < 28; i++)
                add_seated(1, i);
        snapshot.vm[add(2, 0, 31)].policy.manage = MANAGE_OBSERVE;
        vm = add(5, 0, 31);
        add(4, 0, 27);
        make(PLAN_ROUND, -1);
        verdict_is(vm, VERDICT_SHARED, REASON_FULL);
        round_is(0);
        model_remove_vm(&snapshot, 0);
        model_remove_vm(&snapshot, 0);
        make(PLAN_ROUND, -1);
        assert_int_equal(plan.verdict[vm - 2].n_exclusive, 5);
}

static void obeys_pins(void **state) {
        uint32_t vm = add(2, 5, 5), other = add_seated(1, 5);

        (void)state;
        model_set_range(&snapshot, snapshot.vm[vm].first_vcpu + 1, 6, 6);
        round_is(1);
        verdict_is(vm, VERDICT_PINNED, REASON_NONE);
        assert_int_equal(plan.verdict[vm].n_pinned, 2);
        assert_int_equal(plan.move[0].kind, MOVE_YIELD);
        assert_int_equal(plan.credits_spent_milli, 0);
        assert_true(cpu_of(other, 0) != 5 && cpu_of(other, 0) != 6);
}

static void judges_pins_on_one_cpu(void **state) {
        uint32_t vm = add(2, 5, 5);

        (void)state;
        round_is(0);
        verdict_is(vm, VERDICT_PINNED, REASON_NONE);
        assert_int_equal(plan.verdict[vm].cpus_twice, 1);
        assert_int_equal(plan.verdict[vm].n_exclusive, 0);
}

static void pin(uint32_t vm, unsigned vcpu, unsigned cpu) {
        model_set_range(&snapshot, snapshot.vm[vm].first_vcpu + vcpu, cpu, cpu);
}

static void two_pins_on_one_cpu_are_not_placed(void **state) {
        uint32_t vm = add(4, 0, 31);

        (void)state;
        pin(vm, 0, 5);
        pin(vm, 1, 5);
        round_is(2); /* the other two get CPUs of their own, beside the pins */
        verdict_is(vm, VERDICT_SHARED, REASON_BLOCKED);
        assert_int_equal(plan.verdict[vm].clusters, 1);
        assert_int_equal(plan.verdict[vm].min_clusters, 1);
        assert_int_equal(plan.verdict[vm].n_exclusive, 2);
        assert_int_equal(plan.verdict[vm].cpus_twice, 1);
        assert_int_equal(plan.verdict[vm].blocker, -1);
        assert_int_equal(plan.before.unplaced, 1);
        assert_int_equal(plan.after.unplaced, 1);
        model_apply(&snapshot, &plan);
        round_is(0);
}

static void four_vcpus_on_a_host_of_two(void **state) {
        uint32_t vm;

        (void)state;
        model_topology(&topology, 1, 1, 2, 1);
        vm = add(4, 0, 1);
        pin(vm, 0, 0);
        pin(vm, 1, 0);
        round_is(0); /* one CPU is left for two */
        verdict_is(vm, VERDICT_SHARED, REASON_BLOCKED);
        assert_true(plan.verdict[vm].min_clusters <= 1 && plan.verdict[vm].min_nodes <= 1);
        pin(vm, 2, 0);
        round_is(1); /* and now one for one */
        verdict_is(vm, VERDICT_SHARED, REASON_BLOCKED);
        assert_int_equal(cpu_of(vm, 3), 1);
        assert_int_equal(plan.verdict[vm].min_clusters, 1);
        assert_int_equal(plan.verdict[vm].n_exclusive, 1);
        assert_int_equal(plan.verdict[vm].cpus_twice, 1);
        pin(vm, 2, 1);
        pin(vm, 3, 1);
        round_is(0); /* all of them, two by two */
        verdict_is(vm, VERDICT_PINNED, REASON_NONE);
        assert_int_equal(plan.verdict[vm].clusters, 1);
        assert_int_equal(plan.verdict[vm].min_clusters, 1);
        assert_int_equal(plan.verdict[vm].n_exclusive, 0);
        assert_int_equal(plan.verdict[vm].cpus_twice, 2);
}

static void pins_of_two_vms_on_one_cpu(void **state) {
        uint32_t a = add(1, 5, 5), b = add(2, 0, 31);

        (void)state;
        pin(b, 0, 5);
        round_is(1);
        verdict_is(a, VERDICT_PINNED, REASON_NONE);
        verdict_is(b, VERDICT_SHARED, REASON_BLOCKED);
        assert_int_equal(plan.verdict[b].blocker, (int)a);
        assert_int_equal(plan.verdict[b].n_exclusive, 1);
}

static void five_pins_on_two_cpus_need_one_cluster(void **state) {
        uint32_t vm = add(5, 0, 31);

        (void)state;
        for (unsigned i = 0; i < 5; i++)
                pin(vm, i, i % 2);
        round_is(0);
        verdict_is(vm, VERDICT_PINNED, REASON_NONE);
        assert_int_equal(plan.verdict[vm].min_clusters, 1);
}

/* Pins all over the host are measured against the host, core by core. */
static void judges_scattered_pins(void **state) {
        uint32_t vm;

        (void)state;
        model_topology(&topology, 2, 4, 4, 2);
        vm = add(4, 0, 63);
        for (unsigned i = 0; i < 4; i++) /* the first two on one core, the others in other clusters */
                pin(vm, i, topology.cpu[i < 2 ? i : i * 16].os);
        round_is(0);
        verdict_is(vm, VERDICT_PINNED, REASON_NONE);
        assert_int_equal(plan.verdict[vm].clusters, 3);
        assert_int_equal(plan.verdict[vm].min_clusters, 1);
        assert_int_equal(plan.verdict[vm].nodes, 2);
        assert_int_equal(plan.verdict[vm].min_nodes, 1);
        assert_int_equal(plan.verdict[vm].doubled_cores, 1);
        snapshot.vm[vm].guest_threads = 2; /* and now they are siblings in the guest */
        round_is(0);
        assert_int_equal(plan.verdict[vm].doubled_cores, 0);
}

static void a_pin_to_an_offline_cpu_is_not_placed(void **state) {
        uint32_t vm = add(2, 0, 31);

        (void)state;
        pin(vm, 0, 40);
        make(PLAN_ROUND, -1);
        verdict_is(vm, VERDICT_SHARED, REASON_RANGE_EMPTY);
        assert_int_equal(plan.verdict[vm].n_exclusive, 1);
}

/* Two ranges over clusters of unequal size: the largest counts once only. */
static void ranges_that_differ_count_each_cluster_once(void **state) {
        static const unsigned sizes[] = {4, 2, 2, 0, 0};
        uint32_t vm;

        (void)state;
        model_topology_uneven(&topology, sizes);
        vm = add(8, 0, 7);
        model_set_range(&snapshot, snapshot.vm[vm].first_vcpu, 0, 6);
        round_is(8);
        verdict_is(vm, VERDICT_PLACED, REASON_NONE);
        assert_int_equal(plan.verdict[vm].min_clusters, 3);
}

static void places_around_a_pinned_vcpu(void **state) {
        uint32_t vm = add(4, 0, 31);

        (void)state;
        model_set_range(&snapshot, snapshot.vm[vm].first_vcpu, 21, 21);
        round_is(3);
        verdict_is(vm, VERDICT_PLACED, REASON_NONE);
        assert_int_equal(plan.verdict[vm].clusters, 1);
        assert_int_equal(cpu_of(vm, 1), 20);
}

/* Libvirt told of the pin after we had put our mask back over it. */
static void gives_way_to_a_pin_it_wrote_over(void **state) {
        uint32_t vm = add_seated(2, 4);

        (void)state;
        model_set_range(&snapshot, snapshot.vm[vm].first_vcpu, 21, 21);
        round_is(2); /* the other vCPU follows it */
        assert_int_equal(plan.move[0].kind, MOVE_YIELD);
        assert_int_equal(plan.move[0].from, 4);
        model_apply(&snapshot, &plan);
        assert_int_equal(pool_single(&snapshot.pool, vcpu_of(vm, 0)->mask), 21);
        round_is(0);
        vcpu_of(vm, 0)->mask = model_set(&snapshot, 3, 3); /* somebody else's is not ours to undo */
        round_is(0);
}

static void leaves_foreign_threads_alone(void **state) {
        uint32_t vm = add(2, 0, 31), other;

        (void)state;
        vcpu_of(vm, 0)->mask = model_set(&snapshot, 0, 0);
        other = add(1, 0, 0);
        snapshot.vcpu[snapshot.vm[other].first_vcpu].range = model_set(&snapshot, 0, 1);
        vcpu_of(other, 0)->mask = vcpu_of(other, 0)->range;
        round_is(1);
        verdict_is(vm, VERDICT_FOREIGN, REASON_NONE);
        assert_int_equal(plan.verdict[vm].n_foreign, 1);
        assert_int_equal(cpu_of(other, 0), 1);
        make(PLAN_REASSIGN, (int32_t)vm);
        verdict_is(vm, VERDICT_PLACED, REASON_NONE);
        make(PLAN_REASSIGN, -1);
        verdict_is(vm, VERDICT_FOREIGN, REASON_NONE);
        snapshot.vm[vm].policy.manage = MANAGE_YES;
        make(PLAN_ROUND, -1);
        verdict_is(vm, VERDICT_PLACED, REASON_NONE);
}

static void a_fresh_cpu_narrows_nobody(void **state) {
        uint32_t vm = add(1, 0, 31);

        (void)state;
        vcpu_of(vm, 0)->mask = model_set(&snapshot, 0, 30);
        make(PLAN_ROUND, -1);
        verdict_is(vm, VERDICT_FOREIGN, REASON_NONE);
        cpuset_add(&snapshot.fresh, 31);
        make(PLAN_ROUND, -1);
        verdict_is(vm, VERDICT_PLACED, REASON_NONE);
}

static void repairs_then_backs_off(void **state) {
        uint32_t vm = add_seated(2, 8);

        (void)state;
        vcpu_of(vm, 0)->before = SET_NONE;
        vcpu_of(vm, 0)->mask = vcpu_of(vm, 0)->range;
        vcpu_of(vm, 0)->drift = 1;
        round_is(1);
        assert_int_equal(plan.move[0].kind, MOVE_REPAIR);
        assert_int_equal(plan.move[0].to, 8);
        vcpu_of(vm, 0)->drift = 2;
        round_is(0);
        verdict_is(vm, VERDICT_CONTESTED, REASON_NONE);
        history.vm[0].contested_until_ns = -1; /* the back-off has ended */
        round_is(1);
        assert_int_equal(plan.move[0].kind, MOVE_REPAIR);
}

static void obeys_a_changed_range(void **state) {
        uint32_t vm = add_seated(2, 8);

        (void)state;
        for (unsigned i = 0; i < 2; i++) {
                vcpu_of(vm, i)->range = model_set(&snapshot, 16, 19);
                vcpu_of(vm, i)->mask = vcpu_of(vm, i)->range;
        }
        round_is(2);
        assert_int_equal(plan.move[0].kind, MOVE_YIELD);
        assert_int_equal(plan.credits_spent_milli, 0);
        assert_int_equal(cpu_of(vm, 0), 16);
}

static void adopts_after_a_crash(void **state) {
        (void)state;
        for (unsigned i = 0; i < 6; i++)
                add_seated(3, 4 * i);
        round_is(0);
}

static void one_of_two_on_a_cpu_yields(void **state) {
        uint32_t a = add_seated(1, 3), b = add_seated(1, 3);

        (void)state;
        round_is(1);
        assert_int_equal(cpu_of(a, 0), 3);
        assert_int_not_equal(cpu_of(b, 0), 3);
}

static void returns_to_its_homes(void **state) {
        uint32_t vm = add(3, 0, 31);

        (void)state;
        for (unsigned i = 0; i < 3; i++)
                vcpu_of(vm, i)->home = (int16_t)(21 + i);
        round_is(3);
        assert_int_equal(cpu_of(vm, 0), 21);
        assert_int_equal(cpu_of(vm, 2), 23);
        add_seated(1, 22); /* one home is taken: it is placed from scratch */
        round_is(3);
        assert_int_not_equal(cpu_of(vm, 0), 21);
}

/* One that is only observed is judged where it stands, and never moved. */
static void judges_what_it_only_observes(void **state) {
        uint32_t together = add_seated(2, 4), apart = add_seated(2, 7), loose = add(2, 0, 31), pinned = add(1, 12, 12);

        (void)state;
        assert_int_not_equal(topology.cpu[topology.slot_of[7]].cluster, topology.cpu[topology.slot_of[8]].cluster);
        for (uint32_t vm = together; vm <= pinned; vm++)
                snapshot.vm[vm].policy.manage = MANAGE_OBSERVE;
        round_is(0);
        verdict_is(together, VERDICT_PLACED, REASON_CONFIGURED);
        verdict_is(apart, VERDICT_SPREAD, REASON_CONFIGURED);
        verdict_is(loose, VERDICT_SHARED, REASON_CONFIGURED);
        verdict_is(pinned, VERDICT_PINNED, REASON_NONE);
        snapshot.vm[together].policy.manage = MANAGE_NO;
        make(PLAN_ROUND, -1);
        verdict_is(together, VERDICT_EXCLUDED, REASON_CONFIGURED);
}

static void releases_what_it_may_not_manage(void **state) {
        uint32_t vm = add_seated(2, 4);

        (void)state;
        snapshot.vm[vm].policy.manage = MANAGE_OBSERVE;
        round_is(0);
        snapshot.vm[vm].policy.manage = MANAGE_NO;
        round_is(2);
        verdict_is(vm, VERDICT_EXCLUDED, REASON_CONFIGURED);
        assert_int_equal(plan.move[0].kind, MOVE_RELEASE);
        assert_int_equal(plan.move[0].mask, vcpu_of(vm, 0)->range);
        model_apply(&snapshot, &plan);
        round_is(0);
}

/* Which had no end while the one that goes counted as being there. */
static void takes_at_once_what_is_released(void **state) {
        uint32_t vm = add(2, 0, 31), gone = add_seated(3, 1);

        (void)state;
        add_seated(3, 5);
        model_seat(&snapshot, snapshot.vm[vm].first_vcpu, 0);
        model_seat(&snapshot, snapshot.vm[vm].first_vcpu + 1, 4);
        snapshot.vm[gone].policy.manage = MANAGE_NO;
        round_is(4);
        verdict_is(vm, VERDICT_PLACED, REASON_NONE);
        assert_int_equal(cpu_of(vm, 0), 0);
        assert_int_equal(plan.move[3].kind, MOVE_DEFRAG);
        assert_true(plan.move[3].to >= 1 && plan.move[3].to <= 3);
}

static void wants_whole_nodes_when_told(void **state) {
        uint32_t part = add(2, 0, 7), whole = add(2, 16, 31), all = add(2, 0, 31);

        (void)state;
        policy.range_affinity = false;
        make(PLAN_ROUND, -1);
        verdict_is(part, VERDICT_EXCLUDED, REASON_RANGE_NOT_NODES);
        verdict_is(whole, VERDICT_PLACED, REASON_NONE);
        verdict_is(all, VERDICT_PLACED, REASON_NONE);
}

static void says_why_it_can_not(void **state) {
        uint32_t small = add(3, 4, 5), empty = add(1, 8, 9), hidden = add(1, 0, 31);

        (void)state;
        cpuset_add_range(&policy.skip, 8, 9);
        snapshot.vm[hidden].sight = SIGHT_HIDDEN;
        make(PLAN_ROUND, -1);
        verdict_is(small, VERDICT_SHARED, REASON_RANGE_TOO_SMALL);
        verdict_is(empty, VERDICT_UNPLACEABLE, REASON_RANGE_EMPTY);
        verdict_is(hidden, VERDICT_UNSEEN, REASON_HIDDEN);
}

static void mends_a_scattered_vm(void **state) {
        uint32_t vm = add(2, 0, 31);

        (void)state;
        model_seat(&snapshot, snapshot.vm[vm].first_vcpu, 0);
        model_seat(&snapshot, snapshot.vm[vm].first_vcpu + 1, 4);
        policy.credits_per_event_milli = 0;
        history.credits_milli = 1499; /* one VM gets two thirds at most */
        round_is(0);
        verdict_is(vm, VERDICT_SPREAD, REASON_NO_CREDITS);
        history.credits_milli = 1500;
        history.n_vms = 1;
        history.vm[0].cool_until_ns = 1;
        round_is(0);
        verdict_is(vm, VERDICT_SPREAD, REASON_COOL_DOWN);
        history.vm[0].cool_until_ns = 0;
        round_is(1);
        assert_int_equal(plan.move[0].kind, MOVE_DEFRAG);
        assert_int_equal(plan.credits_spent_milli, 1000);
        verdict_is(vm, VERDICT_PLACED, REASON_NONE);
        history_commit(&history, &snapshot, &policy, &plan, 5);
        assert_int_equal(history.credits_milli, 500);
        assert_int_equal(history.vm[0].cool_until_ns, 5 + policy.cool_down_ns);
}

/* 12 VMs of one vCPU sit on the node that a VM of 9 vCPUs is tied to: 5 of them
 * would have to cross. More than an eighth of the node: when the bucket is full. */
static void dear_room_waits_for_a_full_bucket(void **state) {
        uint32_t vm;

        (void)state;
        for (unsigned i = 0; i < 12; i++)
                add_seated(1, i);
        vm = add(9, 0, 15);
        policy.credits_per_event_milli = 0;
        history.credits_milli = policy.burst_milli - 1;
        make(PLAN_ROUND, -1);
        verdict_is(vm, VERDICT_SHARED, REASON_FULL);
        history.credits_milli = policy.burst_milli;
        make(PLAN_ROUND, -1);
        verdict_is(vm, VERDICT_PLACED, REASON_NONE);
        assert_int_equal(plan.credits_spent_milli, 5 * 4000);
}

/* Four fast CPUs and four slow ones in one cluster. */
static void does_not_mix_kinds_of_cpus(void **state) {
        uint32_t one, four;

        (void)state;
        model_topology(&topology, 1, 1, 8, 1);
        topology.hybrid = true;
        for (unsigned slot = 0; slot < 8; slot++)
                topology.cpu[slot].kind = slot < 4;
        one = add(1, 0, 7);
        round_is(1);
        assert_true(plan.target[snapshot.vm[one].first_vcpu].cpu < 4);
        model_apply(&snapshot, &plan);
        four = add(4, 0, 7);
        round_is(4);
        for (unsigned i = 0; i < 4; i++)
                assert_true(plan.target[snapshot.vm[four].first_vcpu + i].cpu >= 4);
}

static void memory_binds(void **state) {
        uint32_t vm = add(2, 0, 31);

        (void)state;
        snapshot.vm[vm].policy.cross_node = false;
        snapshot.vm[vm].mem_source = MEM_STAT;
        snapshot.vm[vm].n_mem = 1;
        snapshot.vm[vm].mem[0] = (MemShare){.node = 1, .permille = 1000};
        round_is(2);
        assert_true(cpu_of(vm, 0) >= 16);
        assert_false(plan.verdict[vm].remote_memory);
        model_seat(&snapshot, snapshot.vm[vm].first_vcpu, 0);
        model_seat(&snapshot, snapshot.vm[vm].first_vcpu + 1, 1);
        make(PLAN_ROUND, -1);
        assert_true(plan.verdict[vm].remote_memory);
}

/* Held on a full node by its memory, with idle CPUs elsewhere: those, and no owned one. */
static void shares_only_what_nobody_owns(void **state) {
        uint32_t pinned = add(14, 0, 31), vm = add(3, 0, 31);
        const CpuSet *mask;

        (void)state;
        for (unsigned i = 0; i < 14; i++)
                pin(pinned, i, i);
        snapshot.vm[vm].policy.cross_node = false;
        snapshot.vm[vm].mem_source = MEM_STAT;
        snapshot.vm[vm].n_mem = 1;
        snapshot.vm[vm].mem[0] = (MemShare){.node = 0, .permille = 1000};
        round_is(3);
        verdict_is(vm, VERDICT_SHARED, REASON_MEMORY);
        mask = pool_get(&snapshot.pool, plan.move[0].mask);
        assert_int_equal(cpuset_count(mask), 18);
        assert_false(cpuset_intersects(mask, &plan.owned));
}

static void credits_accrue(void **state) {
        const PlanRequest request = {.kind = PLAN_ROUND, .vm = -1};

        (void)state;
        history_clear(&history);
        add(1, 0, 31);
        plan_make(&topology, &snapshot, &policy, &history, &request, 0, work, &plan);
        assert_int_equal(history.credits_milli, 0);
        add(1, 0, 31);
        plan_make(&topology, &snapshot, &policy, &history, &request, 0, work, &plan);
        assert_int_equal(history.credits_milli, 1000);
        model_remove_vm(&snapshot, 0);
        plan_make(&topology, &snapshot, &policy, &history, &request, 5000000000, work, &plan);
        assert_int_equal(history.credits_milli, 2500);
        plan_make(&topology, &snapshot, &policy, &history, &request, INT64_C(9000000000000), work, &plan);
        assert_int_equal(history.credits_milli, 64000);
}

static void frees_before_it_gives(void **state) {
        uint32_t a = add_seated(4, 0), b = add_seated(4, 4);

        (void)state;
        /* Both ranges change so that each must take the other's CPUs; nothing else is spare to a. */
        for (unsigned i = 0; i < 4; i++) {
                vcpu_of(a, i)->range = model_set(&snapshot, 4, 7);
                vcpu_of(b, i)->range = model_set(&snapshot, 0, 3);
        }
        make(PLAN_ROUND, -1);
        verdict_is(a, VERDICT_PLACED, REASON_NONE);
        verdict_is(b, VERDICT_PLACED, REASON_NONE);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(places_in_fewest_clusters, begin),
                cmocka_unit_test_setup(takes_the_smallest_hole_that_fits, begin),
                cmocka_unit_test_setup(larger_than_a_node_takes_two, begin),
                cmocka_unit_test_setup(stays_inside_its_range, begin),
                cmocka_unit_test_setup(skipped_and_isolated_cpus_are_not_given, begin),
                cmocka_unit_test_setup(shares_when_full, begin),
                cmocka_unit_test_setup(never_squeezes_63_of_64, begin),
                cmocka_unit_test_setup(shares_what_nobody_owns, begin),
                cmocka_unit_test_setup(obeys_pins, begin),
                cmocka_unit_test_setup(judges_pins_on_one_cpu, begin),
                cmocka_unit_test_setup(two_pins_on_one_cpu_are_not_placed, begin),
                cmocka_unit_test_setup(four_vcpus_on_a_host_of_two, begin),
                cmocka_unit_test_setup(pins_of_two_vms_on_one_cpu, begin),
                cmocka_unit_test_setup(five_pins_on_two_cpus_need_one_cluster, begin),
                cmocka_unit_test_setup(judges_scattered_pins, begin),
                cmocka_unit_test_setup(a_pin_to_an_offline_cpu_is_not_placed, begin),
                cmocka_unit_test_setup(ranges_that_differ_count_each_cluster_once, begin),
                cmocka_unit_test_setup(places_around_a_pinned_vcpu, begin),
                cmocka_unit_test_setup(gives_way_to_a_pin_it_wrote_over, begin),
                cmocka_unit_test_setup(leaves_foreign_threads_alone, begin),
                cmocka_unit_test_setup(a_fresh_cpu_narrows_nobody, begin),
                cmocka_unit_test_setup(repairs_then_backs_off, begin),
                cmocka_unit_test_setup(obeys_a_changed_range, begin),
                cmocka_unit_test_setup(adopts_after_a_crash, begin),
                cmocka_unit_test_setup(one_of_two_on_a_cpu_yields, begin),
                cmocka_unit_test_setup(returns_to_its_homes, begin),
                cmocka_unit_test_setup(judges_what_it_only_observes, begin),
                cmocka_unit_test_setup(releases_what_it_may_not_manage, begin),
                cmocka_unit_test_setup(takes_at_once_what_is_released, begin),
                cmocka_unit_test_setup(wants_whole_nodes_when_told, begin),
                cmocka_unit_test_setup(says_why_it_can_not, begin),
                cmocka_unit_test_setup(mends_a_scattered_vm, begin),
                cmocka_unit_test_setup(dear_room_waits_for_a_full_bucket, begin),
                cmocka_unit_test_setup(does_not_mix_kinds_of_cpus, begin),
                cmocka_unit_test_setup(memory_binds, begin),
                cmocka_unit_test_setup(shares_only_what_nobody_owns, begin),
                cmocka_unit_test_setup(credits_accrue, begin),
                cmocka_unit_test_setup(frees_before_it_gives, begin),
        };

        work = malloc(plan_work_size());
        if (!work)
                return 1;
        int r = cmocka_run_group_tests(tests, NULL, NULL);

        free(work);
        return r;
}
