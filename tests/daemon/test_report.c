/* SPDX-License-Identifier: Apache-2.0 */

/* Rounds over a modelled host, as events. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/report.h"
#include "daemon/rounds.h"
#include "model_host.h"
#include "util/log.h"

#define SECOND_NS INT64_C(1000000000)

typedef struct Bench {
        ModelHost *model;
        Settings settings;
        State *state;
        char state_path[64];
        Rounds *rounds;
        Events *events;
        Report *report;
        uint64_t told; /* number of the first event that is not looked at yet */
} Bench;

static int setup(void **state) {
        Bench *bench = calloc(1, sizeof(*bench));

        log_set_level(LOG_ERR);
        assert_non_null(bench);
        bench->model = calloc(1, sizeof(*bench->model));
        model_init(bench->model, 2, 4);
        settings_defaults(&bench->settings);
        snprintf(bench->state_path, sizeof(bench->state_path), "/tmp/test-report-%d", (int)getpid());
        assert_int_equal(state_new(&bench->state), 0);
        assert_int_equal(rounds_new(model_door(bench->model), &bench->settings, bench->state,
                                    bench->state_path, &bench->rounds),
                         0);
        assert_int_equal(events_new(&bench->events), 0);
        assert_int_equal(report_new(bench->events, &bench->report), 0);
        bench->told = 1;
        *state = bench;
        return 0;
}

static int teardown(void **state) {
        Bench *bench = *state;

        unlink(bench->state_path);
        report_free(bench->report);
        events_free(bench->events);
        rounds_free(bench->rounds);
        state_free(bench->state);
        free(bench->model);
        free(bench);
        return 0;
}

static void round_of(Bench *bench, bool act) {
        bench->model->now_ns += SECOND_NS;
        assert_true(rounds_begin(bench->rounds, NULL, &(RoundRequest){.act = act}) >= 0);
        assert_true(rounds_apply_some(bench->rounds, INT64_MAX / 4));
        report_round(bench->report, bench->rounds);
}

/* The next event is of this kind and VM, and begins like that. */
static void expect(Bench *bench, EventKind kind, const char *name, const char *text) {
        assert_true(bench->told < bench->events->next);
        const Event *event = &bench->events->event[bench->told++ % EVENTS_MAX];

        assert_string_equal(event->text, text);
        assert_string_equal(event_kind_name(event->kind), event_kind_name(kind));
        assert_string_equal(event->name, name);
        assert_true(event->round == bench->rounds->counters.rounds);
}

static void expect_no_more(Bench *bench) {
        if (bench->told < bench->events->next)
                fail_msg("one more: %s", bench->events->event[bench->told % EVENTS_MAX].text);
}

static void vms_come_move_and_go(void **state) {
        Bench *bench = *state;
        ModelVm *a = model_start(bench->model, "a", 2, 0, 7);

        round_of(bench, true);
        expect(bench, EVENT_CAME, "a",
               "was there at the first look, with 2 vCPUs: PLACED on 1 cluster (minimum 1)");
        expect(bench, EVENT_MOVED, "a", "vCPUs moved: 2 to CPUs of their own; now on CPUs 4-5");
        expect_no_more(bench);
        round_of(bench, true);
        expect_no_more(bench);
        model_start(bench->model, "b", 1, 0, 3);
        round_of(bench, true);
        expect(bench, EVENT_CAME, "b", "came with 1 vCPU: PLACED on 1 cluster (minimum 1)");
        expect(bench, EVENT_MOVED, "b", "vCPUs moved: 1 to CPUs of their own; now on CPU 1");
        expect_no_more(bench);
        model_destroy(a);
        round_of(bench, true);
        expect(bench, EVENT_WENT, "a", "went; it was PLACED");
        expect_no_more(bench);
        model_destroy(&bench->model->vm[1]);
        round_of(bench, true);
        expect(bench, EVENT_WENT, "b", "went; it was PLACED");
        expect_no_more(bench);
}

static void ranges_and_verdicts_change(void **state) {
        Bench *bench = *state;
        ModelVm *a = model_start(bench->model, "a", 2, 0, 7);

        round_of(bench, true);
        bench->told = bench->events->next;
        for (unsigned v = 0; v < 2; v++)
                model_vcpupin(a, v, 0, 3);
        round_of(bench, true);
        expect(bench, EVENT_RANGE, "a", "may run on CPUs 0-3 now, before on CPUs 0-7");
        expect(bench, EVENT_MOVED, "a", "vCPUs moved: 2 to CPUs of their own; now on CPUs 1-2");
        expect_no_more(bench);
        model_vcpupin(a, 0, 0, 0);
        model_vcpupin(a, 1, 1, 1);
        round_of(bench, true);
        expect(bench, EVENT_RANGE, "a", "may run on CPUs 0-1 now, before on CPUs 0-3");
        expect(bench, EVENT_VERDICT, "a", "PINNED, was PLACED");
        expect_no_more(bench);
        model_vcpupin(a, 0, 1, 1);
        model_vcpupin(a, 1, 0, 0);
        round_of(bench, true);
        expect(bench, EVENT_RANGE, "a", "some vCPUs may run elsewhere now, all together still on CPUs 0-1");
}

