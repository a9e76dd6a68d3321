/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Sets of host CPUs, and a pool in which equal sets are stored once.
 *
 * A CpuSet always holds the operating system's CPU numbers, never positions in
 * a topology. Its size is fixed, so that sets are plain values.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        CPUS_MAX = 4096,
        CPUSET_WORDS = CPUS_MAX / 64,
        POOL_SETS_MAX = 16384,
        POOL_BUCKETS = 16384,
};

typedef struct CpuSet {
        uint64_t word[CPUSET_WORDS];
} CpuSet;

void cpuset_clear(CpuSet *set);
void cpuset_add(CpuSet *set, unsigned cpu);
void cpuset_add_range(CpuSet *set, unsigned first, unsigned last);
void cpuset_remove(CpuSet *set, unsigned cpu);
bool cpuset_has(const CpuSet *set, unsigned cpu);
unsigned cpuset_count(const CpuSet *set);
bool cpuset_is_empty(const CpuSet *set);
bool cpuset_equal(const CpuSet *a, const CpuSet *b);
bool cpuset_is_subset(const CpuSet *inner, const CpuSet *outer);
bool cpuset_intersects(const CpuSet *a, const CpuSet *b);
/* The set becomes its intersection, union or difference with other. */
void cpuset_and(CpuSet *set, const CpuSet *other);
void cpuset_or(CpuSet *set, const CpuSet *other);
void cpuset_subtract(CpuSet *set, const CpuSet *other);
/* The lowest CPU that is >= from; -1 if there is none. */
int cpuset_next(const CpuSet *set, unsigned from);
/* The only CPU of a set of one; -1 for any other set. */
int cpuset_single(const CpuSet *set);

#define CPUSET_FOREACH(cpu, set)                                               \
        for (int cpu = cpuset_next((set), 0); cpu >= 0;                        \
             cpu = cpuset_next((set), (unsigned)cpu + 1))

/* Names a set of a pool. SET_NONE means "not known"; it is not the empty set. */
typedef uint32_t SetId;
enum { SET_NONE = 0 };

typedef struct CpuSetPool {
        uint32_t n; /* sets in use are 1 .. n */
        uint32_t bucket[POOL_BUCKETS];
        uint32_t next[POOL_SETS_MAX + 1];
        int16_t single[POOL_SETS_MAX + 1]; /* the set's only CPU; -1 */
        CpuSet set[POOL_SETS_MAX + 1];
} CpuSetPool;

void pool_clear(CpuSetPool *pool);
/* The id of a set equal to *set; SET_NONE when the pool is full. */
SetId pool_intern(CpuSetPool *pool, const CpuSet *set);
/* The set of that id, NULL for SET_NONE. */
const CpuSet *pool_get(const CpuSetPool *pool, SetId id);
/* As cpuset_single, without a look at the set; -1 for SET_NONE. */
int pool_single(const CpuSetPool *pool, SetId id);
