/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Preloaded into vas-daemon: it is killed, as by kill -9, right after the n-th
 * thread that it has bound (VAS_DIE_AFTER=n), so in the middle of its writes.
 */

#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

int sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *mask) {
        static int left = -1;
        int (*real)(pid_t, size_t, const cpu_set_t *) = NULL;
        const char *after = getenv("VAS_DIE_AFTER");

        *(void **)&real = dlsym(RTLD_NEXT, "sched_setaffinity");
        if (left < 0)
                left = after ? atoi(after) : 0;
        int r = real(tid, size, mask);
        if (tid != 0 && r == 0 && left > 0 && --left == 0)
                kill(getpid(), SIGKILL);
        return r;
}
