/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The dynamic binding's controller: samples + now -> mask changes.
 *
 * A vCPU has a home, the CPU that the planner gave it. While that CPU is too
 * busy for it and another CPU of its allowed set is idle, it is bound to that
 * one instead; when its home has become calm it is bound there again. A vCPU
 * is always bound to exactly one CPU, home or away.
 */

#include "core/topology.h"

enum { PERMILLE = 1000 };

/* Whose use is compared with the threshold. */
typedef enum DynamicSource {
        DYNAMIC_CPU,       /* all that runs on the vCPU's CPU */
        DYNAMIC_TASKGROUP, /* what the vCPU itself runs or would run */
} DynamicSource;

typedef struct DynamicPolicy {
        uint16_t thresh_permille; /* use from which a CPU may be left */
        DynamicSource source;
        uint16_t wait_permille;   /* waiting from which a CPU may be left */
        uint16_t idle_permille;   /* a CPU used less than this is idle */
        uint8_t leave_samples;    /* so many bad samples in a row before it leaves */
        uint8_t return_samples;   /* so many calm ones before it returns */
        uint8_t return_samples_max; /* the same, for one that had to leave again and again */
        int64_t again_ns;         /* leaving so soon after a return is "again" */
        int64_t dwell_ns;         /* least time between two changes of a vCPU */
        int64_t vm_window_ns;     /* at most two changes of a VM in this time */
        int64_t vm_gap_ns;        /* least time between two changes of a VM; 0: none */
} DynamicPolicy;

/* One vCPU, as this pass found it. The vCPUs of a VM lie together. */
typedef struct DynamicVcpu {
        uint32_t vm;             /* index into the VMs' memories */
        int16_t home;            /* OS number; always in allowed */
        const CpuSet *allowed;
        bool sampled;            /* the two shares below are known */
        uint16_t run_permille;   /* of the time since the last pass: on a CPU */
        uint16_t wait_permille;  /* of the time since the last pass: runnable, but waiting */
} DynamicVcpu;

/* What is remembered of a vCPU from pass to pass. Zeroes and at = home begin. */
typedef struct DynamicTrack {
        int16_t at;         /* the CPU that it is bound to; OS number */
        uint8_t bad, calm;  /* samples in a row */
        uint8_t return_need; /* calm samples that it needs now; 0: as the policy says */
        bool changed, returned; /* whether the times below are known */
        int64_t changed_ns, returned_ns;
} DynamicTrack;

/* What is remembered of a VM. Zeroes begin. */
typedef struct DynamicVm {
        uint8_t n_changes; /* 0 .. 2 known */
        int64_t change_ns[2]; /* newest first */
} DynamicVm;

/* The host's CPUs in this pass, by OS number. */
typedef struct DynamicCpus {
        uint16_t busy_permille[CPUS_MAX];
        CpuSet sampled; /* CPUs of which busy_permille is known */
        CpuSet owned;   /* CPUs that some vCPU owns: home to somebody, or pinned */
} DynamicCpus;

typedef enum DynamicKind { DYNAMIC_LEAVE, DYNAMIC_MOVE_ON, DYNAMIC_RETURN } DynamicKind;

typedef struct DynamicChange {
        uint32_t vcpu;
        DynamicKind kind;
        int16_t from, to; /* OS numbers */
} DynamicChange;

/* Scratch, and how long each CPU has been idle. Zeroes begin. */
typedef struct DynamicWork {
        uint8_t idle_for[CPUS_MAX]; /* samples in a row, by OS number */
        uint16_t visitors_permille[CPUS_MAX]; /* use by vCPUs that are away there */
        CpuSet idle;      /* idle and promised to nobody */
        CpuSet idle_cores; /* those of them on cores that are idle as a whole */
} DynamicWork;

void dynamic_policy_defaults(DynamicPolicy *ret);

/*
 * One pass. track[] belongs to vcpu[] by index, vm[] to DynamicVcpu.vm. Returns
 * the number of changes in ret (room for n); each is already noted in track[]
 * and vm[]: one that could not be written is taken back with dynamic_undo().
 */
uint32_t dynamic_step(const Topology *topology, const DynamicPolicy *policy, const DynamicCpus *cpus,
                      const DynamicVcpu *vcpu, uint32_t n, DynamicTrack *track, DynamicVm *vm, DynamicWork *work,
                      int64_t now_ns, DynamicChange *ret);

/* A change that did not happen: the vCPU is where it was. Its dwell time counts. */
void dynamic_undo(DynamicTrack *track, const DynamicChange *change);
