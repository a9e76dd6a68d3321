/* SPDX-License-Identifier: Apache-2.0 */

/* Rounds over a modelled host: adoption, restart, restore, drift, failed
 * writes, crashes between any two steps. The planner is the real one. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
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

static unsigned daemon_stop(Place *place, bool keep_homes) {
        unsigned restored, failed;

        rounds_look(place->rounds, NULL);
        rounds_restore(place->rounds, keep_homes, &restored, &failed);
        daemon_crash(place);
        return failed;
}

static int setup(void **state) {
        Place *place = calloc(1, sizeof(*place));

        strcpy(place->path, "/tmp/vas-rounds-XXXXXX");
        int fd = mkstemp(place->path);
        if (fd < 0 || close(fd) < 0 || unlink(place->path) < 0)
                return -1;
        settings_defaults(&place->settings);
        place->settings.policy.contested_back_off_ns = 60 * SECOND_NS;
        model_init(&place->host, 4, 4);
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

static int begin(Place *place, bool act, const char *reassign) {
        RoundRequest request = {.act = act, .reassign = reassign};

        place->host.now_ns += 5 * SECOND_NS;
        return rounds_begin(place->rounds, NULL, &request);
}

/* A whole round; returns the number of writes that reached the kernel. */
static unsigned round_run(Place *place) {
        unsigned before = place->host.writes;

        assert_true(begin(place, true, NULL) >= 0);
        while (!rounds_apply_some(place->rounds, 1))
                ;
        return place->host.writes - before;
}

static const Verdict *verdict_of(const Place *place, const char *name) {
        for (uint32_t v = 0; v < place->rounds->snapshot->n_vms; v++)
                if (strcmp(place->rounds->snapshot->vm[v].name, name) == 0)
                        return &place->rounds->plan->verdict[v];
        fail_msg("no VM %s", name);
        return NULL;
}

/* Every vCPU of every listed VM on one CPU of its range, no CPU twice. */
static void assert_exclusive(const Place *place) {
        CpuSet owned = {};

        for (unsigned v = 0; v < place->host.n_vms; v++) {
                const ModelVm *vm = &place->host.vm[v];
                for (unsigned i = 0; vm->listed && i < vm->n_vcpus; i++) {
                        int cpu = model_cpu(vm, i);
                        assert_true(cpu >= 0);
                        assert_true(cpuset_has(&vm->thread[i].range, (unsigned)cpu));
                        assert_false(cpuset_has(&owned, (unsigned)cpu));
                        cpuset_add(&owned, (unsigned)cpu);
                }
        }
}

static unsigned masks_of(const ModelVm *vm, CpuSet ret[MODEL_VCPUS]) {
        for (unsigned i = 0; i < vm->n_vcpus; i++)
                ret[i] = vm->thread[i].mask;
        return vm->n_vcpus;
}

static void assert_masks(const ModelVm *vm, const CpuSet expected[MODEL_VCPUS]) {
        for (unsigned i = 0; i < vm->n_vcpus; i++)
                assert_true(cpuset_equal(&vm->thread[i].mask, &expected[i]));
}

static void test_places(void **state) {
        Place *place = *state;

        model_start(&place->host, "a", 4, 0, 15);
        model_start(&place->host, "b", 3, 4, 11);
        assert_int_equal(round_run(place), 7);
        assert_exclusive(place);
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_PLACED);
        assert_int_equal(verdict_of(place, "a")->clusters, 1);
        assert_int_equal(place->rounds->counters.moves_done, 7);
        for (int i = 0; i < 20; i++)
                assert_int_equal(round_run(place), 0);
}

/* After an event masks may be of an earlier look: what was changed since is seen before it
 * is written. */
static void test_mask_changed_since_the_look(void **state) {
        RoundRequest request = {.act = true, .only_events = true};
        Place *place = *state;
        CpuSet theirs = {};

        cpuset_add_range(&theirs, 2, 5);
        round_run(place);
        ModelVm *vm = model_start(&place->host, "a", 1, 0, 15);
        place->host.meddle_tid = vm->thread[0].tid;
        place->host.meddle_mask = theirs;
        place->host.now_ns += SECOND_NS;
        assert_int_equal(rounds_begin(place->rounds, NULL, &request), 0);
        while (!rounds_apply_some(place->rounds, 1))
                ;
        assert_int_equal(place->host.writes, 0);
        assert_true(place->rounds->retry_soon);
        assert_int_equal(round_run(place), 0); /* somebody else's mask is left alone */
        assert_true(cpuset_equal(&vm->thread[0].mask, &theirs));
}

