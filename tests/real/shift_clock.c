/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Preloaded into the daemon under test: another wall clock, that can jump while the
 * daemon runs. The file named by VAS_CLOCK_SHIFT holds by how many seconds it is
 * ahead, as eight bytes in the machine's order, and is looked at in each call; what
 * reads other clocks, or waits, is not concerned. Libraries are deceived as the
 * program is: each of them finds these three here.
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t none;
static const volatile int64_t *shift_s = &none;

static __attribute__((constructor)) void begin(void) {
        const char *path = getenv("VAS_CLOCK_SHIFT");
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *map = mmap(NULL, sizeof(*shift_s), PROT_READ, MAP_SHARED, fd, 0);

        if (map == MAP_FAILED)
                abort(); /* a test of jumps without jumps would pass */
        close(fd);
        shift_s = map;
}

int clock_gettime(clockid_t clock, struct timespec *ret) {
        static int (*real)(clockid_t, struct timespec *);

        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
        int r = real(clock, ret);
        if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
                ret->tv_sec += *shift_s;
        return r;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone) {
        struct timespec now;

        (void)zone;
        int r = clock_gettime(CLOCK_REALTIME, &now);
        if (r == 0)
                *ret = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
        return r;
}

time_t time(time_t *ret) {
        struct timespec now;

        if (clock_gettime(CLOCK_REALTIME, &now) < 0)
                return -1;
        if (ret)
                *ret = now.tv_sec;
        return now.tv_sec;
}
