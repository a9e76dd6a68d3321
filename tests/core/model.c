/* SPDX-License-Identifier: Apache-2.0 */

#include "model.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void model_topology(Topology *ret, unsigned nodes, unsigned clusters, unsigned cores, unsigned threads) {
        static CpuFact facts[CPUS_MAX];
        const char *why;
        unsigned n = 0;

        for (unsigned i = 0; i < nodes * clusters * cores * threads; i++, n++)
                facts[n] = (CpuFact){
                        .os = (uint16_t)i,
                        .node = (uint16_t)(i / (clusters * cores * threads)),
                        .cluster = i / (cores * threads),
                        .core = i / threads,
                        .package = i / (clusters * cores * threads),
                };
        int r = topology_build(facts, n, NULL, 0, LEVEL_L3, NULL, ret, &why);
        assert(r == 0);
        (void)r;
}

void model_topology_uneven(Topology *ret, const unsigned *sizes) {
        static CpuFact facts[CPUS_MAX];
        const char *why;
        unsigned n = 0, node = 0, cluster = 0;

        for (unsigned i = 0; sizes[i] || sizes[i + 1]; i++) {
                if (sizes[i] == 0)
                        node++;
                for (unsigned j = 0; j < sizes[i]; j++, n++)
                        facts[n] = (CpuFact){
                                .os = (uint16_t)n, .node = (uint16_t)node, .cluster = cluster, .core = n};
                cluster++;
        }
        int r = topology_build(facts, n, NULL, 0, LEVEL_L3, NULL, ret, &why);
        assert(r == 0);
        (void)r;
}

SetId model_set(Snapshot *snapshot, unsigned first, unsigned last) {
        CpuSet set;

        cpuset_clear(&set);
        cpuset_add_range(&set, first, last);
        return pool_intern(&snapshot->pool, &set);
}

uint32_t model_add_vm(Snapshot *snapshot, const Topology *topology, unsigned n_vcpus, unsigned first, unsigned last,
                      uint64_t serial) {
        uint32_t index = snapshot->n_vms++;
        Vm *vm = &snapshot->vm[index];
        SetId range = model_set(snapshot, first, last);

        (void)topology;
        assert(index < VMS_MAX && snapshot->n_vcpus + n_vcpus <= VCPUS_MAX);
        *vm = (Vm){
                .pid = (int32_t)serial + 1000,
                .start_ticks = serial + 1,
                .first_vcpu = snapshot->n_vcpus,
                .n_vcpus = (uint16_t)n_vcpus,
                .guest_threads = 1,
                .range_named = true,
        };
        snprintf(vm->name, sizeof(vm->name), "vm%llu", (unsigned long long)serial);
        snprintf(vm->uuid, sizeof(vm->uuid), "00000000-0000-0000-0000-%012llx", (unsigned long long)serial);
        vm_policy_defaults(&vm->policy);
        vm->policy.cross_node = true;
        for (unsigned i = 0; i < n_vcpus; i++)
                snapshot->vcpu[snapshot->n_vcpus++] = (Vcpu){
                        .vm = (uint16_t)index,
                        .number = (uint16_t)i,
                        .tid = (int32_t)(serial * 1000 + i + 1),
                        .start_ticks = serial + 1,
                        .range = range,
                        .mask = range,
                        .home = -1,
                        .last_ran = -1,
                };
        return index;
}

void model_set_range(Snapshot *snapshot, uint32_t vcpu, unsigned first, unsigned last) {
        snapshot->vcpu[vcpu].range = model_set(snapshot, first, last);
        if (snapshot->vcpu[vcpu].written == SET_NONE)
                snapshot->vcpu[vcpu].mask = snapshot->vcpu[vcpu].range;
}

void model_seat(Snapshot *snapshot, uint32_t vcpu, unsigned cpu) {
        Vcpu *v = &snapshot->vcpu[vcpu];

        v->before = v->range;
        v->range_then = v->range;
        v->mask = v->written = model_set(snapshot, cpu, cpu);
        v->home = (int16_t)cpu;
}

void model_remove_vm(Snapshot *snapshot, uint32_t vm) {
        uint32_t first = snapshot->vm[vm].first_vcpu, n = snapshot->vm[vm].n_vcpus;

        memmove(&snapshot->vcpu[first], &snapshot->vcpu[first + n],
                (snapshot->n_vcpus - first - n) * sizeof(snapshot->vcpu[0]));
        memmove(&snapshot->vm[vm], &snapshot->vm[vm + 1], (snapshot->n_vms - vm - 1) * sizeof(snapshot->vm[0]));
        snapshot->n_vms--;
        snapshot->n_vcpus -= n;
        for (uint32_t i = vm; i < snapshot->n_vms; i++) {
                snapshot->vm[i].first_vcpu -= n;
                for (uint32_t j = 0; j < snapshot->vm[i].n_vcpus; j++)
                        snapshot->vcpu[snapshot->vm[i].first_vcpu + j].vm = (uint16_t)i;
        }
}

void model_apply(Snapshot *snapshot, const Plan *plan) {
        for (uint32_t i = 0; i < plan->n_moves; i++) {
                const Move *move = &plan->move[i];
                Vcpu *v = &snapshot->vcpu[move->vcpu];

                if (v->before == SET_NONE)
                        v->before = v->mask;
                v->mask = v->written = move->mask;
                v->range_then = v->range;
                v->home = move->to;
                v->drift = 0;
        }
        for (uint32_t i = 0; i < snapshot->n_vcpus; i++)
                snapshot->vcpu[i].layered = plan->verdict[snapshot->vcpu[i].vm].kind == VERDICT_LAYERED &&
                                            plan->target[i].cpu >= 0 && plan->target[i].cpu == snapshot->vcpu[i].home;
}

uint64_t dice_next(Dice *dice) {
        uint64_t z = dice->state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

unsigned dice_below(Dice *dice, unsigned n) {
        return (unsigned)(dice_next(dice) % n);
}