static int no_descriptors(void *self, const ThreadRef *thread, CpuSet *ret) {
        (void)self;
        (void)thread;
        (void)ret;
        return -EMFILE;
}

/* A mask that can not be read again is not known to hold. */
static void test_mask_not_to_be_read_again(void **state) {
        RoundRequest request = {.act = true, .only_events = true};
        Place *place = *state;
        HostOps ops = *place->rounds->host.ops;
        const HostOps *before = place->rounds->host.ops;

        round_run(place);
        model_start(&place->host, "a", 1, 0, 15);
        ops.read_mask = no_descriptors;
        place->rounds->host.ops = &ops;
        place->host.now_ns += SECOND_NS;
        assert_int_equal(rounds_begin(place->rounds, NULL, &request), 0);
        place->rounds->host.ops = before;
        assert_int_equal(place->rounds->plan->n_moves, 0);
        assert_true(place->rounds->retry_soon);
        assert_int_equal(round_run(place), 1);
}

/* What a dropped round had named as its own to write, it has not: also no helper is claimed. */
static void test_dropped_round_claims_nothing(void **state) {
        RoundRequest request = {.act = true, .only_events = true};
        Place *place = *state;
        CpuSet theirs = {};

        place->settings.policy.helpers = HELPERS_CLUSTER;
        cpuset_add_range(&theirs, 8, 9);
        round_run(place);
        ModelVm *vm = model_start(&place->host, "a", 2, 0, 15);
        ModelThread *emulator = model_helper(vm);
        emulator->cpuset = emulator->mask = place->host.online;
        place->host.meddle_tid = emulator->tid;
        place->host.meddle_mask = theirs;
        place->host.now_ns += SECOND_NS;
        assert_int_equal(rounds_begin(place->rounds, NULL, &request), 0);
        assert_true(place->rounds->retry_soon);
        assert_int_equal(place->state->n_threads, 0);
        round_run(place);
        assert_true(cpuset_equal(&emulator->mask, &theirs));
}

/* A change that could not be repaired at once is one change, and no quarrel. */
static void test_change_counts_once(void **state) {
        Place *place = *state;
        ModelVm *vm = model_start(&place->host, "a", 1, 0, 15);
        const char *path = place->rounds->state_path;

        round_run(place);
        cpuset_add_range(&vm->thread[0].mask, 0, 15);
        place->rounds->state_path = "/nonexistent/state";
        for (int i = 0; i < 3; i++)
                assert_true(begin(place, true, NULL) < 0);
        place->rounds->state_path = path;
        assert_int_equal(round_run(place), 1);
        assert_int_equal(cpuset_count(&vm->thread[0].mask), 1);
        cpuset_add_range(&vm->thread[0].mask, 0, 15);
        round_run(place);
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_CONTESTED); /* two are */
}

static void test_observe_writes_nothing(void **state) {
        Place *place = *state;

        model_start(&place->host, "a", 4, 0, 15);
        assert_int_equal(begin(place, false, NULL), 0);
        assert_true(rounds_apply_some(place->rounds, 1));
        assert_int_equal(place->host.writes, 0);
        assert_int_equal(place->rounds->plan->n_moves, 4);
        assert_int_equal(place->state->n_threads, 0);
}

static void test_crash_adopts_with_zero_writes(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 4, 0, 15), *b = model_start(&place->host, "b", 6, 0, 15);
        CpuSet masks_a[MODEL_VCPUS], masks_b[MODEL_VCPUS];

        round_run(place);
        masks_of(a, masks_a);
        masks_of(b, masks_b);
        daemon_crash(place);
        daemon_start(place);
        assert_int_equal(round_run(place), 0);
        assert_masks(a, masks_a);
        assert_masks(b, masks_b);
        assert_int_equal(verdict_of(place, "b")->kind, VERDICT_PLACED);
}

