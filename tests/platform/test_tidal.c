/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The tidal driver against files that behave as that kernel's do: a preferred
 * set that is no proper part of the allowed one is swallowed without an error, a
 * new allowed set that does not hold it clears it, and every write is noted.
 * Writes of files and of masks are taken over by the linker (--wrap).
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "platform/affinity.h"
#include "platform/files.h"
#include "platform/real_host.h"
#include "platform/tidal.h"
#include "support.h"

#define UUID "11111111-2222-3333-4444-555555555555"

enum { LOG_SIZE = 4096 };

static struct {
        char *tree;
        RealHost *host;
        CpuSet allowed, preferred;
        CpuSet found;       /* the mask that the last binding found */
        char log[LOG_SIZE]; /* "file=text;" of every write, newlines as '|' */
        int error;          /* -errno of the next file writes */
        WriteStatus mask_status;
        bool clips;         /* a cpuset narrows each mask to one CPU, unseen */
} kernel;

static void note(const char *what, const char *text) {
        size_t used = strlen(kernel.log);

        snprintf(kernel.log + used, sizeof(kernel.log) - used, "%s=%s;", what, text);
        for (char *p = kernel.log + used; *p; p++)
                if (*p == '\n')
                        *p = '|';
}

static void store(int dir_fd, const char *path, const char *text) {
        int fd = openat(dir_fd, path, O_WRONLY | O_TRUNC | O_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        close(fd);
}

static void kernel_prefers(int dir_fd, const char *path, const char *text) {
        char list[CPUS_MAX];
        CpuSet set = cpus(text);

        if (!cpuset_is_empty(&set) &&
            (!cpuset_is_subset(&set, &kernel.allowed) || cpuset_equal(&set, &kernel.allowed)))
                return; /* swallowed */
        kernel.preferred = set;
        snprintf(list, sizeof(list), "%s%s", text, strchr(text, '\n') ? "" : "\n");
        store(dir_fd, path, list);
}

int __wrap_file_write_at(int dir_fd, const char *path, const char *text);
int __wrap_file_write_at(int dir_fd, const char *path, const char *text) {
        const char *last = strrchr(path, '/');

        if (*text == '\0')
                return 0; /* an empty write reaches nobody */
        note(last ? last + 1 : path, text);
        if (kernel.error)
                return kernel.error;
        if (strncmp(path, "preferred", 9) == 0 || strncmp(path, "cpuset.pref", 11) == 0)
                kernel_prefers(dir_fd, path, text);
        else if (strstr(path, "features"))
                store(dir_fd, path, *text == 'N' ? "START_DEBIT NO_DA_UTIL_TASKGROUP\n"
                                                 : "START_DEBIT DA_UTIL_TASKGROUP\n");
        else
                store(dir_fd, path, text);
        return 0;
}

WriteStatus __wrap_affinity_write_checked(RealHost *host, const ThreadRef *thread, const CpuSet *mask,
                                          CpuSet *ret_mask);
WriteStatus __wrap_affinity_write_checked(RealHost *host, const ThreadRef *thread, const CpuSet *mask,
                                          CpuSet *ret_mask) {
        char list[64];
        int n = 0;

        (void)host;
        (void)thread;
        CPUSET_FOREACH(cpu, mask)
                n += snprintf(list + n, sizeof(list) - (size_t)n, "%s%d", n ? "," : "", cpu);
        note("mask", list);
        if (kernel.mask_status != WRITE_OK)
                return kernel.mask_status;
        kernel.allowed = *ret_mask = *mask;
        if (kernel.clips)
                kernel.allowed = cpus("3");
        return WRITE_OK;
}

int __wrap_affinity_read_checked(RealHost *host, const ThreadRef *thread, CpuSet *ret);
int __wrap_affinity_read_checked(RealHost *host, const ThreadRef *thread, CpuSet *ret) {
        (void)host;
        (void)thread;
        *ret = kernel.allowed;
        return 0;
}

static const ThreadRef vcpu0 = {.uuid = UUID, .pid = 100, .tid = 101, .process_start_ticks = 1000,
                                .thread_start_ticks = 2000, .number = 0};

static void write_cmdline(const char *text) {
        tree_write(kernel.tree, "proc/cmdline", "BOOT_IMAGE=/vmlinuz %s quiet\n", text);
}

static int setup(void **state) {
        FakeTask task = {.pid = 100, .tid = 101, .comm = "CPU 0/KVM", .cpus = "0-7", .start_ticks = 2000,
                         .cgroup = "5:cpuset:/machine/qemu-1-a.libvirt-qemu/vcpu0\n"
                                   "4:cpu,cpuacct:/machine/qemu-1-a.libvirt-qemu/vcpu0\n0::/\n"};

        (void)state;
        memset(&kernel, 0, sizeof(kernel));
        kernel.tree = tree_new();
        kernel.allowed = cpus("0-7");
        tree_write(kernel.tree, "proc/self/mounts", "c /cg/cpuset cgroup rw,cpuset 0 0\n");
        fake_process(kernel.tree, "a", 100, UUID, "0::/\n");
        fake_thread(kernel.tree, &task);
        tree_write(kernel.tree, "proc/100/task/101/preferred_cpuset", "\n");
        tree_write(kernel.tree, "proc/sys/kernel/sched_util_low_pct", "85\n");
        tree_write(kernel.tree, "sys/kernel/debug/sched/features", "START_DEBIT NO_DA_UTIL_TASKGROUP\n");
        write_cmdline("dynamic_affinity=enable");
        return real_host_new(kernel.tree, NULL, &kernel.host) == 0 ? 0 : -1;
}

static int teardown(void **state) {
        (void)state;
        real_host_free(kernel.host);
        tree_free(kernel.tree);
        return 0;
}

static WriteStatus bind_to(const char *allowed, const char *preferred) {
        CpuSet a = cpus(allowed), p = cpus(preferred);

        return tidal_bind(kernel.host, &vcpu0, TIDAL_THREAD, &a, &p, &kernel.found);
}

static void test_order_of_writes(void **state) {
        (void)state;
        assert_int_equal(bind_to("2-5", "3"), WRITE_OK);
        assert_string_equal(kernel.log, "preferred_cpuset=|;mask=2,3,4,5;preferred_cpuset=3|;");
        assert_cpus(&kernel.preferred, "3");
        assert_int_equal(bind_to("2-5", "3"), WRITE_OK); /* nothing to do: nothing written */
        assert_string_equal(kernel.log, "preferred_cpuset=|;mask=2,3,4,5;preferred_cpuset=3|;");
        kernel.log[0] = '\0';
        assert_int_equal(tidal_release(kernel.host, &vcpu0, TIDAL_THREAD), WRITE_OK);
        assert_int_equal(tidal_release(kernel.host, &vcpu0, TIDAL_THREAD), WRITE_OK);
        assert_string_equal(kernel.log, "preferred_cpuset=|;");
        assert_true(cpuset_is_empty(&kernel.preferred));
}

static void test_no_proper_part_prefers_nothing(void **state) {
        (void)state;
        assert_int_equal(bind_to("4", "4"), WRITE_OK);
        assert_string_equal(kernel.log, "preferred_cpuset=|;mask=4;");
        assert_int_equal(bind_to("2-5", "7"), WRITE_OK);
        assert_string_equal(kernel.log, "preferred_cpuset=|;mask=4;preferred_cpuset=|;mask=2,3,4,5;");
        assert_true(cpuset_is_empty(&kernel.preferred));
}

/* The kernel clips the allowed set behind our back: what it swallows is seen. */
static void test_swallowed_write_is_seen(void **state) {
        (void)state;
        kernel.clips = true;
        assert_int_equal(bind_to("2-5", "3"), WRITE_REFUSED);
        assert_string_equal(kernel.log, "preferred_cpuset=|;mask=2,3,4,5;preferred_cpuset=3|;");
        assert_true(cpuset_is_empty(&kernel.preferred));
}

static void test_errors(void **state) {
        ThreadRef other = vcpu0;
        CpuSet a = cpus("2-5"), p = cpus("3");

        (void)state;
        kernel.error = -EACCES;
        assert_int_equal(bind_to("2-5", "3"), WRITE_DENIED);
        assert_string_equal(kernel.log, "preferred_cpuset=|;"); /* the mask is left alone then */
        kernel.error = -EINVAL;
        assert_int_equal(bind_to("2-5", "3"), WRITE_REFUSED);
        kernel.error = -EIO;
        assert_int_equal(bind_to("2-5", "3"), WRITE_RETRY);
        kernel.error = 0;
        kernel.log[0] = '\0';
        other.thread_start_ticks++;
        assert_int_equal(tidal_bind(kernel.host, &other, TIDAL_THREAD, &a, &p, &kernel.found), WRITE_STALE);
        other = vcpu0;
        other.number = 1;
        assert_int_equal(tidal_bind(kernel.host, &other, TIDAL_THREAD, &a, &p, &kernel.found), WRITE_STALE);
        kernel.mask_status = WRITE_DENIED;
        assert_int_equal(bind_to("2-5", "3"), WRITE_DENIED);
        assert_string_equal(kernel.log, "preferred_cpuset=|;mask=2,3,4,5;");
}

static void test_group_file(void **state) {
        CpuSet a = cpus("2-5"), p = cpus("3");
        TidalProbe probe;

        (void)state;
        tree_remove(kernel.tree, "proc/100/task/101/preferred_cpuset");
        tree_write(kernel.tree, "cg/cpuset/machine/qemu-1-a.libvirt-qemu/vcpu0/cpuset.preferred_cpus", "\n");
        tidal_probe(kernel.host, &vcpu0, &probe);
        assert_int_equal(probe.way, TIDAL_CGROUP);
        assert_int_equal(tidal_bind(kernel.host, &vcpu0, TIDAL_CGROUP, &a, &p, &kernel.found), WRITE_OK);
        assert_string_equal(kernel.log,
                            "cpuset.preferred_cpus=|;mask=2,3,4,5;cpuset.preferred_cpus=3|;");
}

/* A group that others are in too is not ours to write. */
static void test_group_of_others(void **state) {
        FakeTask task = {.pid = 100, .tid = 101, .comm = "CPU 0/KVM", .cpus = "0-7", .start_ticks = 2000,
                         .cgroup = "5:cpuset:/machine\n0::/\n"};
        TidalProbe probe;

        (void)state;
        fake_thread(kernel.tree, &task);
        tree_remove(kernel.tree, "proc/100/task/101/preferred_cpuset");
        tree_write(kernel.tree, "cg/cpuset/machine/cpuset.preferred_cpus", "\n");
        tidal_probe(kernel.host, &vcpu0, &probe);
        assert_int_equal(probe.way, TIDAL_NONE);
        assert_non_null(strstr(probe.why, "no preferred_cpuset"));
}

static void test_probe(void **state) {
        TidalProbe probe;

        (void)state;
        tidal_probe(kernel.host, &vcpu0, &probe);
        assert_int_equal(probe.way, TIDAL_THREAD);
        assert_int_equal(probe.values.threshold, 85);
        assert_int_equal(probe.values.task_group, 0);
        assert_true(probe.own_group);
        assert_false(probe.tlbi_limited);
        write_cmdline("dynamic_affinity=enable kvm-arm.dvmbm_enabled=1");
        tidal_probe(kernel.host, &vcpu0, &probe);
        assert_true(probe.tlbi_limited);
        /* There, but off: the files would take writes. */
        write_cmdline("dynamic_affinity=enabled nodynamic_affinity=enable");
        tidal_probe(kernel.host, &vcpu0, &probe);
        assert_int_equal(probe.way, TIDAL_NONE);
        assert_non_null(strstr(probe.why, "it is off"));
        tree_remove(kernel.tree, "proc/100/task/101/preferred_cpuset");
        tidal_probe(kernel.host, &vcpu0, &probe);
        assert_non_null(strstr(probe.why, "no preferred_cpuset"));
        assert_string_equal(kernel.log, ""); /* it writes nothing */
}

static void test_probe_of_ourselves(void **state) {
        TidalProbe probe;

        (void)state;
        tidal_probe(kernel.host, NULL, &probe);
        assert_int_equal(probe.way, TIDAL_NONE);
        tree_write(kernel.tree, "proc/thread-self/preferred_cpuset", "\n");
        tidal_probe(kernel.host, NULL, &probe);
        assert_int_equal(probe.way, TIDAL_THREAD);
        /* Our own file may be written; others' may not, with CAP_SYS_NICE alone. */
        tree_write(kernel.tree, "proc/thread-self/status", "Name:\tvas\nCapEff:\t0000000000800000\n");
        tidal_probe(kernel.host, NULL, &probe);
        assert_int_equal(probe.way, TIDAL_NONE);
        assert_non_null(strstr(probe.why, "CAP_DAC_OVERRIDE"));
        tree_write(kernel.tree, "proc/thread-self/status", "Name:\tvas\nCapEff:\t0000000000800002\n");
        tidal_probe(kernel.host, NULL, &probe);
        assert_int_equal(probe.way, TIDAL_THREAD);
        assert_false(probe.kunpeng);
        tree_write(kernel.tree, "sys/devices/system/cpu/cpu0/regs/identification/midr_el1", "0x00000000481fd010\n");
        tidal_probe(kernel.host, NULL, &probe);
        assert_true(probe.kunpeng);
}

static void test_switch_is_explained(void **state) {
        FakeTask task = {.pid = 100, .tid = 101, .comm = "CPU 0/KVM", .cpus = "0-7", .start_ticks = 2000,
                         .cgroup = "4:cpu:/machine\n0::/\n"};
        TidalProbe probe;

        (void)state;
        tree_write(kernel.tree, "sys/kernel/debug/sched/features", "START_DEBIT DA_UTIL_TASKGROUP\n");
        tidal_probe(kernel.host, &vcpu0, &probe);
        assert_non_null(strstr(probe.why, "half its use"));
        fake_thread(kernel.tree, &task);
        tidal_probe(kernel.host, &vcpu0, &probe);
        assert_int_equal(probe.way, TIDAL_THREAD);
        assert_non_null(strstr(probe.why, "no cpu cgroup"));
}

static void test_values(void **state) {
        TidalValues before, leave = {.threshold = -1, .task_group = -1}, mine = {.threshold = 60, .task_group = 1};

        (void)state;
        tidal_values_read(kernel.host, &before);
        assert_int_equal(tidal_values_write(kernel.host, &leave), 0);
        assert_int_equal(tidal_values_write(kernel.host, &before), 0);
        assert_string_equal(kernel.log, ""); /* left, or as they are: not written */
        assert_int_equal(tidal_values_write(kernel.host, &mine), 0);
        assert_int_equal(tidal_values_write(kernel.host, &mine), 0);
        assert_string_equal(kernel.log, "sched_util_low_pct=60|;features=DA_UTIL_TASKGROUP|;");
        kernel.log[0] = '\0';
        assert_int_equal(tidal_values_write(kernel.host, &before), 0);
        assert_string_equal(kernel.log, "sched_util_low_pct=85|;features=NO_DA_UTIL_TASKGROUP|;");
        kernel.error = -EACCES;
        assert_int_equal(tidal_values_write(kernel.host, &mine), -EACCES);
        kernel.error = 0;
        tree_remove(kernel.tree, "sys/kernel/debug/sched/features");
        tree_remove(kernel.tree, "proc/sys/kernel/sched_util_low_pct");
        tidal_values_read(kernel.host, &before);
        assert_int_equal(before.threshold, -1);
        assert_int_equal(before.task_group, -1);
        tree_write(kernel.tree, "sys/kernel/debug/sched_features", "DA_UTIL_TASKGROUP X\n"); /* 5.10 */
        tidal_values_read(kernel.host, &before);
        assert_int_equal(before.task_group, 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                CASE(test_order_of_writes),
                CASE(test_no_proper_part_prefers_nothing),
                CASE(test_swallowed_write_is_seen),
                CASE(test_errors),
                CASE(test_group_file),
                CASE(test_group_of_others),
                CASE(test_probe),
                CASE(test_probe_of_ourselves),
                CASE(test_switch_is_explained),
                CASE(test_values),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
