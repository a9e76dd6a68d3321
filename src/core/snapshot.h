/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Everything that one observation found: the VMs, their vCPU threads, where
 * each thread may run and does run. Plain values; it is rebuilt from scratch
 * for every round, and a recorded one replays to the same plan.
 *
 * CPU sets are ids into the snapshot's own pool. The planner may add sets to
 * the pool and changes nothing else.
 */

#include "core/policy.h"
#include "core/topology.h"

enum {
        VMS_MAX = 2048,
        VCPUS_MAX = 32768,
        VM_VCPUS_MAX = 512,
        HELPERS_MAX = 32768,
        VM_NAME_SIZE = 256, /* bytes, with the NUL */
        VM_UUID_SIZE = 37,  /* text form, with the NUL */
        MEM_SHARES_MAX = 8,
};

/* Whether the VM's process and threads could be seen. */
typedef enum VmSight {
        SIGHT_OK,
        SIGHT_STARTING,   /* libvirt has not finished starting it */
        SIGHT_NO_PID,     /* no pid file, or it can not be read */
        SIGHT_NO_PROCESS, /* the process has gone */
        SIGHT_HIDDEN,     /* /proc hides the process from us */
        SIGHT_STRANGER,   /* the process is not the one that libvirt means */
        SIGHT_NO_THREADS, /* the process has no vCPU threads (yet) */
        SIGHT_LIMIT,      /* past a documented limit */
} VmSight;

/* How a VM's memory nodes are known. */
typedef enum MemSource { MEM_UNKNOWN, MEM_NUMATUNE, MEM_STAT, MEM_LAST_RUN } MemSource;

typedef struct MemShare {
        uint16_t node;     /* OS number */
        uint16_t permille; /* of the VM's memory */
} MemShare;

typedef struct Vcpu {
        uint16_t vm;          /* index into vm[] */
        uint16_t number;      /* the guest's vCPU number */
        uint16_t guest_cell;  /* NUMA cell inside the guest; 0 if it has none */
        int32_t tid;          /* 0: no thread seen */
        uint64_t start_ticks; /* thread start time, clock ticks since boot */
        SetId range;   /* live libvirt pin range, as the operator wants it */
        SetId cpuset;  /* effective CPUs of the thread's cgroup; SET_NONE: no cpuset controller */
        SetId mask;    /* the thread's affinity now */
        /* What we know of this thread from before; SET_NONE: nothing. */
        SetId before;      /* mask before our first write */
        SetId range_then;  /* range when we last looked */
        SetId written;     /* the mask we wrote last, as read back */
        SetId intended;    /* the mask of a write that may not have happened (crash) */
        int16_t home;      /* OS number of the CPU it had or prefers; -1: none */
        bool layered;      /* home is not its own: it lives there in a layer */
        uint8_t drift;     /* rounds in a row in which somebody had changed our mask */
        int16_t last_ran;  /* OS number of the CPU it last ran on; -1: unknown */
} Vcpu;

typedef enum HelperKind { HELPER_EMULATOR, HELPER_IOTHREAD, HELPER_VHOST, HELPER_OTHER } HelperKind;

/* A thread of the VM's process that is not a vCPU. */
typedef struct Helper {
        uint16_t vm;
        HelperKind kind;
        int32_t tid;
        uint64_t start_ticks;
        SetId mask;
} Helper;

typedef struct Vm {
        char name[VM_NAME_SIZE];
        char uuid[VM_UUID_SIZE];
        int32_t pid;             /* 0: not seen */
        uint64_t start_ticks;    /* process start time, clock ticks since boot */
        VmSight sight;
        uint32_t first_vcpu;     /* its vCPUs lie together, by number */
        uint16_t n_vcpus;
        uint16_t n_unlisted;     /* vCPU threads that libvirt did not name: what it said is out of date */
        uint16_t guest_threads;  /* guest SMT: vCPUs per guest core */
        bool range_named;        /* the operator named a cpuset, vcpupin or placement=auto */
        bool emulator_named;     /* the operator named an emulatorpin or iothreadpin */
        VmPolicy policy;
        VmWish wish;             /* its metadata; fault also when the settings refuse some of it */
        MemSource mem_source;
        uint8_t n_mem;
        MemShare mem[MEM_SHARES_MAX]; /* largest first */
        uint8_t n_device_nodes;
        uint16_t device_node[MEM_SHARES_MAX]; /* OS numbers, of PCI host devices */
} Vm;

typedef struct Snapshot {
        uint32_t n_vms, n_vcpus, n_helpers;
        uint32_t n_beyond_limits; /* VMs that did not fit in here at all */
        /* CPUs that came online after the first start in this boot: a mask
         * that lacks only these was not narrowed by anybody. */
        CpuSet fresh;
        Vm vm[VMS_MAX];           /* in order of arrival: start time, then UUID */
        Vcpu vcpu[VCPUS_MAX];
        Helper helper[HELPERS_MAX];
        CpuSetPool pool;
} Snapshot;

void snapshot_clear(Snapshot *snapshot);

/* Whether the union of the masks of the vCPU's VM would be another one, had the
 * vCPU that mask. */
bool snapshot_union_changes(const Snapshot *snapshot, uint32_t vcpu, const CpuSet *mask);
