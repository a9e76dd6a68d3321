/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the platform's tests share: directories that stand in for a host, facts
 * as libvirt would give them, and processes that look like QEMU. */

#include <stdio.h>
#include <sys/types.h>

#include "../util/skip.h"
#include "platform/host.h"

/* A new empty directory, whose name stays valid until it is removed. */
char *tree_new(void);
void tree_free(char *tree); /* removes it with all below */
/* Writes a file below the tree, with the directories it needs. */
__attribute__((format(printf, 3, 4))) void tree_write(const char *tree, const char *path, const char *format, ...);
void tree_remove(const char *tree, const char *path);
/* Unpacks an archive of tests/fixtures/ into the tree. */
void tree_unpack(const char *tree, const char *archive);

/* One CPU of a host made of files; masks are CPU lists, NULL: no such thing. */
typedef struct SysCpu {
        unsigned cpu;
        const char *core, *cluster, *package, *l3, *l2;
        unsigned capacity; /* 0: not said */
} SysCpu;
void sys_cpu(const char *tree, const SysCpu *cpu);
void sys_node(const char *tree, unsigned node, const char *cpus, const char *distance);
void sys_online(const char *tree, const char *present, const char *online, const char *isolated);

CpuSet cpus(const char *list);
void assert_cpus(const CpuSet *set, const char *list);

/* Facts. All vCPUs 0 .. n-1 with one range. */
VmFact *fact_new(const char *name, const char *uuid, unsigned n_vcpus, const char *range);
FactList *facts_new(void);
VmFact *facts_add(FactList *list, VmFact *fact);
void facts_free(FactList *list);

/* A process of a host made of files. Threads: "CPU 0/KVM" and so on. */
typedef struct FakeTask {
        int pid, tid;
        const char *comm, *cpus, *cgroup;
        unsigned start_ticks;
        int last_ran;
} FakeTask;
void fake_process(const char *tree, const char *name, int pid, const char *uuid, const char *cgroup);
void fake_thread(const char *tree, const FakeTask *task);

/* A running fake-qemu that obeys lines. */
typedef struct Qemu {
        pid_t pid;
        FILE *in, *out;
} Qemu;
/* more: further arguments, ended by NULL; may be NULL itself. */
Qemu qemu_start(const char *uuid, unsigned n_vcpus, const char *const *more);
int qemu_say(Qemu *qemu, const char *line); /* the number it answers; 0 for "ok" */
void qemu_stop(Qemu *qemu);
/* The pid file libvirt would have written, in the session's directory. */
void pid_file_write(const char *runtime, const char *name, pid_t pid);

/* A process that takes that number as soon as it is free; -errno: it may not. */
pid_t process_with_number(pid_t number);

/* The first thread of the process with that name; 0: none. */
pid_t thread_by_comm(pid_t pid, const char *comm);
uint64_t start_ticks_of(pid_t pid, pid_t tid);
ThreadRef thread_ref(pid_t pid, const char *uuid, unsigned number);
