/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A thread's schedstat has three numbers: nanoseconds on a CPU, nanoseconds
 * runnable but waiting, and time slices. /proc/stat has a line of ticks for
 * each CPU; a tick is 10 ms, so a window of less than 250 ms says little.
 *
 * An open file of /proc belongs to the thread and not to its number: when the
 * thread has ended, reading fails, whoever has the number by then. So identity
 * is checked once, when the file is opened.
 */

#include "platform/sampler.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/task.h"
#include "util/cleanup.h"

enum {
        STAT_BYTES = CPUS_MAX * 192, /* the CPUs' lines, which come first */
        SCHEDSTAT_BYTES = 128,
        TIMES = 8,     /* user nice system idle iowait irq softirq steal */
        TIME_IDLE = 3,
        TIME_IOWAIT = 4,
};

typedef struct Followed {
        ThreadRef thread;
        int fd; /* of schedstat; -1: not to be had */
        bool has_window;
        int64_t at_ns;
        uint64_t run_ns, wait_ns;
} Followed;

typedef struct CpuWindow {
        bool known;
        uint64_t busy, total; /* ticks */
} CpuWindow;

struct Sampler {
        int root_fd;
        int stat_fd;
        unsigned n;
        Followed *followed;
        CpuWindow cpu[CPUS_MAX];
        char text[STAT_BYTES];
};

int sampler_new(int root_fd, Sampler **ret) {
        Sampler *sampler = calloc(1, sizeof(*sampler));

        if (!sampler)
                return -ENOMEM;
        sampler->root_fd = root_fd;
        sampler->stat_fd = openat(root_fd, "proc/stat", O_RDONLY | O_CLOEXEC);
        if (sampler->stat_fd < 0) {
                int r = -errno;

                free(sampler);
                return r;
        }
        *ret = sampler;
        return 0;
}

void sampler_rest(Sampler *sampler) {
        for (unsigned i = 0; i < sampler->n; i++)
                cleanup_close(&sampler->followed[i].fd);
        free(sampler->followed);
        sampler->followed = NULL;
        sampler->n = 0;
        memset(sampler->cpu, 0, sizeof(sampler->cpu));
}

Sampler *sampler_free(Sampler *sampler) {
        if (sampler) {
                sampler_rest(sampler);
                cleanup_close(&sampler->stat_fd);
                free(sampler);
        }
        return NULL;
}

static bool thread_equal(const ThreadRef *a, const ThreadRef *b) {
        return a->tid == b->tid && a->thread_start_ticks == b->thread_start_ticks && a->pid == b->pid &&
               a->process_start_ticks == b->process_start_ticks && a->number == b->number;
}

/* The thread's schedstat, if it is that vCPU's thread; else -1. */
static int schedstat_open(int root_fd, const ThreadRef *thread) {
        TaskStat stat;
        char path[64];

        if (thread->pid <= 0 || thread->tid <= 0)
                return -1;
        snprintf(path, sizeof(path), "proc/%d/task/%d", thread->pid, thread->tid);
        AUTO_CLOSE int task_fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (task_fd < 0 || task_stat_read(task_fd, &stat) < 0 || stat.start_ticks != thread->thread_start_ticks ||
            comm_vcpu_number(stat.comm) != thread->number)
                return -1;
        return openat(task_fd, "schedstat", O_RDONLY | O_CLOEXEC);
}

static int followed_compare(const void *a, const void *b) {
        const Followed *const *fa = a, *const *fb = b;

        return ((*fa)->thread.tid > (*fb)->thread.tid) - ((*fa)->thread.tid < (*fb)->thread.tid);
}

/* Takes the open file and the window of a thread that was followed before. */
static bool inherit(Followed **old, unsigned n, Followed *ret) {
        Followed *key = ret, **found = n ? bsearch(&key, old, n, sizeof(*old), followed_compare) : NULL;

        if (!found || !thread_equal(&(*found)->thread, &ret->thread) || (*found)->fd < 0)
                return false;
        *ret = **found;
        (*found)->fd = -1;
        return true;
}

static bool same_threads(const Sampler *sampler, const ThreadRef *thread, unsigned n) {
        if (n != sampler->n)
                return false;
        for (unsigned i = 0; i < n; i++)
                if (!thread_equal(&sampler->followed[i].thread, &thread[i]))
                        return false;
        return true;
}

