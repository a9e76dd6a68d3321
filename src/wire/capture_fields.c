/* SPDX-License-Identifier: Apache-2.0 */

#include "wire/capture_internal.h"

#define NUMBER(struct_, member_, type_, least_, most_)                                                       \
        {                                                                                                    \
                .name = #member_, .type = type_, .offset = offsetof(struct_, member_), .least = least_,      \
                .most = most_                                                                                \
        }
#define FLAG(struct_, member_)                                                                               \
        { .name = #member_, .type = FIELD_BOOL, .offset = offsetof(struct_, member_) }
#define SET(member_)                                                                                         \
        { .name = #member_, .type = FIELD_SET, .offset = offsetof(Vcpu, member_) }
#define LIST(fields_)                                                                                        \
        { .field = fields_, .n = sizeof(fields_) / sizeof((fields_)[0]) }

#define CPU_MAX (CPUS_MAX - 1)
#define NS_MAX (INT64_MAX / 4)
#define MILLI_MAX INT64_C(1000000000)

static const Field vm[] = {
        NUMBER(Vm, pid, FIELD_I32, 0, INT32_MAX),
        NUMBER(Vm, start_ticks, FIELD_I64, 0, INT64_MAX),
        NUMBER(Vm, sight, FIELD_I32, 0, SIGHT_LIMIT),
        NUMBER(Vm, guest_threads, FIELD_U16, 0, VM_VCPUS_MAX),
        FLAG(Vm, range_named),
        NUMBER(Vm, policy.manage, FIELD_I32, 0, MANAGE_OBSERVE),
        NUMBER(Vm, policy.smt, FIELD_I32, 0, SMT_OWN_CORES),
        NUMBER(Vm, policy.layout, FIELD_I32, 0, LAYOUT_SPREAD),
        NUMBER(Vm, policy.sched, FIELD_I32, 0, SCHED_CLUSTER),
        FLAG(Vm, policy.cross_node),
        NUMBER(Vm, mem_source, FIELD_I32, 0, MEM_LAST_RUN),
};

static const Field vcpu[] = {
        NUMBER(Vcpu, number, FIELD_U16, 0, UINT16_MAX),
        NUMBER(Vcpu, tid, FIELD_I32, 0, INT32_MAX),
        NUMBER(Vcpu, start_ticks, FIELD_I64, 0, INT64_MAX),
        SET(range),
        SET(cpuset),
        SET(mask),
        SET(before),
        SET(range_then),
        SET(written),
        SET(intended),
        NUMBER(Vcpu, home, FIELD_I16, -1, CPU_MAX),
        FLAG(Vcpu, layered),
        NUMBER(Vcpu, drift, FIELD_U8, 0, UINT8_MAX),
};

static const Field history[] = {
        NUMBER(History, credits_milli, FIELD_I64, 0, MILLI_MAX),
        NUMBER(History, accrued_at_ns, FIELD_I64, 0, NS_MAX),
        FLAG(History, started),
};

static const Field vm_history[] = {
        NUMBER(VmHistory, start_ticks, FIELD_I64, 0, INT64_MAX),
        NUMBER(VmHistory, cool_until_ns, FIELD_I64, 0, NS_MAX),
        NUMBER(VmHistory, contested_until_ns, FIELD_I64, 0, NS_MAX),
};

static const Field policy[] = {
        FLAG(Policy, range_affinity),
        NUMBER(Policy, smt, FIELD_I32, 0, SMT_OWN_CORES),
        NUMBER(Policy, layout, FIELD_I32, 0, LAYOUT_SPREAD),
        NUMBER(Policy, credits_per_event_milli, FIELD_I32, 0, MILLI_MAX),
        NUMBER(Policy, credits_per_10s_milli, FIELD_I32, 0, MILLI_MAX),
        NUMBER(Policy, burst_milli, FIELD_I32, 0, MILLI_MAX),
        NUMBER(Policy, cool_down_ns, FIELD_I64, 0, NS_MAX),
        NUMBER(Policy, contested_back_off_ns, FIELD_I64, 0, NS_MAX),
        NUMBER(Policy, overcommit_layers, FIELD_U8, 1, UINT8_MAX),
};

const FieldList vm_fields = LIST(vm), vcpu_fields = LIST(vcpu), history_fields = LIST(history),
                vm_history_fields = LIST(vm_history), policy_fields = LIST(policy);
