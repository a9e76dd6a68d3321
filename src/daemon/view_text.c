/* SPDX-License-Identifier: Apache-2.0 */

/* Strings for JSON. A VM's name is whatever somebody called it. */

#include <stdlib.h>
#include <string.h>

#include "daemon/view_internal.h"
#include "util/cleanup.h"

static const char replacement[] = "\xef\xbf\xbd";

/* The length of the UTF-8 sequence at text; 0: there is none. */
static size_t sequence_length(const char *text) {
        const unsigned char *p = (const unsigned char *)text;
        size_t length = p[0] < 0x80   ? 1
                        : p[0] < 0xc2 ? 0
                        : p[0] < 0xe0 ? 2
                        : p[0] < 0xf0 ? 3
                        : p[0] < 0xf5 ? 4
                                      : 0;

        for (size_t i = 1; i < length; i++)
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ||
            (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
                return 0;
        return length;
}

json_t *view_text(const char *text) {
        AUTO_FREE char *clean = malloc(strlen(text) * strlen(replacement) + 1);
        char *end = clean;

        if (!clean)
                return NULL;
        while (*text) {
                size_t length = sequence_length(text);

                if (length) {
                        memcpy(end, text, length);
                        end += length;
                        text += length;
                } else {
                        memcpy(end, replacement, strlen(replacement));
                        end += strlen(replacement);
                        text++;
                }
        }
        *end = '\0';
        return json_string_nocheck(clean);
}

json_t *view_cpulist(const CpuSet *set) {
        char text[CPULIST_SIZE];

        return cpulist_format(set, text, sizeof(text)) < 0 ? NULL : json_string_nocheck(text);
}
