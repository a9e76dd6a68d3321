/* SPDX-License-Identifier: Apache-2.0 */

/* Rounds for a VM's threads that are no vCPUs, over a modelled host of 4 clusters of
 * 4 CPUs on one node: placed, followed, undone, and whatever goes wrong on the way. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/rounds.h"
#include "model_host.h"

#define BOOT "11111111-2222-3333-4444-555555555555"
#define SECOND_NS INT64_C(1000000000)

typedef struct Place {
        char path[64];
        ModelHost host;
        Settings settings;
        State *state;
        Rounds *rounds;
        ModelVm *vm;
        ModelThread *emulator, *worker;
} Place;

static void daemon_start(Place *place) {
        char why[256];

        assert_int_equal(state_new(&place->state), 0);
        assert_true(state_load(place->state, place->path, BOOT, why) >= 0);
        assert_int_equal(
                rounds_new(model_door(&place->host), &place->settings, place->state, place->path, &place->rounds), 0);
}

/* kill -9: all memory is gone, the state file and the masks stay. */
static void daemon_crash(Place *place) {
        place->rounds = rounds_free(place->rounds);
        place->state = state_free(place->state);
}

static void daemon_stop(Place *place) {
        unsigned restored, failed;

        rounds_look(place->rounds, NULL);
        assert_int_equal(rounds_restore(place->rounds, true, &restored, &failed), 0);
        assert_int_equal(failed, 0);
        daemon_crash(place);
}

static int begin(Place *place, bool act) {
        RoundRequest request = {.act = act};

        place->host.now_ns += 5 * SECOND_NS;
        return rounds_begin(place->rounds, NULL, &request);
}

/* A whole round; returns the number of writes that reached the kernel. */
static unsigned round_run(Place *place) {
        unsigned before = place->host.writes;

        assert_true(begin(place, true) >= 0);
        while (!rounds_apply_some(place->rounds, 1))
                ;
        return place->host.writes - before;
}

static void pretend(Place *place, WriteStatus status, bool unknown) {
        memset(place->host.next_status, 0, sizeof(place->host.next_status));
        place->host.at_next = 0;
        place->host.n_next = 1;
        place->host.next_status[0] = status;
        place->host.unknown_writes = unknown;
}

static bool mask_is(const ModelThread *thread, unsigned first, unsigned last) {
        CpuSet wanted = {};

        cpuset_add_range(&wanted, first, last);
        return cpuset_equal(&thread->mask, &wanted);
}

static void set_mask(ModelThread *thread, unsigned first, unsigned last) {
        cpuset_clear(&thread->mask);
        cpuset_add_range(&thread->mask, first, last);
}

/* A host with one VM of 3 vCPUs, an emulator's thread and a worker. */
static int setup(void **state) {
        Place *place = calloc(1, sizeof(*place));

        strcpy(place->path, "/tmp/vas-helpers-XXXXXX");
        int fd = mkstemp(place->path);
        if (fd < 0 || close(fd) < 0 || unlink(place->path) < 0)
                return -1;
        settings_defaults(&place->settings);
        place->settings.policy.helpers = HELPERS_CLUSTER;
        model_init(&place->host, 4, 4);
        place->vm = model_start(&place->host, "a", 3, 0, 2);
        place->emulator = model_helper(place->vm);
        place->emulator->cpuset = place->emulator->mask = place->host.online;
        place->worker = model_helper(place->vm);
        daemon_start(place);
        *state = place;
        return 0;
}

static int teardown(void **state) {
        Place *place = *state;

        daemon_crash(place);
        unlink(place->path);
        free(place);
        return 0;
}

static void test_leave_writes_nothing(void **state) {
        Place *place = *state;

        place->settings.policy.helpers = HELPERS_LEAVE;
        assert_int_equal(round_run(place), 3);
        assert_int_equal(place->state->n_threads, 3);
        assert_int_equal(place->emulator->writes + place->worker->writes, 0);
        assert_int_equal(place->rounds->counters.helpers_done, 0);
        for (int i = 0; i < 3; i++)
                assert_int_equal(round_run(place), 0);
}

