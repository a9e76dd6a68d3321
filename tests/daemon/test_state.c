/* SPDX-License-Identifier: Apache-2.0 */

/* The state file: what is saved comes back; what is not ours does not. */

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

#include "daemon/state.h"

#define BOOT "11111111-2222-3333-4444-555555555555"
#define OTHER_BOOT "99999999-2222-3333-4444-555555555555"
#define UUID "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"

typedef struct Place {
        char path[64];
        char why[256];
        State *state;
} Place;

static int setup(void **state) {
        Place *place = calloc(1, sizeof(*place));

        strcpy(place->path, "/tmp/vas-state-XXXXXX");
        int fd = mkstemp(place->path);
        if (fd < 0 || close(fd) < 0 || unlink(place->path) < 0)
                return -1;
        *state = place;
        return state_new(&place->state);
}

static int teardown(void **state) {
        Place *place = *state;

        unlink(place->path);
        state_free(place->state);
        free(place);
        return 0;
}

static ThreadRef thread(int tid) {
        ThreadRef ref = {.pid = 100, .tid = tid, .process_start_ticks = 7, .thread_start_ticks = 8, .number = 3};

        strcpy(ref.uuid, UUID);
        return ref;
}

static SetId set_of(State *state, unsigned first, unsigned last) {
        CpuSet set = {};

        cpuset_add_range(&set, first, last);
        return state_intern(state, &set);
}

static void fill(State *state) {
        ThreadRef ref = thread(20);
        ThreadState *entry = state_get(state, &ref);

        entry->before = set_of(state, 0, 63);
        entry->range_before = entry->range_then = entry->before;
        entry->written = set_of(state, 5, 5);
        entry->home = 5;
        ref = thread(10);
        entry = state_get(state, &ref);
        entry->home = 9;
        cpuset_add_range(&state->cpus_seen, 0, 63);
        state->paused = true;
}

static void test_round_trip(void **state) {
        Place *place = *state;
        State *again;
        ThreadRef ref;

        assert_int_equal(state_load(place->state, place->path, BOOT, place->why), 1);
        fill(place->state);
        assert_int_equal(state_save(place->state, place->path), 0);
        assert_int_equal(state_new(&again), 0);
        assert_int_equal(state_load(again, place->path, BOOT, place->why), 0);
        assert_true(again->paused);
        assert_int_equal(cpuset_count(&again->cpus_seen), 64);
        assert_int_equal(again->n_threads, 2);
        ref = thread(20);
        ThreadState *entry = state_find(again, &ref);
        assert_non_null(entry);
        assert_int_equal(cpuset_single(pool_get(again->pool, entry->written)), 5);
        assert_int_equal(cpuset_count(pool_get(again->pool, entry->before)), 64);
        assert_int_equal(entry->intended, SET_NONE);
        assert_int_equal(entry->home, 5);
        ref = thread(10);
        entry = state_find(again, &ref);
        assert_non_null(entry);
        assert_int_equal(entry->before, SET_NONE);
        assert_int_equal(entry->home, 9);
        state_free(again);
}

