/* SPDX-License-Identifier: Apache-2.0 */

#include "core/cpuset.h"

#include <assert.h>
#include <string.h>

void cpuset_clear(CpuSet *set) {
        memset(set, 0, sizeof(*set));
}

void cpuset_add(CpuSet *set, unsigned cpu) {
        assert(cpu < CPUS_MAX);
        set->word[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}

void cpuset_add_range(CpuSet *set, unsigned first, unsigned last) {
        for (unsigned cpu = first; cpu <= last; cpu++)
                cpuset_add(set, cpu);
}

void cpuset_remove(CpuSet *set, unsigned cpu) {
        assert(cpu < CPUS_MAX);
        set->word[cpu / 64] &= ~(UINT64_C(1) << (cpu % 64));
}

bool cpuset_has(const CpuSet *set, unsigned cpu) {
        return cpu < CPUS_MAX && (set->word[cpu / 64] >> (cpu % 64) & 1);
}

unsigned cpuset_count(const CpuSet *set) {
        unsigned count = 0;

        for (unsigned i = 0; i < CPUSET_WORDS; i++)
                count += (unsigned)__builtin_popcountll(set->word[i]);
        return count;
}

bool cpuset_is_empty(const CpuSet *set) {
        for (unsigned i = 0; i < CPUSET_WORDS; i++)
                if (set->word[i])
                        return false;
        return true;
}

bool cpuset_equal(const CpuSet *a, const CpuSet *b) {
        return memcmp(a, b, sizeof(*a)) == 0;
}

bool cpuset_is_subset(const CpuSet *inner, const CpuSet *outer) {
        for (unsigned i = 0; i < CPUSET_WORDS; i++)
                if (inner->word[i] & ~outer->word[i])
                        return false;
        return true;
}

bool cpuset_intersects(const CpuSet *a, const CpuSet *b) {
        for (unsigned i = 0; i < CPUSET_WORDS; i++)
                if (a->word[i] & b->word[i])
                        return true;
        return false;
}

void cpuset_and(CpuSet *set, const CpuSet *other) {
        for (unsigned i = 0; i < CPUSET_WORDS; i++)
                set->word[i] &= other->word[i];
}

void cpuset_or(CpuSet *set, const CpuSet *other) {
        for (unsigned i = 0; i < CPUSET_WORDS; i++)
                set->word[i] |= other->word[i];
}

void cpuset_subtract(CpuSet *set, const CpuSet *other) {
        for (unsigned i = 0; i < CPUSET_WORDS; i++)
                set->word[i] &= ~other->word[i];
}

int cpuset_next(const CpuSet *set, unsigned from) {
        if (from >= CPUS_MAX)
                return -1;
        unsigned i = from / 64;
        uint64_t word = set->word[i] & (~UINT64_C(0) << (from % 64));

        while (!word) {
                if (++i == CPUSET_WORDS)
                        return -1;
                word = set->word[i];
        }
        return (int)(i * 64) + __builtin_ctzll(word);
}

int cpuset_single(const CpuSet *set) {
        uint64_t rest = 0;
        unsigned i = 0;

        while (i < CPUSET_WORDS && !set->word[i])
                i++;
        if (i == CPUSET_WORDS || (set->word[i] & (set->word[i] - 1)))
                return -1;
        for (unsigned j = i + 1; j < CPUSET_WORDS; j++)
                rest |= set->word[j];
        return rest ? -1 : (int)(i * 64) + __builtin_ctzll(set->word[i]);
}

static uint32_t set_hash(const CpuSet *set) {
        uint64_t hash = 0;

        for (unsigned i = 0; i < CPUSET_WORDS; i++)
                hash = (hash ^ set->word[i]) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29);
        return (uint32_t)(hash >> 32) % POOL_BUCKETS;
}

void pool_clear(CpuSetPool *pool) {
        pool->n = 0;
        memset(pool->bucket, 0, sizeof(pool->bucket));
}

SetId pool_intern(CpuSetPool *pool, const CpuSet *set) {
        uint32_t bucket = set_hash(set);

        for (SetId id = pool->bucket[bucket]; id; id = pool->next[id])
                if (cpuset_equal(&pool->set[id], set))
                        return id;
        if (pool->n == POOL_SETS_MAX)
                return SET_NONE;
        SetId id = ++pool->n;
        pool->set[id] = *set;
        pool->single[id] = (int16_t)cpuset_single(set);
        pool->next[id] = pool->bucket[bucket];
        pool->bucket[bucket] = id;
        return id;
}

const CpuSet *pool_get(const CpuSetPool *pool, SetId id) {
        assert(id <= pool->n);
        return id == SET_NONE ? NULL : &pool->set[id];
}

int pool_single(const CpuSetPool *pool, SetId id) {
        assert(id <= pool->n);
        return id == SET_NONE ? -1 : pool->single[id];
}