static void test_placed_once(void **state) {
        Place *place = *state;

        assert_int_equal(round_run(place), 5);
        assert_true(mask_is(place->emulator, 3, 3));
        assert_true(mask_is(place->worker, 3, 3));
        assert_int_equal(place->rounds->counters.helpers_done, 2);
        for (int i = 0; i < 20; i++)
                assert_int_equal(round_run(place), 0);
        assert_int_equal(place->rounds->counters.rounds_with_moves, 1);
}

static void test_observe_writes_nothing(void **state) {
        Place *place = *state;

        assert_int_equal(begin(place, false), 0);
        assert_true(rounds_apply_some(place->rounds, 1));
        assert_int_equal(place->host.writes, 0);
        assert_int_equal(place->state->n_threads, 0);
}

static void test_follows_the_vcpus(void **state) {
        Place *place = *state;

        round_run(place);
        ModelVm *b = model_start(&place->host, "b", 1, 3, 3); /* its operator takes the last CPU of the cluster */
        round_run(place);
        assert_true(mask_is(place->emulator, 4, 15));
        model_destroy(b);
        round_run(place);
        assert_true(mask_is(place->emulator, 3, 3));
        assert_true(mask_is(place->worker, 3, 3));
}

static void test_full_host_is_left_to_all(void **state) {
        Place *place = *state;

        round_run(place);
        model_start(&place->host, "b", 13, 3, 15);
        round_run(place);
        assert_true(mask_is(place->emulator, 0, 15));
        assert_int_equal(place->state->n_threads, 16); /* vCPUs alone */
}

static void test_housekeeping(void **state) {
        Place *place = *state;

        place->settings.policy.helpers = HELPERS_HOUSEKEEPING;
        cpuset_add_range(&place->settings.policy.skip, 14, 15);
        round_run(place);
        assert_true(mask_is(place->emulator, 14, 15));
        assert_true(mask_is(place->worker, 14, 15));
}

/* What a thread has may be less than the CPUs for it: never more than that. */
static void test_stays_inside_its_mask(void **state) {
        Place *place = *state;

        set_mask(place->emulator, 2, 9);
        set_mask(place->worker, 8, 9);
        round_run(place);
        assert_true(mask_is(place->emulator, 3, 3));
        assert_true(mask_is(place->worker, 8, 9));
        assert_int_equal(place->worker->writes, 0);
        round_run(place);
        daemon_stop(place);
        assert_true(mask_is(place->emulator, 2, 9));
        assert_true(mask_is(place->worker, 8, 9));
        daemon_start(place);
}

static void test_operators_pin_wins(void **state) {
        Place *place = *state;

        place->vm->emulator_named = true;
        round_run(place);
        assert_int_equal(place->emulator->writes + place->worker->writes, 0);
}

/* libvirt writes the emulator's own thread; its workers are in the same cpuset. */
static void test_a_later_pin_wins(void **state) {
        Place *place = *state;

        round_run(place);
        place->vm->emulator_named = true;
        set_mask(place->emulator, 9, 10);
        place->emulator->cpuset = place->worker->cpuset = place->emulator->mask;
        place->worker->mask = place->emulator->mask; /* its own and the cpuset have nothing in common */
        unsigned writes = place->emulator->writes, of_worker = place->worker->writes;
        round_run(place);
        round_run(place);
        assert_int_equal(place->emulator->writes, writes);
        /* What it has itself is still ours: a later, wider pin would not reach it. */
        assert_int_equal(place->worker->writes, of_worker + 1);
        assert_true(mask_is(place->emulator, 9, 10));
        assert_true(mask_is(place->worker, 9, 10));
        assert_int_equal(place->state->n_threads, 3);
}

static void test_stop_restores(void **state) {
        Place *place = *state;

        round_run(place);
        daemon_stop(place);
        assert_true(mask_is(place->emulator, 0, 15));
        assert_true(mask_is(place->worker, 0, 15));
        daemon_start(place);
        round_run(place);
        assert_true(mask_is(place->emulator, 3, 3));
}

static void test_crash_adopts_with_zero_writes(void **state) {
        Place *place = *state;

        round_run(place);
        daemon_crash(place);
        daemon_start(place);
        assert_int_equal(round_run(place), 0);
        daemon_stop(place);
        assert_true(mask_is(place->emulator, 0, 15));
        assert_true(mask_is(place->worker, 0, 15));
        daemon_start(place);
}

