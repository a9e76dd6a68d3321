/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Preloaded into the daemon under test: notes each affinity mask that it sets,
 * on any thread but its own, as a line in the file named by VAS_COUNT_WRITES.
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *mask)
{
        int (*real)(pid_t, size_t, const cpu_set_t *);
        const char *path = getenv("VAS_COUNT_WRITES");
        *(void **)&real = dlsym(RTLD_NEXT, "sched_setaffinity");

        int fd = tid != 0 && path != NULL ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
        if (fd >= 0) {
                dprintf(fd, "%d\n", (int)tid);
                close(fd);
        }
        return real(tid, size, mask);
}
