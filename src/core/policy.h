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

/* What is done with a VM's threads that are no vCPUs: see core/helpers.h. */
typedef enum HelperPolicy { HELPERS_LEAVE, HELPERS_CLUSTER, HELPERS_HOUSEKEEPING } HelperPolicy;

/* What counts for one VM: the host's values, [vm GLOB] and metadata, resolved. */
typedef struct VmPolicy {
        Manage manage;
        Smt smt;
        Layout layout;
        SchedPolicy sched;
        bool cross_node; /* may leave the node that holds its memory */
} VmPolicy;

/* What is wrong with a VM's metadata. Up to WISH_BAD_LAST: nothing of it is taken.
 * Beyond: one wish is refused, the others are taken. */
typedef enum WishFault {
        WISH_FINE,
        WISH_TWICE,     /* more than one element of ours */
        WISH_NOT_VM,    /* an element that is not <vm> */
        WISH_CONTENT,   /* something inside the element */
        WISH_UNKNOWN,   /* an attribute that is not known */
        WISH_BAD_VALUE, /* one whose value is not legal */
        WISH_BAD_LAST = WISH_BAD_VALUE,
        WISH_SMT,       /* smt is the host's alone */
        WISH_WIDENS,    /* manage away from "no" */
        WISH_SCHED,     /* a sched-policy that no [vm] section allows */
        WISH_FAULTS,
} WishFault;

/* What a VM's own metadata asks for. */
typedef struct VmWish {
        bool has_manage, has_layout, has_sched;
        Manage manage;
        Layout layout;
        SchedPolicy sched;
        WishFault fault;
} VmWish;

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
        HelperPolicy helpers;  /* emulator-threads */
} Policy;

/* The documented defaults. */
void policy_defaults(Policy *ret);
void vm_policy_defaults(VmPolicy *ret);
