/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a domain's <metadata> asks of us: one element of our namespace,
 * <vm manage=".." layout=".." sched-policy=".."/>, in no form but this. */

#include <libxml/tree.h>

#include "core/policy.h"

#define DOMAIN_METADATA_URI "https://vsched.io/xmlns/vsched/1"

/* Fills *ret, which is zero before; a fault is said in there, and others' elements
 * do not matter. */
void domain_metadata_read(const xmlNode *metadata, VmWish *ret);
