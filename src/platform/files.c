/* SPDX-License-Identifier: Apache-2.0 */

#include "platform/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"

int fd_read(int fd, char *ret, size_t size) {
        size_t used = 0;

        while (used < size) {
                ssize_t n = pread(fd, ret + used, size - used, (off_t)used);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0) {
                        ret[used] = '\0';
                        return (int)used;
                }
                used += (size_t)n;
        }
        return -EFBIG;
}

int file_read_at(int dir_fd, const char *path, char *ret, size_t size) {
        AUTO_CLOSE int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

        if (fd < 0)
                return -errno;
        return fd_read(fd, ret, size);
}

int file_write_at(int dir_fd, const char *path, const char *text) {
        size_t length = strlen(text);
        ssize_t n;

        if (length == 0)
                return -EINVAL; /* no write, no effect */
        AUTO_CLOSE int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        do
                n = write(fd, text, length);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        return (size_t)n == length ? 0 : -EIO;
}
