/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What /proc says of a process or a thread. All of these take a descriptor of
 * the directory /proc/PID or /proc/PID/task/TID. Such a descriptor belongs to
 * that very process or thread, not to its number: once that is gone nothing can
 * be read through it any more, even when another has the number by then.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/snapshot.h"

enum { TASK_COMM_SIZE = 64 };

typedef struct TaskStat {
        char comm[TASK_COMM_SIZE];
        char state;           /* 'Z': a zombie */
        uint64_t start_ticks; /* clock ticks since boot */
        int16_t last_ran;     /* OS number of a CPU; -1: unknown */
} TaskStat;

/* 0; -EBADMSG: not a stat line. */
int task_stat_parse(const char *text, TaskStat *ret);

/* 0; -ESRCH: it has gone; or another -errno. */
int task_stat_read(int task_fd, TaskStat *ret);

/* Whether it still lives: much cheaper than reading its stat. 0; -ESRCH: it has
 * gone; or another -errno when that can not be told. */
int task_lives(int task_fd);

/* The number after "Cpus_allowed_list:" and the like in its status file is for
 * fixtures and rare paths. 0; -ENOENT: no such line; or another -errno. */
int task_status_field(int task_fd, const char *key, char *ret, unsigned size);

/* Whether the value of the process's own -uuid argument is that UUID: 1, 0 or
 * -errno. */
int process_has_uuid(int process_fd, const char *uuid);

/* The vCPU's number, for "CPU n/KVM" and "CPU n/TCG"; else -1. */
int comm_vcpu_number(const char *comm);

HelperKind comm_helper_kind(const char *comm);
