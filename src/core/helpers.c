/* SPDX-License-Identifier: Apache-2.0 */

#include "core/helpers.h"

#include <assert.h>

void helpers_unowned(const Topology *topology, const Snapshot *snapshot, const Policy *policy,
                     const Plan *plan, CpuSet *ret) {
        *ret = topology->online;
        cpuset_subtract(ret, &policy->skip);
        cpuset_subtract(ret, &topology->isolated);
        cpuset_subtract(ret, &plan->owned);
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++)
                if (plan->target[i].cpu >= 0)
                        cpuset_remove(ret, (unsigned)plan->target[i].cpu);
}

/* Whether its threads are ours to touch at all. */
static bool vm_is_ours(const Vm *vm, const Verdict *verdict) {
        if (vm->sight != SIGHT_OK || vm->emulator_named)
                return false;
        if (vm->policy.manage == MANAGE_NO || vm->policy.manage == MANAGE_OBSERVE)
                return false;
        return verdict->kind != VERDICT_EXCLUDED && verdict->kind != VERDICT_FOREIGN &&
               verdict->kind != VERDICT_CONTESTED && verdict->kind != VERDICT_UNSEEN;
}

/* The clusters, or the nodes, of the CPUs that its vCPUs have. */
static void vm_surroundings(const Topology *topology, const Vm *vm, const Plan *plan, bool nodes,
                            CpuSet *ret) {
        CpuSet part;

        cpuset_clear(ret);
        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                int cpu = plan->target[i].cpu, slot = cpu < 0 ? -1 : topology->slot_of[cpu];

                if (slot < 0 || cpuset_has(ret, (unsigned)cpu))
                        continue;
                if (nodes)
                        topology_node_cpus(topology, topology->cpu[slot].node, &part);
                else
                        topology_cluster_cpus(topology, topology->cpu[slot].cluster, &part);
                cpuset_or(ret, &part);
        }
}

bool helpers_cpus(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                  const CpuSet *unowned, uint32_t vm, CpuSet *ret) {
        CpuSet cpus;

        assert(vm < snapshot->n_vms);
        if (policy->helpers == HELPERS_LEAVE || !vm_is_ours(&snapshot->vm[vm], &plan->verdict[vm]))
                return false;
        if (policy->helpers == HELPERS_HOUSEKEEPING) {
                cpus = policy->skip;
                cpuset_and(&cpus, &topology->online);
        } else {
                vm_surroundings(topology, &snapshot->vm[vm], plan, false, &cpus);
                cpuset_and(&cpus, unowned);
                if (cpuset_is_empty(&cpus)) {
                        vm_surroundings(topology, &snapshot->vm[vm], plan, true, &cpus);
                        cpuset_and(&cpus, unowned);
                }
        }
        if (cpuset_is_empty(&cpus))
                return false;
        *ret = cpus;
        return true;
}
