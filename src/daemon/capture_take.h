/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A capture of the last round: what the planner is given, and what it makes of it. */

#include <jansson.h>

#include "daemon/rounds.h"

/*
 * xml: the topology, as hwloc writes it. key: NULL, or names and UUIDs are replaced
 * by their hashes. With the plans of the next round ("plan") and of a reassignment
 * of all VMs ("reassign"). Uses the trial plan; leaves nothing behind. NULL: no memory.
 */
json_t *capture_take(Rounds *rounds, const char *xml, const uint64_t *key);
