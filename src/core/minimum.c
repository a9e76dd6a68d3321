/* SPDX-License-Identifier: Apache-2.0 */

/* The fewest clusters and nodes that a VM's own ranges allow, on an empty host. */

#include "core/work.h"

#include <assert.h>
#include <string.h>

/* vCPUs of one VM with one allowed set, or pinned to one slot. */
typedef struct Want {
        uint32_t allowed;
        unsigned left;
} Want;

static unsigned vm_wants(const PlanWork *work, const Vm *vm, Want *ret) {
        unsigned n = 0;

        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                uint32_t allowed = work->vcpu[i].allowed;
                unsigned w = 0;

                if (allowed == 0 || work->allowed[allowed].n_cpus == 0)
                        continue;
                while (w < n && ret[w].allowed != allowed)
                        w++;
                if (w == n)
                        ret[n++] = (Want){.allowed = allowed};
                else if (work->vcpu[i].class == VCPU_PINNED)
                        continue; /* that one CPU is all that its pins take */
                ret[w].left++;
        }
        return n;
}

/* Takes from the wants what an interval of slots can serve, narrow sets first
 * (wants are few: the order of the VM's vCPUs does); returns how many. */
static unsigned serve(const PlanWork *work, Want *wants, unsigned n_wants, unsigned first, unsigned n_cpus,
                      bool take) {
        unsigned room = n_cpus, served = 0;

        for (unsigned i = 0; i < n_wants && room > 0; i++) {
                unsigned here = wants[i].left ? slots_count(&work->allowed[wants[i].allowed].slots, first, n_cpus) : 0;

                if (here > wants[i].left)
                        here = wants[i].left;
                if (here > room)
                        here = room;
                room -= here;
                served += here;
                if (take)
                        wants[i].left -= here;
        }
        return served;
}

/* Sets that differ: the interval that serves most, then the best of the others,
 * and so on. What none can serve needs no more of them. */
static unsigned greedy_clusters(PlanWork *work, Want *wants, unsigned n_wants) {
        const Topology *topology = work->topology;
        unsigned n = 0;

        work->stamp++;
        for (;;) {
                unsigned best = 0, best_served = 0;

                for (unsigned c = 0; c < topology->n_clusters; c++) {
                        const Cluster *cluster = &topology->cluster[c];
                        unsigned served;

                        if (work->cluster_mark[c] == work->stamp)
                                continue;
                        served = serve(work, wants, n_wants, cluster->first_slot, cluster->n_cpus, false);
                        if (served > best_served) {
                                best_served = served;
                                best = c;
                        }
                }
                if (best_served == 0)
                        return n;
                serve(work, wants, n_wants, topology->cluster[best].first_slot, topology->cluster[best].n_cpus, true);
                work->cluster_mark[best] = work->stamp;
                n++;
        }
}

static unsigned greedy_nodes(PlanWork *work, Want *wants, unsigned n_wants) {
        const Topology *topology = work->topology;
        unsigned n = 0;

        work->stamp++;
        for (;;) {
                unsigned best = 0, best_served = 0;

                for (unsigned i = 0; i < topology->n_nodes; i++) {
                        const Node *node = &topology->node[i];
                        unsigned served;

                        if (work->node_mark[i] == work->stamp)
                                continue;
                        served = serve(work, wants, n_wants, node->first_slot, node->n_cpus, false);
                        if (served > best_served) {
                                best_served = served;
                                best = i;
                        }
                }
                if (best_served == 0)
                        return n;
                serve(work, wants, n_wants, topology->node[best].first_slot, topology->node[best].n_cpus, true);
                work->node_mark[best] = work->stamp;
                n++;
        }
}

/* A VM pinned by its operator is measured against the whole host. */
static void host_minimum(const PlanWork *work, unsigned n, unsigned *ret_clusters, unsigned *ret_nodes) {
        unsigned size[CPUS_MAX + 1] = {0}, left = n;

        *ret_clusters = 0;
        *ret_nodes = 1;
        for (unsigned c = 0; c < work->topology->n_clusters; c++)
                size[work->topology->cluster[c].n_cpus]++;
        for (unsigned s = CPUS_MAX; s > 0 && left > 0; s--)
                for (unsigned i = 0; i < size[s] && left > 0; i++) {
                        left -= s < left ? s : left;
                        (*ret_clusters)++;
                }
        memset(size, 0, sizeof(size));
        for (unsigned i = 0; i < work->topology->n_nodes; i++)
                size[work->topology->node[i].n_cpus]++;
        left = n;
        *ret_nodes = 0;
        for (unsigned s = CPUS_MAX; s > 0 && left > 0; s--)
                for (unsigned i = 0; i < size[s] && left > 0; i++) {
                        left -= s < left ? s : left;
                        (*ret_nodes)++;
                }
}

void work_minimum(PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];
        VmWork *vw = &work->vm[vm];
        Want wants[VM_VCPUS_MAX];
        unsigned clusters = 0, nodes = 0, n_wants;

        assert(v->n_vcpus <= VM_VCPUS_MAX);
        n_wants = vm_wants(work, v, wants);
        if (vw->kind == VERDICT_PINNED)
                host_minimum(work, v->n_vcpus, &clusters, &nodes);
        else if (n_wants == 1)
                allowed_minimum(work, wants[0].allowed, wants[0].left, vm_grain(work, vm), &clusters, &nodes);
        else if (n_wants > 1) {
                Want again[VM_VCPUS_MAX];

                memcpy(again, wants, n_wants * sizeof(*wants));
                clusters = greedy_clusters(work, wants, n_wants);
                nodes = greedy_nodes(work, again, n_wants);
        }
        vw->min_clusters = (uint16_t)clusters;
        vw->min_nodes = (uint16_t)nodes;
}
