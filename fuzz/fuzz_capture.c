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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *path = file_of(data, size);

        print_plainly(path);
        print_json(path);
        return 0;
}
