/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The modelled host keeps its state in a Snapshot and changes it as a kernel,
 * libvirt and the daemon together would: a new VM's threads may run in their
 * whole range, a changed range overwrites the masks, a write sets a mask and is
 * remembered with the mask from before, as the daemon's state file has it.
 *
 * The snapshot's pool only grows while rounds go by, so sets that nothing uses
 * are cleared out once it is half full.
 */

#include "sim/model.h"

#include "util/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

int model_new(const Topology *topology, const ModelOptions *options, Model **ret) {
        Model *model = calloc(1, sizeof(*model));

        if (!model)
                return -ENOMEM;
        model->host = calloc(1, sizeof(*model->host));
        if (!model->host) {
                free(model);
                return -ENOMEM;
        }
        model->topology = topology;
        model->options = *options;
        snapshot_clear(model->host);
        *ret = model;
        return 0;
}

Model *model_free(Model *model) {
        if (model) {
                free(model->host);
                free(model);
        }
        return NULL;
}

static void vcpu_start(Model *model, uint16_t vm, uint16_t number, SetId range) {
        Snapshot *host = model->host;
        int32_t tid = ++model->last_tid;

        host->vcpu[host->n_vcpus++] = (Vcpu){
                .vm = vm,
                .number = number,
                .tid = tid,
                .start_ticks = (uint64_t)tid,
                .range = range,
                .cpuset = range,
                .mask = range,
                .home = -1,
                .last_ran = -1,
        };
}

bool model_create(Model *model, uint32_t serial, const char *name, uint16_t n_vcpus, const CpuSet *range) {
        Snapshot *host = model->host;

        if (host->n_vms == VMS_MAX || host->n_vcpus + n_vcpus > VCPUS_MAX)
                return false;
        SetId id = pool_intern(&host->pool, range);
        if (id == SET_NONE)
                return false;

        uint32_t index = host->n_vms++;
        Vm *vm = &host->vm[index];
        memset(vm, 0, sizeof(*vm));
        snprintf(vm->name, sizeof(vm->name), "%s", name);
        snprintf(vm->uuid, sizeof(vm->uuid), "00000000-0000-4000-8000-%012x", serial);
        vm->pid = model->last_tid + 1;
        vm->start_ticks = (uint64_t)serial + 1;
        vm->first_vcpu = host->n_vcpus;
        vm->n_vcpus = n_vcpus;
        vm->guest_threads = 1;
        vm->range_named = true;
        vm->policy = model->options.vm_policy;
        model->vm[index] = (ModelVm){.serial = serial};
        for (uint16_t i = 0; i < n_vcpus; i++)
                vcpu_start(model, (uint16_t)index, i, id);
        return true;
}

int model_find(const Model *model, uint32_t serial) {
        uint32_t low = 0, high = model->host->n_vms;

        while (low < high) {
                uint32_t middle = (low + high) / 2;
                if (model->vm[middle].serial < serial)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < model->host->n_vms && model->vm[low].serial == serial ? (int)low : -1;
}

void model_destroy(Model *model, uint32_t index) {
        Snapshot *host = model->host;
        uint32_t first = host->vm[index].first_vcpu, n = host->vm[index].n_vcpus;

        memmove(&host->vcpu[first], &host->vcpu[first + n], (host->n_vcpus - first - n) * sizeof(Vcpu));
        host->n_vcpus -= n;
        memmove(&host->vm[index], &host->vm[index + 1], (host->n_vms - index - 1) * sizeof(Vm));
        memmove(&model->vm[index], &model->vm[index + 1], (host->n_vms - index - 1) * sizeof(ModelVm));
        host->n_vms--;
        for (uint32_t vm = index; vm < host->n_vms; vm++) {
                host->vm[vm].first_vcpu -= n;
                for (uint32_t i = 0; i < host->vm[vm].n_vcpus; i++)
                        host->vcpu[host->vm[vm].first_vcpu + i].vm = (uint16_t)vm;
        }
}

void model_destroy_all(Model *model) {
        snapshot_clear(model->host);
}

void model_set_range(Model *model, uint32_t index, const CpuSet *range) {
        const Vm *vm = &model->host->vm[index];
        SetId id = pool_intern(&model->host->pool, range);

        if (id == SET_NONE)
                return;
        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                Vcpu *vcpu = &model->host->vcpu[i];
                vcpu->range = vcpu->cpuset = vcpu->mask = id;
        }
        model->vm[index].min_clusters = model->vm[index].min_clusters_cores = model->vm[index].min_nodes = 0;
}

