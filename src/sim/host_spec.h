/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which host to model: what --topology and a trace's first line may say. */

#include "core/topology.h"
#include "sim/complaint.h"

/*
 * spec: an hwloc synthetic description, the path of hwloc XML, or the path of a
 * text file whose first line that is neither empty nor begins with # is a
 * description. 0; or INPUT_BAD and *ret_why; or -errno.
 */
int host_spec_load(const char *spec, ClusterLevel level, Topology *ret, Complaint *ret_why);

/* The description in such a text file as newly allocated text, for any other
 * spec a copy of it. NULL: out of memory. */
char *host_spec_text(const char *spec);
