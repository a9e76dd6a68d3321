/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the operator wants, as plain values: for the host, and for each VM. */

#include "core/cpuset.h"

typedef enum Smt { SMT_AUTO, SMT_TRUE, SMT_FALSE, SMT_OWN_CORES } Smt;
typedef enum Layout { LAYOUT_AUTO, LAYOUT_PACK, LAYOUT_SPREAD } Layout;
typedef enum SchedPolicy { SCHED_STATIC, SCHED_DYNAMIC, SCHED_CLUSTER } SchedPolicy;
/* MANAGE_AUTO: managed, but a FOREIGN thread is left alone. MANAGE_YES takes
 * foreign threads over. MANAGE_OBSERVE: judged, never written. */
typedef enum Manage { MANAGE_AUTO, MANAGE_YES, MANAGE_NO, MANAGE_OBSERVE } Manage;

/* What counts for one VM: the host's values, [vm GLOB] and metadata, resolved. */
typedef struct VmPolicy {
        Manage manage;
        Smt smt;
        Layout layout;
        SchedPolicy sched;
        bool cross_node; /* may leave the node that holds its memory */
} VmPolicy;

typedef struct Policy {
        CpuSet skip;           /* CPUs never given to vCPUs */
        bool range_affinity;   /* false: only VMs whose range is whole NUMA nodes are managed */
        Smt smt;               /* the host's; a VM's own is in its VmPolicy */
        Layout layout;
        int32_t credits_per_event_milli; /* thousandths of a credit */
        int32_t credits_per_10s_milli;
        int32_t burst_milli;
        int64_t cool_down_ns;
        int64_t contested_back_off_ns;
        uint8_t overcommit_layers;
} Policy;

/* The documented defaults. */
void policy_defaults(Policy *ret);
void vm_policy_defaults(VmPolicy *ret);
