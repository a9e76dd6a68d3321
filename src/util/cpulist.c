/* SPDX-License-Identifier: Apache-2.0 */

#include "util/cpulist.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads one number at *text; 0, -EINVAL or -ERANGE. */
static int take_number(const char **text, unsigned *ret) {
        unsigned value = 0;

        if (!isdigit((unsigned char)**text))
                return -EINVAL;
        for (; isdigit((unsigned char)**text); (*text)++) {
                value = value * 10 + (unsigned)(**text - '0');
                if (value >= CPUS_MAX)
                        return -ERANGE;
        }
        *ret = value;
        return 0;
}

static void skip_blanks(const char **text) {
        while (**text == ' ' || **text == '\t')
                (*text)++;
}

int cpulist_parse(const char *text, CpuSet *ret) {
        CpuSet set = {};
        unsigned first, last;
        int r;

        skip_blanks(&text);
        while (*text && *text != '\n') {
                r = take_number(&text, &first);
                if (r < 0)
                        return r;
                last = first;
                skip_blanks(&text);
                if (*text == '-') {
                        text++;
                        skip_blanks(&text);
                        r = take_number(&text, &last);
                        if (r < 0)
                                return r;
                        if (last < first)
                                return -EINVAL;
                        skip_blanks(&text);
                }
                cpuset_add_range(&set, first, last);
                if (*text == ',') {
                        text++;
                        skip_blanks(&text);
                        if (!*text || *text == '\n')
                                return -EINVAL;
                } else if (*text && *text != '\n')
                        return -EINVAL;
        }
        if (*text == '\n' && text[1])
                return -EINVAL;
        *ret = set;
        return 0;
}

int cpulist_format(const CpuSet *set, char *ret, size_t size) {
        size_t used = 0;

        if (size == 0)
                return -ENOSPC;
        ret[0] = '\0';
        for (int first = cpuset_next(set, 0), last; first >= 0; first = cpuset_next(set, (unsigned)last + 1)) {
                for (last = first; cpuset_has(set, (unsigned)last + 1); last++)
                        ;
                const char *comma = used ? "," : "";
                int n = first == last ? snprintf(ret + used, size - used, "%s%d", comma, first)
                                      : snprintf(ret + used, size - used, "%s%d-%d", comma, first, last);
                if (n < 0 || (size_t)n >= size - used)
                        return -ENOSPC;
                used += (size_t)n;
        }
        return (int)used;
}

char *cpulist_new(const CpuSet *set) {
        char text[CPULIST_SIZE];

        if (cpulist_format(set, text, sizeof(text)) < 0)
                return NULL;
        return strdup(text);
}
