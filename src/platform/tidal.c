/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What that kernel's source says, and what follows from it:
 *
 * - The files are there and take writes also when the feature is off. It is on
 *   only when the command line says dynamic_affinity=enable: anything else is
 *   "can not be used", and nothing is written.
 * - A preferred set that is empty, or not a proper part of the allowed one, is
 *   ignored without an error: so it is read back.
 * - Writing nothing at all issues no system call: to clear, a newline is written.
 * - Attaching a thread to a cpuset overwrites its own preferred set. The
 *   thread's file is used first; the group's, only when it is the vCPU's own.
 * - Threshold and switch are host-wide. They are written only when asked to, and
 *   only when they differ.
 */

#include "platform/tidal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/affinity.h"
#include "platform/files.h"
#include "platform/real_host.h"
#include "platform/task.h"
#include "util/cleanup.h"
#include "util/cpulist.h"

#define THRESHOLD "proc/sys/kernel/sched_util_low_pct"
#define MIDR "sys/devices/system/cpu/cpu0/regs/identification/midr_el1"
#define THREAD_FILE "preferred_cpuset"
#define GROUP_FILE "cpuset.preferred_cpus"

enum { CMDLINE_SIZE = 16 * 1024, FEATURES_SIZE = 16 * 1024 };

static const char *const feature_files[] = {
        "sys/kernel/debug/sched/features", /* 6.6 */
        "sys/kernel/debug/sched_features", /* 5.10 */
};

/* Whether the text, words between blanks, holds the word. */
static bool has_word(const char *text, const char *word) {
        size_t length = strlen(word);

        for (const char *p = text; *p; p += strspn(p, " \n")) {
                size_t n = strcspn(p, " \n");

                if (n == length && strncmp(p, word, n) == 0)
                        return true;
                p += n;
        }
        return false;
}

static bool booted_with(const RealHost *host, const char *word) {
        AUTO_FREE char *text = malloc(CMDLINE_SIZE);

        return text && file_read_at(host->root_fd, "proc/cmdline", text, CMDLINE_SIZE) >= 0 && has_word(text, word);
}

/* Whether the first CPU says that HiSilicon made it. */
static bool is_hisilicon(const RealHost *host) {
        char text[32];

        return file_read_at(host->root_fd, MIDR, text, sizeof(text)) > 0 &&
               ((strtoull(text, NULL, 16) >> 24) & 0xff) == 0x48;
}

