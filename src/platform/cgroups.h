/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Control groups of either version, or both at once: which CPUs a thread's
 * cpuset leaves it, and on which nodes a machine's memory lies.
 */

#include <stdint.h>

#include "core/topology.h"

/* Where the hierarchies are mounted, below the root and without a leading
 * slash; NULL: not at all. */
typedef struct CgroupMounts {
        char *cpuset;  /* version 1 */
        char *memory;  /* version 1 */
        char *unified; /* version 2 */
} CgroupMounts;

/* Finds them in proc/self/mounts. 0 or -errno; a host without is no error. */
int cgroup_mounts_read(int root_fd, CgroupMounts *ret);
void cgroup_mounts_done(CgroupMounts *mounts);

/*
 * The effective CPUs of a thread. membership: the text of its cgroup file.
 * 0; 1: there is no cpuset controller; or -errno.
 */
int cgroup_effective_cpus(const CgroupMounts *mounts, int root_fd, const char *membership, CpuSet *ret);

/*
 * The directory, below the root, of the cpuset group that the thread is in. 0;
 * 1: there is none; or -ENAMETOOLONG.
 */
int cgroup_cpuset_path(const CgroupMounts *mounts, const char *membership, char *ret, size_t size);
/* The same of the group that the cpu controller accounts it to, without the
 * mount point. */
int cgroup_cpu_group(const char *membership, char *ret, size_t size);

/*
 * Bytes of anonymous and shared memory by node number, of the machine's own
 * group and all below. 0; 1: not known; or -errno.
 */
int cgroup_memory_by_node(const CgroupMounts *mounts, int root_fd, const char *membership,
                          uint64_t ret[NODES_MAX]);