static void test_stop_restores_and_start_returns(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 4, 0, 15), *b = model_start(&place->host, "b", 3, 4, 11);
        ModelVm *c = model_start(&place->host, "c", 2, 0, 15);
        CpuSet first_a[MODEL_VCPUS], first_b[MODEL_VCPUS], ours_b[MODEL_VCPUS], ours_c[MODEL_VCPUS];

        masks_of(a, first_a);
        masks_of(b, first_b);
        round_run(place);
        model_destroy(a); /* b and c would be placed elsewhere now, were they new */
        round_run(place);
        masks_of(b, ours_b);
        masks_of(c, ours_c);
        assert_int_equal(daemon_stop(place, true), 0);
        assert_masks(b, first_b);
        daemon_start(place);
        round_run(place);
        assert_masks(b, ours_b);
        assert_masks(c, ours_c);
}

static void test_recover_forgets(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 4, 0, 15);
        CpuSet first[MODEL_VCPUS];
        unsigned restored, failed;

        masks_of(a, first);
        round_run(place);
        rounds_restore(place->rounds, false, &restored, &failed);
        assert_int_equal(restored, 4);
        assert_int_equal(failed, 0);
        assert_masks(a, first);
        assert_int_equal(place->state->n_threads, 0);
}

/* Whatever was written when the crash came, the next start ends well and the
 * masks from before us are still known. */
static void test_crash_after_each_write(void **state) {
        Place *place = *state;
        CpuSet first[MODEL_VCPUS];

        for (unsigned written = 0; written <= 6; written++) {
                ModelVm *a = model_start(&place->host, "a", 6, 0, 15);
                masks_of(a, first);
                assert_int_equal(begin(place, true, NULL), 0);
                for (unsigned i = 0; i < written; i++)
                        rounds_apply_some(place->rounds, 0);
                daemon_crash(place);
                daemon_start(place);
                assert_int_equal(round_run(place), 6 - written);
                assert_exclusive(place);
                assert_int_equal(daemon_stop(place, true), 0);
                assert_masks(a, first);
                daemon_start(place);
                model_destroy(a);
                round_run(place);
        }
}

/* Without a saved state nothing may be written: nobody could undo it. */
static void test_no_state_no_writes(void **state) {
        Place *place = *state;

        model_start(&place->host, "a", 4, 0, 15);
        place->rounds->state_path = "/nowhere/at/all/state.json";
        assert_true(begin(place, true, NULL) < 0);
        assert_true(rounds_apply_some(place->rounds, 1));
        assert_int_equal(place->host.writes, 0);
        assert_non_null(strstr(place->rounds->trouble, "nothing is moved"));
        assert_int_equal(place->state->n_threads, 0);
        place->rounds->state_path = place->path;
        assert_int_equal(round_run(place), 4);
}

static void test_operator_changes_range(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 2, 0, 15);

        round_run(place);
        for (unsigned i = 0; i < 2; i++)
                model_vcpupin(a, i, 12, 15);
        round_run(place);
        assert_exclusive(place);
        assert_int_equal(place->rounds->counters.drift_repaired, 0);
        assert_int_equal(daemon_stop(place, true), 0);
        assert_int_equal(cpuset_count(&a->thread[0].mask), 4); /* the range, not what was before */
        daemon_start(place);
}

/* The change is so new that no round has seen it, or comes amid one's writes. */
static void test_stop_right_after_a_new_range(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 3, 0, 7);

        round_run(place);
        model_vcpupin(a, 0, 0, 15);
        assert_int_equal(daemon_stop(place, true), 0);
        assert_int_equal(cpuset_count(&a->thread[0].mask), 16);
        assert_int_equal(cpuset_count(&a->thread[1].mask), 8);
        daemon_start(place);
        assert_int_equal(begin(place, true, NULL), 0);
        assert_false(rounds_apply_some(place->rounds, 0));
        for (unsigned i = 0; i < 3; i++)
                model_vcpupin(a, i, 4, 15);
        assert_int_equal(daemon_stop(place, true), 0);
        for (unsigned i = 0; i < 3; i++)
                assert_true(cpuset_equal(&a->thread[i].mask, &a->thread[i].range));
        daemon_start(place);
}

