/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "util/cleanup.h"

/* directory/name as new text; NULL: out of memory. */
static char *path_new(const char *directory, const char *name) {
        char *path;

        return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

int runtime_paths_init(RuntimePaths *paths, const char *directory) {
        *paths = (RuntimePaths){
                .directory = strdup(directory),
                .lock = path_new(directory, "lock"),
                .state = path_new(directory, "state.json"),
                .socket = path_new(directory, "vas.sock"),
        };
        if (!paths->directory || !paths->lock || !paths->state || !paths->socket) {
                runtime_paths_done(paths);
                return -ENOMEM;
        }
        return 0;
}

void runtime_paths_done(RuntimePaths *paths) {
        free(paths->directory);
        free(paths->lock);
        free(paths->state);
        free(paths->socket);
        *paths = (RuntimePaths){};
}

int runtime_create(const RuntimePaths *paths) {
        struct stat st;

        if (mkdir(paths->directory, 0755) == 0)
                return 0;
        if (errno != EEXIST)
                return -errno;
        if (stat(paths->directory, &st) < 0)
                return -errno;
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static pid_t lock_holder(int fd) {
        char text[32] = "";

        if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
                return 0;
        return (pid_t)strtol(text, NULL, 10);
}

int runtime_lock(const RuntimePaths *paths, pid_t *ret_holder) {
        AUTO_CLOSE int fd = open(paths->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        char text[32];

        if (fd < 0)
                return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                int r = -errno;
                if (r == -EWOULDBLOCK)
                        *ret_holder = lock_holder(fd);
                return r;
        }
        int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
        /* The number is only for people: the lock holds without it. */
        if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) != n)
                return -EIO;
        return steal_fd(&fd);
}
