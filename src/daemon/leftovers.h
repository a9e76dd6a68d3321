/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * vCPUs whose cpuset lacks CPUs of the range that libvirt has for them. libvirt
 * writes a vCPU's pin into the vCPU's own cpuset, so only others make them
 * differ: a program that bound vCPUs by their cpusets (as virt-awaresched does)
 * and left them so when it went, or a slice with AllowedCPUs=. Our masks can not
 * reach beyond a cpuset: the operator should know.
 */

#include "core/snapshot.h"

/* How many vCPUs of the VM; the first of them, an index into snapshot->vcpu, is
 * in *ret_vcpu if there is one. CPUs that are or were offline do not count: the
 * kernel may have taken them out of cpusets by itself. */
unsigned leftovers_find(const Snapshot *snapshot, const CpuSet *online, uint32_t vm, uint32_t *ret_vcpu);

/* Writes one warning for each VM that has some. */
void leftovers_report(const Snapshot *snapshot, const CpuSet *online);
