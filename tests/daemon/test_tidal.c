/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The daemon's rounds on a host made of files that behave as the kernel with
 * preferred sets does: a set that is no proper part of the allowed one is
 * swallowed without an error, a new allowed set that does not hold it clears it.
 * Every write is noted in order. Writes of files and of masks are taken over by
 * the linker (--wrap).
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../platform/support.h"
#include "daemon/backend.h"
#include "daemon/dynamic_loop.h"
#include "daemon/prefer.h"
#include "daemon/rounds.h"
#include "platform/affinity.h"
#include "platform/files.h"
#include "platform/real_host.h"

#define UUID "11111111-2222-3333-4444-555555555555"
#define BOOT "00000000-1111-2222-3333-444444444444"

enum { LOG_SIZE = 8192, PID = 500 };

static struct {
        char *tree;
        char state_path[64];
        TidalValues named; /* by the state file, when a host-wide value was last written */
        char log[LOG_SIZE]; /* "TID file=text;" of every write, newlines as '|' */
        int error; /* -errno of the next file writes */
        RealHost *host;
        FactList *facts;
        Settings settings;
        State *state;
        Rounds *rounds;
        Dynamic *dynamic;
        Backend backend;
} kernel;

static const char *const groups[] = {
        "5:cpuset:/machine/qemu-1-a/vcpu0\n4:cpu,cpuacct:/machine/qemu-1-a/vcpu0\n0::/\n",
        "5:cpuset:/machine/qemu-1-a/vcpu1\n4:cpu,cpuacct:/machine/qemu-1-a/vcpu1\n0::/\n"};

