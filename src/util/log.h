/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Log lines: to the journal with fields when it is connected to stderr (see
 * systemd.exec(5), JOURNAL_STREAM), else plain lines on stderr. Text from
 * outside (VM names) is escaped here, so no line can forge another.
 */

#include <stdarg.h>
#include <syslog.h>

/* Lines less urgent than this are dropped; LOG_INFO at first. */
void log_set_level(int level);
/* How log lines begin on a terminal, e.g. "vas-daemon". Not copied. */
void log_set_program(const char *name);

__attribute__((format(printf, 2, 3))) void log_line(int level, const char *format, ...);

#define log_error(...) log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
