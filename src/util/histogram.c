/* SPDX-License-Identifier: Apache-2.0 */

#include "util/histogram.h"

#define MS_NS INT64_C(1000000)

const int64_t histogram_bounds_ns[HISTOGRAM_BUCKETS] = {
        MS_NS / 10, MS_NS / 4, MS_NS / 2, MS_NS, 3 * MS_NS, 10 * MS_NS, 30 * MS_NS, 100 * MS_NS, 500 * MS_NS,
};

void histogram_add(Histogram *histogram, int64_t ns) {
        histogram->count++;
        histogram->sum_ns += ns;
        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
                histogram->bucket[i] += ns <= histogram_bounds_ns[i];
}
