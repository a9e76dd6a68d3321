/* SPDX-License-Identifier: Apache-2.0 */

#include "util/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

static int write_all(int fd, const char *text, size_t length) {
        while (length > 0) {
                ssize_t n = write(fd, text, length);
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n > 0) {
                        text += n;
                        length -= (size_t)n;
                }
        }
        return 0;
}

/* The rename itself is lasting when the directory is. A failure is no failure of
 * the replacement: it has taken place. */
static void sync_directory_of(char *path) {
        AUTO_CLOSE int fd = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd >= 0)
                (void)fsync(fd);
}

int file_replace(const char *path, const char *text, bool durable) {
        AUTO_FREE char *temporary = NULL;
        AUTO_CLOSE int fd = -1;

        if (asprintf(&temporary, "%s.new", path) < 0) {
                temporary = NULL;
                return -ENOMEM;
        }
        fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
                return -errno;
        int r = write_all(fd, text, strlen(text));
        if (r == 0 && durable && fsync(fd) < 0)
                r = -errno;
        if (r == 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0)
                unlink(temporary);
        else if (durable)
                sync_directory_of(temporary);
        return r;
}