/* A stop that can not look again goes by what was last seen. */
static void test_stop_without_a_look(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 2, 0, 15);

        round_run(place);
        place->host.observe_fails = true;
        assert_int_equal(daemon_stop(place, true), 0);
        assert_int_equal(cpuset_count(&a->thread[0].mask), 16);
        daemon_start(place);
}

/* Narrow and wide again, without a write of ours between: no quarrel. */
static void test_operator_changes_range_back(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15);

        round_run(place);
        for (int i = 0; i < 6; i++) {
                unsigned cpu = i % 2 ? (unsigned)model_cpu(a, 0) : 9;
                model_vcpupin(a, 0, cpu, cpu);
                round_run(place);
                assert_int_equal(verdict_of(place, "a")->kind, VERDICT_PINNED);
                model_vcpupin(a, 0, 0, 15);
                round_run(place);
                assert_int_equal(verdict_of(place, "a")->kind, VERDICT_PLACED);
        }
        assert_int_equal(place->rounds->counters.drift_repaired, 0);
        assert_int_equal(daemon_stop(place, true), 0);
        assert_int_equal(cpuset_count(&a->thread[0].mask), 16);
        daemon_start(place);
}

static void test_operator_pin_wins(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15), *b = model_start(&place->host, "b", 1, 0, 15);

        round_run(place);
        unsigned cpu = (unsigned)model_cpu(a, 0), writes = b->thread[0].writes;
        model_vcpupin(b, 0, cpu, cpu);
        round_run(place);
        assert_int_equal(model_cpu(b, 0), cpu);
        assert_int_equal(b->thread[0].writes, writes);
        assert_exclusive(place);
        assert_int_equal(verdict_of(place, "b")->kind, VERDICT_PINNED);
}

static void widen(ModelVm *vm) {
        vm->thread[0].mask = vm->thread[0].range;
}

static void test_drift_then_quarrel(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 2, 0, 15);
        CpuSet ours[MODEL_VCPUS];

        round_run(place);
        masks_of(a, ours);
        widen(a);
        assert_int_equal(round_run(place), 1);
        assert_masks(a, ours);
        assert_int_equal(place->rounds->counters.drift_repaired, 1);
        widen(a);
        assert_int_equal(round_run(place), 0);
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_CONTESTED);
        for (int i = 0; i < 8; i++)
                assert_int_equal(round_run(place), 0);
        place->host.now_ns += 60 * SECOND_NS;
        assert_int_equal(round_run(place), 1);
        assert_masks(a, ours);
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_PLACED);
}

/* Two changes that lie far apart are no quarrel. */
static void test_rare_drift_is_repaired(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 2, 0, 15);

        round_run(place);
        for (int i = 0; i < 4; i++) {
                widen(a);
                assert_int_equal(round_run(place), 1);
                place->host.now_ns += (RELATED_DRIFT_S + 1) * SECOND_NS;
                assert_int_equal(round_run(place), 0);
        }
}

static void test_foreign_is_left_alone(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 2, 0, 15), *b = model_start(&place->host, "b", 4, 0, 3);

        cpuset_clear(&a->thread[0].mask);
        cpuset_add(&a->thread[0].mask, 0);
        round_run(place);
        assert_int_equal(a->thread[0].writes, 0);
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_FOREIGN);
        assert_int_equal(verdict_of(place, "b")->kind, VERDICT_SHARED);
        assert_int_not_equal(model_cpu(b, 0), 0);
}

/* A CPU that could not be freed is not given to another VM. */
static void test_failed_write_blocks_its_cpu(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15), *b;

        round_run(place);
        unsigned cpu = (unsigned)model_cpu(a, 0);
        b = model_start(&place->host, "b", 1, 0, 15);
        model_vcpupin(b, 0, cpu, cpu + 1);
        model_vcpupin(a, 0, 8, 15); /* a must leave cpu */
        a->thread[0].mask = (CpuSet){};
        cpuset_add(&a->thread[0].mask, cpu);
        place->host.next_status[0] = WRITE_DENIED;
        place->host.n_next = 1;
        place->host.at_next = 0;
        round_run(place);
        assert_true(model_cpu(b, 0) != (int)cpu || model_cpu(a, 0) != (int)cpu);
        assert_non_null(strstr(place->rounds->trouble, "CAP_SYS_NICE"));
        round_run(place);
        assert_exclusive(place);
        assert_string_equal(place->rounds->trouble, "");
}

