/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where a VM's helpers, its threads that are no vCPUs, should run: the emulator's
 * own, I/O threads, vhost threads. Decided after the vCPUs, from what these left.
 */

#include "core/plan.h"

/* CPUs that no vCPU has after the plan, and that are neither in skip-cpuset nor
 * isolated by the kernel. */
void helpers_unowned(const Topology *topology, const Snapshot *snapshot, const Policy *policy,
                     const Plan *plan, CpuSet *ret);

/* The CPUs for the helpers of that VM; not empty. False: they are left as they are,
 * or were before us. */
bool helpers_cpus(const Topology *topology, const Snapshot *snapshot, const Policy *policy, const Plan *plan,
                  const CpuSet *unowned, uint32_t vm, CpuSet *ret);
