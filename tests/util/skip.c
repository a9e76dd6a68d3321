/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmocka writes each line of TAP by its public print_message(), so the one here comes before
 * the library's in a program that is linked with this file.
 */

#include "skip.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 256 };

static const char *reason = "";

void skip_because(const char *why) {
        reason = why;
        skip();
        abort(); /* skip() does not return, and does not say so */
}

/* Whether that is cmocka's line for a skipped test: "not ok 3 # SKIP name" or "ok 3 # SKIP name". */
static bool is_skip_line(const char *line, unsigned *ret_number, char ret_name[LINE_MAX_BYTES]) {
        if (strncmp(line, "not ", 4) == 0)
                line += 4;
        return sscanf(line, "ok %u # SKIP %255[^\n]", ret_number, ret_name) == 2;
}

void print_message(const char *const format, ...) {
        char line[LINE_MAX_BYTES], name[LINE_MAX_BYTES];
        unsigned number;
        va_list args;

        va_start(args, format);
        vsnprintf(line, sizeof(line), format, args);
        va_end(args);
        if (is_skip_line(line, &number, name))
                printf("ok %u - %s # SKIP %s\n", number, name, reason);
        else {
                va_start(args, format);
                vprintf(format, args);
                va_end(args);
        }
        fflush(stdout);
}
