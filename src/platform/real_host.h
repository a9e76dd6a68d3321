/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The inside of the real host, for the files that make it up. */

#include "platform/cgroups.h"
#include "platform/host.h"
#include "platform/sampler.h"
#include "platform/vm_record.h"

struct RealHost {
        char *root;         /* "" for / itself */
        int root_fd;
        bool is_fixture;    /* root is not "": masks are read from files, nothing is written */
        char *description;  /* of the topology; NULL: the machine's own */
        CpuSet described;   /* online CPUs of the description */
        char *pid_dir[2];   /* where libvirt keeps pid files, below the root; NULL: no such */
        CgroupMounts cgroups;
        VmRecordList records;
        uint64_t n_observed; /* observations of every VM */
        unsigned fds_spare; /* how many more descriptors records may hold */
        CpuSetPool *pool;   /* the records' sets */
        Sampler *sampler;   /* NULL: nobody is followed */
        bool has_stranger;
        Stranger stranger;
};

/* The process's VM is looked at again, whatever libvirt says of it. */
void vm_record_written(RealHost *host, int32_t pid);

/* Frees all records; the list is empty then. */
void vm_record_list_done(RealHost *host);

int real_host_observe(RealHost *host, const FactList *facts, const Topology *topology, Look look,
                      Snapshot *ret);
