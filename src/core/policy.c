/* SPDX-License-Identifier: Apache-2.0 */

#include "core/policy.h"

void policy_defaults(Policy *ret) {
        *ret = (Policy){
                .range_affinity = true,
                .smt = SMT_AUTO,
                .layout = LAYOUT_AUTO,
                .credits_per_event_milli = 1000,
                .credits_per_10s_milli = 1000,
                .burst_milli = 64000,
                .cool_down_ns = INT64_C(30000000000),
                .contested_back_off_ns = INT64_C(300000000000),
                .overcommit_layers = 6,
        };
}

void vm_policy_defaults(VmPolicy *ret) {
        *ret = (VmPolicy){
                .manage = MANAGE_AUTO,
                .smt = SMT_AUTO,
                .layout = LAYOUT_AUTO,
                .sched = SCHED_STATIC,
        };
}
