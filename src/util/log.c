/* SPDX-License-Identifier: Apache-2.0 */

#include "util/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-journal.h>

#include "util/utf8.h"

enum { LINE_MAX_BYTES = 4096 };

static struct {
        int level;
        const char *program;
} settings = {LOG_INFO, "vas"};

void log_set_level(int level) {
        settings.level = level;
}

void log_set_program(const char *name) {
        settings.program = name;
}

void log_line(int level, const char *format, ...) {
        char line[LINE_MAX_BYTES];
        va_list args;

        if (level > settings.level)
                return;
        va_start(args, format);
        int n = vsnprintf(line, sizeof(line), format, args);
        va_end(args);
        if (n < 0)
                return;
        text_disarm(line);
        if (getenv("JOURNAL_STREAM") &&
            sd_journal_send("MESSAGE=%s", line, "PRIORITY=%d", level, "SYSLOG_IDENTIFIER=%s", settings.program,
                            NULL) >= 0)
                return;
        fprintf(stderr, "%s: %s\n", settings.program, line);
}
