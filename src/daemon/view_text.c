/* SPDX-License-Identifier: Apache-2.0 */

/* Strings for JSON. A VM's name is whatever somebody called it. */

#include <stdlib.h>
#include <string.h>

#include "daemon/view_internal.h"
#include "util/cleanup.h"
#include "util/utf8.h"

static const char replacement[] = "\xef\xbf\xbd";

json_t *view_text(const char *text) {
        AUTO_FREE char *clean = malloc(strlen(text) * strlen(replacement) + 1);
        char *end = clean;

        if (!clean)
                return NULL;
        while (*text) {
                uint32_t c;
                size_t length = utf8_decode(text, &c);

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
