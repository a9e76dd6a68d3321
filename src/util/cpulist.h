/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* CPU sets in the kernel's list form: "0-3,8,10-11". */

#include "core/cpuset.h"

enum { CPULIST_SIZE = CPUS_MAX * 5 }; /* bytes; holds every set */

/*
 * Parses a list. Blanks around numbers and a newline at the end are allowed,
 * an empty text is the empty set. Returns 0; or -EINVAL (not a list, a range
 * that runs backwards) or -ERANGE (a number >= CPUS_MAX), *ret untouched.
 */
int cpulist_parse(const char *text, CpuSet *ret);

/* Writes the list and a NUL, at most size bytes; returns its length, or
 * -ENOSPC when it does not fit. */
int cpulist_format(const CpuSet *set, char *ret, size_t size);

/* The same as newly allocated text; NULL: out of memory. */
char *cpulist_new(const CpuSet *set);
