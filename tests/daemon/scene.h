/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Hosts, VMs and plans put together by hand, for tests of what is shown. */

#include "daemon/view.h"

typedef struct Scene {
        Topology topology;
        Snapshot snapshot;
        Policy policy;
        Plan plan;
        CpuSet offline;
        View view;
} Scene;

/* A host without VMs: CPU numbers run over nodes, clusters, cores, and then
 * again for each further thread of the cores. NULL: it could not be built. */
Scene *scene_new(unsigned nodes, unsigned clusters, unsigned cores, unsigned threads);
Scene *scene_free(Scene *scene);

/* Adds a VM whose vCPUs may run everywhere; returns its index. Its UUID is
 * 00000000-0000-4000-8000-0000000000NN with its index, pid and threads follow. */
uint32_t scene_vm(Scene *scene, const char *name, unsigned vcpus, VerdictKind kind, VerdictReason reason);

/* Gives all its vCPUs a range that the operator named. */
void scene_range(Scene *scene, uint32_t vm, const char *list);

/* Pins vCPU number vcpu as an operator would. */
void scene_pin(Scene *scene, uint32_t vm, unsigned vcpu, unsigned cpu);

/* The plan gives CPUs to vCPUs 0.. in the order of the list, and has been
 * carried out. */
void scene_place(Scene *scene, uint32_t vm, const char *list);

/* The thread's mask as somebody else set it. */
void scene_mask(Scene *scene, uint32_t vm, const char *list);

/* Sums up what the verdicts and the plan say of spans and owned CPUs; min: the
 * VM's minimum of clusters. */
void scene_judge(Scene *scene, uint32_t vm, unsigned min_nodes, unsigned min_clusters);

/* The scenes that tests know by name; NULL: there is no such scene. */
Scene *scene_by_name(const char *name);
