/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Writes hwloc XML of a host that a synthetic description alone can not say:
 *
 *     make_topology DESCRIPTION [drop=CPULIST] [cluster] [slow=CPULIST]
 *
 * drop: CPUs that are offline. cluster: the description's groups are the
 * kernel's clusters. slow: these CPUs are of a slower kind than the others.
 * data/topologies/README.md has the command lines.
 */

#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static hwloc_bitmap_t set_of(const char *list) {
        hwloc_bitmap_t set = hwloc_bitmap_alloc();

        if (!set || hwloc_bitmap_list_sscanf(set, list) < 0)
                abort();
        return set;
}

static void drop(hwloc_topology_t topology, const char *list) {
        hwloc_bitmap_t set = set_of(list), keep = hwloc_bitmap_dup(hwloc_topology_get_topology_cpuset(topology));

        hwloc_bitmap_andnot(keep, keep, set);
        if (hwloc_topology_restrict(topology, keep, 0) < 0)
                abort();
        hwloc_bitmap_free(keep);
        hwloc_bitmap_free(set);
}

static void name_clusters(hwloc_topology_t topology) {
        for (int depth = 0; depth < hwloc_topology_get_depth(topology); depth++)
                for (hwloc_obj_t object = hwloc_get_obj_by_depth(topology, depth, 0); object; object = object->next_cousin)
                        if (object->type == HWLOC_OBJ_GROUP)
                                object->subtype = strdup("Cluster");
}

static void name_kinds(hwloc_topology_t topology, const char *list) {
        hwloc_bitmap_t slow = set_of(list), fast = hwloc_bitmap_dup(hwloc_topology_get_topology_cpuset(topology));

        hwloc_bitmap_andnot(fast, fast, slow);
        if (hwloc_cpukinds_register(topology, slow, 0, 0, NULL, 0) < 0 ||
            hwloc_cpukinds_register(topology, fast, 1, 0, NULL, 0) < 0)
                abort();
        hwloc_bitmap_free(slow);
        hwloc_bitmap_free(fast);
}

int main(int argc, char **argv) {
        hwloc_topology_t topology;

        if (argc < 2 || hwloc_topology_init(&topology) < 0 || hwloc_topology_set_synthetic(topology, argv[1]) < 0 ||
            hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_ALL) < 0 ||
            hwloc_topology_load(topology) < 0) {
                fprintf(stderr, "make_topology: \"%s\" is no description\n", argc < 2 ? "" : argv[1]);
                return 1;
        }
        for (int i = 2; i < argc; i++) {
                if (strncmp(argv[i], "drop=", 5) == 0)
                        drop(topology, argv[i] + 5);
                else if (strcmp(argv[i], "cluster") == 0)
                        name_clusters(topology);
                else if (strncmp(argv[i], "slow=", 5) == 0)
                        name_kinds(topology, argv[i] + 5);
        }
        int r = hwloc_topology_export_xml(topology, "-", 0);
        hwloc_topology_destroy(topology);
        return r < 0;
}
