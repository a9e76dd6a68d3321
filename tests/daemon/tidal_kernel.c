/* SPDX-License-Identifier: Apache-2.0 */

#include "tidal_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/prefer.h"
#include "platform/affinity.h"
#include "platform/files.h"

#define UUID "11111111-2222-3333-4444-555555555555"
#define BOOT "00000000-1111-2222-3333-444444444444"

enum { PID = 500 };

TidalKernel kernel;

static const char *const groups[] = {
        "5:cpuset:/machine/qemu-1-a/vcpu0\n4:cpu,cpuacct:/machine/qemu-1-a/vcpu0\n0::/\n",
        "5:cpuset:/machine/qemu-1-a/vcpu1\n4:cpu,cpuacct:/machine/qemu-1-a/vcpu1\n0::/\n"};

void write_thread(unsigned number, const char *list) {
        char comm[32];

        snprintf(comm, sizeof(comm), "CPU %u/KVM", number);
        fake_thread(kernel.tree, &(FakeTask){.pid = PID,
                                             .tid = PID + 1 + (int)number,
                                             .comm = comm,
                                             .cpus = list,
                                             .cgroup = groups[number],
                                             .start_ticks = 2000 + number});
}

static char *path_of(unsigned number, const char *name) {
        static char path[256];

        snprintf(path, sizeof(path), "%s/proc/%d/task/%d/%s", kernel.tree, PID, PID + 1 + (int)number, name);
        return path;
}

char *preferred_path(unsigned number) {
        static char path[256];

        if (!kernel.grouped)
                return path_of(number, "preferred_cpuset");
        snprintf(path, sizeof(path), "%s/cg/cpuset/machine/qemu-1-a/vcpu%u/cpuset.preferred_cpus",
                 kernel.tree, number);
        return path;
}

static void read_text(const char *path, char *ret, size_t size) {
        assert_true(file_read_at(AT_FDCWD, path, ret, size) >= 0);
}

CpuSet mask_of(unsigned number) {
        char text[1024], *list;

        read_text(path_of(number, "status"), text, sizeof(text));
        list = strstr(text, "Cpus_allowed_list:\t") + strlen("Cpus_allowed_list:\t");
        list[strcspn(list, "\n")] = '\0';
        return cpus(list);
}

CpuSet preferred_of(unsigned number) {
        char text[256];

        read_text(preferred_path(number), text, sizeof(text));
        text[strcspn(text, "\n")] = '\0';
        return cpus(text);
}

void store(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        close(fd);
}

static void note(int tid, const char *what, const char *text) {
        size_t used = strlen(kernel.log);

        if (tid)
                used += (size_t)snprintf(kernel.log + used, sizeof(kernel.log) - used, "%d ", tid);
        snprintf(kernel.log + used, sizeof(kernel.log) - used, "%s=%s;", what, text);
        for (char *p = kernel.log + used; *p; p++)
                if (*p == '\n')
                        *p = '|';
}

/* Whose directory is open: a thread's ("501") or a vCPU's group ("vcpu0"). */
static unsigned number_of(int dir_fd) {
        char link[64], target[512];
        const char *last;
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", dir_fd);
        n = readlink(link, target, sizeof(target) - 1);
        assert_true(n > 0);
        target[n] = '\0';
        last = strrchr(target, '/') + 1;
        return strncmp(last, "vcpu", 4) == 0 ? (unsigned)atoi(last + 4) : (unsigned)(atoi(last) - PID - 1);
}

static void copy_file(const char *from, const char *to) {
        char text[64 * 1024];
        int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        read_text(from, text, sizeof(text));
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        close(fd);
}

static const char *state_copy(void) {
        static char path[80];

        snprintf(path, sizeof(path), "%s.then", kernel.state_path);
        return path;
}

/* Whether the daemon lives to see its next write. */
static bool lives(void) {
        if (!kernel.dead && kernel.crash_at && ++kernel.writes == kernel.crash_at) {
                kernel.dead = true;
                copy_file(kernel.state_path, state_copy());
        }
        return !kernel.dead;
}

/* Looks into the state file as it is at the moment of a host-wide write. */
static void look_into_state(void) {
        char why[256];
        State *state;

        assert_int_equal(state_new(&state), 0);
        assert_true(state_load(state, kernel.state_path, BOOT, why) >= 0);
        kernel.named = state->values_written;
        state_free(state);
}

