/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/state.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/cpulist.h"

enum {
        STATE_BYTES_MAX = 64 * 1024 * 1024,
        COMPACT_AT_SETS = POOL_SETS_MAX / 2,
};

static void cleanup_json(json_t **json) {
        json_decref(*json);
}
#define AUTO_JSON CLEANUP(cleanup_json)

static const TidalValues values_none = {.threshold = -1, .task_group = -1};

int state_new(State **ret) {
        State *state = calloc(1, sizeof(*state));

        if (!state)
                return -ENOMEM;
        state->values_before = state->values_written = values_none;
        state->pool = calloc(1, sizeof(*state->pool));
        if (!state->pool) {
                free(state);
                return -ENOMEM;
        }
        *ret = state;
        return 0;
}

State *state_free(State *state) {
        if (state) {
                free(state->thread);
                free(state->pool);
                free(state);
        }
        return NULL;
}

static int thread_compare(const ThreadRef *a, const ThreadRef *b) {
        if (a->tid != b->tid)
                return a->tid < b->tid ? -1 : 1;
        if (a->thread_start_ticks != b->thread_start_ticks)
                return a->thread_start_ticks < b->thread_start_ticks ? -1 : 1;
        if (a->pid != b->pid)
                return a->pid < b->pid ? -1 : 1;
        if (a->process_start_ticks != b->process_start_ticks)
                return a->process_start_ticks < b->process_start_ticks ? -1 : 1;
        if (a->number != b->number)
                return a->number < b->number ? -1 : 1;
        return strcmp(a->uuid, b->uuid);
}

