/* SPDX-License-Identifier: Apache-2.0 */

/*
 * No system call sets the affinity of a thread by descriptor, only by number,
 * and a number can be given to another thread as soon as its owner is gone. So:
 *
 * 1. Open /proc/PID and check the process: start time and -uuid argument. Open
 *    its task/TID and check the thread: start time and name. The descriptors
 *    belong to that very process and thread, whatever happens to the numbers.
 * 2. Ask through the thread's descriptor whether it lives, and set the mask in
 *    the very next system call.
 * 3. Read the mask back by number, then the thread's identity by descriptor. A
 *    thread that lives now had its number all the while: write and read-back
 *    went to the right one.
 *
 * What remains: between the two system calls of step 2 the thread can die and
 * its number can go to a new thread. That takes the kernel once around all
 * numbers (or a deliberate choice of the number) within about a microsecond.
 * Step 3 then finds our thread dead, and whoever has the number now, if he
 * carries our mask, gets his process's mask back and is reported.
 */

#include "platform/affinity.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/real_host.h"
#include "platform/task.h"
#include "util/cleanup.h"
#include "util/cpulist.h"

/* The words of a CpuSet are the kernel's own on 64-bit machines, and its size
 * suits every kernel with up to CPUS_MAX CPUs. */
static int mask_get(int32_t tid, CpuSet *ret) {
        CpuSet set = {};

        if (sched_getaffinity(tid, sizeof(set), (cpu_set_t *)&set) < 0)
                return -errno;
        *ret = set;
        return 0;
}

static int mask_set(int32_t tid, const CpuSet *mask) {
        return sched_setaffinity(tid, sizeof(*mask), (const cpu_set_t *)mask) < 0 ? -errno : 0;
}

int affinity_read(const RealHost *host, int32_t tid, int task_fd, CpuSet *ret) {
        char text[CPULIST_SIZE];
        int r;

        if (!host->is_fixture)
                return mask_get(tid, ret);
        r = task_status_field(task_fd, "Cpus_allowed_list", text, sizeof(text));
        return r < 0 ? r : cpulist_parse(text, ret);
}

/* 0: the directory is that of the thread that is meant; -ESRCH: it is not, or gone. */
static int thread_check(const ThreadRef *thread, int task_fd) {
        TaskStat stat;
        int r = task_stat_read(task_fd, &stat);

        if (r < 0)
                return r;
        int number = thread->number == THREAD_HELPER ? -1 : thread->number;
        if (stat.start_ticks != thread->thread_start_ticks || comm_vcpu_number(stat.comm) != number)
                return -ESRCH;
        return 0;
}

static int process_check(const ThreadRef *thread, int process_fd) {
        TaskStat stat;
        int r = task_stat_read(process_fd, &stat);

        if (r < 0)
                return r;
        if (stat.start_ticks != thread->process_start_ticks)
                return -ESRCH;
        r = process_has_uuid(process_fd, thread->uuid);
        return r == 0 ? -ESRCH : r < 0 ? r : 0;
}

static int directory_open(int parent_fd, const char *path, int *ret) {
        int fd = openat(parent_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        *ret = fd;
        return 0;
}

/* Opens the thread's directory, if it is that very vCPU's. */
static int thread_open(const RealHost *host, const ThreadRef *thread, int *ret_fd) {
        AUTO_CLOSE int process_fd = -1, task_fd = -1;
        char path[64];
        int r;

        if (thread->pid <= 0 || thread->tid <= 0)
                return -ESRCH;
        snprintf(path, sizeof(path), "proc/%d", thread->pid);
        r = directory_open(host->root_fd, path, &process_fd);
        if (r == 0)
                r = process_check(thread, process_fd);
        if (r < 0)
                return r;
        snprintf(path, sizeof(path), "task/%d", thread->tid);
        r = directory_open(process_fd, path, &task_fd);
        if (r == 0)
                r = thread_check(thread, task_fd);
        if (r < 0)
                return r;
        *ret_fd = steal_fd(&task_fd);
        return 0;
}

static WriteStatus status_of(int r) {
        switch (r) {
        case 0:
                return WRITE_OK;
        case -ESRCH:
                return WRITE_STALE;
        case -EPERM:
        case -EACCES:
                return WRITE_DENIED;
        case -EINVAL:
                return WRITE_REFUSED;
        default:
                return WRITE_RETRY;
        }
}

/* The widest mask there is; the kernel cuts it to the thread's cpuset. */
static void fill(CpuSet *ret) {
        memset(ret, 0xff, sizeof(*ret));
}

bool affinity_widen_stranger(int32_t tid, const CpuSet *written, Stranger *ret) {
        Stranger stranger = {.tid = tid};
        CpuSet mask, wide;
        TaskStat stat;
        char path[64], text[32];

        if (mask_get(tid, &mask) < 0 || cpuset_is_empty(&mask) || !cpuset_is_subset(&mask, written))
                return false;
        snprintf(path, sizeof(path), "/proc/%d", tid);
        AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || task_stat_read(fd, &stat) < 0 || task_status_field(fd, "Tgid", text, sizeof(text)) < 0)
                return false;
        stranger.pid = (int32_t)strtol(text, NULL, 10);
        if (stranger.pid == tid || mask_get(stranger.pid, &wide) < 0)
                fill(&wide);
        snprintf(stranger.comm, sizeof(stranger.comm), "%s", stat.comm);
        stranger.widened = mask_set(tid, &wide) == 0;
        *ret = stranger;
        return true;
}

/* Steps 2 and 3 of the essay. */
static WriteStatus write_and_look(RealHost *host, const ThreadRef *thread, int task_fd, const CpuSet *mask,
                                  CpuSet *ret_mask) {
        CpuSet found;
        int written, read, check = task_lives(task_fd);

        if (check < 0)
                return status_of(check);
        written = mask_set(thread->tid, mask);
        read = mask_get(thread->tid, &found);
        check = thread_check(thread, task_fd);
        if (check == -ESRCH) {
                if (written == 0)
                        host->has_stranger |= affinity_widen_stranger(thread->tid, mask, &host->stranger);
                return WRITE_STALE;
        }
        if (read == 0)
                *ret_mask = found;
        if (written < 0)
                return status_of(written);
        if (check < 0 || read < 0)
                return WRITE_RETRY; /* written, whatever kept us from looking */
        return cpuset_equal(&found, mask) ? WRITE_OK : WRITE_REFUSED;
}

WriteStatus affinity_write_checked(RealHost *host, const ThreadRef *thread, const CpuSet *mask,
                                   CpuSet *ret_mask) {
        AUTO_CLOSE int task_fd = -1;
        int r = thread_open(host, thread, &task_fd);

        if (r < 0)
                return status_of(r);
        if (host->is_fixture)
                return WRITE_DENIED;
        return write_and_look(host, thread, task_fd, mask, ret_mask);
}

int affinity_read_checked(RealHost *host, const ThreadRef *thread, CpuSet *ret) {
        AUTO_CLOSE int task_fd = -1;
        CpuSet mask;
        int r = thread_open(host, thread, &task_fd);

        if (r == 0)
                r = affinity_read(host, thread->tid, task_fd, &mask);
        if (r == 0)
                r = task_lives(task_fd);
        if (r < 0)
                return r;
        *ret = mask;
        return 0;
}
