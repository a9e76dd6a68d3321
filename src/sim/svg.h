/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A self-contained picture of replays: occupancy, excess and unplaced VMs over time. */

#include "sim/replay.h"

void svg_write(Replay *const *replay, unsigned n, FILE *file);
