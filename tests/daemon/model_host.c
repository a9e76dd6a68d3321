/* SPDX-License-Identifier: Apache-2.0 */

#include "model_host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void model_init(ModelHost *model, unsigned n_clusters, unsigned cpus_per_cluster) {
        *model = (ModelHost){.n_clusters = n_clusters, .cpus_per_cluster = cpus_per_cluster, .now_ns = 1};
        cpuset_add_range(&model->online, 0, n_clusters * cpus_per_cluster - 1);
}

ModelVm *model_start(ModelHost *model, const char *name, unsigned n_vcpus, unsigned first, unsigned last) {
        unsigned serial = ++model->last_serial;
        ModelVm *vm = &model->vm[model->n_vms++];

        *vm = (ModelVm){.pid = (int)serial * 1000, .listed = true, .range_named = true, .n_vcpus = n_vcpus};
        snprintf(vm->name, sizeof(vm->name), "%s", name);
        snprintf(vm->uuid, sizeof(vm->uuid), "00000000-0000-0000-0000-%012u", serial);
        for (unsigned i = 0; i < n_vcpus; i++) {
                vm->thread[i] = (ModelThread){.tid = vm->pid + 1 + (int)i, .alive = true};
                cpuset_add_range(&vm->thread[i].range, first, last);
                vm->thread[i].cpuset = vm->thread[i].mask = vm->thread[i].range;
        }
        return vm;
}

ModelThread *model_helper(ModelVm *vm) {
        unsigned i = vm->n_helpers++;
        ModelThread *helper = &vm->helper[i], *parent = i ? &vm->helper[0] : &vm->thread[0];

        *helper = (ModelThread){.tid = i ? vm->pid + 500 + (int)i : vm->pid, .alive = true};
        helper->cpuset = parent->cpuset;
        helper->mask = i ? parent->mask : parent->cpuset;
        return helper;
}

void model_destroy(ModelVm *vm) {
        vm->listed = false;
        for (unsigned i = 0; i < vm->n_helpers; i++)
                vm->helper[i].alive = false;
        for (unsigned i = 0; i < vm->n_vcpus; i++)
                vm->thread[i].alive = false;
}

void model_forget(ModelHost *model, unsigned v) {
        memmove(&model->vm[v], &model->vm[v + 1], (model->n_vms - v - 1) * sizeof(model->vm[0]));
        model->n_vms--;
}

void model_vcpupin(ModelVm *vm, unsigned vcpu, unsigned first, unsigned last) {
        ModelThread *thread = &vm->thread[vcpu];

        cpuset_clear(&thread->range);
        cpuset_add_range(&thread->range, first, last);
        thread->cpuset = thread->mask = thread->range;
}

int model_cpu(const ModelVm *vm, unsigned vcpu) {
        return cpuset_single(&vm->thread[vcpu].mask);
}

static int model_read_topology(void *self, ClusterLevel level, Topology *ret, char ret_why[256]) {
        const ModelHost *model = self;
        CpuFact fact[256];
        unsigned n = 0;
        const char *why;

        (void)level;
        CPUSET_FOREACH (cpu, &model->online)
                fact[n++] = (CpuFact){.os = (uint16_t)cpu,
                                      .cluster = (unsigned)cpu / model->cpus_per_cluster,
                                      .core = (unsigned)cpu};
        if (topology_build(fact, n, NULL, 0, LEVEL_L3, NULL, ret, &why) != 0) {
                snprintf(ret_why, 256, "%s", why);
                return -EINVAL;
        }
        return 0;
}

static int model_read_online(void *self, CpuSet *ret) {
        *ret = ((ModelHost *)self)->online;
        return 0;
}

