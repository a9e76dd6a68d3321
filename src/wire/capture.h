/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A capture: all that the planner was given, and the plans that it made of it, as
 * one JSON object. The topology is hwloc's XML in it, which who reads it must make
 * into core's Topology; all else is here.
 */

#include <jansson.h>

#include "core/plan.h"

enum {
        CAPTURE_FORM = 1, /* "vsched_capture" in it */
        CAPTURE_BYTES_MAX = 64 * 1024 * 1024,
        CAPTURE_WHY_SIZE = 256,
};

/* What the planner is given, without the topology. */
typedef struct Capture {
        Snapshot snapshot;
        History history;
        Policy policy;
        int64_t now_ns;
} Capture;

/* The members "snapshot", "history", "policy" and "now_ns". NULL: no memory. */
json_t *capture_pack(const Snapshot *snapshot, const History *history, const Policy *policy, int64_t now_ns);

/* Reads them. 0; or -EINVAL with what is wrong in *ret_why, *ret then undefined. */
int capture_unpack(const json_t *json, Capture *ret, char ret_why[CAPTURE_WHY_SIZE]);

/* What can be compared of a plan: moves but MOVE_HOLD (masks are not the planner's
 * where the policy is not static), a verdict for each VM, and the scores. */
json_t *capture_plan(const Snapshot *snapshot, const Plan *plan);

/* Gives all VMs other names and UUIDs, the same for the same under one key. */
void capture_hash_names(Snapshot *snapshot, History *history, const uint64_t key[2]);
uint64_t capture_hash(const uint64_t key[2], const void *data, size_t length); /* SipHash-2-4 */
