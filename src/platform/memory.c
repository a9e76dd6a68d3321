/* SPDX-License-Identifier: Apache-2.0 */

#include "platform/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/files.h"
#include "platform/task.h"

enum { MEMBERSHIP_SIZE = 16 * 1024 };

/* Puts a share where it belongs by size; the smallest falls out at the end. */
static void add_share(MemorySeen *memory, unsigned node, unsigned permille) {
        unsigned at = 0;

        while (at < memory->n && memory->share[at].permille >= permille)
                at++;
        if (at == MEM_SHARES_MAX)
                return;
        if (memory->n < MEM_SHARES_MAX)
                memory->n++;
        memmove(&memory->share[at + 1], &memory->share[at], (memory->n - at - 1u) * sizeof(memory->share[0]));
        memory->share[at] = (MemShare){.node = (uint16_t)node, .permille = (uint16_t)permille};
}

MemorySeen memory_from_numatune(const VmFact *fact) {
        MemorySeen memory = {};
        unsigned n = fact->numatune_named ? cpuset_count(&fact->numatune) : 0;

        if (n == 0)
                return memory;
        memory.source = MEM_NUMATUNE;
        CPUSET_FOREACH(node, &fact->numatune)
                add_share(&memory, (unsigned)node, 1000 / n);
        return memory;
}

static uint64_t huge_page_bytes(int process_fd) {
        char text[64];

        if (task_status_field(process_fd, "HugetlbPages", text, sizeof(text)) < 0)
                return 0;
        return strtoull(text, NULL, 10) * 1024;
}

MemorySeen memory_from_cgroup(const CgroupMounts *mounts, int root_fd, int process_fd) {
        MemorySeen memory = {};
        char membership[MEMBERSHIP_SIZE];
        uint64_t bytes[NODES_MAX], total = 0;

        if (file_read_at(process_fd, "cgroup", membership, sizeof(membership)) < 0 ||
            cgroup_memory_by_node(mounts, root_fd, membership, bytes) != 0)
                return memory;
        for (unsigned node = 0; node < NODES_MAX; node++)
                total += bytes[node];
        if (total == 0 || huge_page_bytes(process_fd) > total)
                return memory;
        memory.source = MEM_STAT;
        for (unsigned node = 0; node < NODES_MAX; node++) {
                double share = (double)bytes[node] * 1000 / (double)total;

                if (share >= 1)
                        add_share(&memory, node, (unsigned)share);
        }
        return memory;
}

MemorySeen memory_from_cpus(const Topology *topology, const int16_t *cpu, unsigned n) {
        MemorySeen memory = {};
        unsigned votes[NODES_MAX] = {}, best = 0;

        for (unsigned i = 0; i < n; i++) {
                int slot = cpu[i] < 0 ? -1 : topology->slot_of[cpu[i]];

                if (slot >= 0)
                        votes[topology->cpu[slot].node]++;
        }
        for (unsigned node = 1; node < topology->n_nodes; node++)
                if (votes[node] > votes[best])
                        best = node;
        if (votes[best] == 0)
                return memory;
        memory.source = MEM_LAST_RUN;
        add_share(&memory, topology->node[best].os, 1000);
        return memory;
}

static bool has_node(const DeviceNodes *nodes, unsigned node) {
        for (unsigned i = 0; i < nodes->n; i++)
                if (nodes->node[i] == node)
                        return true;
        return false;
}

DeviceNodes devices_read(int root_fd, const VmFact *fact) {
        DeviceNodes nodes = {};

        for (unsigned i = 0; i < fact->n_devices && nodes.n < MEM_SHARES_MAX; i++) {
                char path[64], text[32];

                snprintf(path, sizeof(path), "sys/bus/pci/devices/%.15s/numa_node", fact->device[i]);
                if (file_read_at(root_fd, path, text, sizeof(text)) < 0)
                        continue;
                long node = strtol(text, NULL, 10);
                if (node >= 0 && node < NODES_MAX && !has_node(&nodes, (unsigned)node))
                        nodes.node[nodes.n++] = (uint16_t)node;
        }
        return nodes;
}