static void observe_vm(const ModelVm *model_vm, Snapshot *ret) {
        Vm *vm = &ret->vm[ret->n_vms];

        memset(vm, 0, sizeof(*vm));
        snprintf(vm->name, sizeof(vm->name), "%s", model_vm->name);
        memcpy(vm->uuid, model_vm->uuid, sizeof(vm->uuid));
        vm->pid = model_vm->pid;
        vm->start_ticks = (uint64_t)model_vm->pid;
        vm->sight = model_vm->pid ? SIGHT_OK : SIGHT_STARTING;
        vm->range_named = model_vm->range_named;
        vm->emulator_named = model_vm->emulator_named;
        vm->guest_threads = 1;
        vm->first_vcpu = ret->n_vcpus;
        vm->n_vcpus = (uint16_t)model_vm->n_vcpus;
        for (unsigned i = 0; i < model_vm->n_vcpus; i++) {
                const ModelThread *thread = &model_vm->thread[i];
                ret->vcpu[ret->n_vcpus++] = (Vcpu){.vm = (uint16_t)ret->n_vms,
                                                   .number = (uint16_t)i,
                                                   .tid = model_vm->pid ? thread->tid : 0,
                                                   .start_ticks = (uint64_t)thread->tid,
                                                   .range = pool_intern(&ret->pool, &thread->range),
                                                   .cpuset = pool_intern(&ret->pool, &thread->cpuset),
                                                   .mask = pool_intern(&ret->pool, &thread->mask),
                                                   .home = -1,
                                                   .last_ran = -1};
        }
        for (unsigned i = 0; i < model_vm->n_helpers; i++)
                if (model_vm->helper[i].alive)
                        ret->helper[ret->n_helpers++] =
                                (Helper){.vm = (uint16_t)ret->n_vms,
                                         .kind = i ? HELPER_OTHER : HELPER_EMULATOR,
                                         .tid = model_vm->helper[i].tid,
                                         .start_ticks = (uint64_t)model_vm->helper[i].tid,
                                         .mask = pool_intern(&ret->pool, &model_vm->helper[i].mask)};
        ret->n_vms++;
}

static ModelThread *find_thread(ModelThread *thread, unsigned n, int tid) {
        for (unsigned i = 0; i < n; i++)
                if (thread[i].alive && thread[i].tid == tid)
                        return &thread[i];
        return NULL;
}

static void meddle(ModelHost *model) {
        for (unsigned v = 0; v < model->n_vms; v++) {
                ModelVm *vm = &model->vm[v];
                ModelThread *thread = find_thread(vm->thread, vm->n_vcpus, model->meddle_tid);

                if (!thread)
                        thread = find_thread(vm->helper, vm->n_helpers, model->meddle_tid);
                if (thread)
                        thread->mask = model->meddle_mask;
        }
        model->meddle_tid = 0;
}

static int model_observe(void *self, const FactList *facts, const Topology *topology, Look look,
                         Snapshot *ret) {
        ModelHost *model = self;

        (void)facts;
        (void)topology;
        (void)look;
        if (model->observe_fails)
                return -EIO;
        snapshot_clear(ret);
        for (unsigned v = 0; v < model->n_vms; v++)
                if (model->vm[v].listed)
                        observe_vm(&model->vm[v], ret);
        if (model->meddle_tid)
                meddle(model);
        return 0;
}

static ModelThread *model_find(ModelHost *model, const ThreadRef *ref) {
        for (unsigned v = 0; v < model->n_vms; v++) {
                ModelVm *vm = &model->vm[v];

                if (vm->pid != ref->pid || strcmp(vm->uuid, ref->uuid) != 0)
                        continue;
                return ref->number == THREAD_HELPER ? find_thread(vm->helper, vm->n_helpers, ref->tid)
                                                    : find_thread(vm->thread, vm->n_vcpus, ref->tid);
        }
        return NULL;
}

static WriteStatus model_write_mask(void *self, const ThreadRef *ref, const CpuSet *mask, CpuSet *ret_mask) {
        ModelHost *model = self;
        ModelThread *thread = model_find(model, ref);
        CpuSet clipped = *mask;

        if (thread && thread->tid == model->die_tid)
                thread->alive = false;
        if (!thread || !thread->alive)
                return WRITE_STALE;
        model->writes++;
        thread->writes++;
        if (model->at_next < model->n_next) {
                WriteStatus status = model->next_status[model->at_next++];
                if (status == WRITE_RETRY && model->unknown_writes && cpuset_is_subset(mask, &thread->cpuset))
                        thread->mask = *mask;
                if (status != WRITE_OK)
                        return status;
        }
        cpuset_and(&clipped, &thread->cpuset);
        cpuset_and(&clipped, &model->online);
        model->clipped += !cpuset_equal(&clipped, mask);
        if (cpuset_is_empty(&clipped))
                return WRITE_REFUSED;
        thread->mask = *ret_mask = clipped;
        return cpuset_equal(&clipped, mask) ? WRITE_OK : WRITE_REFUSED;
}

static int model_read_mask(void *self, const ThreadRef *ref, CpuSet *ret) {
        const ModelThread *thread = model_find(self, ref);

        if (!thread)
                return -ESRCH;
        *ret = thread->mask;
        return 0;
}

static int64_t model_now(void *self) {
        return ((ModelHost *)self)->now_ns;
}

Host model_door(ModelHost *model) {
        static const HostOps ops = {.read_topology = model_read_topology,
                                    .read_online = model_read_online,
                                    .observe = model_observe,
                                    .write_mask = model_write_mask,
                                    .read_mask = model_read_mask,
                                    .now_ns = model_now};

        return (Host){.ops = &ops, .self = model};
}