int sampler_follow(Sampler *sampler, const ThreadRef *thread, unsigned n) {
        AUTO_FREE Followed **old = NULL;
        Followed *fresh;

        if (same_threads(sampler, thread, n))
                return 0;
        fresh = calloc(n ? n : 1, sizeof(*fresh));
        old = calloc(sampler->n ? sampler->n : 1, sizeof(*old));
        if (!fresh || !old) {
                free(fresh);
                return -ENOMEM;
        }
        for (unsigned i = 0; i < sampler->n; i++)
                old[i] = &sampler->followed[i];
        qsort(old, sampler->n, sizeof(*old), followed_compare);
        for (unsigned i = 0; i < n; i++) {
                fresh[i] = (Followed){.thread = thread[i], .fd = -1};
                if (!inherit(old, sampler->n, &fresh[i]))
                        fresh[i].fd = schedstat_open(sampler->root_fd, &thread[i]);
        }
        for (unsigned i = 0; i < sampler->n; i++)
                cleanup_close(&sampler->followed[i].fd);
        free(sampler->followed);
        sampler->followed = fresh;
        sampler->n = n;
        return 0;
}

static uint16_t permille(uint64_t part, uint64_t whole) {
        if (whole == 0)
                return 0;
        return part >= whole ? PERMILLE : (uint16_t)(part * PERMILLE / whole);
}

static void followed_sample(Followed *followed, int64_t now_ns, ThreadSample *ret) {
        char text[SCHEDSTAT_BYTES], *rest;
        uint64_t run, wait;

        *ret = (ThreadSample){};
        if (followed->fd < 0)
                return;
        /* One call: there is no more than a line, and the end need not be asked for. */
        ssize_t n = pread(followed->fd, text, sizeof(text) - 1, 0);
        if (n < 0 && errno == EINTR)
                return;
        if (n <= 0) {
                cleanup_close(&followed->fd); /* it has ended */
                followed->fd = -1;
                return;
        }
        text[n] = '\0';
        run = strtoull(text, &rest, 10);
        wait = strtoull(rest, NULL, 10);
        if (followed->has_window && now_ns > followed->at_ns && run >= followed->run_ns && wait >= followed->wait_ns) {
                uint64_t window = (uint64_t)(now_ns - followed->at_ns);

                *ret = (ThreadSample){.valid = true,
                                      .run_permille = permille(run - followed->run_ns, window),
                                      .wait_permille = permille(wait - followed->wait_ns, window)};
        }
        followed->has_window = true;
        followed->at_ns = now_ns;
        followed->run_ns = run;
        followed->wait_ns = wait;
}

/* Reads until the CPUs' lines have ended. 0 or -errno. */
static int read_stat(Sampler *sampler) {
        size_t used = 0;

        while (used < sizeof(sampler->text) - 1) {
                ssize_t n = pread(sampler->stat_fd, sampler->text + used, sizeof(sampler->text) - 1 - used, (off_t)used);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                used += (size_t)n;
                sampler->text[used] = '\0';
                if (n == 0 || strstr(sampler->text, "\nintr"))
                        return 0;
        }
        return 0;
}

static void cpu_sample(Sampler *sampler, unsigned cpu, const char *times, DynamicCpus *ret) {
        CpuWindow now = {.known = true}, *last = &sampler->cpu[cpu];

        for (unsigned i = 0; i < TIMES; i++) {
                char *end;
                uint64_t ticks = strtoull(times, &end, 10);

                times = end;
                now.total += ticks;
                if (i != TIME_IDLE && i != TIME_IOWAIT)
                        now.busy += ticks;
        }
        if (last->known && now.total > last->total && now.busy >= last->busy) {
                ret->busy_permille[cpu] = permille(now.busy - last->busy, now.total - last->total);
                cpuset_add(&ret->sampled, cpu);
        }
        *last = now;
}

static int sample_cpus(Sampler *sampler, DynamicCpus *ret) {
        int r = read_stat(sampler);

        cpuset_clear(&ret->sampled);
        if (r < 0)
                return r;
        for (const char *line = sampler->text; strncmp(line, "cpu", 3) == 0;) {
                const char *next = strchr(line, '\n');
                char *end;
                unsigned long cpu = strtoul(line + 3, &end, 10);

                if (!next)
                        break; /* cut short */
                if (end != line + 3 && line[3] != ' ' && cpu < CPUS_MAX)
                        cpu_sample(sampler, (unsigned)cpu, end, ret);
                line = next + 1;
        }
        return 0;
}

int sampler_pass(Sampler *sampler, int64_t now_ns, ThreadSample *ret, DynamicCpus *ret_cpus) {
        for (unsigned i = 0; i < sampler->n; i++)
                followed_sample(&sampler->followed[i], now_ns, &ret[i]);
        return sample_cpus(sampler, ret_cpus);
}
