/* SPDX-License-Identifier: Apache-2.0 */

#include "platform/task.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "platform/files.h"
#include "util/cleanup.h"

enum {
        STAT_SIZE = 2048,
        STATUS_SIZE = 16 * 1024, /* Cpus_allowed_list can be long */
        ARGUMENTS_SIZE = 64 * 1024,
        /* Fields of a stat line, counted from the one after the name. */
        FIELD_STATE = 0,
        FIELD_START = 19,
        FIELD_LAST_RAN = 36,
};

/* The field with that index; NULL: the line is shorter. */
static const char *stat_field(const char *text, unsigned index) {
        for (; index > 0; index--) {
                text = strchr(text, ' ');
                if (!text)
                        return NULL;
                text++;
        }
        return text;
}

/* A name may hold blanks and parentheses: it ends at the last one. */
int task_stat_parse(const char *text, TaskStat *ret) {
        const char *open = strchr(text, '('), *close = strrchr(text, ')');
        TaskStat stat = {.last_ran = -1};

        if (!open || !close || close < open || close[1] != ' ')
                return -EBADMSG;
        size_t length = (size_t)(close - open - 1);
        if (length >= sizeof(stat.comm))
                return -EBADMSG;
        memcpy(stat.comm, open + 1, length);
        const char *state = stat_field(close + 2, FIELD_STATE);
        const char *start = stat_field(close + 2, FIELD_START);
        const char *last_ran = stat_field(close + 2, FIELD_LAST_RAN);
        if (!start || !isdigit((unsigned char)*start))
                return -EBADMSG;
        stat.state = *state;
        stat.start_ticks = strtoull(start, NULL, 10);
        if (last_ran && isdigit((unsigned char)*last_ran)) {
                unsigned long cpu = strtoul(last_ran, NULL, 10);

                stat.last_ran = cpu < CPUS_MAX ? (int16_t)cpu : -1;
        }
        *ret = stat;
        return 0;
}

int task_stat_read(int task_fd, TaskStat *ret) {
        char text[STAT_SIZE];
        int r = file_read_at(task_fd, "stat", text, sizeof(text));

        if (r == -ENOENT)
                return -ESRCH;
        return r < 0 ? r : task_stat_parse(text, ret);
}

int task_lives(int task_fd) {
        if (faccessat(task_fd, "stat", F_OK, 0) == 0)
                return 0;
        return errno == ENOENT ? -ESRCH : -errno;
}

int task_status_field(int task_fd, const char *key, char *ret, unsigned size) {
        char text[STATUS_SIZE];
        size_t key_length = strlen(key);
        int r = file_read_at(task_fd, "status", text, sizeof(text));

        if (r < 0)
                return r;
        for (const char *line = text; line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (strncmp(line, key, key_length) != 0 || line[key_length] != ':')
                        continue;
                line += key_length + 1;
                line += strspn(line, " \t");
                size_t length = strcspn(line, "\n");
                if (length >= size)
                        return -EFBIG;
                memcpy(ret, line, length);
                ret[length] = '\0';
                return 0;
        }
        return -ENOENT;
}

/* The first argument that is "-uuid" counts, and only as a whole: one inside
 * another option's value is not an argument of its own, and what an operator
 * appends comes after libvirt's. */
static bool arguments_have_uuid(const char *arguments, size_t length, const char *uuid) {
        const char *end = arguments + length;

        for (const char *arg = arguments; arg < end; arg += strlen(arg) + 1) {
                const char *value = arg + strlen(arg) + 1;

                if (strcmp(arg, "-uuid") == 0 || strcmp(arg, "--uuid") == 0)
                        return value < end && strcasecmp(value, uuid) == 0;
        }
        return false;
}

/* Reads what fits: the argument stands near the front of a long line. */
int process_has_uuid(int process_fd, const char *uuid) {
        AUTO_CLOSE int fd = openat(process_fd, "cmdline", O_RDONLY | O_CLOEXEC);
        AUTO_FREE char *arguments = malloc(ARGUMENTS_SIZE);
        size_t used = 0;

        if (fd < 0)
                return -errno;
        if (!arguments)
                return -ENOMEM;
        while (used < ARGUMENTS_SIZE - 1) {
                ssize_t n = pread(fd, arguments + used, ARGUMENTS_SIZE - 1 - used, (off_t)used);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                used += (size_t)n;
        }
        arguments[used] = '\0';
        return arguments_have_uuid(arguments, used, uuid);
}

int comm_vcpu_number(const char *comm) {
        char *end;

        if (strncmp(comm, "CPU ", 4) != 0 || !isdigit((unsigned char)comm[4]))
                return -1;
        unsigned long number = strtoul(comm + 4, &end, 10);
        if (number > UINT16_MAX || (strcmp(end, "/KVM") != 0 && strcmp(end, "/TCG") != 0))
                return -1;
        return (int)number;
}

HelperKind comm_helper_kind(const char *comm) {
        if (strncmp(comm, "IO iothread", 11) == 0)
                return HELPER_IOTHREAD;
        if (strncmp(comm, "vhost-", 6) == 0)
                return HELPER_VHOST;
        return HELPER_OTHER;
}
