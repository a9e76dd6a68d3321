/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model.h"

static Topology topology;

static void sorts_by_lowest_cpu(void **state) {
        /* Keys run against the CPU numbers, siblings lie far apart. */
        const CpuFact facts[] = {
                {.os = 7, .node = 3, .cluster = 1, .core = 40}, {.os = 6, .node = 3, .cluster = 1, .core = 41},
                {.os = 5, .node = 3, .cluster = 9, .core = 50}, {.os = 4, .node = 3, .cluster = 9, .core = 51},
                {.os = 3, .node = 3, .cluster = 1, .core = 40}, {.os = 2, .node = 3, .cluster = 1, .core = 41},
                {.os = 1, .node = 3, .cluster = 9, .core = 50}, {.os = 0, .node = 1, .cluster = 9, .core = 51},
        };
        const int order[] = {0, 1, 5, 4, 2, 6, 3, 7};
        const char *why = NULL;

        (void)state;
        assert_int_equal(topology_build(facts, 8, NULL, 0, LEVEL_L3, NULL, &topology, &why), 0);
        assert_int_equal(topology.n_nodes, 2);
        assert_int_equal(topology.n_clusters, 3);
        assert_int_equal(topology.smt_width, 2);
        for (int slot = 0; slot < 8; slot++) {
                assert_int_equal(topology.cpu[slot].os, order[slot]);
                assert_int_equal(topology.slot_of[order[slot]], slot);
        }
        assert_int_equal(topology.node[0].os, 1);
        assert_int_equal(topology.cluster[2].first_slot, 4);
        assert_int_equal(topology.cluster[2].n_cores, 2);
        assert_int_equal(topology.cpu[5].smt_rank, 1);
        assert_int_equal(topology.distance[0][1], DISTANCE_REMOTE);
        assert_int_equal(topology_node_by_os(&topology, 3), 1);
        assert_int_equal(topology_node_by_os(&topology, 2), -1);
}

/* The lowest CPU of a cluster need not be in the core that its firmware numbers first. */
static void finds_the_lowest_cpu_in_any_core(void **state) {
        const CpuFact facts[] = {
                {.os = 5, .cluster = 7, .core = 0}, {.os = 0, .cluster = 7, .core = 1}, {.os = 1, .cluster = 8, .core = 2},
        };
        const int order[] = {0, 5, 1};
        const char *why;

        (void)state;
        assert_int_equal(topology_build(facts, 3, NULL, 0, LEVEL_L3, NULL, &topology, &why), 0);
        for (int slot = 0; slot < 3; slot++)
                assert_int_equal(topology.cpu[slot].os, order[slot]);
}

static void reads_distances_by_os_number(void **state) {
        const CpuFact facts[] = {{.os = 0, .node = 0, .core = 0}, {.os = 1, .node = 2, .core = 1, .cluster = 1}};
        const uint8_t distance[9] = {10, 11, 12, 21, 10, 23, 31, 32, 10};
        const char *why;

        (void)state;
        assert_int_equal(topology_build(facts, 2, distance, 3, LEVEL_NUMA, NULL, &topology, &why), 0);
        assert_int_equal(topology.distance[0][1], 12);
        assert_int_equal(topology.distance[1][0], 31);
}

static void refuses_bad_facts(void **state) {
        const CpuFact twice[] = {{.os = 1}, {.os = 1}};
        const CpuFact high[] = {{.os = CPUS_MAX}};
        const char *why = NULL;

        (void)state;
        assert_int_equal(topology_build(twice, 2, NULL, 0, LEVEL_L3, NULL, &topology, &why), 1);
        assert_non_null(why);
        assert_int_equal(topology_build(high, 1, NULL, 0, LEVEL_L3, NULL, &topology, &why), 1);
        assert_int_equal(topology_build(twice, 0, NULL, 0, LEVEL_L3, NULL, &topology, &why), 1);
}

static void holds_the_largest_host(void **state) {
        CpuSet set;

        (void)state;
        model_topology(&topology, 16, 32, 4, 2);
        assert_int_equal(topology.n_cpus, 4096);
        assert_int_equal(topology.n_clusters, 512);
        topology_cluster_cpus(&topology, 511, &set);
        assert_int_equal(cpuset_count(&set), 8);
        assert_true(cpuset_has(&set, 4095));
        topology_node_cpus(&topology, 1, &set);
        assert_int_equal(cpuset_count(&set), 256);
        topology_core_cpus(&topology, 3, &set);
        assert_true(cpuset_has(&set, 6) && cpuset_has(&set, 7));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(sorts_by_lowest_cpu),
                cmocka_unit_test(finds_the_lowest_cpu_in_any_core),
                cmocka_unit_test(reads_distances_by_os_number),
                cmocka_unit_test(refuses_bad_facts),
                cmocka_unit_test(holds_the_largest_host),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
