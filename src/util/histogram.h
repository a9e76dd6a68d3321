/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How long something took, by size: for rounds, from 0.1 ms to 0.5 s. */

#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 9 };

typedef struct Histogram {
        uint64_t count;
        int64_t sum_ns;
        uint64_t bucket[HISTOGRAM_BUCKETS]; /* those that took at most histogram_bounds_ns[i]; cumulative */
} Histogram;

extern const int64_t histogram_bounds_ns[HISTOGRAM_BUCKETS];

void histogram_add(Histogram *histogram, int64_t ns);
