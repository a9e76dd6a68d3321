/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The modelled host: VMs that come, change and go, and the masks that their
 * vCPU threads have. Its state is a Snapshot, so that what a planner sees is
 * simply what is.
 */

#include "core/plan.h"

/* What the model knows beside the snapshot, by the snapshot's VM index. */
typedef struct ModelVm {
        uint32_t serial;    /* never used again for another VM */
        bool memory_settled; /* first touch has happened */
        /* Filled by judge.c; a minimum of 0 is not computed yet. */
        uint16_t min_clusters, min_clusters_cores, min_nodes;
        bool placed_before;
        bool above; /* on more clusters than its minimum, or without CPUs of its own */
} ModelVm;

typedef struct ModelOptions {
        VmPolicy vm_policy; /* of every VM */
        bool first_touch;   /* memory stays where the VM first ran */
} ModelOptions;

typedef struct Model {
        const Topology *topology;
        ModelOptions options;
        Snapshot *host;
        ModelVm vm[VMS_MAX];
        int32_t last_tid;
        CpuSetPool spare; /* for clearing out the snapshot's pool */
} Model;

int model_new(const Topology *topology, const ModelOptions *options, Model **ret);
Model *model_free(Model *model);

/* Starts a VM: its threads may run in their whole range. serial grows from VM
 * to VM. False: the host holds no more. */
bool model_create(Model *model, uint32_t serial, const char *name, uint16_t n_vcpus, const CpuSet *range);
/* The index of that VM in the snapshot, -1: it is not there. */
int model_find(const Model *model, uint32_t serial);
void model_destroy(Model *model, uint32_t index);
void model_destroy_all(Model *model);
/* The operator gives a VM another range, which the kernel's masks follow. */
void model_set_range(Model *model, uint32_t index, const CpuSet *range);

/* A write to a vCPU's mask that succeeded, and what state the daemon would keep
 * of it. cpu: the CPU that it owns now, or -1. */
void model_write(Model *model, uint32_t vcpu, SetId mask, int16_t cpu);
/* The same for a mask of that CPU alone. */
void model_give(Model *model, uint32_t vcpu, unsigned cpu);
/* The same for a VM that is no longer managed: its mask is given back. */
void model_release(Model *model, uint32_t vcpu, SetId mask);
/* Lets first touch happen and forgets sets that nothing uses. Call between rounds. */
void model_settle(Model *model);

/* The CPU that the thread was given for its own, or that its operator pinned
 * it to; -1: neither. */
int model_own_cpu(const Model *model, uint32_t vcpu);
/* Whether the operator pinned the vCPU to one CPU. */
bool model_is_pinned(const Model *model, uint32_t vcpu);