static void test_crash_after_each_write(void **state) {
        Place *place = *state;

        for (unsigned written = 0; written <= 5; written++) {
                assert_int_equal(begin(place, true), 0);
                for (unsigned i = 0; i < written; i++)
                        rounds_apply_some(place->rounds, 0);
                daemon_crash(place);
                daemon_start(place);
                assert_int_equal(round_run(place), 5 - written);
                assert_true(mask_is(place->emulator, 3, 3));
                assert_true(mask_is(place->worker, 3, 3));
                daemon_stop(place);
                assert_true(mask_is(place->emulator, 0, 15));
                assert_true(mask_is(place->worker, 0, 15));
                daemon_start(place);
        }
}

/* A worker that was started by a thread of ours has our mask, and gets away with it
 * neither when it is moved on nor at a stop, were it seen by a round or not. */
static void test_inherited_masks_are_ours(void **state) {
        Place *place = *state;

        round_run(place);
        ModelThread *seen = model_helper(place->vm);
        assert_true(mask_is(seen, 3, 3));
        assert_int_equal(round_run(place), 0);
        ModelVm *b = model_start(&place->host, "b", 1, 3, 3);
        round_run(place);
        assert_true(mask_is(seen, 4, 15));
        model_destroy(b);
        round_run(place);
        ModelThread *unseen = model_helper(place->vm);
        daemon_stop(place);
        assert_true(mask_is(seen, 0, 15));
        assert_true(mask_is(unseen, 0, 15));
        daemon_start(place);
}

static void test_leave_again_undoes(void **state) {
        Place *place = *state;

        round_run(place);
        place->settings.policy.helpers = HELPERS_LEAVE;
        assert_int_equal(round_run(place), 2);
        assert_true(mask_is(place->emulator, 0, 15));
        assert_true(mask_is(place->worker, 0, 15));
        assert_int_equal(place->state->n_threads, 3);
        assert_int_equal(round_run(place), 0);
}

static void test_somebody_else_is_obeyed(void **state) {
        Place *place = *state;

        round_run(place);
        set_mask(place->worker, 8, 11);
        round_run(place);
        assert_true(mask_is(place->worker, 8, 11)); /* nothing of ours is in it */
        daemon_stop(place);
        assert_true(mask_is(place->worker, 8, 11));
        daemon_start(place);
}

/* Before 6.2 the kernel gives every thread its whole cpuset when CPUs come or go. */
static void test_hotplug_is_nobodys_doing(void **state) {
        Place *place = *state;

        set_mask(place->emulator, 2, 9);
        round_run(place);
        cpuset_remove(&place->host.online, 15);
        place->emulator->mask = place->host.online;
        round_run(place);
        assert_true(mask_is(place->emulator, 3, 3));
        daemon_stop(place);
        assert_true(mask_is(place->emulator, 2, 9));
        daemon_start(place);
}

static void test_a_quarrel_ends(void **state) {
        Place *place = *state;
        unsigned writes = 0;

        round_run(place);
        for (int i = 0; i < 8; i++) {
                writes = place->worker->writes;
                set_mask(place->worker, 0, 15);
                round_run(place);
        }
        assert_int_equal(place->worker->writes, writes);
        assert_true(mask_is(place->worker, 0, 15));
        place->host.now_ns += 120 * SECOND_NS; /* and is forgotten */
        round_run(place);
        round_run(place);
        assert_true(mask_is(place->worker, 3, 3));
}

static void test_gone_while_being_written(void **state) {
        Place *place = *state;

        place->host.die_tid = place->worker->tid;
        round_run(place);
        assert_true(mask_is(place->emulator, 3, 3));
        assert_int_equal(place->state->n_threads, 4);
        assert_int_equal(round_run(place), 0);
}

static void test_refused_writes(void **state) {
        Place *place = *state;
        static const WriteStatus status[] = {WRITE_DENIED, WRITE_REFUSED, WRITE_RETRY};

        round_run(place);
        place->settings.policy.helpers = HELPERS_LEAVE;
        round_run(place);
        place->settings.policy.helpers = HELPERS_CLUSTER;
        for (unsigned i = 0; i < 3; i++) {
                uint64_t failed = place->rounds->counters.writes_failed;
                pretend(place, status[i], false);
                round_run(place);
                assert_int_equal(place->rounds->counters.writes_failed, failed + 1);
                assert_true(mask_is(place->emulator, 0, 15));
                assert_true(mask_is(place->worker, 3, 3));
                place->rounds->trouble[0] = '\0';
                place->settings.policy.helpers = HELPERS_LEAVE;
                round_run(place);
                assert_int_equal(place->state->n_threads, 3);
                assert_true(mask_is(place->worker, 0, 15));
                place->settings.policy.helpers = HELPERS_CLUSTER;
        }
}