static void kernel_prefers(unsigned number, const char *text) {
        CpuSet mask = mask_of(number);
        CpuSet set = strcmp(text, "\n") == 0 ? (CpuSet){} : cpus(text);

        if (!cpuset_is_empty(&set) && (!cpuset_is_subset(&set, &mask) || cpuset_equal(&set, &mask)))
                return; /* swallowed */
        store(preferred_path(number), text);
}

int __wrap_file_write_at(int dir_fd, const char *path, const char *text);
int __wrap_file_write_at(int dir_fd, const char *path, const char *text) {
        const char *last = strrchr(path, '/');
        bool preferred = strcmp(path, "preferred_cpuset") == 0 || strcmp(path, "cpuset.preferred_cpus") == 0;
        char full[512], trimmed[256];

        if (*text == '\0' || !lives())
                return 0; /* an empty write reaches nobody */
        note(preferred ? PID + 1 + (int)number_of(dir_fd) : 0, last ? last + 1 : path, text);
        if (!preferred)
                look_into_state();
        if (kernel.error)
                return kernel.error;
        if (kernel.refuse && preferred && *text != '\n')
                return kernel.refuse;
        snprintf(trimmed, sizeof(trimmed), "%s", text);
        snprintf(full, sizeof(full), "%s/%s", kernel.tree, path);
        if (preferred) {
                if (trimmed[1])
                        trimmed[strcspn(trimmed, "\n")] = '\0';
                kernel_prefers(number_of(dir_fd), trimmed);
        } else if (strstr(path, "features"))
                store(full, *text == 'N' ? "START_DEBIT NO_DA_UTIL_TASKGROUP\n"
                                         : "START_DEBIT DA_UTIL_TASKGROUP\n");
        else
                store(full, text);
        return 0;
}

WriteStatus __wrap_affinity_write_checked(RealHost *host, const ThreadRef *thread, const CpuSet *mask,
                                          CpuSet *ret_mask);
WriteStatus __wrap_affinity_write_checked(RealHost *host, const ThreadRef *thread, const CpuSet *mask,
                                          CpuSet *ret_mask) {
        char list[128];
        int n = 0;

        (void)host;
        *ret_mask = *mask;
        if (!lives())
                return WRITE_OK;
        CPUSET_FOREACH (cpu, mask)
                n += snprintf(list + n, sizeof(list) - (size_t)n, "%s%d", n ? "," : "", cpu);
        note(thread->tid, "mask", list);
        if (kernel.mask_status != WRITE_OK) {
                cpuset_clear(ret_mask);
                return kernel.mask_status;
        }
        write_thread(thread->number, list);
        if (access(preferred_path(thread->number), F_OK) < 0)
                return WRITE_OK;
        CpuSet preferred = preferred_of(thread->number);
        if (!cpuset_is_subset(&preferred, mask))
                store(preferred_path(thread->number), "\n");
        return WRITE_OK;
}

void write_cmdline(const char *text) {
        tree_write(kernel.tree, "proc/cmdline", "BOOT_IMAGE=/vmlinuz %s quiet\n", text);
}

void choose(void) {
        ThreadRef example;
        bool found = prefer_example(kernel.rounds, &example);

        backend_choose(kernel.host, found ? &example : NULL, kernel.tree, &kernel.settings, &kernel.backend);
        kernel.rounds->tidal = kernel.backend.way;
}

void daemon_start(void) {
        char why[256];

        assert_int_equal(real_host_new(kernel.tree, "numa:1 l3:2 core:4 pu:1", &kernel.host), 0);
        assert_int_equal(state_new(&kernel.state), 0);
        assert_true(state_load(kernel.state, kernel.state_path, BOOT, why) >= 0);
        assert_int_equal(rounds_new(real_host_door(kernel.host), &kernel.settings, kernel.state,
                                    kernel.state_path, &kernel.rounds),
                         0);
        assert_int_equal(dynamic_new(kernel.rounds, &kernel.settings, &kernel.dynamic), 0);
        choose();
}

void daemon_crash(void) {
        kernel.dynamic = dynamic_free(kernel.dynamic);
        kernel.rounds = rounds_free(kernel.rounds);
        kernel.state = state_free(kernel.state);
        kernel.host = real_host_free(kernel.host);
}

void daemon_die_at(unsigned write) {
        kernel.writes = 0;
        kernel.crash_at = write;
}

void daemon_restart(void) {
        daemon_crash();
        if (kernel.dead)
                copy_file(state_copy(), kernel.state_path);
        kernel.dead = false;
        kernel.crash_at = 0;
        daemon_start();
}

