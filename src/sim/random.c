/* SPDX-License-Identifier: Apache-2.0 */

/* The splitmix64 sequence: one word of state, any seed is as good as another. */

#include "sim/random.h"

#include <assert.h>

uint64_t random_next(Random *random) {
        uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

uint32_t random_below(Random *random, uint32_t n) {
        assert(n > 0);
        return (uint32_t)((random_next(random) >> 32) * n >> 32);
}

uint32_t random_between(Random *random, uint32_t first, uint32_t last) {
        assert(first <= last);
        return first + random_below(random, last - first + 1);
}

bool random_chance(Random *random, uint32_t per_million) {
        return random_below(random, 1000000) < per_million;
}
