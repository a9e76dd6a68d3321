/* SPDX-License-Identifier: Apache-2.0 */

/* How many clusters a group may take: the fewest that it needs beside those
 * that its VM uses anyhow, by each grain. */

#include "core/work.h"

bool vm_mark_base(PlanWork *work, uint32_t vm) {
        const Vm *v = &work->snapshot->vm[vm];
        bool any = false;

        work->stamp++;
        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                const VcpuWork *w = &work->vcpu[i];
                int slot = w->class == VCPU_MOVABLE ? w->seat : w->stand;

                if (slot == NO_SLOT)
                        continue;
                work->cluster_mark[work->topology->cpu[slot].cluster] = work->stamp;
                work->node_mark[work->topology->cpu[slot].node] = work->stamp;
                any = true;
        }
        return any;
}

/* The same where the VM uses clusters already, or may use some nodes only. */
static int span_needed_beside(const PlanWork *work, const Group *group, Grain grain) {
        int best = -1;

        for (unsigned node = 0; node < work->topology->n_nodes; node++) {
                const Node *nd = &work->topology->node[node];
                uint16_t count[CPUS_MAX + 1];
                unsigned left = group->n, largest = 0;
                int span = 0;

                if (!vm_may_use_node(work, group->vm, node))
                        continue;
                for (unsigned c = nd->first_cluster; c < (unsigned)nd->first_cluster + nd->n_clusters; c++) {
                        unsigned capacity = allowed_capacity(work, group->allowed, c, grain);

                        if (work->cluster_mark[c] == work->stamp)
                                left -= capacity < left ? capacity : left;
                        for (; largest < capacity; largest++)
                                count[largest + 1] = 0;
                        if (work->cluster_mark[c] != work->stamp && capacity > 0)
                                count[capacity]++;
                }
                for (; left > 0 && largest > 0; largest--)
                        for (unsigned i = 0; left > 0 && i < count[largest]; i++) {
                                left -= largest < left ? largest : left;
                                span++;
                        }
                if (left == 0 && (best < 0 || span < best))
                        best = span;
        }
        return best;
}

SpanLimit group_span_limit(PlanWork *work, const Group *group, unsigned extra) {
        SpanLimit limit;
        unsigned clusters, nodes;
        bool base = work->vm[group->vm].bound;

        vm_mark_base(work, group->vm);
        for (unsigned node = 0; node < work->topology->n_nodes; node++)
                base |= work->node_mark[node] == work->stamp;
        for (Grain grain = GRAIN_THREAD; grain <= GRAIN_PAIR; grain++) {
                if (grain != GRAIN_THREAD && work->topology->smt_width < 2) {
                        limit.of[grain] = -1;
                        continue;
                }
                if (base)
                        limit.of[grain] = span_needed_beside(work, group, grain);
                else {
                        allowed_minimum(work, group->allowed, group->n, grain, &clusters, &nodes);
                        limit.of[grain] = nodes == 1 ? (int)clusters : -1;
                }
                if (limit.of[grain] >= 0)
                        limit.of[grain] += (int)extra;
        }
        return limit;
}

SpanLimit span_limit(unsigned clusters) {
        return (SpanLimit){.of = {(int)clusters, (int)clusters, (int)clusters}};
}

bool span_limit_is_none(SpanLimit limit) {
        return limit.of[GRAIN_THREAD] < 0 && limit.of[GRAIN_CORE] < 0 && limit.of[GRAIN_PAIR] < 0;
}
