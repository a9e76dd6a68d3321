/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The state file as text, which every round with a write makes twice. It is JSON,
 * but is not built as values first: with thousands of vCPUs that took ten times
 * as long as everything else in a round.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/state.h"
#include "util/cleanup.h"
#include "util/cpulist.h"
#include "util/replace.h"

enum { THREAD_BYTES = 384, NUMBER_BYTES = 24 };

/* Text that grows; data is NULL once memory has run out, and stays so. */
typedef struct Text {
        char *data;
        size_t used, size;
} Text;

/* The sets' lists, each made once: many threads have the same. */
typedef struct Lists {
        const CpuSetPool *pool;
        char **by_id; /* NULL: not made yet */
} Lists;

static void cleanup_text(Text *text) {
        free(text->data);
}

static void cleanup_lists(Lists *lists) {
        for (uint32_t id = 0; lists->by_id && id <= lists->pool->n; id++)
                free(lists->by_id[id]);
        free(lists->by_id);
}

/* Room for so many bytes more and a NUL; NULL: there is none. */
static char *text_room(Text *text, size_t more) {
        if (text->data && text->used + more >= text->size) {
                size_t size = text->size * 2 + more;
                char *grown = realloc(text->data, size);

                if (!grown)
                        free(text->data);
                text->data = grown;
                text->size = size;
        }
        return text->data ? text->data + text->used : NULL;
}

static void put_bytes(Text *text, const char *what, size_t length) {
        char *to = text_room(text, length);

        if (to) {
                memcpy(to, what, length);
                to[length] = '\0';
                text->used += length;
        }
}

static void put(Text *text, const char *what) {
        put_bytes(text, what, strlen(what));
}

static void put_number(Text *text, const char *key, int64_t number) {
        char digits[NUMBER_BYTES], *c = digits + sizeof(digits);
        uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;

        *--c = '\0';
        do
                *--c = (char)('0' + left % 10);
        while ((left /= 10) > 0);
        if (number < 0)
                *--c = '-';
        put(text, key);
        put(text, c);
}

static void put_bool(Text *text, const char *key, bool value) {
        put(text, key);
        put(text, value ? "true" : "false");
}

/* Whether JSON takes the byte as it is, whatever text it is in. */
static bool is_plain(char c) {
        return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

/* What is not plain becomes a "?": no text makes the file unreadable. All that
 * there really is, is plain. */
static void put_string(Text *text, const char *key, const char *value) {
        put(text, key);
        put(text, "\"");
        while (*value) {
                size_t plain = 0;

                while (is_plain(value[plain]))
                        plain++;
                put_bytes(text, value, plain);
                value += plain;
                if (*value) {
                        put(text, "?");
                        value++;
                }
        }
        put(text, "\"");
}

/* A set's list, or null for SET_NONE. */
static void put_set(Text *text, const char *key, Lists *lists, SetId id) {
        put(text, key);
        if (id == SET_NONE) {
                put(text, "null");
                return;
        }
        if (!lists->by_id[id])
                lists->by_id[id] = cpulist_new(pool_get(lists->pool, id));
        if (!lists->by_id[id]) {
                free(text->data);
                text->data = NULL;
                return;
        }
        put(text, "\"");
        put(text, lists->by_id[id]);
        put(text, "\"");
}

static void put_thread(Text *text, Lists *lists, const ThreadState *t) {
        put_string(text, "{\"uuid\":", t->thread.uuid);
        put_number(text, ",\"pid\":", t->thread.pid);
        put_number(text, ",\"process_start\":", (int64_t)t->thread.process_start_ticks);
        put_number(text, ",\"tid\":", t->thread.tid);
        put_number(text, ",\"thread_start\":", (int64_t)t->thread.thread_start_ticks);
        put_number(text, ",\"vcpu\":", t->thread.number);
        put_set(text, ",\"before\":", lists, t->before);
        put_set(text, ",\"range_before\":", lists, t->range_before);
        put_set(text, ",\"range_then\":", lists, t->range_then);
        put_set(text, ",\"written\":", lists, t->written);
        put_set(text, ",\"intended\":", lists, t->intended);
        put_number(text, ",\"home\":", t->home);
        put_bool(text, ",\"held\":", t->held);
        put_bool(text, ",\"layered\":", t->layered);
        put_number(text, ",\"intended_home\":", t->intended_home);
        if (t->way != TIDAL_NONE) {
                put_number(text, ",\"preferred_way\":", t->way);
                put_set(text, ",\"preferred_before\":", lists, t->preferred_before);
        }
        put(text, "}");
}

static void put_values(Text *text, const char *key, const TidalValues *values) {
        put(text, key);
        put_number(text, "{\"threshold\":", values->threshold);
        put_number(text, ",\"task_group\":", values->task_group);
        put(text, "}");
}

int state_save(const State *state, const char *path) {
        AUTO_FREE char *cpus_seen = cpulist_new(&state->cpus_seen);
        CLEANUP(cleanup_lists)
        Lists lists = {.pool = state->pool, .by_id = calloc(state->pool->n + 1, sizeof(*lists.by_id))};
        CLEANUP(cleanup_text) Text text = {.size = (state->n_threads + 4) * (size_t)THREAD_BYTES};

        text.data = malloc(text.size);
        if (!cpus_seen || !lists.by_id)
                return -ENOMEM;
        put_number(&text, "{\"version\":", STATE_VERSION);
        put_string(&text, ",\"boot_id\":", state->boot_id);
        put_bool(&text, ",\"paused\":", state->paused);
        put_string(&text, ",\"cpus_seen\":", cpus_seen);
        put_values(&text, ",\"values_before\":", &state->values_before);
        put_values(&text, ",\"values_written\":", &state->values_written);
        put(&text, ",\"threads\":[");
        for (unsigned i = 0; i < state->n_threads; i++) {
                if (i > 0)
                        put(&text, ",");
                put_thread(&text, &lists, &state->thread[i]);
        }
        put(&text, "]}");
        return text.data ? file_replace(path, text.data, false) : -ENOMEM;
}
