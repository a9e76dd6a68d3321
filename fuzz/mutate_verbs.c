/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Makes lines for fuzz_verbs.c out of what the interface declares: bytes at random
 * seldom make a call that gets past the first check of its parameters. The bytes
 * have their turn, too.
 */

#include "fuzz.h"

#include "daemon/settings.h"
#include "wire/names.h"

#define PICK(list) ((list)[below(sizeof(list) / sizeof((list)[0]))])

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
/* libFuzzer's own, which the replay never calls. */
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static unsigned random_state;

static unsigned below(size_t n) {
        return (unsigned)rand_r(&random_state) % (unsigned)n;
}

static const char *text_for(const char *name, size_t length) {
        static const char *const policies[] = {"static", "dynamic", "cluster", "affinity", "other", "\"\""};
        static const char *const values[] = {
                "observe",   "act",     "keep",        "auto",  "true",      "false",
                "own-cores", "pack",    "spread",      "0",     "\"0\"",     "\"8,9\"",
                "\"1-3\"",   "\"100\"", "\"1.5\"",     "1h",    "100ms",     "cluster",
                "dynamic",   "numa",    "l3",          "leave", "taskgroup", "housekeeping",
                "never",     "debug",   "\"/a#b\\n\"", "/m",    "\"\"",      "\"\\u001b\""};
        static const char *const ranges[] = {"0-15",  "0-3",  "\"5\"", "12,14", "node0",
                                             "node1", "4095", "0-",    "\"\""};
        static const char *const scopes[] = {"all",    "web1", "db1",
                                             "legacy", "vm",   "(new)",
                                             "nobody", "\"\"", "00000000-0000-0000-0000-000000000002"};

        if (length == 3 && strncmp(name, "key", 3) == 0)
                return setting_name((SettingKey)below(SETTING_KEYS));
        if (strncmp(name, "policy", length) == 0)
                return PICK(policies);
        if (strncmp(name, "value", length) == 0)
                return PICK(values);
        return strncmp(name, "range", length) == 0 ? PICK(ranges) : PICK(scopes);
}

/* A value for the parameter that is declared there: "name: type". */
static const char *value_for(const char *declared) {
        static const char *const numbers[] = {"-1",
                                              "0",
                                              "1",
                                              "2",
                                              "6",
                                              "16",
                                              "511",
                                              "512",
                                              "513",
                                              "4096",
                                              "65536",
                                              "4294967296",
                                              "9223372036854775807",
                                              "1.5"};
        static const char *const others[] = {"null", "[]", "{}", "true", "7", "\"x\""};
        size_t length = strcspn(declared, ":");
        const char *type = declared + length + 2 + (declared[length + 2] == '?');

        if (below(16) == 0)
                return PICK(others);
        if (strncmp(type, "int", 3) == 0)
                return PICK(numbers);
        if (strncmp(type, "bool", 4) == 0)
                return below(2) ? "true" : "false";
        return text_for(declared, length);
}

/* One of the methods, with most of its parameters. */
static void print_call(FILE *out) {
        const char *at = vas_interface_text;
        unsigned n = 0;
        char sign = '?';

        while ((at = strstr(at, "\nmethod ")) != NULL)
                at++, n++;
        at = vas_interface_text;
        for (unsigned i = below(n) + 1; i > 0; i--)
                at = strstr(at, "\nmethod ") + 8;
        if (below(4) == 0)
                fputc("+-**"[below(4)], out);
        fprintf(out, "%.*s", (int)strcspn(at, "("), at);
        for (at += strcspn(at, "("); *at != ')'; at += strcspn(at, ",)")) {
                at += strspn(at, "(, ");
                if (*at == ')' || below(4) == 0)
                        continue;
                fprintf(out, "%c%.*s=%s", sign, (int)strcspn(at, ":"), at, value_for(at));
                sign = '&';
        }
        fputc('\n', out);
}

static void print_line(FILE *out) {
        if (below(4) == 0)
                fprintf(out, "=%c%u\n", "++-@!?~"[below(7)], below(17));
        else
                print_call(out);
}

static size_t line_at(const char *text, size_t size, size_t at) {
        while (at > 0 && text[at - 1] != '\n')
                at--;
        return at < size ? at : size;
}

/* A line is added, or two are, or one goes, or stands in another's place. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
        const char *old = (const char *)data;
        char *text = NULL;
        size_t length = 0, at, next;
        FILE *out;

        random_state = seed;
        if (below(3) == 0)
                return LLVMFuzzerMutate(data, size, max_size);
        out = open_memstream(&text, &length);
        must(out != NULL);
        at = line_at(old, size, size ? below(size + 1) : 0);
        next = at;
        if (below(2)) /* the line there goes */
                while (next < size && old[next++] != '\n')
                        ;
        fwrite(old, 1, at, out);
        for (unsigned n = below(3); n > 0; n--)
                print_line(out);
        fwrite(old + next, 1, size - next, out);
        must(fclose(out) == 0);
        length = length < max_size ? length : max_size;
        memcpy(data, text, length);
        free(text);
        return length;
}
