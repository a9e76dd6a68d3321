/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the view share. */

#include "daemon/view.h"
#include "util/cpulist.h"

typedef enum VcpuState {
        VCPU_PLACED,
        VCPU_SHARED,
        VCPU_LAYERED,
        VCPU_PINNED,
        VCPU_FOREIGN,
        VCPU_UNMANAGED,
        VCPU_UNSEEN,
} VcpuState;

VcpuState view_vcpu_state(const View *view, uint32_t vcpu);

/* The CPU that the vCPU has for itself, through us or otherwise; -1: none. */
int view_vcpu_cpu(const View *view, uint32_t vcpu);

/* Where the VM's vCPUs are (meant to be): each its own CPU, else all it may use.
 * vCPUs whose thread is not seen count for nothing. */
void view_vm_cpus(const View *view, uint32_t vm, CpuSet *ret);

/* A vCPU, of this VM or another, on a CPU that one of the VM's has already; -1: none. */
int view_pinned_twice(const View *view, uint32_t vm);

/* The union of what its vCPUs are allowed. */
void view_vm_allowed(const View *view, uint32_t vm, CpuSet *ret);

/* The name of the VM in its way, or null. */
json_t *view_blocker(const View *view, uint32_t vm);

/* Thread ids of the VM's iothreads. */
json_t *view_io_threads(const View *view, uint32_t vm);

json_t *view_cpulist(const CpuSet *set);

/* What would help the VM: a sentence, NULL when nothing is wanted. *ret_reassign:
 * it is the end of one that begins with "vasctl reassign NAME". */
const char *view_advice(const View *view, uint32_t vm, const CpuSet *allowed, bool *ret_reassign);
