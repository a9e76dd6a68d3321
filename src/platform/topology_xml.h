/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* hwloc's XML, made fit for hwloc. */

#include <stddef.h>

/*
 * Checks a host's XML of hwloc 2 and writes down anew, with malloc, what of it a
 * Topology is made of: NUL-terminated text that hwloc can read. Returns 0;
 * -EINVAL and a sentence in ret_why when it is no such XML; or -ENOMEM.
 */
int topology_xml_clean(const char *text, size_t size, char **ret, char ret_why[256]);
