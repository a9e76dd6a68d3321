/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Which nodes are open to a VM. A running VM stays on the nodes that hold its
 * memory or devices, unless it may cross; where its memory can not be seen it
 * stays on the nodes where it is.
 */

#include "core/work.h"

#include <limits.h>
#include <string.h>

enum { SHARE_THAT_BINDS_PERMILLE = 250 };

static void node_open(const PlanWork *work, VmWork *vw, unsigned os) {
        int node = topology_node_by_os(work->topology, os);

        if (node >= 0) {
                vw->node[node / 64] |= UINT64_C(1) << (node % 64);
                vw->bound = true;
        }
}

static void open_by_memory(const PlanWork *work, const Vm *vm, VmWork *vw) {
        for (unsigned i = 0; i < vm->n_mem && i < MEM_SHARES_MAX; i++)
                if (i == 0 || vm->mem[i].permille >= SHARE_THAT_BINDS_PERMILLE)
                        node_open(work, vw, vm->mem[i].node);
}

static void open_by_seats(const PlanWork *work, const Vm *vm, VmWork *vw) {
        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                int slot = work->vcpu[i].stand;

                if (slot != NO_SLOT)
                        node_open(work, vw, work->topology->node[work->topology->cpu[slot].node].os);
        }
}

static unsigned group_node_capacity(const PlanWork *work, const Group *group, unsigned node) {
        const Node *nd = &work->topology->node[node];

        return slots_count(&work->allowed[group->allowed].slots, nd->first_slot, nd->n_cpus);
}

static bool node_is_open(const VmWork *vw, unsigned node) {
        return vw->node[node / 64] >> (node % 64) & 1;
}

static unsigned distance_to_open(const PlanWork *work, const VmWork *vw, unsigned node) {
        unsigned best = UINT_MAX;

        for (unsigned i = 0; i < work->topology->n_nodes; i++)
                if (node_is_open(vw, i) && work->topology->distance[i][node] < best)
                        best = work->topology->distance[i][node];
        return best;
}

/* Opens further nodes, nearest first, until the operator's range has room for
 * the group: the range is stronger than the memory. */
static void open_until_group_fits(const PlanWork *work, VmWork *vw, const Group *group) {
        for (;;) {
                unsigned room = 0, best = UINT_MAX, best_distance = UINT_MAX;

                for (unsigned node = 0; node < work->topology->n_nodes; node++) {
                        unsigned capacity = group_node_capacity(work, group, node);

                        if (node_is_open(vw, node))
                                room += capacity;
                        else if (capacity > 0 && distance_to_open(work, vw, node) < best_distance) {
                                best_distance = distance_to_open(work, vw, node);
                                best = node;
                        }
                }
                if (room >= group->n || best == UINT_MAX)
                        return;
                vw->node[best / 64] |= UINT64_C(1) << (best % 64);
        }
}

static void vm_bind(PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];
        VmWork *vw = &work->vm[vm];

        if (v->policy.cross_node)
                return;
        if (v->n_mem > 0 && v->mem_source != MEM_UNKNOWN)
                open_by_memory(work, v, vw);
        else
                for (unsigned i = 0; i < v->n_device_nodes && i < MEM_SHARES_MAX; i++)
                        node_open(work, vw, v->device_node[i]);
        if (!vw->bound) {
                open_by_seats(work, v, vw);
                vw->bound_by_seats = vw->bound;
        }
        for (unsigned g = 0; vw->bound && g < vw->n_groups; g++)
                open_until_group_fits(work, vw, &work->group[vw->first_group + g]);
}

void work_bind_to_memory(PlanWork *work) {
        if (work->topology->n_nodes == 1)
                return;
        for (uint32_t vm = 0; vm < work->snapshot->n_vms; vm++)
                if (work->vm[vm].kind == VERDICT_PLACED)
                        vm_bind(work, vm);
}
