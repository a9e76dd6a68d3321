/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What libvirt says of its running VMs: the operator's intent, as plain values. */

#include <stdatomic.h>

#include "core/snapshot.h"

typedef struct VcpuFact {
        uint16_t number;     /* the guest's vCPU number; offline vCPUs are left out */
        uint16_t guest_cell;
        uint16_t range;      /* index into the VmFact's range[] */
} VcpuFact;

typedef struct VmFact {
        char uuid[VM_UUID_SIZE];
        char *name;
        int id;              /* libvirt's id of this run */
        bool starting;       /* libvirt has not finished starting it */
        bool range_named;    /* its operator named a cpuset, vcpupin or placement=auto */
        bool emulator_named; /* ... an emulatorpin or iothreadpin */
        bool over_limit;     /* more vCPUs than VM_VCPUS_MAX, or its XML is past a limit of
                              * domain_xml.h: only uuid, name, id and starting are known */
        uint16_t guest_threads;
        uint64_t generation; /* changes whenever anything here did, or an event named the VM */
        unsigned n_vcpus;
        VcpuFact *vcpu;
        unsigned n_ranges;
        CpuSet *range;       /* distinct live pin ranges */
        bool numatune_named;
        CpuSet numatune;     /* OS numbers of NUMA nodes */
        unsigned n_devices;
        char (*device)[16];  /* PCI addresses 0000:00:00.0 of host devices */
        VmWish wish;         /* what its metadata asks for */
        atomic_uint n_sharers; /* owners beyond the first: see vm_fact_share() */
} VmFact;

typedef struct FactList {
        unsigned n;
        VmFact **vm;
        uint64_t serial;     /* grows with each list */
        bool full;           /* nothing in it was read before the last full request */
        bool only_events;    /* since the list that was taken before, nothing was listed:
                              * only VMs that events named may differ from it */
        int64_t taken_at_ns; /* CLOCK_MONOTONIC: all that was so then, and all that an event
                              * has told of since, is in the list */
} FactList;

/* Both take NULL and half-built facts, and return NULL. A fact goes with the last
 * of its owners, in whichever thread. */
VmFact *vm_fact_free(VmFact *fact);
FactList *fact_list_free(FactList *list);

/* The same fact for one more owner; from here on nobody changes it. */
VmFact *vm_fact_share(VmFact *fact);

/* Whether all but the generation is the same. */
bool vm_fact_equal(const VmFact *a, const VmFact *b);
