/* SPDX-License-Identifier: Apache-2.0 */

#include "core/snapshot.h"

void snapshot_clear(Snapshot *snapshot) {
        snapshot->n_vms = 0;
        snapshot->n_vcpus = 0;
        snapshot->n_helpers = 0;
        snapshot->n_beyond_limits = 0;
        cpuset_clear(&snapshot->fresh);
        pool_clear(&snapshot->pool);
}

bool snapshot_union_changes(const Snapshot *snapshot, uint32_t vcpu, const CpuSet *mask) {
        const Vm *vm = &snapshot->vm[snapshot->vcpu[vcpu].vm];
        const CpuSet *now = pool_get(&snapshot->pool, snapshot->vcpu[vcpu].mask);
        CpuSet before = now ? *now : (CpuSet){}, after = *mask;

        if (cpuset_equal(&before, &after))
                return false;
        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++)
                if (i != vcpu && snapshot->vcpu[i].mask != SET_NONE) {
                        const CpuSet *other = pool_get(&snapshot->pool, snapshot->vcpu[i].mask);

                        cpuset_or(&before, other);
                        cpuset_or(&after, other);
                }
        return !cpuset_equal(&before, &after);
}
