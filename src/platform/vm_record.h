/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What was last seen of a VM's process and threads, kept from look to look. */

#include "core/snapshot.h"
#include "platform/host.h"
#include "platform/memory.h"

typedef struct SeenVcpu {
        uint16_t fact;        /* index into the VmFact's vcpu[] */
        uint16_t number;
        int16_t last_ran;
        int32_t tid;          /* 0: no thread */
        uint64_t start_ticks;
        SetId cpuset, mask;   /* of the host's own pool */
        int fd;               /* its directory in /proc; -1: not held */
} SeenVcpu;

typedef struct SeenHelper {
        HelperKind kind;
        int32_t tid;
        uint64_t start_ticks;
        SetId mask;
} SeenHelper;

typedef struct VmRecord {
        char uuid[VM_UUID_SIZE];
        const VmFact *fact;   /* of this round; NULL: no longer there */
        uint64_t generation;  /* of the fact it was made from */
        bool written;         /* a mask of its threads may have been, since */
        VmSight sight;
        int32_t pid;
        uint64_t start_ticks;
        int task_fd;          /* /proc/PID/task; -1: not held */
        uint64_t n_links;     /* of that directory: grows with each thread */
        unsigned n_unlisted;  /* vCPU threads that the fact does not name */
        unsigned n_vcpus;
        SeenVcpu *vcpu;       /* by number; one for each of the fact's */
        unsigned n_helpers, helpers_room;
        SeenHelper *helper;
        MemorySeen memory;
        MemorySeen first_ran; /* where it ran when first seen: kept for its life */
        DeviceNodes devices;
} VmRecord;

/* In order of UUID. */
typedef struct VmRecordList {
        unsigned n, room;
        VmRecord **record;
} VmRecordList;

/* Closes what it holds open: it can not be proven true any more. */
void vm_record_let_go(RealHost *host, VmRecord *record);
VmRecord *vm_record_free(RealHost *host, VmRecord *record);

/* Looks at a VM in full. previous: what was seen of it before, or NULL.
 * 0; -ENOMEM, -EMFILE, -ENFILE: it can not be looked at at all. */
int vm_record_read(RealHost *host, const VmFact *fact, const Topology *topology, const VmRecord *previous,
                   VmRecord **ret);

/* Whether the record still says how things are, as far as that look goes, by the
 * cheapest way to tell. Helper threads that came or went are brought up to date. */
bool vm_record_holds(RealHost *host, VmRecord *record, const VmFact *fact, Look look);