static void test_denied_leaves_no_claim(void **state) {
        Place *place = *state;

        model_start(&place->host, "a", 2, 0, 15);
        for (unsigned i = 0; i < 2; i++)
                place->host.next_status[i] = WRITE_DENIED;
        place->host.n_next = 2;
        round_run(place);
        assert_int_equal(place->state->n_threads, 0);
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_UNPLACEABLE);
        assert_int_equal(verdict_of(place, "a")->reason, REASON_WRITE_FAILED);
        assert_int_equal(place->rounds->counters.writes_failed, 2);
}

static void test_vm_dies_while_being_pinned(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 4, 0, 15);

        place->host.die_tid = a->thread[2].tid;
        round_run(place);
        assert_int_equal(a->thread[2].writes, 0);
        assert_true(place->rounds->retry_soon);
        assert_int_equal(place->state->n_threads, 3);
        model_destroy(a);
        round_run(place);
        assert_int_equal(place->state->n_threads, 0);
}

/* libvirt may leave a VM out for a moment: what we know of it is kept. */
static void test_unlisted_vm_is_remembered(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 4, 0, 15);

        round_run(place);
        a->listed = false;
        round_run(place);
        assert_int_equal(place->state->n_threads, 4);
        a->listed = true;
        assert_int_equal(round_run(place), 0);
}

static void test_shared_takes_freed_cpus(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 14, 0, 15), *b = model_start(&place->host, "b", 4, 0, 15);

        round_run(place);
        assert_int_equal(verdict_of(place, "b")->kind, VERDICT_SHARED);
        assert_int_equal(cpuset_count(&b->thread[0].mask), 16); /* 2 free CPUs for 4 vCPUs would squeeze it */
        model_destroy(a);
        round_run(place);
        assert_exclusive(place);
        assert_int_equal(verdict_of(place, "b")->clusters, 1);
}

static void test_cpu_goes_offline(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 4, 0, 15);

        round_run(place);
        unsigned cpu = (unsigned)model_cpu(a, 0);
        cpuset_remove(&place->host.online, cpu);
        a->thread[0].mask = a->thread[0].range; /* as the kernel does */
        cpuset_remove(&a->thread[0].mask, cpu);
        round_run(place);
        assert_exclusive(place);
        assert_int_not_equal(model_cpu(a, 0), cpu);
        assert_true(cpuset_has(&place->rounds->offline, cpu));
        cpuset_add(&place->host.online, cpu);
        round_run(place);
        assert_false(cpuset_has(&place->rounds->offline, cpu));
        assert_exclusive(place);
}

/* Before 6.2 the kernel gives all threads their cpuset's mask when a CPU comes
 * or goes, before or after we learn of it: nobody quarrels. */
static void test_hotplug_is_no_quarrel(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 2, 0, 15);
        CpuSet ours[MODEL_VCPUS];

        round_run(place);
        masks_of(a, ours);
        for (int i = 0; i < 3; i++) {
                widen(a);
                assert_int_equal(round_run(place), 1);
                (i % 2 ? cpuset_add : cpuset_remove)(&place->host.online, 15);
                assert_int_equal(round_run(place), 0);
                for (int j = 0; j < i; j++) {
                        widen(a);
                        assert_int_equal(round_run(place), 1);
                }
                assert_masks(a, ours);
                place->host.now_ns += 20 * SECOND_NS;
        }
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_PLACED);
}

static void test_reassign_scope(void **state) {
        Place *place = *state;

        model_start(&place->host, "a", 4, 0, 15);
        assert_int_equal(begin(place, true, "nobody"), 1);
        while (!rounds_apply_some(place->rounds, 1))
                ;
        assert_exclusive(place); /* it was an ordinary round */
        assert_int_equal(rounds_try_reassign(place->rounds, "nobody"), 1);
        assert_int_equal(rounds_try_reassign(place->rounds, "a"), 0);
        assert_int_equal(rounds_try_reassign(place->rounds, place->host.vm[0].uuid), 0);
        assert_int_equal(rounds_try_reassign(place->rounds, "all"), 0);
}

