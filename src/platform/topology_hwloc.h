/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The host's topology, as hwloc finds or reads it, made into core's Topology. */

#include "core/topology.h"

/*
 * spec: NULL for the machine, else an hwloc synthetic description
 * ("numa:4 l3:10 core:8 pu:1"), the path of an XML file, or XML itself ("<...").
 * fsroot: directory that stands in for /, NULL or "" for / itself; with a spec it
 * only says where the isolated CPUs are read, and without one nothing is isolated.
 *
 * level: what a cluster shall be; LEVEL_AUTO chooses, and ret->level then says
 * what it chose. Returns 0; -ENODATA when the host has no such level; -EINVAL
 * when the description can not be read; -ERANGE when the host is past a limit;
 * or another -errno. On failure *ret_why says why in a sentence.
 *
 * With an fsroot this sets an environment variable for a moment (hwloc takes it
 * no other way), so a process with threads must not use one.
 */
int topology_from_hwloc(const char *spec, const char *fsroot, ClusterLevel level, Topology *ret,
                        char ret_why[256]);

/* The same host as newly allocated hwloc XML, which topology_from_hwloc can
 * read again for that level. NULL: it can not be read, or out of memory. */
char *topology_export_xml(const char *spec, const char *fsroot, ClusterLevel level);
