/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Fragmentation, as an operator feels it: how large a VM could come now and sit
 * in one cluster, or one node, without anybody being moved. It counts as the
 * planner does: CPUs that somebody sits on, owned or not, are taken; so is the
 * rest of a core that another VM has to itself, and what of a core the host's
 * own smt setting forbids.
 */

#include "daemon/view_metrics.h"

typedef struct Taken {
        CpuSet cpus;
        bool whole[CORES_MAX]; /* the core is closed to newcomers: its VM shares none */
} Taken;

static bool vm_closes_cores(const View *view, uint32_t vm) {
        Smt smt = view->snapshot->vm[vm].policy.smt;
        VerdictKind kind = view->plan->verdict[vm].kind;

        if (view->plan->verdict[vm].reason == REASON_CONFIGURED)
                return false; /* it is only observed */
        return (smt == SMT_FALSE || smt == SMT_OWN_CORES) &&
               (kind == VERDICT_PLACED || kind == VERDICT_SPREAD);
}

static void find_taken(const View *view, Taken *ret) {
        *ret = (Taken){};
        for (uint32_t i = 0; i < view->snapshot->n_vcpus; i++) {
                int cpu = view->plan->target[i].cpu;
                int slot = cpu < 0 ? -1 : view->topology->slot_of[cpu];

                if (slot < 0)
                        continue;
                cpuset_add(&ret->cpus, (unsigned)cpu);
                if (vm_closes_cores(view, view->snapshot->vcpu[i].vm))
                        ret->whole[view->topology->cpu[slot].core] = true;
        }
}

/* vCPUs of a newcomer for which a core has room. */
static unsigned core_fit(const View *view, const Taken *taken, const CpuSet *usable, unsigned index) {
        const Core *core = &view->topology->core[index];
        unsigned room = 0, used = 0;

        for (unsigned slot = core->first_slot; slot < (unsigned)core->first_slot + core->n_cpus; slot++) {
                unsigned cpu = view->topology->cpu[slot].os;

                used += cpuset_has(&taken->cpus, cpu);
                room += !cpuset_has(&taken->cpus, cpu) && cpuset_has(usable, cpu);
        }
        if (core->n_cpus < 2)
                return room;
        if (taken->whole[index] || (used && view->policy->smt != SMT_AUTO && view->policy->smt != SMT_TRUE))
                return 0;
        return view->policy->smt == SMT_FALSE && room > 1 ? 1 : room;
}

static unsigned cluster_fit(const View *view, const Taken *taken, const CpuSet *usable, unsigned index) {
        const Cluster *cluster = &view->topology->cluster[index];
        unsigned room = 0;

        for (unsigned c = cluster->first_core; c < (unsigned)cluster->first_core + cluster->n_cores; c++)
                room += core_fit(view, taken, usable, c);
        return room;
}

void view_fit(const View *view, Fit *ret) {
        const Topology *topology = view->topology;
        CpuSet usable = topology->online;
        Taken taken;

        *ret = (Fit){};
        cpuset_subtract(&usable, &view->policy->skip);
        cpuset_subtract(&usable, &topology->isolated);
        find_taken(view, &taken);
        for (unsigned n = 0; n < topology->n_nodes; n++) {
                const Node *node = &topology->node[n];
                unsigned here = 0;

                for (unsigned c = node->first_cluster; c < (unsigned)node->first_cluster + node->n_clusters;
                     c++) {
                        unsigned room = cluster_fit(view, &taken, &usable, c);

                        here += room;
                        if (room > ret->cluster)
                                ret->cluster = room;
                }
                ret->host += here;
                if (here > ret->node)
                        ret->node = here;
        }
}
