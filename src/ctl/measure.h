/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where threads really run and how long they wait, from /proc: world-readable,
 * whoever bound them. The files stay open; passes are as frequent as
 * MEASURE_COST_PERCENT of one CPU allows.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cpuset.h"

enum { MEASURE_PASS_MS = 100, MEASURE_COST_PERCENT = 2 };

typedef struct ClusterTime {
        unsigned cluster;
        uint64_t ran_ns;
} ClusterTime;

/* What a VM's vCPUs did, all together. */
typedef struct MeasuredVm {
        unsigned n_threads; /* that could be read from the beginning to the end */
        uint64_t ran_ns, waited_ns;
        unsigned n_clusters;
        ClusterTime *cluster; /* in the order in which they were met */
} MeasuredVm;

typedef struct MeasuredThread {
        unsigned vm;
        int pid, tid;
        int stat_fd, schedstat_fd; /* -1: opened anew for each look */
        bool lost; /* it can not be read, or has ended */
        uint64_t ran_ns, waited_ns;
} MeasuredThread;

typedef struct Measure {
        const char *root;
        int cluster_of[CPUS_MAX]; /* by CPU; -1: none */
        size_t n_threads;
        MeasuredThread *thread;
        unsigned n_vms;
        MeasuredVm *vm;
        bool waits; /* the kernel counts for how long threads wait */
        size_t n_lost;     /* threads that could not be read, or ended */
        unsigned passes;
        uint64_t took_ns; /* from the first pass to the last */
        uint64_t cost_ns; /* CPU time of all passes */
} Measure;

/* root, cluster_of, thread (their vm, pid, tid) and vm are the caller's; thread and
 * vm are freed by measure_done. Measures for that long, or until SIGINT. False: no
 * memory. */
bool measure_run(Measure *measure, unsigned seconds);
void measure_done(Measure *measure);
