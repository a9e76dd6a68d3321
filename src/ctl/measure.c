/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A thread's file schedstat says for how long it has run and waited in all, its
 * file stat on which CPU it ran last. What it has run since the last pass counts
 * for that CPU: true to within one pass. schedstat is read first, so that the CPU
 * is never older than the time.
 */

#include "ctl/measure.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "util/cleanup.h"

#define SECOND_NS UINT64_C(1000000000)

enum { SPARE_FILES = 16 };

typedef struct Look {
        uint64_t ran_ns, waited_ns;
        int cpu;
} Look;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal) {
        (void)signal;
        interrupted = 1;
}

static uint64_t clock_ns(clockid_t clock) {
        struct timespec now;

        clock_gettime(clock, &now);
        return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static int open_file(const Measure *measure, const MeasuredThread *thread, const char *name) {
        char path[PATH_MAX];
        int n = snprintf(path, sizeof(path), "%s/proc/%d/task/%d/%s", measure->root, thread->pid, thread->tid,
                         name);

        return n > 0 && (size_t)n < sizeof(path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

/* Length of the file's text; 0: it can not be read. */
static size_t read_file(const Measure *measure, const MeasuredThread *thread, int fd, const char *name,
                        char *ret, size_t size) {
        AUTO_CLOSE int own = fd < 0 ? open_file(measure, thread, name) : -1;
        ssize_t n = fd < 0 && own < 0 ? -1 : pread(fd < 0 ? own : fd, ret, size - 1, 0);

        ret[n > 0 ? n : 0] = '\0';
        return n > 0 ? (size_t)n : 0;
}

/* Behind the name, which may hold anything: field 3 is the state. */
static bool parse_stat(const char *text, uint64_t *ret_ticks, int *ret_cpu) {
        unsigned long long user, system;
        const char *end = strrchr(text, ')');

        if (!end ||
            sscanf(end + 1,
                   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %*u %*u "
                   "%*d %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*d %d",
                   &user, &system, ret_cpu) != 3)
                return false;
        *ret_ticks = user + system;
        return true;
}

static bool look(Measure *measure, const MeasuredThread *thread, Look *ret) {
        unsigned long long ran = 0, waited = 0;
        char text[1024];
        uint64_t ticks;
        bool counted = read_file(measure, thread, thread->schedstat_fd, "schedstat", text, sizeof(text)) &&
                       sscanf(text, "%llu %llu", &ran, &waited) == 2 && ran > 0;

        if (!read_file(measure, thread, thread->stat_fd, "stat", text, sizeof(text)) ||
            !parse_stat(text, &ticks, &ret->cpu))
                return false;
        measure->waits |= counted;
        ret->ran_ns = counted ? ran : ticks * (SECOND_NS / (uint64_t)sysconf(_SC_CLK_TCK));
        ret->waited_ns = waited;
        return true;
}

static bool add_time(MeasuredVm *vm, unsigned cluster, uint64_t ran_ns) {
        ClusterTime *grown;

        for (unsigned i = 0; i < vm->n_clusters; i++)
                if (vm->cluster[i].cluster == cluster) {
                        vm->cluster[i].ran_ns += ran_ns;
                        return true;
                }
        grown = reallocarray(vm->cluster, vm->n_clusters + 1, sizeof(*grown));
        if (!grown)
                return false;
        vm->cluster = grown;
        vm->cluster[vm->n_clusters++] = (ClusterTime){.cluster = cluster, .ran_ns = ran_ns};
        return true;
}

static bool count(const Measure *measure, MeasuredThread *thread, const Look *now) {
        MeasuredVm *vm = &measure->vm[thread->vm];
        int cluster = now->cpu >= 0 && now->cpu < CPUS_MAX ? measure->cluster_of[now->cpu] : -1;
        uint64_t ran = now->ran_ns > thread->ran_ns ? now->ran_ns - thread->ran_ns : 0;

        vm->ran_ns += ran;
        vm->waited_ns += now->waited_ns > thread->waited_ns ? now->waited_ns - thread->waited_ns : 0;
        thread->ran_ns = now->ran_ns;
        thread->waited_ns = now->waited_ns;
        return ran == 0 || cluster < 0 || add_time(vm, (unsigned)cluster, ran);
}

static bool pass(Measure *measure) {
        for (size_t i = 0; i < measure->n_threads; i++) {
                MeasuredThread *thread = &measure->thread[i];
                Look now;

                if (thread->lost)
                        continue;
                thread->lost = !look(measure, thread, &now);
                measure->n_lost += thread->lost;
                if (thread->lost)
                        measure->vm[thread->vm].n_threads--;
                else if (!count(measure, thread, &now))
                        return false;
        }
        measure->passes++;
        return true;
}

/* So many threads' files can stay open. */
static size_t files_to_keep(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return 0;
        if (limit.rlim_cur < limit.rlim_max) {
                rlim_t soft = limit.rlim_cur;

                limit.rlim_cur = limit.rlim_max;
                if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                        limit.rlim_cur = soft;
        }
        return limit.rlim_cur > SPARE_FILES ? (size_t)(limit.rlim_cur - SPARE_FILES) / 2 : 0;
}

/* Where descriptors run out, files are opened for each look: dearer, no worse. */
static void begin(Measure *measure) {
        size_t kept = files_to_keep();

        for (size_t i = 0; i < measure->n_threads; i++) {
                MeasuredThread *thread = &measure->thread[i];
                Look first;

                if (i < kept) {
                        thread->stat_fd = open_file(measure, thread, "stat");
                        thread->schedstat_fd = open_file(measure, thread, "schedstat");
                }
                thread->lost = !look(measure, thread, &first);
                measure->n_lost += thread->lost;
                if (thread->lost)
                        continue;
                measure->vm[thread->vm].n_threads++;
                thread->ran_ns = first.ran_ns;
                thread->waited_ns = first.waited_ns;
        }
}

static void rest(uint64_t ns) {
        struct timespec time = {.tv_sec = (time_t)(ns / SECOND_NS), .tv_nsec = (long)(ns % SECOND_NS)};

        (void)nanosleep(&time, NULL);
}

bool measure_run(Measure *measure, unsigned seconds) {
        struct sigaction action = {.sa_handler = on_interrupt}, before;
        uint64_t start, end, now, pause = MEASURE_PASS_MS * SECOND_NS / 1000;
        bool good = true;

        sigaction(SIGINT, &action, &before);
        begin(measure);
        start = now = clock_ns(CLOCK_MONOTONIC);
        end = start + seconds * SECOND_NS;
        while (good && now < end && !interrupted && measure->n_lost < measure->n_threads) {
                uint64_t cost, since;

                rest(now + pause < end ? pause : end - now);
                since = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
                good = pass(measure);
                cost = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - since;
                measure->cost_ns += cost;
                if (pause < cost * 100 / MEASURE_COST_PERCENT)
                        pause = cost * 100 / MEASURE_COST_PERCENT;
                now = clock_ns(CLOCK_MONOTONIC);
        }
        measure->took_ns = now - start;
        sigaction(SIGINT, &before, NULL);
        return good;
}

void measure_done(Measure *measure) {
        for (size_t i = 0; i < measure->n_threads; i++) {
                cleanup_close(&measure->thread[i].stat_fd);
                cleanup_close(&measure->thread[i].schedstat_fd);
        }
        for (unsigned i = 0; i < measure->n_vms; i++)
                free(measure->vm[i].cluster);
        free(measure->thread);
        free(measure->vm);
}
