/* SPDX-License-Identifier: Apache-2.0 */

/* What is wrong with an operator's own pins, in words: nobody moves such a VM, so
 * somebody should know. */

#include <stdarg.h>
#include <string.h>

#include "ctl/ctl.h"

enum { WORDS_SIZE = 256 };

static void add(char words[WORDS_SIZE], const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(char words[WORDS_SIZE], const char *format, ...) {
        size_t used = strlen(words);
        va_list args;

        va_start(args, format);
        if (used > 0)
                used += (size_t)snprintf(words + used, WORDS_SIZE - used, ", ");
        if (used < WORDS_SIZE)
                vsnprintf(words + used, WORDS_SIZE - used, format, args);
        va_end(args);
}

char *pins_judged(const json_t *vm) {
        long long clusters = (long long)json_array_size(json_object_get(vm, "clusters")),
                  fewest = get_number(vm, "min_clusters"), twice = get_number(vm, "cpus_twice"),
                  doubled = get_number(vm, "doubled_cores");
        char words[WORDS_SIZE] = "";

        if (strcmp(get_string(vm, "verdict"), "PINNED") != 0)
                return NULL;
        if (fewest > 0 && clusters > fewest)
                add(words, "%lld clusters where %lld would do", clusters, fewest);
        if (twice > 0)
                add(words, "%lld CPU%s pinned twice", twice, plural(twice));
        if (doubled > 0)
                add(words, "%lld core%s doubled", doubled, plural(doubled));
        if (get_bool(vm, "remote_memory"))
                add(words, "off its memory");
        return *words ? strdup(words) : NULL;
}

char *pins_marks(const json_t *vm) {
        char words[WORDS_SIZE] = "";

        if (strcmp(get_string(vm, "verdict"), "PINNED") != 0)
                return NULL;
        if (get_number(vm, "cpus_twice") > 0)
                add(words, "twice");
        if (get_number(vm, "doubled_cores") > 0)
                add(words, "doubled");
        if (get_bool(vm, "remote_memory"))
                add(words, "remote");
        return *words ? strdup(words) : NULL;
}
