/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Pseudo-random numbers that are the same on every machine, for a given seed. */

#include <stdbool.h>
#include <stdint.h>

typedef struct Random {
        uint64_t state;
} Random;

uint64_t random_next(Random *random);
/* Uniform in 0 .. n-1; n > 0. */
uint32_t random_below(Random *random, uint32_t n);
/* Uniform in first .. last. */
uint32_t random_between(Random *random, uint32_t first, uint32_t last);
/* True in so many of a million cases. */
bool random_chance(Random *random, uint32_t per_million);
