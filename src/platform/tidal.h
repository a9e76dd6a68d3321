/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The tidal-affinity kernel (openEuler's "dynamic affinity"): each thread has a
 * preferred set of CPUs inside its allowed ones, and leaves it at wake-up while
 * it is too busy. Written from the kernel's source; no such kernel was at hand.
 */

#include "platform/host.h"

typedef struct RealHost RealHost;

typedef struct TidalProbe {
        TidalWay way;        /* TIDAL_NONE: can not be used */
        TidalValues values;
        bool kunpeng;        /* the first CPU is HiSilicon's */
        bool tlbi_limited;   /* kvm-arm.dvmbm_enabled=1 was booted */
        bool own_group;      /* the vCPU that was looked at has a cpu cgroup of its own */
        char why[256];       /* why it can not be used, or what to know when it can */
} TidalProbe;

/* Looks whether that kernel's files are there, on and writable for one vCPU
 * thread (NULL: for ourselves). Reads only. */
void tidal_probe(const RealHost *host, const ThreadRef *example, TidalProbe *ret);

/*
 * Lets the thread run on allowed and prefer preferred: first nothing is
 * preferred, then the allowed set is written, then the preferred one, and it is
 * read back; what is so already is not written. When the allowed set can not be
 * written, what was preferred is again. A preferred set that is not a proper part of allowed prefers
 * nothing, which is what the kernel would make of it. A thread that has both
 * already is not written. *ret_mask is the mask found afterwards (untouched when
 * none was written).
 */
WriteStatus tidal_bind(RealHost *host, const ThreadRef *thread, TidalWay way, const CpuSet *allowed,
                       const CpuSet *preferred, CpuSet *ret_mask);

/* Nothing is preferred any more. */
WriteStatus tidal_release(RealHost *host, const ThreadRef *thread, TidalWay way);

/* What the thread prefers now; empty: nothing. 0 or -errno. */
int tidal_preferred_read(const RealHost *host, const ThreadRef *thread, TidalWay way, CpuSet *ret);

/* What is in force now. Values that can not be read are -1. */
void tidal_values_read(const RealHost *host, TidalValues *ret);
/* Writes the values that are not -1 and differ from what is in force: 0, or the
 * first -errno. To restore is to write what was read before. */
int tidal_values_write(const RealHost *host, const TidalValues *wanted);