/* The thread's directory, if it is that vCPU's; -ESRCH otherwise. */
static int thread_directory(const RealHost *host, const ThreadRef *thread, int *ret) {
        TaskStat stat;
        char path[64];
        int r;

        snprintf(path, sizeof(path), "proc/%d/task/%d", thread->pid, thread->tid);
        AUTO_CLOSE int fd = openat(host->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        r = task_stat_read(fd, &stat);
        if (r < 0)
                return r;
        if (stat.start_ticks != thread->thread_start_ticks || comm_vcpu_number(stat.comm) != thread->number)
                return -ESRCH;
        *ret = steal_fd(&fd);
        return 0;
}

/* Whether the last part of a group's path is a vCPU's own: "vcpu3". */
static bool is_vcpu_group(const char *path, unsigned number) {
        const char *last = strrchr(path, '/');
        char name[32];

        snprintf(name, sizeof(name), "/vcpu%u", number);
        return last && strcmp(last, name) == 0;
}

/* The directory of the vCPU's own cpuset group. */
static int group_directory(const RealHost *host, const ThreadRef *thread, int task_fd, int *ret) {
        char text[4096], path[2 * PATH_MAX];
        int r = file_read_at(task_fd, "cgroup", text, sizeof(text));

        if (r < 0)
                return r;
        r = cgroup_cpuset_path(&host->cgroups, text, path, sizeof(path));
        if (r < 0)
                return r;
        if (r > 0 || !is_vcpu_group(path, thread->number))
                return -ENOENT; /* others would be bound with it */
        int fd = openat(host->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret = fd;
        return 0;
}

/* The directory and the name of the file that the way uses. */
static int open_way(const RealHost *host, const ThreadRef *thread, TidalWay way, int *ret_fd, const char **ret_name) {
        AUTO_CLOSE int task_fd = -1, group_fd = -1;
        int r = thread_directory(host, thread, &task_fd);

        if (r < 0)
                return r;
        if (way == TIDAL_THREAD) {
                *ret_fd = steal_fd(&task_fd);
                *ret_name = THREAD_FILE;
                return 0;
        }
        r = group_directory(host, thread, task_fd, &group_fd);
        if (r < 0)
                return r;
        *ret_fd = steal_fd(&group_fd);
        *ret_name = GROUP_FILE;
        return 0;
}

static int preferred_read(int fd, const char *name, CpuSet *ret) {
        AUTO_FREE char *text = malloc(CPULIST_SIZE);
        int r = text ? file_read_at(fd, name, text, CPULIST_SIZE) : -ENOMEM;

        return r < 0 ? r : cpulist_parse(text, ret);
}

static int preferred_write(int fd, const char *name, const CpuSet *set) {
        AUTO_FREE char *text = malloc(CPULIST_SIZE + 1);
        int n = text ? cpulist_format(set, text, CPULIST_SIZE) : -ENOMEM;

        if (n < 0)
                return n;
        memcpy(text + n, "\n", 2);
        return file_write_at(fd, name, text);
}

static WriteStatus status_of(int r) {
        switch (r) {
        case 0:
                return WRITE_OK;
        case -ESRCH:
        case -ENOENT:
                return WRITE_STALE;
        case -EPERM:
        case -EACCES:
        case -EROFS:
                return WRITE_DENIED;
        case -EINVAL:
                return WRITE_REFUSED;
        default:
                return WRITE_RETRY;
        }
}

static bool is_proper_part(const CpuSet *part, const CpuSet *whole) {
        return !cpuset_is_empty(part) && cpuset_is_subset(part, whole) && !cpuset_equal(part, whole);
}

/* Step three, and the look whether the kernel took it. */
static WriteStatus prefer(int fd, const char *name, const CpuSet *preferred) {
        CpuSet found;
        int r = preferred_write(fd, name, preferred);

        if (r == 0)
                r = preferred_read(fd, name, &found);
        if (r < 0)
                return status_of(r);
        return cpuset_equal(&found, preferred) ? WRITE_OK : WRITE_REFUSED;
}

WriteStatus tidal_bind(RealHost *host, const ThreadRef *thread, TidalWay way, const CpuSet *allowed,
                       const CpuSet *preferred, CpuSet *ret_mask) {
        AUTO_CLOSE int fd = -1;
        CpuSet want = {}, now, mask;
        const char *name;
        WriteStatus status;
        int r = open_way(host, thread, way, &fd, &name);

        if (r == 0)
                r = preferred_read(fd, name, &now);
        if (r == 0)
                r = affinity_read_checked(host, thread, &mask);
        if (r < 0)
                return status_of(r);
        if (is_proper_part(preferred, allowed))
                want = *preferred;
        if (cpuset_equal(&mask, allowed) && cpuset_equal(&now, &want)) {
                *ret_mask = mask;
                return WRITE_OK;
        }
        if (!cpuset_equal(&mask, allowed) || !cpuset_is_empty(&now)) {
                r = file_write_at(fd, name, "\n");
                if (r < 0)
                        return status_of(r);
                status = affinity_write_checked(host, thread, allowed, ret_mask);
                if (status != WRITE_OK && !cpuset_is_empty(&now))
                        preferred_write(fd, name, &now); /* where the mask stayed, this does too */
                if (status != WRITE_OK || cpuset_is_empty(&want))
                        return status;
        } else
                *ret_mask = mask;
        return prefer(fd, name, &want);
}

WriteStatus tidal_release(RealHost *host, const ThreadRef *thread, TidalWay way) {
        AUTO_CLOSE int fd = -1;
        const char *name;
        CpuSet now;
        int r = open_way(host, thread, way, &fd, &name);

        if (r == 0)
                r = preferred_read(fd, name, &now);
        if (r == 0 && !cpuset_is_empty(&now))
                r = file_write_at(fd, name, "\n");
        return status_of(r);
}

int tidal_preferred_read(const RealHost *host, const ThreadRef *thread, TidalWay way, CpuSet *ret) {
        AUTO_CLOSE int fd = -1;
        const char *name;
        int r = open_way(host, thread, way, &fd, &name);

        return r < 0 ? r : preferred_read(fd, name, ret);
}

/* The name and text of the scheduler's feature file; -ENOENT: there is none. */
static int features_read(const RealHost *host, char text[FEATURES_SIZE], const char **ret_name) {
        int r = -ENOENT;

        for (unsigned i = 0; r == -ENOENT && i < sizeof(feature_files) / sizeof(*feature_files); i++) {
                r = file_read_at(host->root_fd, feature_files[i], text, FEATURES_SIZE);
                *ret_name = feature_files[i];
        }
        return r;
}

void tidal_values_read(const RealHost *host, TidalValues *ret) {
        AUTO_FREE char *text = malloc(FEATURES_SIZE);
        const char *name;

        *ret = (TidalValues){.threshold = -1, .task_group = -1};
        if (!text)
                return;
        if (file_read_at(host->root_fd, THRESHOLD, text, FEATURES_SIZE) > 0) {
                long percent = strtol(text, NULL, 10);

                ret->threshold = percent >= 0 && percent <= 100 ? (int)percent : -1;
        }
        if (features_read(host, text, &name) < 0)
                return;
        if (has_word(text, "DA_UTIL_TASKGROUP"))
                ret->task_group = 1;
        else if (has_word(text, "NO_DA_UTIL_TASKGROUP"))
                ret->task_group = 0;
}

static int task_group_write(const RealHost *host, bool on) {
        AUTO_FREE char *text = malloc(FEATURES_SIZE);
        const char *name;
        int r = text ? features_read(host, text, &name) : -ENOMEM;

        return r < 0 ? r : file_write_at(host->root_fd, name, on ? "DA_UTIL_TASKGROUP\n" : "NO_DA_UTIL_TASKGROUP\n");
}

int tidal_values_write(const RealHost *host, const TidalValues *wanted) {
        TidalValues now;
        char text[16];
        int r = 0;

        tidal_values_read(host, &now);
        if (wanted->threshold >= 0 && wanted->threshold != now.threshold) {
                snprintf(text, sizeof(text), "%d\n", wanted->threshold);
                r = file_write_at(host->root_fd, THRESHOLD, text);
        }
        if (r == 0 && wanted->task_group >= 0 && wanted->task_group != now.task_group)
                r = task_group_write(host, wanted->task_group);
        return r;
}

/* The way that is there for that thread, whether or not it is on. */
static TidalWay find_way(const RealHost *host, const ThreadRef *example, int *ret_fd, const char **ret_name) {
        static const TidalWay ways[] = {TIDAL_THREAD, TIDAL_CGROUP};

        for (unsigned i = 0; example && i < sizeof(ways) / sizeof(*ways); i++) {
                AUTO_CLOSE int fd = -1;

                if (open_way(host, example, ways[i], &fd, ret_name) == 0 && faccessat(fd, *ret_name, F_OK, 0) == 0) {
                        *ret_fd = steal_fd(&fd);
                        return ways[i];
                }
        }
        if (example)
                return TIDAL_NONE;
        *ret_fd = openat(host->root_fd, "proc/thread-self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        *ret_name = THREAD_FILE;
        return *ret_fd >= 0 && faccessat(*ret_fd, THREAD_FILE, F_OK, 0) == 0 ? TIDAL_THREAD : TIDAL_NONE;
}

static bool has_own_group(const RealHost *host, const ThreadRef *example) {
        AUTO_CLOSE int task_fd = -1;
        char text[4096], path[PATH_MAX];

        return example && thread_directory(host, example, &task_fd) == 0 &&
               file_read_at(task_fd, "cgroup", text, sizeof(text)) >= 0 &&
               cgroup_cpu_group(text, path, sizeof(path)) == 0 && is_vcpu_group(path, example->number);
}

/* Whether the thread has CAP_DAC_OVERRIDE: our own file, unlike others', may be
 * written without. What does not say is taken to have it. */
static bool overrides_owners(int task_fd) {
        char text[64];

        return task_status_field(task_fd, "CapEff", text, sizeof(text)) < 0 || (strtoull(text, NULL, 16) & 2);
}

static void say(TidalProbe *probe, const char *text) {
        snprintf(probe->why, sizeof(probe->why), "%s", text);
}

void tidal_probe(const RealHost *host, const ThreadRef *example, TidalProbe *ret) {
        AUTO_CLOSE int fd = -1;
        const char *name = NULL;
        TidalWay way = find_way(host, example, &fd, &name);

        *ret = (TidalProbe){.kunpeng = is_hisilicon(host),
                            .tlbi_limited = booted_with(host, "kvm-arm.dvmbm_enabled=1"),
                            .own_group = has_own_group(host, example)};
        tidal_values_read(host, &ret->values);
        if (way == TIDAL_NONE)
                say(ret, "this kernel has no preferred_cpuset");
        else if (!booted_with(host, "dynamic_affinity=enable"))
                say(ret, "the kernel has preferred_cpuset, but it is off: boot with dynamic_affinity=enable");
        else if (faccessat(fd, name, W_OK, AT_EACCESS) < 0 || (!example && !overrides_owners(fd)))
                say(ret, "preferred_cpuset may not be written: the daemon needs CAP_DAC_OVERRIDE");
        else {
                ret->way = way;
                if (ret->values.task_group == 1 && !ret->own_group)
                        say(ret, "the switch DA_UTIL_TASKGROUP is on, but vCPUs have no cpu cgroup of their own: "
                                 "the use of all vCPUs of a VM counts for each");
                else if (ret->values.task_group == 1)
                        say(ret, "the switch DA_UTIL_TASKGROUP is on: a vCPU that shares its core evenly shows half "
                                 "its use and stays");
        }
}
