/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A bar on standard error while a long run lasts, where that is a terminal. */

#include <stdbool.h>
#include <stdint.h>

typedef struct Progress {
        bool shown;
        unsigned percent;
} Progress;

void progress_begin(Progress *ret);
void progress_show(Progress *progress, const char *what, uint32_t done, uint32_t all);
void progress_end(Progress *progress);
