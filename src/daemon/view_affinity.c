/* SPDX-License-Identifier: Apache-2.0 */

/*
 * VSched's own JSON, word for word: programs of others parse it. While the
 * daemon does not act, its plan is no fact: then only the vCPUs are listed whose
 * thread is bound to that CPU all the same.
 */

#include <stdio.h>
#include <stdlib.h>

#include "daemon/view_internal.h"
#include "util/cleanup.h"

/* The CPU that query affinity shows for a vCPU; -1: none. */
static int affinity_cpu(const View *view, uint32_t vcpu) {
        VcpuState state = view_vcpu_state(view, vcpu);
        int cpu = state == VCPU_PLACED || state == VCPU_LAYERED || state == VCPU_PINNED ? view_vcpu_cpu(view, vcpu) : -1;
        const CpuSet *mask = pool_get(&view->snapshot->pool, view->snapshot->vcpu[vcpu].mask);

        if (cpu < 0 || view->topology->slot_of[cpu] < 0)
                return -1;
        return view->acting || (mask && cpuset_single(mask) == cpu) ? cpu : -1;
}

/* Where the VM's vCPUs are, gathered once: by slot the thread and vCPU. */
typedef struct Bound {
        uint32_t n;
        struct {
                uint32_t vcpu;
                int cpu;
        } one[VM_VCPUS_MAX];
} Bound;

static void bound_gather(const View *view, const Vm *vm, Bound *ret) {
        ret->n = 0;
        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus && ret->n < VM_VCPUS_MAX; i++) {
                int cpu = affinity_cpu(view, i);

                if (cpu < 0)
                        continue;
                ret->one[ret->n].vcpu = i;
                ret->one[ret->n++].cpu = cpu;
        }
}

static const Cpu *bound_at(const View *view, const Bound *bound, uint32_t i) {
        return &view->topology->cpu[view->topology->slot_of[bound->one[i].cpu]];
}

/* One character for each CPU of the cluster, in the order of their numbers. */
static unsigned bitmap_write(const CpuSet *cluster, const CpuSet *used, char *ret, unsigned *ret_start) {
        unsigned position = 0, count = 0;

        *ret_start = 0;
        CPUSET_FOREACH (cpu, cluster) {
                bool has = cpuset_has(used, (unsigned)cpu);

                if (has && count++ == 0)
                        *ret_start = position;
                ret[position++] = has ? '1' : '0';
        }
        ret[position] = '\0';
        return count;
}

static unsigned bound_layer(const View *view, const Bound *bound, uint32_t i) {
        return view->plan->target[bound->one[i].vcpu].layer;
}

static json_t *group_json(const View *view, const Vm *vm, const Bound *bound, unsigned cluster, unsigned layer) {
        json_auto_t *pids = json_array();
        unsigned start, count, node = view->topology->cluster[cluster].node;
        char bitmap[CPUS_MAX + 1], id[VM_UUID_SIZE + 32];
        CpuSet cpus, used = {};

        for (uint32_t i = 0; i < bound->n; i++) {
                if (bound_at(view, bound, i)->cluster != cluster || bound_layer(view, bound, i) != layer)
                        continue;
                cpuset_add(&used, (unsigned)bound->one[i].cpu);
                if (json_array_append_new(pids, json_integer(view->snapshot->vcpu[bound->one[i].vcpu].tid)) <
                    0)
                        return NULL;
        }
        topology_cluster_cpus(view->topology, cluster, &cpus);
        count = bitmap_write(&cpus, &used, bitmap, &start);
        snprintf(id, sizeof(id), "%s_%u_%u_%u", vm->uuid, (unsigned)view->topology->node[node].os, cluster,
                 layer);
        return json_pack("{ss,si,si,si,si,ss,so}", "id", id, "clusterId", (int)cluster, "layerId", (int)layer, "start",
                         (int)start, "nrCpus", (int)count, "usedBitmap", bitmap, "entityPids",
                         STEAL_PTR(pids));
}

static bool bound_touches(const View *view, const Bound *bound, unsigned cluster, unsigned layer) {
        for (uint32_t i = 0; i < bound->n; i++)
                if (bound_at(view, bound, i)->cluster == cluster && bound_layer(view, bound, i) == layer)
                        return true;
        return false;
}

static json_t *groups_json(const View *view, const Vm *vm, const Bound *bound, const Node *node) {
        uint32_t index = (uint32_t)(vm - view->snapshot->vm);
        json_auto_t *groups = json_array();

        for (unsigned c = node->first_cluster; c < (unsigned)node->first_cluster + node->n_clusters; c++)
                for (unsigned layer = 0; layer <= view->plan->verdict[index].layer; layer++)
                        if (bound_touches(view, bound, c, layer) &&
                            json_array_append_new(groups, group_json(view, vm, bound, c, layer)) < 0)
                                return NULL;
        return STEAL_PTR(groups);
}

static json_t *vcpu_map_json(const View *view, const Bound *bound, unsigned node) {
        json_auto_t *map = json_object();

        for (uint32_t i = 0; i < bound->n; i++) {
                const Vcpu *vcpu = &view->snapshot->vcpu[bound->one[i].vcpu];
                char key[16];

                if (bound_at(view, bound, i)->node != node)
                        continue;
                snprintf(key, sizeof(key), "%u", (unsigned)vcpu->number);
                if (json_object_set_new(map, key,
                                        json_pack("{si,si,si}", "vcpu", vcpu->number, "pid", vcpu->tid,
                                                  "cpuIdx", bound->one[i].cpu)) < 0)
                        return NULL;
        }
        return STEAL_PTR(map);
}

static json_t *domain_map_json(const View *view, const Vm *vm, const Bound *bound) {
        json_auto_t *map = json_object();

        for (unsigned i = 0; i < view->topology->n_nodes; i++) {
                const Node *node = &view->topology->node[i];
                json_auto_t *vcpus = vcpu_map_json(view, bound, i);
                char key[16];

                if (!vcpus)
                        return NULL;
                if (json_object_size(vcpus) == 0)
                        continue;
                snprintf(key, sizeof(key), "%u", (unsigned)node->os);
                if (json_object_set_new(map, key,
                                        json_pack("{si,so,sO}", "numaId", node->os, "groups",
                                                  groups_json(view, vm, bound, node), "vcpuAffinityInfoMap",
                                                  vcpus)) < 0)
                        return NULL;
        }
        return STEAL_PTR(map);
}

/* Adds one VM, unless it has no vCPU to show. 0 or -1. */
static int affinity_add(const View *view, uint32_t index, json_t *object) {
        const Vm *vm = &view->snapshot->vm[index];
        Bound bound;

        bound_gather(view, vm, &bound);
        if (bound.n == 0)
                return 0;
        return json_object_set_new(object, vm->uuid,
                                   json_pack("{ss,so,si,so,so}", "uuid", vm->uuid, "name",
                                             view_text(vm->name), "tgid", vm->pid, "ioThreadIds",
                                             view_io_threads(view, index), "domainAffinityMap",
                                             domain_map_json(view, vm, &bound)));
}

json_t *view_affinity(const View *view, int vm) {
        json_auto_t *object = json_object();

        if (!object)
                return NULL;
        for (uint32_t i = 0; i < view->snapshot->n_vms; i++)
                if ((vm < 0 || (uint32_t)vm == i) && affinity_add(view, i, object) < 0)
                        return NULL;
        return STEAL_PTR(object);
}
