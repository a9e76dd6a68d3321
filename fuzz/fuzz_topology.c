/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Any bytes as a topology: as hwloc XML in a file, and as a description. hwloc
 * parses; what we make of it must hold together.
 */

#include "fuzz.h"

#include "platform/topology_hwloc.h"

static void check(const Topology *topology) {
        must(topology->n_cpus > 0 && topology->n_cpus <= CPUS_MAX);
        must(topology->n_nodes > 0 && topology->n_clusters >= topology->n_nodes);
        for (unsigned slot = 0; slot < topology->n_cpus; slot++) {
                must(topology->cpu[slot].cluster < topology->n_clusters);
                must(topology->cpu[slot].node < topology->n_nodes);
                must(slot == 0 || topology->cpu[slot - 1].cluster <= topology->cpu[slot].cluster);
        }
}

static void load(const char *spec, Topology *topology) {
        char why[256] = "";
        int r = topology_from_hwloc(spec, NULL, LEVEL_AUTO, topology, why);

        if (r == 0)
                check(topology);
        else
                must_say_why(why, sizeof(why));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Topology *topology = malloc(sizeof(*topology));
        char *text = fuzz_text(data, size);

        must(topology != NULL);
        setenv("HWLOC_HIDE_ERRORS", "2", 1);
        if (size > 0 && *data == '<')
                load(fuzz_file(data, size), topology);
        else if (size > 0 && strchr(text, ':')) /* else it may be a path */
                load(text, topology);
        free(topology);
        free(text);
        return 0;
}