/* The position of the first entry that is not below thread. */
static unsigned state_position(const State *state, const ThreadRef *thread) {
        unsigned low = 0, high = state->n_threads;

        while (low < high) {
                unsigned middle = low + (high - low) / 2;
                if (thread_compare(&state->thread[middle].thread, thread) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

ThreadState *state_find(State *state, const ThreadRef *thread) {
        unsigned at = state_position(state, thread);

        if (at == state->n_threads || thread_compare(&state->thread[at].thread, thread) != 0)
                return NULL;
        return &state->thread[at];
}

static int state_reserve(State *state) {
        if (state->n_threads < state->capacity)
                return 0;
        unsigned capacity = state->capacity ? state->capacity * 2 : 64;
        ThreadState *thread = realloc(state->thread, capacity * sizeof(*thread));
        if (!thread)
                return -ENOMEM;
        state->thread = thread;
        state->capacity = capacity;
        return 0;
}

ThreadState *state_get(State *state, const ThreadRef *thread) {
        ThreadState *entry = state_find(state, thread);

        if (entry)
                return entry;
        if (state_reserve(state) < 0)
                return NULL;
        unsigned at = state_position(state, thread);
        memmove(&state->thread[at + 1], &state->thread[at], (state->n_threads - at) * sizeof(*state->thread));
        state->n_threads++;
        state->thread[at] = (ThreadState){.thread = *thread, .home = -1, .intended_home = -1, .prefers = -1};
        return &state->thread[at];
}

void state_drop(State *state, ThreadState *entry) {
        unsigned at = (unsigned)(entry - state->thread);

        state->n_threads--;
        memmove(entry, entry + 1, (state->n_threads - at) * sizeof(*entry));
}

bool state_differs(const State *state, const ThreadState *entry, const CpuSet *online, const CpuSet *mask) {
        const CpuSet *written = pool_get(state->pool, entry->written);
        CpuSet expected;

        if (!written)
                return false;
        expected = *written;
        cpuset_and(&expected, online);
        return !cpuset_is_empty(&expected) && !cpuset_equal(&expected, mask);
}

SetId state_intern(State *state, const CpuSet *set) {
        return pool_intern(state->pool, set);
}

int state_compact(State *state) {
        if (state->pool->n < COMPACT_AT_SETS)
                return 0;
        CpuSetPool *pool = calloc(1, sizeof(*pool));
        if (!pool)
                return -ENOMEM;
        for (unsigned i = 0; i < state->n_threads; i++) {
                ThreadState *t = &state->thread[i];
                SetId *ids[] = {&t->before,  &t->range_before, &t->range_then,
                                &t->written, &t->intended,     &t->preferred_before};
                for (unsigned k = 0; k < sizeof(ids) / sizeof(*ids); k++)
                        if (*ids[k] != SET_NONE)
                                *ids[k] = pool_intern(pool, pool_get(state->pool, *ids[k]));
        }
        free(state->pool);
        state->pool = pool;
        return 0;
}

/* 0 or -EBADMSG. */
static int values_from_json(json_t *json, TidalValues *ret) {
        TidalValues values;

        if (!json)
                return 0; /* written by a version that did not know of them */
        if (json_unpack(json, "{s:i, s:i}", "threshold", &values.threshold, "task_group",
                        &values.task_group) < 0 ||
            values.threshold < -1 || values.threshold > 100 || values.task_group < -1 ||
            values.task_group > 1)
                return -EBADMSG;
        *ret = values;
        return 0;
}

/* Reads a set that may be null; 0 or -EBADMSG. */
static int set_from_json(State *state, const json_t *json, SetId *ret) {
        CpuSet set;

        if (json_is_null(json)) {
                *ret = SET_NONE;
                return 0;
        }
        if (!json_is_string(json) || cpulist_parse(json_string_value(json), &set) < 0)
                return -EBADMSG;
        SetId id = state_intern(state, &set);
        if (id == SET_NONE)
                return -EBADMSG;
        *ret = id;
        return 0;
}

static int thread_from_json(State *state, json_t *json) {
        ThreadState t = {};
        json_t *before, *range_before, *range_then, *written, *intended;
        json_int_t process_start, thread_start;
        const char *uuid;
        json_t *preferred_before = NULL;
        int number, home, held = 0, layered = 0, intended_home = -1, way = TIDAL_NONE;

        if (json_unpack(json,
                        "{s:s, s:i, s:I, s:i, s:I, s:i, s:o, s:o, s:o, s:o, s:o, s:i, s?b, s?b, s?i, s?i, s?o}",
                        "uuid", &uuid, "pid", &t.thread.pid, "process_start", &process_start, "tid",
                        &t.thread.tid, "thread_start", &thread_start, "vcpu", &number, "before", &before,
                        "range_before", &range_before, "range_then", &range_then, "written", &written,
                        "intended", &intended, "home", &home, "held", &held, "layered", &layered,
                        "intended_home", &intended_home, "preferred_way", &way, "preferred_before", &preferred_before) < 0)
                return -EBADMSG;
        if (strlen(uuid) >= sizeof(t.thread.uuid) || t.thread.pid <= 0 || t.thread.tid <= 0 ||
            process_start < 0 || thread_start < 0 || number < 0 || number > UINT16_MAX || home < -1 ||
            home >= CPUS_MAX || intended_home < -1 || intended_home >= CPUS_MAX || way < TIDAL_NONE ||
            way > TIDAL_CGROUP)
                return -EBADMSG;
        strcpy(t.thread.uuid, uuid);
        t.thread.process_start_ticks = (uint64_t)process_start;
        t.thread.thread_start_ticks = (uint64_t)thread_start;
        t.thread.number = (uint16_t)number;
        t.home = (int16_t)home;
        t.held = held && home >= 0;
        t.layered = layered && home >= 0;
        t.intended_home = (int16_t)intended_home;
        t.way = (TidalWay)way;
        t.prefers = -1;
        if (set_from_json(state, before, &t.before) < 0 ||
            set_from_json(state, range_before, &t.range_before) < 0 ||
            set_from_json(state, range_then, &t.range_then) < 0 ||
            set_from_json(state, written, &t.written) < 0 ||
            set_from_json(state, intended, &t.intended) < 0 ||
            (preferred_before && set_from_json(state, preferred_before, &t.preferred_before) < 0))
                return -EBADMSG;
        ThreadState *entry = state_get(state, &t.thread);
        if (!entry)
                return -ENOMEM;
        *entry = t;
        return 0;
}

/* Fills state from the file's JSON; 0, 1 (another boot), -EBADMSG or -ENOMEM. */
static int state_from_json(State *state, json_t *json, const char *boot_id) {
        const char *file_boot_id, *cpus_seen;
        json_t *threads, *thread, *values_before = NULL, *values_written = NULL;
        int version, paused;
        size_t i;

        if (json_unpack(json, "{s:i, s:s, s:b, s:s, s:o, s?o, s?o}", "version", &version, "boot_id",
                        &file_boot_id, "paused", &paused, "cpus_seen", &cpus_seen, "threads", &threads,
                        "values_before", &values_before, "values_written", &values_written) < 0)
                return -EBADMSG;
        if (version != STATE_VERSION || !json_is_array(threads) || json_array_size(threads) > VCPUS_MAX + HELPERS_MAX ||
            cpulist_parse(cpus_seen, &state->cpus_seen) < 0)
                return -EBADMSG;
        if (strcmp(file_boot_id, boot_id) != 0)
                return 1;
        if (values_from_json(values_before, &state->values_before) < 0 ||
            values_from_json(values_written, &state->values_written) < 0)
                return -EBADMSG;
        state->paused = paused;
        json_array_foreach(threads, i, thread) {
                int r = thread_from_json(state, thread);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void state_clear(State *state) {
        state->n_threads = 0;
        state->paused = false;
        state->values_before = state->values_written = values_none;
        cpuset_clear(&state->cpus_seen);
        pool_clear(state->pool);
}

int state_load(State *state, const char *path, const char *boot_id, char ret_why[256]) {
        AUTO_JSON json_t *json = NULL;
        AUTO_FCLOSE FILE *file = NULL;
        json_error_t error;
        struct stat st;

        state_clear(state);
        snprintf(state->boot_id, sizeof(state->boot_id), "%s", boot_id);
        file = fopen(path, "re");
        if (!file)
                return errno == ENOENT ? 1 : -errno;
        if (fstat(fileno(file), &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_size > STATE_BYTES_MAX) {
                snprintf(ret_why, 256, "not a file of at most %d bytes", STATE_BYTES_MAX);
                return -EBADMSG;
        }
        json = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
        if (!json) {
                if (json_error_code(&error) == json_error_out_of_memory)
                        return -ENOMEM;
                snprintf(ret_why, 256, "line %d: %.200s", error.line, error.text);
                return -EBADMSG;
        }
        int r = state_from_json(state, json, boot_id);
        if (r != 0)
                state_clear(state);
        if (r == -EBADMSG)
                snprintf(ret_why, 256, "not a state file of version %d", STATE_VERSION);
        return r;
}

int state_boot_id(const char *root, char ret[VM_UUID_SIZE]) {
        AUTO_FREE char *path = NULL;
        AUTO_FCLOSE FILE *file = NULL;
        char line[64];

        if (asprintf(&path, "%s/proc/sys/kernel/random/boot_id", root) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        file = fopen(path, "re");
        if (!file)
                return -errno;
        if (!fgets(line, sizeof(line), file))
                return -EIO;
        line[strcspn(line, "\n")] = '\0';
        if (strlen(line) != VM_UUID_SIZE - 1)
                return -EIO;
        strcpy(ret, line);
        return 0;
}
