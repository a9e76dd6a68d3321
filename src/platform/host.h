/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The host door: all that the daemon asks of a host. platform/ implements it
 * for the real one; the tests put a modelled host behind it.
 */

#include "core/dynamic.h"
#include "core/plan.h"
#include "platform/facts.h"

/* How a write ended. */
typedef enum WriteStatus {
        WRITE_OK,
        WRITE_STALE,   /* the thread is gone, or is not that vCPU (any more): nothing was written */
        WRITE_DENIED,  /* the kernel forbids it: CAP_SYS_NICE is missing */
        WRITE_REFUSED, /* outside the thread's cpuset, or the kernel clipped the mask */
        WRITE_RETRY,   /* a passing failure */
} WriteStatus;

enum { THREAD_HELPER = UINT16_MAX };

/* A thread's identity, checked before and after each write. */
typedef struct ThreadRef {
        char uuid[VM_UUID_SIZE];
        int32_t pid, tid;
        uint64_t process_start_ticks, thread_start_ticks;
        uint16_t number; /* vCPU number, as in the thread's comm; THREAD_HELPER: a thread that is no vCPU */
} ThreadRef;

/* What a vCPU thread did since the last pass of samples. */
typedef struct ThreadSample {
        bool valid;
        uint16_t run_permille;  /* on a CPU */
        uint16_t wait_permille; /* runnable, but waiting */
} ThreadSample;

/* How a thread's preferred set is reached on a kernel that has such: see platform/tidal.h. */
typedef enum TidalWay { TIDAL_NONE, TIDAL_THREAD, TIDAL_CGROUP } TidalWay;

/* Host-wide values of that kernel; -1: not known, or not to be touched. */
typedef struct TidalValues {
        int threshold;  /* percent, sched_util_low_pct */
        int task_group; /* 1: a task group's own use counts; 0: the CPU's */
} TidalValues;

/* What is asked of such a kernel alone. */
typedef struct TidalOps {
        /* The thread may run on allowed and prefers preferred; nothing where that is
         * no proper part of allowed. *ret_mask as for write_mask. */
        WriteStatus (*bind)(void *self, const ThreadRef *thread, TidalWay way, const CpuSet *allowed,
                            const CpuSet *preferred, CpuSet *ret_mask);
        /* Nothing is preferred any more. A thread that prefers nothing is not written. */
        WriteStatus (*release)(void *self, const ThreadRef *thread, TidalWay way);
        /* What the thread prefers; empty: nothing. 0 or -errno. */
        int (*read_preferred)(void *self, const ThreadRef *thread, TidalWay way, CpuSet *ret);
        void (*read_values)(void *self, TidalValues *ret);
        /* Writes the values that are not -1. 0 or the first -errno. */
        int (*write_values)(void *self, const TidalValues *wanted);
} TidalOps;

/* How closely an observation looks; each does what those before it do. */
typedef enum Look {
        LOOK_NEWS,    /* VMs of which libvirt tells something new, or that were written since */
        LOOK_VCPUS,   /* every VM, whether its vCPUs are still what they were */
        LOOK_HELPERS, /* and whether its helpers have the masks that they had */
        LOOK_FULL,    /* nothing is taken from a cache */
} Look;

typedef struct HostOps {
        /* The host's topology now. 0; or -errno and *ret_why. */
        int (*read_topology)(void *self, ClusterLevel level, Topology *ret, char ret_why[256]);
        /* The CPUs that are online now: cheap, for every round. 0 or -errno. */
        int (*read_online)(void *self, CpuSet *ret);
        /* Fills everything of *ret but what state and policy add (before, written,
         * range_then, intended, home, drift, policy, fresh). Below LOOK_FULL only
         * what shows a change is read anew, and each VM in full once in 120
         * observations that look at every VM: LOOK_FULL is for when something is
         * amiss (a start, a reload, a reconnect). 0 or -errno. */
        int (*observe)(void *self, const FactList *facts, const Topology *topology, Look look, Snapshot *ret);
        /* Checks the thread, writes, reads back, checks again. *ret_mask is the
         * mask found afterwards (untouched when STALE). */
        WriteStatus (*write_mask)(void *self, const ThreadRef *thread, const CpuSet *mask, CpuSet *ret_mask);
        /* The thread's mask now. 0; -ESRCH when it is not that vCPU (any more); or
         * another -errno when that can not be told. */
        int (*read_mask)(void *self, const ThreadRef *thread, CpuSet *ret);
        int64_t (*now_ns)(void *self);
        /* The threads to sample from now on; none ends the sampling. 0 or -errno. */
        int (*follow)(void *self, const ThreadRef *thread, unsigned n);
        /* Samples all followed threads, in that order, and the CPUs: see
         * platform/sampler.h. 0 or -errno. */
        int (*sample)(void *self, ThreadSample *ret, DynamicCpus *ret_cpus);
        const TidalOps *tidal; /* NULL: this host never has such a kernel */
} HostOps;

typedef struct Host {
        const HostOps *ops;
        void *self;
} Host;

typedef struct RealHost RealHost;

/*
 * The real host. root: directory that stands in for / (fixtures), "" for /
 * itself. topology: NULL for the machine, else an hwloc synthetic description
 * or an XML file's path; its CPUs then count as online. Below another root
 * masks are read from files, and every write is DENIED. The soft limit of open
 * files is raised to the hard one, since known threads are held open. Libvirt's
 * pid files are looked for in run/libvirt/qemu and, where XDG_RUNTIME_DIR is
 * set, in its libvirt/qemu/run. Returns 0 or -errno.
 */
int real_host_new(const char *root, const char *topology, RealHost **ret);
RealHost *real_host_free(RealHost *host);
Host real_host_door(RealHost *host);

/* A thread that got a mask meant for a vCPU that died at that very moment. */
typedef struct Stranger {
        int32_t pid, tid;
        char comm[64];
        bool widened; /* it was given its process's mask back */
} Stranger;

/* After a write that was STALE: whether it hit a stranger, who must be told of
 * loudly. Each is told of once. */
bool real_host_take_stranger(RealHost *host, Stranger *ret);
