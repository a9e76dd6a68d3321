/* SPDX-License-Identifier: Apache-2.0 */

#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/task.h"
#include "util/cpulist.h"

enum { MASK_WORDS = 8, TRIES = 1000 };

char *tree_new(void) {
        char *tree = strdup("/tmp/vas-test-XXXXXX");

        assert_non_null(tree);
        assert_non_null(mkdtemp(tree));
        return tree;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        (void)st, (void)type, (void)ftw;
        return remove(path);
}

void tree_free(char *tree) {
        nftw(tree, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        free(tree);
}

static void make_parents(char *path) {
        for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                if (mkdir(path, 0755) < 0)
                        assert_int_equal(errno, EEXIST);
                *slash = '/';
        }
}

void tree_write(const char *tree, const char *path, const char *format, ...) {
        char full[PATH_MAX];
        va_list args;

        snprintf(full, sizeof(full), "%s/%s", tree, path);
        make_parents(full);
        FILE *file = fopen(full, "we");
        assert_non_null(file);
        va_start(args, format);
        assert_true(vfprintf(file, format, args) >= 0);
        va_end(args);
        assert_int_equal(fclose(file), 0);
}

void tree_remove(const char *tree, const char *path) {
        char full[PATH_MAX];

        snprintf(full, sizeof(full), "%s/%s", tree, path);
        assert_int_equal(nftw(full, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void tree_unpack(const char *tree, const char *archive) {
        char path[PATH_MAX];
        int status;

        snprintf(path, sizeof(path), "%s/%s", VAS_FIXTURES, archive);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                execlp("tar", "tar", "-C", tree, "--strip-components=1", "-xf", path, NULL);
                _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

CpuSet cpus(const char *list) {
        CpuSet set;

        assert_int_equal(cpulist_parse(list, &set), 0);
        return set;
}

void assert_cpus(const CpuSet *set, const char *list) {
        char text[CPULIST_SIZE];

        assert_non_null(set);
        assert_true(cpulist_format(set, text, sizeof(text)) >= 0);
        assert_string_equal(text, list);
}

/* The kernel's form "00000000,0000000f", which hwloc reads. */
static void write_mask(const char *tree, const char *directory, const char *name, const char *list) {
        CpuSet set = cpus(list);
        char path[PATH_MAX], text[MASK_WORDS * 18 + 1] = "";

        for (int i = MASK_WORDS - 1; i >= 0; i--)
                sprintf(text + strlen(text), "%08x,%08x%s", (unsigned)(set.word[i] >> 32),
                        (unsigned)set.word[i], i ? "," : "");
        snprintf(path, sizeof(path), "%s/%s", directory, name);
        tree_write(tree, path, "%s\n", text);
}

static void write_cache(const char *tree, unsigned cpu, unsigned index, unsigned level, const char *list) {
        char directory[128], path[192];

        snprintf(directory, sizeof(directory), "sys/devices/system/cpu/cpu%u/cache/index%u", cpu, index);
        snprintf(path, sizeof(path), "%s/level", directory);
        tree_write(tree, path, "%u\n", level);
        snprintf(path, sizeof(path), "%s/type", directory);
        tree_write(tree, path, "Unified\n");
        snprintf(path, sizeof(path), "%s/size", directory);
        tree_write(tree, path, "32768K\n");
        write_mask(tree, directory, "shared_cpu_map", list);
}

void sys_cpu(const char *tree, const SysCpu *cpu) {
        char directory[128], path[128];

        snprintf(directory, sizeof(directory), "sys/devices/system/cpu/cpu%u/topology", cpu->cpu);
        write_mask(tree, directory, "core_cpus", cpu->core);
        write_mask(tree, directory, "thread_siblings", cpu->core);
        write_mask(tree, directory, "package_cpus", cpu->package);
        write_mask(tree, directory, "core_siblings", cpu->package);
        if (cpu->cluster)
                write_mask(tree, directory, "cluster_cpus", cpu->cluster);
        if (cpu->l2)
                write_cache(tree, cpu->cpu, 2, 2, cpu->l2);
        if (cpu->l3)
                write_cache(tree, cpu->cpu, 3, 3, cpu->l3);
        if (cpu->capacity) {
                snprintf(path, sizeof(path), "sys/devices/system/cpu/cpu%u/cpu_capacity", cpu->cpu);
                tree_write(tree, path, "%u\n", cpu->capacity);
        }
}

void sys_node(const char *tree, unsigned node, const char *list, const char *distance) {
        char directory[128], path[160];

        snprintf(directory, sizeof(directory), "sys/devices/system/node/node%u", node);
        write_mask(tree, directory, "cpumap", list);
        snprintf(path, sizeof(path), "%s/meminfo", directory);
        tree_write(tree, path, "Node %u MemTotal:       16777216 kB\n", node);
        snprintf(path, sizeof(path), "%s/distance", directory);
        tree_write(tree, path, "%s\n", distance);
}

void sys_online(const char *tree, const char *present, const char *online, const char *isolated) {
        tree_write(tree, "sys/devices/system/cpu/present", "%s\n", present);
        tree_write(tree, "sys/devices/system/cpu/possible", "%s\n", present);
        tree_write(tree, "sys/devices/system/cpu/online", "%s\n", online);
        tree_write(tree, "sys/devices/system/cpu/isolated", "%s\n", isolated);
}

VmFact *fact_new(const char *name, const char *uuid, unsigned n_vcpus, const char *range) {
        static uint64_t generation;
        VmFact *fact = calloc(1, sizeof(*fact));

        assert_non_null(fact);
        fact->name = strdup(name);
        snprintf(fact->uuid, sizeof(fact->uuid), "%s", uuid);
        fact->id = 1;
        fact->guest_threads = 1;
        fact->generation = ++generation;
        fact->n_vcpus = n_vcpus;
        fact->vcpu = calloc(n_vcpus ? n_vcpus : 1, sizeof(*fact->vcpu));
        fact->n_ranges = 1;
        fact->range = calloc(1, sizeof(*fact->range));
        assert_true(fact->name && fact->vcpu && fact->range);
        fact->range[0] = cpus(range);
        for (unsigned i = 0; i < n_vcpus; i++)
                fact->vcpu[i].number = (uint16_t)i;
        return fact;
}

FactList *facts_new(void) {
        FactList *list = calloc(1, sizeof(*list));

        assert_non_null(list);
        return list;
}

VmFact *facts_add(FactList *list, VmFact *fact) {
        list->vm = reallocarray(list->vm, list->n + 1, sizeof(*list->vm));
        assert_non_null(list->vm);
        return list->vm[list->n++] = fact;
}

void facts_free(FactList *list) {
        for (unsigned i = 0; i < list->n; i++) {
                free(list->vm[i]->name);
                free(list->vm[i]->vcpu);
                free(list->vm[i]->range);
                free(list->vm[i]->device);
                free(list->vm[i]);
        }
        free(list->vm);
        free(list);
}

static void write_stat(const char *tree, const char *directory, const FakeTask *task) {
        char path[160];

        snprintf(path, sizeof(path), "%s/stat", directory);
        tree_write(
                tree, path,
                "%d (%s) S 1 1 1 0 -1 4194560 1 0 0 0 7 3 0 0 20 0 4 0 %u 1000000 2000 18446744073709551615 "
                "1 1 0 0 0 0 0 0 0 0 0 0 17 %d 0 0 0 0 0\n",
                task->tid, task->comm, task->start_ticks, task->last_ran);
        snprintf(path, sizeof(path), "%s/status", directory);
        tree_write(tree, path, "Name:\t%s\nTgid:\t%d\nCpus_allowed:\tff\nCpus_allowed_list:\t%s\n",
                   task->comm, task->pid, task->cpus);
        snprintf(path, sizeof(path), "%s/cgroup", directory);
        tree_write(tree, path, "%s", task->cgroup);
}

void fake_thread(const char *tree, const FakeTask *task) {
        char directory[128];

        snprintf(directory, sizeof(directory), "proc/%d/task/%d", task->pid, task->tid);
        write_stat(tree, directory, task);
}

void fake_process(const char *tree, const char *name, int pid, const char *uuid, const char *cgroup) {
        FakeTask main_task = {.pid = pid,
                              .tid = pid,
                              .comm = "qemu-system-x86",
                              .cpus = "0-7",
                              .cgroup = cgroup,
                              .start_ticks = 1000};
        char directory[64], path[PATH_MAX];

        snprintf(directory, sizeof(directory), "proc/%d", pid);
        write_stat(tree, directory, &main_task);
        fake_thread(tree, &main_task);
        snprintf(path, sizeof(path), "%s/cmdline", directory);
        tree_write(tree, path, "/usr/bin/qemu%c-name%cguest=%s -uuid 0%c-S%c-uuid%c%s%c-nodefaults%c", 0, 0,
                   name, 0, 0, 0, uuid, 0, 0);
        snprintf(path, sizeof(path), "run/libvirt/qemu/%s.pid", name);
        tree_write(tree, path, "%d\n", pid);
}

Qemu qemu_start(const char *uuid, unsigned n_vcpus, const char *const *more) {
        int to[2], from[2];
        char smp[16];
        const char *argv[64] = {VAS_FAKE_QEMU, "-name", "guest=x -uuid y", "-stdin",
                                "-smp",        smp,     "-uuid",           uuid};
        unsigned n = 8;

        snprintf(smp, sizeof(smp), "%u", n_vcpus);
        for (; more && *more; more++)
                argv[n++] = *more;
        assert_int_equal(pipe2(to, O_CLOEXEC), 0);
        assert_int_equal(pipe2(from, O_CLOEXEC), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                dup2(to[0], 0);
                dup2(from[1], 1);
                execv(argv[0], (char *const *)argv);
                _exit(127);
        }
        close(to[0]);
        close(from[1]);
        Qemu qemu = {.pid = pid, .in = fdopen(to[1], "we"), .out = fdopen(from[0], "re")};
        assert_true(qemu.in && qemu.out);
        assert_true(qemu_say(&qemu, "worker") > 0); /* answered once all is named */
        return qemu;
}

int qemu_say(Qemu *qemu, const char *line) {
        char answer[64];

        fprintf(qemu->in, "%s\n", line);
        fflush(qemu->in);
        assert_non_null(fgets(answer, sizeof(answer), qemu->out));
        return strcmp(answer, "ok\n") == 0 ? 0 : atoi(answer);
}

void qemu_stop(Qemu *qemu) {
        kill(qemu->pid, SIGKILL);
        waitpid(qemu->pid, NULL, 0);
        fclose(qemu->in);
        fclose(qemu->out);
        *qemu = (Qemu){};
}

void pid_file_write(const char *runtime, const char *name, pid_t pid) {
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "libvirt/qemu/run/%s.pid", name);
        tree_write(runtime, path, "%d\n", (int)pid);
}

static TaskStat stat_of(pid_t pid, pid_t tid) {
        char path[64];
        TaskStat stat = {};

        snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)pid, (int)tid);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
                task_stat_read(fd, &stat);
                close(fd);
        }
        return stat;
}

