/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Any bytes as a capture for vas-sim: refused in one line, or planned from and
 * printed, in both forms. "@XML@" in it stands for the topology of a host of 16 CPUs
 * in 4 clusters of 2 nodes, so that what is random is what the planner is given;
 * fuzz_topology has the XML for itself.
 */

#include "fuzz.h"

#include <jansson.h>

#include "platform/topology_hwloc.h"
#include "sim/capture.h"
#include "util/cleanup.h"

/* The host's XML as a part of a JSON string. */
static const char *xml_in_json(void) {
        static char *escaped;

        if (!escaped) {
                AUTO_FREE char *xml = topology_export_xml("NUMANode:2 L3Cache:2 Core:4 PU:1", NULL, LEVEL_L3);
                json_auto_t *json = json_string(xml);

                escaped = json_dumps(json, JSON_ENCODE_ANY);
                must(escaped != NULL);
                escaped[strlen(escaped) - 1] = '\0';
        }
        return escaped + 1;
}

static const char *file_of(const uint8_t *data, size_t size) {
        static const char mark[] = "@XML@";
        const uint8_t *at = memmem(data, size, mark, sizeof(mark) - 1);
        AUTO_FREE char *text = NULL;
        size_t length = 0, before = at ? (size_t)(at - data) : size;
        FILE *file = open_memstream(&text, &length);

        must(file && fwrite(data, 1, before, file) == before);
        if (at) {
                at += sizeof(mark) - 1;
                must(fputs(xml_in_json(), file) >= 0);
                must(fwrite(at, 1, (size_t)(data + size - at), file) == (size_t)(data + size - at));
        }
        must(fclose(file) == 0);
        return fuzz_file((const uint8_t *)text, length);
}

/* Plans and prints; false: refused. */
static bool run(const char *path, bool json, const char *reassign, char **ret, size_t *ret_length) {
        Options options = {.file = path, .json = json, .reassign = reassign};
        FILE *out = open_memstream(ret, ret_length);
        Complaint why = {};
        int r;

        must(out != NULL);
        r = capture_run(&options, out, &why);
        must(fclose(out) == 0 && (r == 0 || r == INPUT_BAD));
        if (r)
                must_say_why(why.text, sizeof(why.text));
        for (const char *c = why.text; *c; c++)
                must(*c != '\n');
        return r == 0;
}

static void print_plainly(const char *path) {
        AUTO_FREE char *text = NULL;
        size_t length;

        if (run(path, false, NULL, &text, &length))
                for (size_t i = 0; i < length; i++)
                        must((unsigned char)text[i] >= ' ' || text[i] == '\n');
}

static void print_json(const char *path) {
        AUTO_FREE char *text = NULL;
        json_auto_t *json = NULL;
        size_t length;

        if (!run(path, true, "all", &text, &length))
                return;
        json = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
        must(json_is_object(json_object_get(json, "plan")));
}

/* libFuzzer's own, which the replay never calls. */
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static unsigned random_state;

static unsigned below(size_t n) {
        return (unsigned)rand_r(&random_state) % (unsigned)n;
}

static json_t *number_like(json_int_t old) {
        static const json_int_t edges[] = {-1,
                                           0,
                                           1,
                                           2,
                                           7,
                                           15,
                                           16,
                                           17,
                                           511,
                                           512,
                                           4095,
                                           4096,
                                           16384,
                                           16385,
                                           65535,
                                           INT32_MAX,
                                           1000,
                                           1001,
                                           100000,
                                           1000000000,
                                           1000000001,
                                           INT64_MAX / 4,
                                           INT64_MAX / 4 - 1,
                                           INT64_MAX};

        switch (below(3)) {
        case 0:
                return json_integer(edges[below(sizeof(edges) / sizeof(edges[0]))]);
        case 1:
                return json_integer(below(20));
        default:
                return json_integer((json_int_t)((uint64_t)old + below(5) - 2));
        }
}

static json_t *value_like(const json_t *old) {
        static const char *const texts[] = {"",   "0-15", "0",    "3-5",     "15",  "0-4095",  "4096",
                                            "l3", "numa", "auto", "cluster", "all", "package", "\033[2J"};

        if (below(16) == 0)
                return json_null();
        if (json_is_integer(old))
                return number_like(json_integer_value(old));
        if (json_is_boolean(old))
                return json_boolean(!json_is_true(old));
        if (json_is_array(old))
                return json_array();
        return json_is_object(old) ? json_object()
                                   : json_string(texts[below(sizeof(texts) / sizeof(texts[0]))]);
}

static bool is_branch(const json_t *value) {
        return json_array_size(value) + json_object_size(value) > 0;
}

static void change(json_t *parent);

/* What becomes of a value: it, or something in it, is another; NULL: it goes. */
static json_t *changed(json_t *value) {
        if (below(32) == 0)
                return NULL;
        if (!is_branch(value) || below(16) == 0)
                return value_like(value);
        change(value);
        return json_incref(value);
}

static json_t *member_at(const json_t *parent, size_t i, void **ret_iter) {
        void *iter = json_object_iter((json_t *)(uintptr_t)parent);

        if (json_is_array(parent))
                return json_array_get(parent, i);
        while (i-- > 0)
                iter = json_object_iter_next((json_t *)(uintptr_t)parent, iter);
        *ret_iter = iter;
        return json_object_iter_value(iter);
}

/* Mostly one that has members of its own, if there is any: most values are there. */
static size_t pick_member(const json_t *parent) {
        size_t n = json_array_size(parent) + json_object_size(parent), first = below(n);
        void *iter;

        for (size_t i = 0; below(8) && i < n; i++)
                if (is_branch(member_at(parent, (first + i) % n, &iter)))
                        return (first + i) % n;
        return first;
}

static void change(json_t *parent) {
        void *iter = NULL;
        size_t i;
        json_t *value;

        if (!is_branch(parent))
                return;
        i = pick_member(parent);
        value = changed(member_at(parent, i, &iter));
        if (!json_is_array(parent) && value)
                json_object_iter_set_new(parent, iter, value);
        else if (!json_is_array(parent))
                json_object_del(parent, json_object_iter_key(iter));
        else if (value)
                json_array_set_new(parent, i, value);
        else
                json_array_remove(parent, i);
        if (json_is_array(parent) && below(16) == 0 && is_branch(parent))
                json_array_append_new(parent, json_deep_copy(json_array_get(parent, 0)));
}

/* Bytes at random mostly make no JSON: some of the time its values are changed. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
        json_auto_t *json = NULL;
        AUTO_FREE char *text = NULL;
        size_t length;

        random_state = seed;
        if (below(4) > 0)
                json = json_loadb((const char *)data, size, 0, NULL);
        for (unsigned n = json ? below(4) + 1 : 0; n > 0; n--)
                change(json);
        text = json ? json_dumps(json, JSON_COMPACT) : NULL;
        length = text ? strlen(text) : 0;
        if (length == 0 || length > max_size)
                return LLVMFuzzerMutate(data, size, max_size);
        memcpy(data, text, length);
        return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *path = file_of(data, size);

        print_plainly(path);
        print_json(path);
        return 0;
}