/* All that an entry has, the extremes of it, and thousands of them. */
static void test_round_trip_of_all(void **state) {
        Place *place = *state;
        enum { THREADS = 3000 };
        State *again;

        assert_int_equal(state_load(place->state, place->path, BOOT, place->why), 1);
        for (int tid = 1; tid <= THREADS; tid++) {
                ThreadRef ref = thread(tid);
                ref.process_start_ticks = ref.thread_start_ticks = INT64_MAX;
                ref.number = UINT16_MAX;
                ThreadState *entry = state_get(place->state, &ref);
                entry->before = set_of(place->state, 0, CPUS_MAX - 1);
                entry->intended = entry->preferred_before = set_of(place->state, (unsigned)tid, CPUS_MAX - 1);
                entry->home = entry->intended_home = CPUS_MAX - 1;
                entry->held = entry->layered = true;
                entry->way = TIDAL_CGROUP;
        }
        place->state->values_before = (TidalValues){.threshold = 100, .task_group = 1};
        assert_int_equal(state_save(place->state, place->path), 0);
        assert_int_equal(state_new(&again), 0);
        assert_int_equal(state_load(again, place->path, BOOT, place->why), 0);
        assert_int_equal(again->n_threads, THREADS);
        assert_int_equal(again->values_before.threshold, 100);
        assert_int_equal(again->values_written.task_group, -1);
        for (int i = 0; i < THREADS; i++) {
                const ThreadState *a = &place->state->thread[i], *b = &again->thread[i];
                assert_memory_equal(&a->thread, &b->thread, sizeof(a->thread));
                assert_true(cpuset_equal(pool_get(again->pool, b->intended), pool_get(place->state->pool, a->intended)));
                assert_true(cpuset_equal(pool_get(again->pool, b->preferred_before),
                                         pool_get(place->state->pool, a->preferred_before)));
                assert_true(b->home == a->home && b->intended_home == a->intended_home && b->held && b->layered &&
                            b->way == TIDAL_CGROUP && b->written == SET_NONE);
        }
        state_free(again);
}

/* A text that nobody expects costs that entry at most, never the file. */
static void test_odd_text(void **state) {
        Place *place = *state;
        ThreadRef ref = thread(20);
        State *again;

        assert_int_equal(state_load(place->state, place->path, BOOT, place->why), 1);
        fill(place->state);
        strcpy(ref.uuid, "\"\\\n\x01\xff\xc3(,]}");
        assert_non_null(state_get(place->state, &ref));
        assert_int_equal(state_save(place->state, place->path), 0);
        assert_int_equal(state_new(&again), 0);
        assert_int_equal(state_load(again, place->path, BOOT, place->why), 0);
        assert_int_equal(again->n_threads, 3);
        assert_null(state_find(again, &ref));
        state_free(again);
}

static void test_other_boot(void **state) {
        Place *place = *state;

        assert_int_equal(state_load(place->state, place->path, BOOT, place->why), 1);
        fill(place->state);
        assert_int_equal(state_save(place->state, place->path), 0);
        assert_int_equal(state_load(place->state, place->path, OTHER_BOOT, place->why), 1);
        assert_int_equal(place->state->n_threads, 0);
        assert_false(place->state->paused);
}

/* Every part of the identity counts. */
static void test_identity(void **state) {
        Place *place = *state;
        ThreadRef ref = thread(20), other;

        assert_non_null(state_get(place->state, &ref));
        assert_non_null(state_find(place->state, &ref));
        other = ref, other.pid++;
        assert_null(state_find(place->state, &other));
        other = ref, other.tid++;
        assert_null(state_find(place->state, &other));
        other = ref, other.process_start_ticks++;
        assert_null(state_find(place->state, &other));
        other = ref, other.thread_start_ticks++;
        assert_null(state_find(place->state, &other));
        other = ref, other.number++;
        assert_null(state_find(place->state, &other));
        other = ref, other.uuid[0] = 'b';
        assert_null(state_find(place->state, &other));
}

static void test_many(void **state) {
        Place *place = *state;

        for (int i = 0; i < 1000; i++) {
                ThreadRef ref = thread(1 + i * 7919 % 1000);
                assert_non_null(state_get(place->state, &ref));
        }
        assert_int_equal(place->state->n_threads, 1000);
        for (unsigned i = 1; i < 1000; i++)
                assert_true(place->state->thread[i - 1].thread.tid < place->state->thread[i].thread.tid);
        for (int tid = 1; tid <= 1000; tid += 2) {
                ThreadRef ref = thread(tid);
                state_drop(place->state, state_find(place->state, &ref));
                assert_null(state_find(place->state, &ref));
        }
        assert_int_equal(place->state->n_threads, 500);
}

