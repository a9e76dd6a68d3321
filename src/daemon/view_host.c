/* SPDX-License-Identifier: Apache-2.0 */

/* The host's shape and who has which CPU, for the map. */

#include "daemon/view_internal.h"
#include "util/cleanup.h"
#include "wire/names.h"

static json_t *core_json(const Topology *topology, const Core *core) {
        json_auto_t *cpus = json_array();

        for (unsigned slot = core->first_slot; slot < (unsigned)core->first_slot + core->n_cpus; slot++)
                if (json_array_append_new(cpus, json_integer(topology->cpu[slot].os)) < 0)
                        return NULL;
        return json_pack("{so}", "cpus", STEAL_PTR(cpus));
}

static json_t *cluster_json(const Topology *topology, unsigned index) {
        const Cluster *cluster = &topology->cluster[index];
        json_auto_t *cores = json_array();

        for (unsigned core = cluster->first_core; core < (unsigned)cluster->first_core + cluster->n_cores;
             core++)
                if (json_array_append_new(cores, core_json(topology, &topology->core[core])) < 0)
                        return NULL;
        return json_pack("{si,so}", "cluster", (int)index, "cores", STEAL_PTR(cores));
}

static json_t *node_json(const Topology *topology, const Node *node) {
        json_auto_t *clusters = json_array();

        for (unsigned i = node->first_cluster; i < (unsigned)node->first_cluster + node->n_clusters; i++)
                if (json_array_append_new(clusters, cluster_json(topology, i)) < 0)
                        return NULL;
        return json_pack("{si,so}", "node", node->os, "clusters", STEAL_PTR(clusters));
}

static json_t *nodes_json(const Topology *topology) {
        json_auto_t *nodes = json_array();

        for (unsigned i = 0; i < topology->n_nodes; i++)
                if (json_array_append_new(nodes, node_json(topology, &topology->node[i])) < 0)
                        return NULL;
        return STEAL_PTR(nodes);
}

static const char *owner_kind(VcpuState state) {
        switch (state) {
        case VCPU_PLACED:
        case VCPU_LAYERED:
                return "placed";
        case VCPU_PINNED:
                return "pinned";
        case VCPU_FOREIGN:
                return "foreign";
        default:
                return "unmanaged";
        }
}

/* Every CPU that some vCPU has for itself, or where it is the lowest layer; one
 * that two claim is listed twice. */
static json_t *owners_json(const View *view) {
        json_auto_t *owners = json_array();

        for (uint32_t i = 0; i < view->snapshot->n_vcpus; i++) {
                const Vcpu *vcpu = &view->snapshot->vcpu[i];
                const Vm *vm = &view->snapshot->vm[vcpu->vm];
                int cpu = view_vcpu_cpu(view, i);

                if (cpu < 0 || view->plan->target[i].layer > 0)
                        continue;
                if (json_array_append_new(owners, json_pack("{si,ss,so,si,ss}", "cpu", cpu, "vm", vm->uuid,
                                                            "name", view_text(vm->name), "vcpu", vcpu->number,
                                                            "kind", owner_kind(view_vcpu_state(view, i)))) <
                    0)
                        return NULL;
        }
        return STEAL_PTR(owners);
}

json_t *view_host(const View *view) {
        const Topology *topology = view->topology;

        return json_pack("{so,so,so,so,so,ss}", "nodes", nodes_json(topology), "owners", owners_json(view),
                         "skip_cpuset", view_cpulist(&view->policy->skip), "isolated",
                         view_cpulist(&topology->isolated), "offline", view_cpulist(view->offline),
                         "cluster_level", level_name(topology->level));
}
