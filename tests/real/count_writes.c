/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Preloaded into the daemon under test: notes each affinity mask that it sets,
 * on any thread but its own, as a line in the file named by VAS_COUNT_WRITES:
 * the thread, and when the call had returned (CLOCK_REALTIME, nanoseconds).
 * VAS_WRITE_DELAY_MS: each call then takes so much longer, as the kernel does
 * for threads that are running on busy CPUs.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *mask)
{
        int (*real)(pid_t, size_t, const cpu_set_t *);
        const char *path = getenv("VAS_COUNT_WRITES");
        *(void **)&real = dlsym(RTLD_NEXT, "sched_setaffinity");

        int result = real(tid, size, mask);
        int error = errno;
        int fd = tid != 0 && path != NULL ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
        if (fd >= 0) {
                struct timespec now;
                clock_gettime(CLOCK_REALTIME, &now);
                dprintf(fd, "%d %lld\n", (int)tid, now.tv_sec * 1000000000LL + now.tv_nsec);
                close(fd);
        }
        const char *delay = getenv("VAS_WRITE_DELAY_MS");
        if (tid != 0 && delay != NULL)
                usleep((useconds_t)atoi(delay) * 1000);
        errno = error;
        return result;
}
