/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/leftovers.h"

#include "util/cleanup.h"
#include "util/cpulist.h"
#include "util/log.h"

/* What the vCPU's range has and its cpuset lacks. */
static void missing_cpus(const Snapshot *snapshot, const CpuSet *online, const Vcpu *vcpu, CpuSet *ret) {
        const CpuSet *range = pool_get(&snapshot->pool, vcpu->range);
        const CpuSet *cpuset = pool_get(&snapshot->pool, vcpu->cpuset);

        cpuset_clear(ret);
        if (!range || !cpuset)
                return;
        *ret = *range;
        cpuset_and(ret, online);
        cpuset_subtract(ret, &snapshot->fresh);
        cpuset_subtract(ret, cpuset);
}

unsigned leftovers_find(const Snapshot *snapshot, const CpuSet *online, uint32_t vm, uint32_t *ret_vcpu) {
        const Vm *v = &snapshot->vm[vm];
        unsigned n = 0;

        for (uint32_t i = v->first_vcpu; i < v->first_vcpu + v->n_vcpus; i++) {
                CpuSet missing;

                missing_cpus(snapshot, online, &snapshot->vcpu[i], &missing);
                if (!cpuset_is_empty(&missing) && n++ == 0)
                        *ret_vcpu = i;
        }
        return n;
}

static void warn(const Snapshot *snapshot, const Vm *vm, const Vcpu *vcpu, unsigned n) {
        AUTO_FREE char *range = cpulist_new(pool_get(&snapshot->pool, vcpu->range));
        AUTO_FREE char *cpuset = cpulist_new(pool_get(&snapshot->pool, vcpu->cpuset));

        log_warning("%s: the cpusets of %u of its %u vCPUs lack CPUs of their range: vCPU %u has %s of %s. Another program "
                    "(as virt-awaresched) left them, or a slice limits them; 'virsh vcpupin DOMAIN VCPU RANGE --live' "
                    "writes one anew",
                    vm->name, n, vm->n_vcpus, vcpu->number, cpuset ? cpuset : "?", range ? range : "?");
}

void leftovers_report(const Snapshot *snapshot, const CpuSet *online) {
        for (uint32_t vm = 0; vm < snapshot->n_vms; vm++) {
                uint32_t vcpu = 0;
                unsigned n = leftovers_find(snapshot, online, vm, &vcpu);

                if (n)
                        warn(snapshot, &snapshot->vm[vm], &snapshot->vcpu[vcpu], n);
        }
}