static void test_compact(void **state) {
        Place *place = *state;
        ThreadRef ref = thread(20);
        ThreadState *entry = state_get(place->state, &ref);

        for (unsigned i = 0; i < POOL_SETS_MAX / 2 + 1; i++) {
                CpuSet set = {.word = {i + 1}};
                entry->written = state_intern(place->state, &set);
        }
        uint64_t word = pool_get(place->state->pool, entry->written)->word[0];
        assert_int_equal(state_compact(place->state), 0);
        assert_int_equal(place->state->pool->n, 1);
        assert_int_equal(pool_get(place->state->pool, entry->written)->word[0], word);
}

static void put(const char *path, const char *text) {
        FILE *file = fopen(path, "we");

        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
        assert_int_equal(fclose(file), 0);
}

#define HEAD "{\"version\":1,\"boot_id\":\"" BOOT "\",\"paused\":false,\"cpus_seen\":\"0-3\",\"threads\":"
#define THREAD(tid, before, home)                                                                              \
        "{\"uuid\":\"" UUID "\",\"pid\":5,\"process_start\":1,\"tid\":" tid ",\"thread_start\":2,\"vcpu\":0,"   \
        "\"before\":" before ",\"range_before\":null,\"range_then\":null,\"written\":null,\"intended\":null,"   \
        "\"home\":" home "}"

/* A file that is damaged or forged is refused as a whole. */
static void test_bad_files(void **state) {
        static const char *const texts[] = {
                "", "{", "[]", "null", "{}", HEAD "{}}", HEAD "[1]}", HEAD "[{}]}",
                HEAD "[" THREAD("0", "null", "1") "]}",
                HEAD "[" THREAD("-4", "null", "1") "]}",
                HEAD "[" THREAD("7", "\"x\"", "1") "]}",
                HEAD "[" THREAD("7", "\"4096\"", "1") "]}",
                HEAD "[" THREAD("7", "null", "4096") "]}",
                HEAD "[" THREAD("7", "null", "-2") "]}",
                HEAD "[" THREAD("7", "3", "1") "]}",
                "{\"version\":2,\"boot_id\":\"" BOOT "\",\"paused\":false,\"cpus_seen\":\"\",\"threads\":[]}",
                "{\"version\":1,\"boot_id\":\"" BOOT "\",\"paused\":0,\"cpus_seen\":\"\",\"threads\":[]}",
        };
        Place *place = *state;

        put(place->path, HEAD "[" THREAD("7", "\"0-3\"", "1") "]}");
        assert_int_equal(state_load(place->state, place->path, BOOT, place->why), 0);
        assert_int_equal(place->state->n_threads, 1);
        for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
                put(place->path, texts[i]);
                place->why[0] = '\0';
                int r = state_load(place->state, place->path, BOOT, place->why);
                if (r != -EBADMSG || !place->why[0] || place->state->n_threads)
                        fail_msg("text %u: %d '%s' %u threads", i, r, place->why, place->state->n_threads);
        }
}

/* A save that fails leaves the old file as it was. */
static void test_failed_save(void **state) {
        Place *place = *state;
        char path[96];

        snprintf(path, sizeof(path), "%s/under/a/file", place->path);
        assert_int_equal(state_load(place->state, place->path, BOOT, place->why), 1);
        fill(place->state);
        assert_int_equal(state_save(place->state, place->path), 0);
        assert_true(state_save(place->state, path) < 0);
        assert_int_equal(state_load(place->state, place->path, BOOT, place->why), 0);
        assert_int_equal(place->state->n_threads, 2);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
                cmocka_unit_test_setup_teardown(test_round_trip_of_all, setup, teardown),
                cmocka_unit_test_setup_teardown(test_odd_text, setup, teardown),
                cmocka_unit_test_setup_teardown(test_other_boot, setup, teardown),
                cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many, setup, teardown),
                cmocka_unit_test_setup_teardown(test_compact, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bad_files, setup, teardown),
                cmocka_unit_test_setup_teardown(test_failed_save, setup, teardown),
        };

        return cmocka_run_group_tests_name("daemon/state", tests, NULL, NULL);
}
