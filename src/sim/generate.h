/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Writes traces: seeded, so that the same command writes the same file anywhere. */

#include "core/topology.h"

#include <stdint.h>
#include <stdio.h>

typedef enum Mix {
        MIX_AZURE,  /* sizes as published for Azure: powers of two, most of them small */
        MIX_HUAWEI, /* as published for Huawei Cloud: mostly one vCPU, few very large */
        MIX_ODD,    /* all sizes, also 3, 5, 6, 10, 12, 20, 24 */
        MIX_SWING,  /* odd sizes, load swings over the day from a fifth of the occupancy to all of it */
        MIXES,
} Mix;

const char *mix_name(Mix mix);

typedef struct GenerateOptions {
        Mix mix;
        double occupancy_pct;
        uint32_t n_events;
        uint64_t seed;
        const char *topology_text; /* for the first line */
} GenerateOptions;

/* 0 or -errno. */
int generate_trace(const Topology *topology, const GenerateOptions *options, FILE *file);