/* Nobody knows whether it was written: it was. */
static void test_unknown_write_is_settled(void **state) {
        Place *place = *state;

        place->settings.policy.helpers = HELPERS_LEAVE;
        round_run(place);
        place->settings.policy.helpers = HELPERS_CLUSTER;
        pretend(place, WRITE_RETRY, true);
        assert_int_equal(round_run(place), 2);
        assert_int_equal(round_run(place), 0);
        model_start(&place->host, "b", 1, 3, 3);
        pretend(place, WRITE_RETRY, true);
        assert_int_equal(round_run(place), 2);
        assert_true(mask_is(place->emulator, 4, 15));
        assert_int_equal(round_run(place), 0);
        daemon_stop(place);
        assert_true(mask_is(place->emulator, 0, 15));
        daemon_start(place);
}

/* A cpuset that is smaller than the mask from before us: no write for ever. */
static void test_clipped_is_not_tried_for_ever(void **state) {
        Place *place = *state;
        unsigned writes = 0;

        round_run(place);
        cpuset_clear(&place->worker->cpuset);
        cpuset_add_range(&place->worker->cpuset, 4, 6);
        set_mask(place->worker, 4, 6);
        model_start(&place->host, "b", 1, 3, 3);
        for (int i = 0; i < 8; i++) {
                writes = place->worker->writes;
                round_run(place);
        }
        assert_int_equal(place->worker->writes, writes);
        assert_true(mask_is(place->worker, 4, 6));
}

static void test_cancelled_round_writes_no_more(void **state) {
        Place *place = *state;

        assert_int_equal(begin(place, true), 0);
        for (int i = 0; i < 4; i++)
                rounds_apply_some(place->rounds, 0);
        rounds_cancel(place->rounds);
        assert_true(rounds_apply_some(place->rounds, 1));
        assert_true(mask_is(place->emulator, 3, 3));
        assert_true(mask_is(place->worker, 0, 15));
        assert_int_equal(round_run(place), 1);
        assert_true(mask_is(place->worker, 3, 3));
}

static void test_no_state_no_writes(void **state) {
        Place *place = *state;

        place->rounds->state_path = "/nowhere/at/all/state.json";
        assert_true(begin(place, true) < 0);
        assert_true(rounds_apply_some(place->rounds, 1));
        assert_int_equal(place->host.writes, 0);
        assert_int_equal(place->state->n_threads, 0);
}

static void test_unmanaged_is_released(void **state) {
        Place *place = *state;
        VmRule *rule = &place->settings.rule[0];

        round_run(place);
        *rule = (VmRule){.has_manage = true, .policy.manage = MANAGE_NO};
        strcpy(rule->glob, "a");
        place->settings.n_rules = 1;
        round_run(place);
        assert_true(mask_is(place->emulator, 0, 15));
        assert_true(mask_is(place->worker, 0, 15));
        assert_int_equal(place->state->n_threads, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_leave_writes_nothing),
                TEST(test_placed_once),
                TEST(test_observe_writes_nothing),
                TEST(test_follows_the_vcpus),
                TEST(test_full_host_is_left_to_all),
                TEST(test_housekeeping),
                TEST(test_stays_inside_its_mask),
                TEST(test_operators_pin_wins),
                TEST(test_a_later_pin_wins),
                TEST(test_stop_restores),
                TEST(test_crash_adopts_with_zero_writes),
                TEST(test_crash_after_each_write),
                TEST(test_inherited_masks_are_ours),
                TEST(test_leave_again_undoes),
                TEST(test_somebody_else_is_obeyed),
                TEST(test_hotplug_is_nobodys_doing),
                TEST(test_a_quarrel_ends),
                TEST(test_gone_while_being_written),
                TEST(test_refused_writes),
                TEST(test_unknown_write_is_settled),
                TEST(test_clipped_is_not_tried_for_ever),
                TEST(test_cancelled_round_writes_no_more),
                TEST(test_no_state_no_writes),
                TEST(test_unmanaged_is_released),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
