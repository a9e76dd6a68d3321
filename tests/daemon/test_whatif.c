/* SPDX-License-Identifier: Apache-2.0 */

/* What would happen if, over a modelled host of 4 clusters of 4 CPUs: the answer
 * is what the next round then does, and asking changes nothing. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/whatif.h"
#include "model_host.h"

#define BOOT "11111111-2222-3333-4444-555555555555"
#define SECOND_NS INT64_C(1000000000)

typedef struct Place {
        char path[64];
        ModelHost host;
        Settings settings;
        State *state;
        Rounds *rounds;
} Place;

static int setup(void **state) {
        Place *place = calloc(1, sizeof(*place));
        char why[256];

        strcpy(place->path, "/tmp/vas-whatif-XXXXXX");
        int fd = mkstemp(place->path);
        if (fd < 0 || close(fd) < 0 || unlink(place->path) < 0)
                return -1;
        settings_defaults(&place->settings);
        model_init(&place->host, 4, 4);
        if (state_new(&place->state) < 0 || state_load(place->state, place->path, BOOT, why) < 0)
                return -1;
        *state = place;
        return rounds_new(model_door(&place->host), &place->settings, place->state, place->path,
                          &place->rounds);
}

static int teardown(void **state) {
        Place *place = *state;

        rounds_free(place->rounds);
        state_free(place->state);
        unlink(place->path);
        free(place);
        return 0;
}

/* A whole round; returns the number of writes that reached the kernel. */
static unsigned round_run(Place *place, bool act) {
        RoundRequest request = {.act = act};
        unsigned before = place->host.writes;

        place->host.now_ns += 5 * SECOND_NS;
        assert_int_equal(rounds_begin(place->rounds, NULL, &request), 0);
        while (!rounds_apply_some(place->rounds, 1))
                ;
        return place->host.writes - before;
}

static WhatIfEnd ask(Place *place, const WhatIf *what, Score *ret) {
        unsigned writes = place->host.writes, threads = place->state->n_threads;
        int64_t credits = place->rounds->history->credits_milli;
        char why[WHATIF_WHY_SIZE] = "";
        WhatIfEnd end = whatif_plan(place->rounds, what, ret, why);

        assert_int_equal(end == WHATIF_REFUSED, why[0] != '\0');
        assert_int_equal(place->host.writes, writes);
        assert_int_equal(place->state->n_threads, threads);
        assert_int_equal(place->rounds->history->credits_milli, credits);
        return end;
}

static int trial_vm(const Place *place, const char *name) {
        for (uint32_t v = 0; v < place->rounds->trial_snapshot->n_vms; v++)
                if (strcmp(place->rounds->trial_snapshot->vm[v].name, name) == 0)
                        return (int)v;
        return -1;
}

static int trial_cpu(const Place *place, const char *name, unsigned vcpu) {
        int vm = trial_vm(place, name);

        assert_true(vm >= 0);
        return place->rounds->trial->target[place->rounds->trial_snapshot->vm[vm].first_vcpu + vcpu].cpu;
}

/* Nothing is asked: it is what the round does that would come. */
static void test_nothing_is_the_next_round(void **state) {
        Place *place = *state;
        Score before;

        model_start(&place->host, "a", 4, 0, 15);
        assert_int_equal(round_run(place, false), 0);
        assert_int_equal(ask(place, &(WhatIf){}, &before), WHATIF_PLANNED);
        assert_int_equal(before.unplaced, 1);
        assert_int_equal(place->rounds->trial->after.unplaced, 0);
        assert_int_equal(place->rounds->trial->n_moves, 4);
        assert_int_equal(round_run(place, true), 4);
}

/* A VM that comes lands where one of that shape lands when it really comes. */
static void test_added_vm_lands_where_the_real_one_does(void **state) {
        Place *place = *state;
        int cpus[4];
        Score before;

        model_start(&place->host, "a", 6, 0, 15);
        round_run(place, true);
        WhatIf what = {.add_vcpus = 4, .range = "4-15"};
        assert_int_equal(ask(place, &what, &before), WHATIF_PLANNED);
        assert_int_equal(before.unplaced, 0);
        assert_int_equal(place->rounds->trial->verdict[trial_vm(place, WHATIF_NAME)].kind, VERDICT_PLACED);
        for (unsigned i = 0; i < 4; i++)
                cpus[i] = trial_cpu(place, WHATIF_NAME, i);
        ModelVm *b = model_start(&place->host, "b", 4, 4, 15);
        round_run(place, true);
        for (unsigned i = 0; i < 4; i++)
                assert_int_equal(model_cpu(b, i), cpus[i]);
}

/* Every vCPU names the VM that names it. */
static void assert_sound(const Snapshot *snapshot) {
        uint32_t n = 0;

        for (uint32_t v = 0; v < snapshot->n_vms; v++) {
                const Vm *vm = &snapshot->vm[v];
                for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++, n++) {
                        assert_int_equal(snapshot->vcpu[i].vm, v);
                        assert_int_equal(snapshot->vcpu[i].number, i - vm->first_vcpu);
                }
        }
        assert_int_equal(n, snapshot->n_vcpus);
}

