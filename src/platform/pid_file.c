/* SPDX-License-Identifier: Apache-2.0 */

#include "platform/pid_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/files.h"
#include "platform/real_host.h"
#include "util/cleanup.h"

static int read_number(int fd, int32_t *ret) {
        struct stat st;
        char text[32], *end;
        long number;
        int r;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid()))
                return -EPERM;
        r = fd_read(fd, text, sizeof(text));
        if (r < 0)
                return r;
        number = strtol(text, &end, 10);
        if (end == text || (*end && *end != '\n') || number <= 0 || number > INT32_MAX)
                return -EBADMSG;
        *ret = (int32_t)number;
        return 0;
}

/* libvirt escapes a VM's name in its pid file's as it would in XML. */
static int escape_name(const char *name, char ret[NAME_MAX + 1]) {
        size_t used = 0;

        for (; *name; name++) {
                const char *piece = *name == '<'    ? "&lt;"
                                    : *name == '>'  ? "&gt;"
                                    : *name == '&'  ? "&amp;"
                                    : *name == '"'  ? "&quot;"
                                    : *name == '\'' ? "&apos;"
                                                    : NULL;
                size_t length = piece ? strlen(piece) : 1;

                if (used + length > NAME_MAX)
                        return -ENAMETOOLONG;
                memcpy(ret + used, piece ? piece : name, length);
                used += length;
        }
        ret[used] = '\0';
        return 0;
}

static int read_below(const RealHost *host, const char *directory, const char *vm_name, int32_t *ret) {
        char path[PATH_MAX];
        int n = snprintf(path, sizeof(path), "%s/%s.pid", directory, vm_name);

        if (n < 0 || (size_t)n >= sizeof(path))
                return -ENAMETOOLONG;
        AUTO_CLOSE int fd =
                openat(host->root_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return -errno;
        return read_number(fd, ret);
}

int pid_file_read(const RealHost *host, const char *vm_name, int32_t *ret) {
        char name[NAME_MAX + 1];
        int r;

        if (!*vm_name || strchr(vm_name, '/'))
                return -EINVAL;
        r = escape_name(vm_name, name);
        if (r < 0)
                return r;
        r = -ENOENT;
        for (unsigned i = 0; i < 2 && r == -ENOENT; i++)
                if (host->pid_dir[i])
                        r = read_below(host, host->pid_dir[i], name, ret);
        return r;
}