void model_write(Model *model, uint32_t vcpu_index, SetId mask, int16_t cpu) {
        Vcpu *vcpu = &model->host->vcpu[vcpu_index];

        if (vcpu->written == SET_NONE)
                vcpu->before = vcpu->mask;
        vcpu->mask = vcpu->written = mask;
        vcpu->range_then = vcpu->range;
        vcpu->intended = SET_NONE;
        vcpu->drift = 0;
        vcpu->home = cpu;
        if (cpu >= 0)
                vcpu->last_ran = cpu;
}

void model_give(Model *model, uint32_t vcpu, unsigned cpu) {
        CpuSet set = {};

        cpuset_add(&set, cpu);
        SetId mask = pool_intern(&model->host->pool, &set);
        if (mask != SET_NONE)
                model_write(model, vcpu, mask, (int16_t)cpu);
}

void model_release(Model *model, uint32_t vcpu_index, SetId mask) {
        Vcpu *vcpu = &model->host->vcpu[vcpu_index];

        vcpu->mask = mask;
        vcpu->before = vcpu->range_then = vcpu->written = vcpu->intended = SET_NONE;
        vcpu->home = -1;
        vcpu->drift = 0;
}

bool model_is_pinned(const Model *model, uint32_t vcpu) {
        return pool_single(&model->host->pool, model->host->vcpu[vcpu].range) >= 0;
}

int model_own_cpu(const Model *model, uint32_t vcpu) {
        int cpu = pool_single(&model->host->pool, model->host->vcpu[vcpu].mask);

        return cpu >= 0 && (cpu == model->host->vcpu[vcpu].home || model_is_pinned(model, vcpu)) ? cpu : -1;
}

/* How many of the VM's vCPUs run on each node, a wide mask counted evenly; in
 * thousandths of a vCPU. */
static void vm_spread(const Model *model, const Vm *vm, uint32_t ret_milli[NODES_MAX]) {
        const Topology *topology = model->topology;

        for (uint32_t i = vm->first_vcpu; i < vm->first_vcpu + vm->n_vcpus; i++) {
                const CpuSet *mask = pool_get(&model->host->pool, model->host->vcpu[i].mask);
                CpuSet online = *mask;
                cpuset_and(&online, &topology->online);
                unsigned n = cpuset_count(&online);
                CPUSET_FOREACH(cpu, &online)
                        ret_milli[topology->cpu[topology->slot_of[cpu]].node] += 1000 / n;
        }
}

/* Memory is allocated on the nodes where the VM first ran, and stays there. */
static void vm_first_touch(Model *model, uint32_t index) {
        Vm *vm = &model->host->vm[index];
        uint32_t milli[NODES_MAX] = {};
        uint32_t total = 0;

        vm_spread(model, vm, milli);
        for (unsigned node = 0; node < model->topology->n_nodes; node++)
                total += milli[node];
        vm->mem_source = MEM_STAT;
        for (vm->n_mem = 0; total && vm->n_mem < MEM_SHARES_MAX; vm->n_mem++) {
                unsigned most = 0;
                for (unsigned node = 1; node < model->topology->n_nodes; node++)
                        if (milli[node] > milli[most])
                                most = node;
                if (!milli[most])
                        break;
                vm->mem[vm->n_mem] = (MemShare){.node = model->topology->node[most].os,
                                                .permille = (uint16_t)((uint64_t)milli[most] * 1000 / total)};
                milli[most] = 0;
        }
        model->vm[index].memory_settled = true;
}

static void set_carry(Model *model, SetId *id) {
        if (*id != SET_NONE)
                *id = pool_intern(&model->spare, pool_get(&model->host->pool, *id));
}

/* Rebuilds the pool from the sets in use. They were in a pool of that size
 * before, so they fit. */
static void pool_clear_out(Model *model) {
        pool_clear(&model->spare);
        for (uint32_t i = 0; i < model->host->n_vcpus; i++) {
                Vcpu *vcpu = &model->host->vcpu[i];
                set_carry(model, &vcpu->range);
                set_carry(model, &vcpu->cpuset);
                set_carry(model, &vcpu->mask);
                set_carry(model, &vcpu->before);
                set_carry(model, &vcpu->range_then);
                set_carry(model, &vcpu->written);
                set_carry(model, &vcpu->intended);
        }
        model->host->pool = model->spare;
}

void model_settle(Model *model) {
        if (model->options.first_touch)
                for (uint32_t i = 0; i < model->host->n_vms; i++)
                        if (!model->vm[i].memory_settled)
                                vm_first_touch(model, i);
        if (model->host->pool.n > POOL_SETS_MAX / 2)
                pool_clear_out(model);
}