static void write_thread(unsigned number, const char *list) {
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

static void read_text(const char *path, char *ret, size_t size) {
        assert_true(file_read_at(AT_FDCWD, path, ret, size) >= 0);
}

static CpuSet mask_of(unsigned number) {
        char text[1024], *list;

        read_text(path_of(number, "status"), text, sizeof(text));
        list = strstr(text, "Cpus_allowed_list:\t") + strlen("Cpus_allowed_list:\t");
        list[strcspn(list, "\n")] = '\0';
        return cpus(list);
}

static CpuSet preferred_of(unsigned number) {
        char text[256];

        read_text(path_of(number, "preferred_cpuset"), text, sizeof(text));
        text[strcspn(text, "\n")] = '\0';
        return cpus(text);
}

static void store(const char *path, const char *text) {
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

/* The last number in the name of an open directory: a thread's. */
static int tid_of(int dir_fd) {
        char link[64], target[512];
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", dir_fd);
        n = readlink(link, target, sizeof(target) - 1);
        assert_true(n > 0);
        target[n] = '\0';
        return atoi(strrchr(target, '/') + 1);
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
        store(path_of(number, "preferred_cpuset"), text);
}

int __wrap_file_write_at(int dir_fd, const char *path, const char *text);
int __wrap_file_write_at(int dir_fd, const char *path, const char *text) {
        const char *last = strrchr(path, '/');
        bool preferred = strcmp(path, "preferred_cpuset") == 0;
        char full[512], trimmed[256];

        if (*text == '\0')
                return 0; /* an empty write reaches nobody */
        note(preferred ? tid_of(dir_fd) : 0, last ? last + 1 : path, text);
        if (!preferred)
                look_into_state();
        if (kernel.error)
                return kernel.error;
        snprintf(trimmed, sizeof(trimmed), "%s", text);
        snprintf(full, sizeof(full), "%s/%s", kernel.tree, path);
        if (preferred) {
                if (trimmed[1])
                        trimmed[strcspn(trimmed, "\n")] = '\0';
                kernel_prefers((unsigned)(tid_of(dir_fd) - PID - 1), trimmed);
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
        CPUSET_FOREACH (cpu, mask)
                n += snprintf(list + n, sizeof(list) - (size_t)n, "%s%d", n ? "," : "", cpu);
        note(thread->tid, "mask", list);
        write_thread(thread->number, list);
        *ret_mask = *mask;
        if (access(path_of(thread->number, "preferred_cpuset"), F_OK) < 0)
                return WRITE_OK;
        CpuSet preferred = preferred_of(thread->number);
        if (!cpuset_is_subset(&preferred, mask))
                store(path_of(thread->number, "preferred_cpuset"), "\n");
        return WRITE_OK;
}

static void write_cmdline(const char *text) {
        tree_write(kernel.tree, "proc/cmdline", "BOOT_IMAGE=/vmlinuz %s quiet\n", text);
}

static void choose(void) {
        ThreadRef example;
        bool found = prefer_example(kernel.rounds, &example);

        backend_choose(kernel.host, found ? &example : NULL, kernel.tree, &kernel.settings, &kernel.backend);
        kernel.rounds->tidal = kernel.backend.way;
}

static void daemon_start(void) {
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

static void daemon_crash(void) {
        kernel.dynamic = dynamic_free(kernel.dynamic);
        kernel.rounds = rounds_free(kernel.rounds);
        kernel.state = state_free(kernel.state);
        kernel.host = real_host_free(kernel.host);
}

static int setup(void **state) {
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

static int teardown(void **state) {
        (void)state;
        daemon_crash();
        facts_free(kernel.facts);
        tree_free(kernel.tree);
        return 0;
}

static void round_run(void) {
        RoundRequest request = {.act = true, .full = true};

        kernel.log[0] = '\0';
        assert_true(rounds_begin(kernel.rounds, kernel.facts, &request) >= 0);
        while (!rounds_apply_some(kernel.rounds, 1000000))
                ;
        assert_true(dynamic_sync(kernel.dynamic, true) >= 0);
}

static void set_threshold(const char *percent) {
        char why[SETTINGS_WHY_SIZE];

        assert_int_equal(settings_set(&kernel.settings, SET_UTIL_THRESH, percent, "a test", why), 0);
}

static void stop(void) {
        unsigned restored, failed;

        kernel.log[0] = '\0';
        assert_int_equal(rounds_restore(kernel.rounds, true, &restored, &failed), 0);
        assert_int_equal(failed, 0);
}

static void assert_state(unsigned number, const char *mask, const char *preferred) {
        CpuSet set = mask_of(number), prefers = preferred_of(number);

        assert_cpus(&set, mask);
        assert_cpus(&prefers, preferred);
}

static void read_values(int threshold, int task_group) {
        TidalValues now;

        tidal_values_read(kernel.host, &now);
        assert_int_equal(now.threshold, threshold);
        assert_int_equal(now.task_group, task_group);
}

/* Bound in order, left alone afterwards, not written after a crash, and as
 * before once stopped. */
static void test_binds_and_restores(void **state) {
        (void)state;
        assert_int_equal(kernel.backend.kind, BACKEND_TIDAL);
        round_run();
        assert_string_equal(kernel.log,
                            "501 preferred_cpuset=|;501 mask=0,1,2,3,4,5,6,7;501 preferred_cpuset=4|;"
                            "502 preferred_cpuset=|;502 mask=0,1,2,3,4,5,6,7;502 preferred_cpuset=5|;");
        assert_state(0, "0-7", "4");
        assert_state(1, "0-7", "5");
        assert_int_equal(dynamic_sync(kernel.dynamic, true), 0); /* our own controller follows nobody */
        assert_int_equal(dynamic_counters(kernel.dynamic)->vcpus, 2);
        round_run();
        assert_string_equal(kernel.log, "");
        daemon_crash();
        daemon_start();
        assert_int_equal(kernel.backend.kind, BACKEND_TIDAL);
        round_run();
        assert_string_equal(kernel.log, "");
        stop();
        assert_string_equal(kernel.log, "502 preferred_cpuset=|;502 mask=0,1,2,3,4,5,6,7;"
                                        "501 preferred_cpuset=|;501 mask=0,1,2,3,4,5,6,7;");
        assert_state(0, "0-7", "");
        assert_state(1, "0-7", "");
}

/* What was preferred before us is preferred again after us. */
static void test_restores_what_was_preferred(void **state) {
        (void)state;
        store(path_of(0, "preferred_cpuset"), "6-7\n");
        round_run();
        assert_state(0, "0-7", "4");
        daemon_crash();
        daemon_start();
        stop();
        assert_state(0, "0-7", "6-7");
        assert_state(1, "0-7", "");
}

/* Present, but off: the files would take writes, and get none. */
static void test_nothing_is_written_when_off(void **state) {
        (void)state;
        write_cmdline("quiet");
        kernel.settings.util_source = UTIL_TASKGROUP;
        choose();
        assert_int_equal(kernel.backend.kind, BACKEND_EMULATED);
        assert_non_null(strstr(kernel.backend.why, "it is off"));
        round_run();
        assert_string_equal(kernel.log, "501 mask=4;502 mask=5;");
        stop();
        assert_null(strstr(kernel.log, "preferred"));
        read_values(85, 0);
        tree_remove(kernel.tree, "proc/stat");
        choose();
        assert_int_equal(kernel.backend.kind, BACKEND_NONE);
        assert_non_null(strstr(kernel.backend.why, "/proc/stat"));
        kernel.settings.emulate = false;
        choose();
        assert_int_equal(kernel.backend.kind, BACKEND_NONE);
        assert_non_null(strstr(kernel.backend.why, "it is off"));
        assert_non_null(strstr(kernel.backend.why, "emulate = never"));
}

/* It may not be written: the mask is left alone then, and the line says why. */
static void test_denied(void **state) {
        (void)state;
        kernel.error = -EACCES;
        round_run();
        assert_string_equal(kernel.log, "501 preferred_cpuset=|;502 preferred_cpuset=|;");
        assert_non_null(strstr(kernel.rounds->trouble, "CAP_DAC_OVERRIDE"));
        assert_true(kernel.rounds->denied);
        kernel.error = 0;
        stop();
        assert_string_equal(kernel.log, ""); /* nothing was done: nothing is undone */
}

/* The preference alone is lost (a write to the cpuset does that): it comes back. */
static void test_lost_preference(void **state) {
        (void)state;
        round_run();
        store(path_of(0, "preferred_cpuset"), "\n");
        round_run();
        assert_string_equal(kernel.log,
                            "501 preferred_cpuset=|;501 mask=0,1,2,3,4,5,6,7;501 preferred_cpuset=4|;");
}

static void test_policy_switches(void **state) {
        (void)state;
        round_run();
        kernel.settings.sched = SCHED_STATIC;
        round_run();
        assert_state(0, "4", "");
        assert_state(1, "5", "");
        kernel.settings.sched = SCHED_DYNAMIC;
        round_run();
        assert_state(0, "0-7", "4");
        kernel.settings.sched = SCHED_CLUSTER;
        round_run();
        assert_state(0, "4-7", "");
        stop();
        assert_state(0, "0-7", "");
}

/* The kernel's way goes (a reboot option is not needed: rights may be taken). */
static void test_to_our_own_controller(void **state) {
        (void)state;
        round_run();
        write_cmdline("quiet");
        choose();
        round_run();
        assert_state(0, "4", "");
        assert_true(dynamic_counters(kernel.dynamic)->vcpus == 2);
}

/* Its operator pins a vCPU: the mask is his, and our preference goes. */
static void test_operator_pins(void **state) {
        (void)state;
        round_run();
        VmFact *fact = kernel.facts->vm[0];
        fact->range = reallocarray(fact->range, 2, sizeof(*fact->range));
        fact->range[1] = cpus("3");
        fact->n_ranges = 2;
        fact->vcpu[0].range = 1;
        fact->generation += 1000;
        write_thread(0, "3");
        round_run();
        assert_string_equal(kernel.log, "501 preferred_cpuset=|;");
        assert_state(0, "3", "");
        stop();
        assert_state(0, "3", "");
}

/* util-source = leave: neither is touched, whatever the threshold. */
static void test_values_are_left(void **state) {
        (void)state;
        set_threshold("60");
        round_run();
        assert_null(strstr(kernel.log, "sched_util_low_pct"));
        assert_null(strstr(kernel.log, "features"));
        kernel.settings.util_source = UTIL_TASKGROUP;
        round_run();
        read_values(60, 1);
        kernel.settings.util_source = UTIL_LEAVE; /* and given back when that is set later */
        round_run();
        read_values(85, 0);
        kernel.settings.util_source = UTIL_TASKGROUP;
        kernel.settings.sched = SCHED_STATIC; /* nobody is dynamic */
        round_run();
        assert_null(strstr(kernel.log, "sched_util_low_pct"));
}

/* Another program changes one: it is left, and the other is still restored. */
static void test_values_of_others(void **state) {
        (void)state;
        kernel.settings.util_source = UTIL_TASKGROUP;
        set_threshold("60");
        round_run();
        tree_write(kernel.tree, "proc/sys/kernel/sched_util_low_pct", "42\n");
        round_run();
        assert_string_equal(kernel.log, "");
        assert_true(kernel.rounds->values_told[0]);
        stop();
        read_values(42, 0);
}

/* We crash after the state was saved and before the value was written. */
static void test_values_and_a_crash(void **state) {
        (void)state;
        kernel.settings.util_source = UTIL_TASKGROUP;
        set_threshold("60");
        round_run();
        daemon_crash();
        tree_write(kernel.tree, "proc/sys/kernel/sched_util_low_pct", "85\n");
        daemon_start();
        round_run();
        assert_string_equal(kernel.log, "sched_util_low_pct=60|;");
        kernel.error = -EACCES;
        set_threshold("61");
        round_run();
        assert_non_null(strstr(kernel.rounds->trouble, "CAP_DAC_OVERRIDE"));
}

static void test_values(void **state) {
        (void)state;
        tree_write(kernel.tree, "proc/sys/kernel/sched_util_low_pct", "42\n");
        kernel.settings.util_source = UTIL_TASKGROUP;
        round_run(); /* no threshold was configured: the host's own stays */
        read_values(42, 1);
        tree_write(kernel.tree, "proc/sys/kernel/sched_util_low_pct", "85\n");
        kernel.settings.util_source = UTIL_LEAVE;
        round_run();
        read_values(85, 0);
        kernel.settings.util_source = UTIL_TASKGROUP;
        set_threshold("60");
        round_run();
        assert_non_null(strstr(kernel.log, "sched_util_low_pct=60|;features=DA_UTIL_TASKGROUP|;"));
        read_values(60, 1);
        assert_int_equal(kernel.named.threshold, 60); /* named in the state before it is written */
        assert_int_equal(kernel.named.task_group, 1);
        daemon_crash();
        daemon_start();
        round_run();
        assert_string_equal(kernel.log, "");
        set_threshold("70"); /* as a reload does */
        round_run();
        assert_string_equal(kernel.log, "sched_util_low_pct=70|;");
        daemon_crash(); /* what 'recover' finds: a state, and no round */
        daemon_start();
        stop();
        read_values(85, 0);
        stop();
        assert_string_equal(kernel.log, "");
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                CASE(test_binds_and_restores),
                CASE(test_restores_what_was_preferred),
                CASE(test_nothing_is_written_when_off),
                CASE(test_denied),
                CASE(test_lost_preference),
                CASE(test_policy_switches),
                CASE(test_to_our_own_controller),
                CASE(test_operator_pins),
                CASE(test_values),
                CASE(test_values_are_left),
                CASE(test_values_of_others),
                CASE(test_values_and_a_crash),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
