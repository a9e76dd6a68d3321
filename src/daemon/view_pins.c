/* SPDX-License-Identifier: Apache-2.0 */

/* Operators' pins that meet on one CPU. */

#include "daemon/view_internal.h"

int view_pinned_twice(const View *view, uint32_t vm) {
        const Vm *v = &view->snapshot->vm[vm];
        CpuSet own = {};

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                int cpu = view_vcpu_cpu(view, i);

                if (cpu >= 0 && cpuset_has(&own, (unsigned)cpu))
                        return (int)i;
                if (cpu >= 0)
                        cpuset_add(&own, (unsigned)cpu);
        }
        for (uint32_t i = 0; i < view->snapshot->n_vcpus; i++) {
                int cpu = view_vcpu_cpu(view, i);

                if (view->snapshot->vcpu[i].vm != vm && cpu >= 0 && cpuset_has(&own, (unsigned)cpu))
                        return (int)i;
        }
        return -1;
}
