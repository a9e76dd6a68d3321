/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* On which NUMA nodes a VM's memory and devices lie. */

#include "core/snapshot.h"
#include "platform/cgroups.h"
#include "platform/facts.h"

typedef struct MemorySeen {
        MemSource source;
        uint8_t n;
        MemShare share[MEM_SHARES_MAX]; /* largest first */
} MemorySeen;

typedef struct DeviceNodes {
        uint8_t n;
        uint16_t node[MEM_SHARES_MAX];
} DeviceNodes;

/* What the operator's numatune says; MEM_UNKNOWN where it says nothing. */
MemorySeen memory_from_numatune(const VmFact *fact);

/* What the memory controller says; MEM_UNKNOWN where it does not, or where huge
 * pages, which it does not show, are more than what it shows. */
MemorySeen memory_from_cgroup(const CgroupMounts *mounts, int root_fd, int process_fd);

/* The node where most of these CPUs are, -1 among them being none. */
MemorySeen memory_from_cpus(const Topology *topology, const int16_t *cpu, unsigned n);

DeviceNodes devices_read(int root_fd, const VmFact *fact);