void use_groups(void) {
        for (unsigned i = 0; i < 2; i++)
                assert_int_equal(unlink(path_of(i, "preferred_cpuset")), 0);
        tree_write(kernel.tree, "cg/cpuset/machine/qemu-1-a/vcpu0/cpuset.preferred_cpus", "\n");
        tree_write(kernel.tree, "cg/cpuset/machine/qemu-1-a/vcpu1/cpuset.preferred_cpus", "\n");
        tree_remove(kernel.tree, "proc/thread-self/preferred_cpuset");
        kernel.grouped = true;
}

void groups_are_shared(void) {
        for (unsigned i = 0; i < 2; i++)
                store(path_of(i, "cgroup"),
                      "5:cpuset:/machine/qemu-1-a\n4:cpu,cpuacct:/machine/qemu-1-a/vcpu0\n0::/\n");
        tree_write(kernel.tree, "cg/cpuset/machine/qemu-1-a/cpuset.cpus", "0-7\n");
        tree_write(kernel.tree, "cg/cpuset/machine/qemu-1-a/cpuset.preferred_cpus", "\n");
}

int tidal_setup(void **state) {
        (void)state;
        memset(&kernel, 0, sizeof(kernel));
        unsetenv("XDG_RUNTIME_DIR");
        kernel.tree = tree_new();
        snprintf(kernel.state_path, sizeof(kernel.state_path), "%s/state.json", kernel.tree);
        kernel.facts = facts_new();
        facts_add(kernel.facts, fact_new("a", UUID, 2, "0-7"));
        tree_write(kernel.tree, "proc/self/mounts", "c /cg/cpuset cgroup rw,cpuset 0 0\n");
        tree_write(kernel.tree, "cg/cpuset/machine/qemu-1-a/vcpu0/cpuset.cpus", "0-7\n");
        tree_write(kernel.tree, "cg/cpuset/machine/qemu-1-a/vcpu1/cpuset.cpus", "0-7\n");
        tree_write(kernel.tree, "proc/stat", "cpu 1 0 0 1\n");
        tree_write(kernel.tree, "proc/self/schedstat", "100 1 1\n");
        tree_write(kernel.tree, "proc/thread-self/preferred_cpuset", "\n");
        tree_write(kernel.tree, "proc/sys/kernel/sched_util_low_pct", "85\n");
        tree_write(kernel.tree, "sys/kernel/debug/sched/features", "START_DEBIT NO_DA_UTIL_TASKGROUP\n");
        fake_process(kernel.tree, "a", PID, UUID, "0::/\n");
        for (unsigned i = 0; i < 2; i++)
                write_thread(i, "0-7");
        tree_write(kernel.tree, "proc/500/task/501/preferred_cpuset", "\n");
        tree_write(kernel.tree, "proc/500/task/502/preferred_cpuset", "\n");
        write_cmdline("dynamic_affinity=enable");
        settings_defaults(&kernel.settings);
        kernel.settings.sched = SCHED_DYNAMIC;
        daemon_start();
        return 0;
}

int tidal_teardown(void **state) {
        (void)state;
        daemon_crash();
        facts_free(kernel.facts);
        tree_free(kernel.tree);
        return 0;
}

void round_run(void) {
        RoundRequest request = {.act = true, .full = true};

        kernel.log[0] = '\0';
        assert_true(rounds_begin(kernel.rounds, kernel.facts, &request) >= 0);
        while (!rounds_apply_some(kernel.rounds, 1000000))
                ;
        assert_true(dynamic_sync(kernel.dynamic, true) >= 0);
}

void set_threshold(const char *percent) {
        char why[SETTINGS_WHY_SIZE];

        assert_int_equal(settings_set(&kernel.settings, SET_UTIL_THRESH, percent, "a test", why), 0);
}

void daemon_stop(void) {
        unsigned restored, failed;

        kernel.log[0] = '\0';
        assert_int_equal(rounds_restore(kernel.rounds, true, &restored, &failed), 0);
        assert_int_equal(failed, 0);
}

void assert_state(unsigned number, const char *mask, const char *preferred) {
        CpuSet set = mask_of(number), prefers = preferred_of(number);

        assert_cpus(&set, mask);
        assert_cpus(&prefers, preferred);
}

void read_values(int threshold, int task_group) {
        TidalValues now;

        tidal_values_read(kernel.host, &now);
        assert_int_equal(now.threshold, threshold);
        assert_int_equal(now.task_group, task_group);
}
