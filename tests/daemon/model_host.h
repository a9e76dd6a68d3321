/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A modelled host behind the host door: VMs, threads with masks and cpusets,
 * and faults on demand. Its rules are the kernel's: a mask is clipped to the
 * thread's cpuset, a write outside of it fails, a dead thread is not written.
 */

#include "platform/host.h"

enum { MODEL_VMS = 16, MODEL_VCPUS = 16, MODEL_HELPERS = 8 };

typedef struct ModelThread {
        int tid;
        bool alive;
        CpuSet range, cpuset, mask;
        unsigned writes;
} ModelThread;

typedef struct ModelVm {
        char name[32];
        char uuid[VM_UUID_SIZE];
        int pid; /* 0: libvirt has not finished starting it */
        bool listed;      /* libvirt knows it */
        bool range_named;
        unsigned n_vcpus;
        ModelThread thread[MODEL_VCPUS];
        bool emulator_named;
        unsigned n_helpers; /* threads that are no vCPUs, the emulator's own first */
        ModelThread helper[MODEL_HELPERS];
} ModelVm;

typedef struct ModelHost {
        unsigned n_clusters, cpus_per_cluster;
        CpuSet online;
        unsigned n_vms, last_serial;
        ModelVm vm[MODEL_VMS];
        int64_t now_ns;
        unsigned writes;            /* all writes that reached the kernel */
        WriteStatus next_status[8]; /* what the coming writes end with; WRITE_OK: as the kernel's rules say */
        unsigned n_next, at_next;
        bool unknown_writes;        /* a coming WRITE_RETRY has written all the same */
        unsigned clipped;           /* writes of which the kernel took only a part, or nothing */
        int meddle_tid;             /* this thread gets that mask just after it was looked at */
        CpuSet meddle_mask;
        int die_tid;                /* this thread dies just before it is written */
        bool observe_fails;
} ModelHost;

void model_init(ModelHost *model, unsigned n_clusters, unsigned cpus_per_cluster);
Host model_door(ModelHost *model);
/* A VM with a range of first .. last for all vCPUs; its threads may run anywhere in it. */
ModelVm *model_start(ModelHost *model, const char *name, unsigned n_vcpus, unsigned first, unsigned last);
/* One more thread that is no vCPU, with the mask of the emulator's own, or its VM's range. */
ModelThread *model_helper(ModelVm *vm);
void model_destroy(ModelVm *vm);
/* Makes room: forgets VM number v, which is gone. Those after it move up. */
void model_forget(ModelHost *model, unsigned v);
/* What virsh vcpupin does: range, cpuset and mask. */
void model_vcpupin(ModelVm *vm, unsigned vcpu, unsigned first, unsigned last);
int model_cpu(const ModelVm *vm, unsigned vcpu); /* its only CPU; -1 */