static void masks_are_repaired_and_contested(void **state) {
        Bench *bench = *state;
        ModelVm *a = model_start(bench->model, "a", 1, 0, 7);

        round_of(bench, true);
        bench->told = bench->events->next;
        a->thread[0].mask = a->thread[0].range;
        round_of(bench, true);
        expect(bench, EVENT_REPAIRED, "a",
               "vCPUs moved: 1 back, as somebody else had changed their masks; now on CPU 4");
        expect_no_more(bench);
        a->thread[0].mask = a->thread[0].range;
        round_of(bench, true);
        expect(bench, EVENT_CONTESTED, "a", "CONTESTED, was PLACED");
        expect_no_more(bench);
}

static void a_refused_write_moves_nothing(void **state) {
        Bench *bench = *state;

        model_start(bench->model, "a", 1, 0, 7);
        bench->model->next_status[0] = WRITE_REFUSED;
        bench->model->n_next = 1;
        round_of(bench, true);
        expect(bench, EVENT_CAME, "a",
               "was there at the first look, with 1 vCPU: UNPLACEABLE: the kernel refused the last change of "
               "its CPU masks");
        expect_no_more(bench);
        round_of(bench, true);
        expect(bench, EVENT_VERDICT, "a", "PLACED on 1 cluster (minimum 1), was UNPLACEABLE");
        bench->told++;
        bench->model->next_status[1] = WRITE_REFUSED;
        bench->model->n_next = 2;
        bench->model->vm[0].thread[0].mask = bench->model->vm[0].thread[0].range;
        round_of(bench, true);
        assert_int_equal(bench->events->event[bench->told].kind, EVENT_WRITE_FAILED);
}

/* It has no start time then, and comes before all others; it is the same VM when it has. */
static void a_vm_that_starts_comes_once(void **state) {
        Bench *bench = *state;

        model_start(bench->model, "a", 1, 0, 7);
        round_of(bench, true);
        bench->told = bench->events->next;
        ModelVm *b = model_start(bench->model, "b", 1, 0, 7);
        int pid = b->pid;
        b->pid = 0;
        round_of(bench, true);
        expect(bench, EVENT_CAME, "b", "came with 1 vCPU: UNSEEN: libvirt has not finished starting it");
        expect_no_more(bench);
        b->pid = pid;
        round_of(bench, true);
        expect(bench, EVENT_VERDICT, "b", "PLACED on 1 cluster (minimum 1), was UNSEEN");
        expect(bench, EVENT_MOVED, "b", "vCPUs moved: 1 to CPUs of their own; now on CPU 1");
        expect_no_more(bench);
        /* Another process, under the same UUID. */
        b->pid = b->thread[0].tid = pid + 5;
        b->thread[0].mask = b->thread[0].range;
        round_of(bench, true);
        expect(bench, EVENT_WENT, "b", "went; it was PLACED");
        expect(bench, EVENT_CAME, "b", "came with 1 vCPU: PLACED on 1 cluster (minimum 1)");
}

static void observing_moves_nothing(void **state) {
        Bench *bench = *state;

        model_start(bench->model, "a", 1, 0, 7);
        round_of(bench, false);
        bench->told++;
        expect_no_more(bench);
}

static void cpus_come_and_go(void **state) {
        Bench *bench = *state;

        round_of(bench, true);
        expect_no_more(bench);
        cpuset_remove(&bench->model->online, 7);
        round_of(bench, true);
        expect(bench, EVENT_CPUS, "", "CPU 7 went offline");
        cpuset_add(&bench->model->online, 7);
        round_of(bench, true);
        expect(bench, EVENT_CPUS, "", "CPU 7 came online");
        expect_no_more(bench);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(vms_come_move_and_go, setup, teardown),
                cmocka_unit_test_setup_teardown(ranges_and_verdicts_change, setup, teardown),
                cmocka_unit_test_setup_teardown(masks_are_repaired_and_contested, setup, teardown),
                cmocka_unit_test_setup_teardown(a_refused_write_moves_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(a_vm_that_starts_comes_once, setup, teardown),
                cmocka_unit_test_setup_teardown(observing_moves_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(cpus_come_and_go, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