/* Threads that somebody bound, and that a reassign leaves where they are, are ours from then on. */
static void test_reassign_claims_what_stays(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 2, 0, 15);

        for (unsigned i = 0; i < 2; i++) {
                cpuset_clear(&a->thread[i].mask);
                cpuset_add(&a->thread[i].mask, 4 + i);
        }
        assert_int_equal(round_run(place), 0);
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_FOREIGN);
        assert_int_equal(begin(place, true, "a"), 0);
        while (!rounds_apply_some(place->rounds, 1))
                ;
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_PLACED);
        assert_int_equal(a->thread[0].writes + a->thread[1].writes, 0);
        assert_int_equal(round_run(place), 0);
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_PLACED);
        daemon_crash(place); /* and that was saved */
        daemon_start(place);
        assert_int_equal(round_run(place), 0);
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_PLACED);
        assert_int_equal(model_cpu(a, 0), 4);
}

/* A plan that is only asked for changes nothing, not even the next plan. */
static void test_trial_leaves_no_trace(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 4, 0, 15);

        cpuset_clear(&a->thread[0].mask);
        cpuset_add(&a->thread[0].mask, 9); /* foreign: reassign would take it over */
        round_run(place);
        int64_t credits = place->rounds->history->credits_milli;
        assert_int_equal(rounds_try_reassign(place->rounds, "a"), 0);
        assert_true(place->rounds->trial->n_moves > 0);
        assert_int_equal(place->rounds->history->credits_milli, credits);
        assert_int_equal(round_run(place), 0);
        assert_int_equal(begin(place, true, "a"), 0);
        while (!rounds_apply_some(place->rounds, 1))
                ;
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_PLACED);
        assert_exclusive(place);
}

static void test_failed_observation_keeps_everything(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 4, 0, 15);
        CpuSet ours[MODEL_VCPUS];

        round_run(place);
        masks_of(a, ours);
        place->host.observe_fails = true;
        assert_true(begin(place, true, NULL) < 0);
        assert_true(place->rounds->trouble[0]);
        assert_masks(a, ours);
        assert_int_equal(place->state->n_threads, 4);
        place->host.observe_fails = false;
        assert_int_equal(round_run(place), 0);
        assert_string_equal(place->rounds->trouble, "");
}

/* Paused in the middle: what is written stays, nothing more is written. */
static void test_cancelled_round_writes_no_more(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 6, 0, 15);
        CpuSet first[MODEL_VCPUS];

        masks_of(a, first);
        assert_int_equal(begin(place, true, NULL), 0);
        rounds_apply_some(place->rounds, 0);
        rounds_apply_some(place->rounds, 0);
        rounds_cancel(place->rounds);
        assert_true(rounds_apply_some(place->rounds, 1));
        assert_int_equal(place->rounds->plan->n_moves, 2);
        daemon_crash(place);
        daemon_start(place);
        assert_int_equal(begin(place, false, NULL), 0);
        assert_true(rounds_apply_some(place->rounds, 1));
        assert_int_equal(place->host.writes, 2);
        assert_int_equal(round_run(place), 4);
        assert_exclusive(place);
        assert_int_equal(daemon_stop(place, true), 0);
        assert_masks(a, first);
        daemon_start(place);
}

/* A crash before the first write does not cost the CPU from before the stop. */
static void test_home_outlives_a_crash(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 4, 0, 15), *b = model_start(&place->host, "b", 2, 0, 15);
        CpuSet ours[MODEL_VCPUS];

        round_run(place);
        masks_of(b, ours);
        model_destroy(a); /* b would be placed elsewhere now, were it new */
        round_run(place);
        assert_int_equal(daemon_stop(place, true), 0);
        daemon_start(place);
        assert_int_equal(begin(place, true, NULL), 0);
        daemon_crash(place);
        daemon_start(place);
        assert_int_equal(round_run(place), 2);
        assert_masks(b, ours);
}