/* "a" has only room that "b" leaves; what is behind "b" keeps its place. */
static void test_removed_vm_leaves_its_cpus(void **state) {
        Place *place = *state;
        Score before;

        model_start(&place->host, "b", 4, 0, 3);
        ModelVm *c = model_start(&place->host, "c", 2, 4, 15);
        model_start(&place->host, "a", 4, 0, 3);
        round_run(place, true);
        int kept = model_cpu(c, 0);
        WhatIf what = {.remove = "b"};
        assert_int_equal(ask(place, &what, &before), WHATIF_PLANNED);
        assert_int_equal(before.unplaced, 1);
        assert_int_equal(place->rounds->trial->after.unplaced, 0);
        assert_int_equal(trial_vm(place, "b"), -1);
        assert_int_equal(place->rounds->trial_snapshot->n_vms, 2);
        assert_sound(place->rounds->trial_snapshot);
        assert_int_equal(place->rounds->trial->verdict[trial_vm(place, "a")].kind, VERDICT_PLACED);
        assert_int_equal(trial_cpu(place, "c", 0), kept);
        for (unsigned i = 0; i < 4; i++)
                assert_true(trial_cpu(place, "a", i) >= 0 && trial_cpu(place, "a", i) <= 3);
}

static void test_policy_holds_other_masks(void **state) {
        Place *place = *state;
        Score before;

        model_start(&place->host, "a", 2, 0, 15);
        round_run(place, true);
        WhatIf what = {.has_sched = true, .sched = SCHED_CLUSTER};
        assert_int_equal(ask(place, &what, &before), WHATIF_PLANNED);
        assert_int_equal(place->rounds->trial->n_moves, 2);
        for (unsigned i = 0; i < 2; i++) {
                assert_int_equal(place->rounds->trial->move[i].kind, MOVE_HOLD);
                assert_int_equal(cpuset_count(pool_get(&place->rounds->trial_snapshot->pool,
                                                       place->rounds->trial->move[i].mask)),
                                 4);
        }
        assert_int_equal(place->settings.sched, SCHED_STATIC);
        assert_int_equal(round_run(place, true), 0);
}

/* What a reassignment would take over is left alone by an ordinary round. */
static void test_reassign(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 2, 0, 15);
        Score before;

        cpuset_clear(&a->thread[0].mask);
        cpuset_add(&a->thread[0].mask, 9);
        round_run(place, true);
        WhatIf what = {.reassign = "a"};
        assert_int_equal(ask(place, &what, &before), WHATIF_PLANNED);
        assert_int_equal(place->rounds->trial->verdict[0].kind, VERDICT_PLACED);
        assert_int_equal(ask(place, &(WhatIf){}, &before), WHATIF_PLANNED);
        assert_int_equal(place->rounds->trial->verdict[0].kind, VERDICT_FOREIGN);
}

static void test_refusals(void **state) {
        static const char *const ranges[] = {"",     "16",   "0-16", "node", "node1",  "node0x",
                                             "node", "nod0", "3-1",  ",",    "node-1", "99999"};
        Place *place = *state;
        Score before = {.unplaced = 77};

        model_start(&place->host, "a", 2, 0, 15);
        round_run(place, true);
        for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
                WhatIf what = {.add_vcpus = 2, .range = ranges[i]};
                assert_int_equal(ask(place, &what, &before), WHATIF_REFUSED);
        }
        assert_int_equal(ask(place, &(WhatIf){.remove = "b"}, &before), WHATIF_NO_REMOVE);
        assert_int_equal(ask(place, &(WhatIf){.reassign = "b"}, &before), WHATIF_NO_REASSIGN);
        assert_int_equal(ask(place, &(WhatIf){.remove = "a", .reassign = "a"}, &before), WHATIF_NO_REASSIGN);
        assert_int_equal(before.unplaced, 77);
}

/* One VM too many: as many as the snapshot holds are there already. */
static void test_limits(void **state) {
        Place *place = *state;
        Score before;

        model_start(&place->host, "a", 2, 0, 15);
        round_run(place, true);
        Snapshot *snapshot = place->rounds->snapshot;
        for (uint32_t v = 1; v < VMS_MAX; v++) {
                snapshot->vm[v] = snapshot->vm[0];
                snapshot->vm[v].n_vcpus = 0;
                snapshot->vm[v].first_vcpu = 2;
                snapshot->vm[v].sight = SIGHT_NO_PID;
                snprintf(snapshot->vm[v].uuid, VM_UUID_SIZE, "%u", v);
        }
        snapshot->n_vms = VMS_MAX;
        assert_int_equal(ask(place, &(WhatIf){.add_vcpus = 1}, &before), WHATIF_REFUSED);
        WhatIf swap = {.add_vcpus = 1, .remove = "7"};
        assert_int_equal(ask(place, &swap, &before), WHATIF_PLANNED);
        assert_int_equal(trial_vm(place, WHATIF_NAME), VMS_MAX - 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_nothing_is_the_next_round),
                TEST(test_added_vm_lands_where_the_real_one_does),
                TEST(test_removed_vm_leaves_its_cpus),
                TEST(test_policy_holds_other_masks),
                TEST(test_reassign),
                TEST(test_refusals),
                TEST(test_limits),
        };

        return cmocka_run_group_tests_name("daemon/whatif", tests, NULL, NULL);
}