pid_t thread_by_comm(pid_t pid, const char *comm) {
        char path[64];
        pid_t found = 0;
        struct dirent *entry;

        snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
        DIR *dir = opendir(path);
        assert_non_null(dir);
        while (!found && (entry = readdir(dir)))
                if (entry->d_name[0] != '.' && strcmp(stat_of(pid, atoi(entry->d_name)).comm, comm) == 0)
                        found = atoi(entry->d_name);
        closedir(dir);
        return found;
}

uint64_t start_ticks_of(pid_t pid, pid_t tid) {
        return stat_of(pid, tid).start_ticks;
}

ThreadRef thread_ref(pid_t pid, const char *uuid, unsigned number) {
        ThreadRef ref = {.pid = pid, .number = (uint16_t)number};
        char comm[32];

        snprintf(comm, sizeof(comm), "CPU %u/KVM", number);
        snprintf(ref.uuid, sizeof(ref.uuid), "%s", uuid);
        ref.tid = thread_by_comm(pid, comm);
        ref.process_start_ticks = start_ticks_of(pid, pid);
        ref.thread_start_ticks = start_ticks_of(pid, ref.tid);
        return ref;
}

pid_t process_with_number(pid_t number) {
        struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&number, .set_tid_size = 1};

        for (int i = 0; i < TRIES; i++) {
                pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

                if (pid == 0)
                        for (;;)
                                pause();
                if (pid > 0)
                        return pid;
                if (errno != EEXIST)
                        return -errno;
                usleep(1000); /* the dead thread is still being buried */
        }
        return -EEXIST;
}