/* A write of which nobody knows whether it happened is ours if it did. */
static void test_unknown_write_is_settled(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 2, 0, 15);

        place->host.next_status[0] = WRITE_RETRY;
        place->host.n_next = 1;
        assert_int_equal(begin(place, true, NULL), 0);
        SetId mask = place->rounds->plan->move[0].mask;
        uint32_t vcpu = place->rounds->plan->move[0].vcpu;
        a->thread[vcpu].mask = *pool_get(&place->rounds->snapshot->pool, mask); /* it did */
        while (!rounds_apply_some(place->rounds, 1))
                ;
        assert_true(place->rounds->retry_soon);
        daemon_crash(place);
        daemon_start(place);
        assert_int_equal(round_run(place), 0);
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_PLACED);
        assert_int_equal(daemon_stop(place, true), 0);
        assert_int_equal(cpuset_count(&a->thread[vcpu].mask), 16);
        daemon_start(place);
}

/* The mask changes before libvirt tells of the range, each time: no quarrel. */
static void test_early_sight_of_a_pin_is_no_quarrel(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 2, 0, 15);

        round_run(place);
        for (unsigned i = 0; i < 4; i++) {
                unsigned first = i % 2 ? 0 : 4;
                a->thread[0].mask = (CpuSet){};
                cpuset_add_range(&a->thread[0].mask, first, first + 7);
                round_run(place);
                model_vcpupin(a, 0, first, first + 7);
                round_run(place);
                assert_int_equal(verdict_of(place, "a")->kind, VERDICT_PLACED);
                assert_exclusive(place);
        }
}

/* In a quarrel with somebody: a new range is obeyed all the same, at once. */
static void test_new_range_ends_a_quarrel(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 2, 0, 15);

        round_run(place);
        for (int i = 0; i < 2; i++) {
                widen(a);
                round_run(place);
        }
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_CONTESTED);
        for (unsigned i = 0; i < 2; i++)
                model_vcpupin(a, i, 8, 11);
        round_run(place);
        assert_int_equal(verdict_of(place, "a")->kind, VERDICT_PLACED);
        assert_exclusive(place);
}

static void test_uuid_in_any_case(void **state) {
        Place *place = *state;
        ModelVm *a = model_start(&place->host, "a", 1, 0, 15);

        strcpy(a->uuid, "abcdef00-0000-0000-0000-000000000001");
        assert_int_equal(begin(place, true, "ABCDEF00-0000-0000-0000-000000000001"), 0);
        while (!rounds_apply_some(place->rounds, 1))
                ;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_places),
                TEST(test_mask_changed_since_the_look),
                TEST(test_mask_not_to_be_read_again),
                TEST(test_dropped_round_claims_nothing),
                TEST(test_change_counts_once),
                TEST(test_observe_writes_nothing),
                TEST(test_crash_adopts_with_zero_writes),
                TEST(test_stop_restores_and_start_returns),
                TEST(test_recover_forgets),
                TEST(test_crash_after_each_write),
                TEST(test_no_state_no_writes),
                TEST(test_operator_changes_range),
                TEST(test_stop_right_after_a_new_range),
                TEST(test_stop_without_a_look),
                TEST(test_operator_changes_range_back),
                TEST(test_operator_pin_wins),
                TEST(test_drift_then_quarrel),
                TEST(test_rare_drift_is_repaired),
                TEST(test_foreign_is_left_alone),
                TEST(test_failed_write_blocks_its_cpu),
                TEST(test_denied_leaves_no_claim),
                TEST(test_vm_dies_while_being_pinned),
                TEST(test_unlisted_vm_is_remembered),
                TEST(test_shared_takes_freed_cpus),
                TEST(test_cpu_goes_offline),
                TEST(test_hotplug_is_no_quarrel),
                TEST(test_reassign_scope),
                TEST(test_reassign_claims_what_stays),
                TEST(test_trial_leaves_no_trace),
                TEST(test_failed_observation_keeps_everything),
                TEST(test_cancelled_round_writes_no_more),
                TEST(test_home_outlives_a_crash),
                TEST(test_unknown_write_is_settled),
                TEST(test_early_sight_of_a_pin_is_no_quarrel),
                TEST(test_new_range_ends_a_quarrel),
                TEST(test_uuid_in_any_case),
        };

        return cmocka_run_group_tests_name("daemon/rounds", tests, NULL, NULL);
}
