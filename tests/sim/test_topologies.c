/* SPDX-License-Identifier: Apache-2.0 */

/* Each host in data/topologies/ is what it says it is. */

#include "sim/host_spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct {
        const char *file;
        unsigned nodes, clusters, cores, cpus;
        ClusterLevel level;
        unsigned sibling; /* of CPU 0; 0: it has none */
} hosts[] = {
        {"kunpeng-920.xml", 4, 32, 128, 128, LEVEL_CLUSTER, 0},
        {"kunpeng-320.topo", 4, 40, 320, 320, LEVEL_L3, 0},
        {"kunpeng-950-like.topo", 2, 24, 192, 384, LEVEL_L3, 1},
        {"epyc-7702p.topo", 1, 16, 64, 128, LEVEL_L3, 64},
        {"epyc-7303-2s.topo", 2, 4, 32, 64, LEVEL_L3, 32},
        {"epyc-9754.topo", 1, 16, 128, 256, LEVEL_L3, 128},
        {"epyc-9654-nps2.topo", 2, 12, 96, 192, LEVEL_L3, 96},
        {"xeon-8490h-snc4.topo", 4, 4, 60, 120, LEVEL_L3, 60},
        {"core-i7-12850hx.xml", 1, 1, 16, 24, LEVEL_L3, 1},
        {"altra-q80.xml", 1, 40, 80, 80, LEVEL_CLUSTER, 0},
        {"graviton3.topo", 1, 1, 64, 64, LEVEL_L3, 0},
        {"uneven.xml", 2, 7, 42, 42, LEVEL_L3, 0},
        {"offline-cpus.xml", 2, 7, 27, 52, LEVEL_L3, 1},
        {"siblings-far-apart.topo", 4, 16, 64, 128, LEVEL_L3, 64},
        {"huge-4096.topo", 16, 512, 4096, 4096, LEVEL_L3, 0},
        {"arm64-64cpu.xml", 4, 16, 64, 64, LEVEL_CLUSTER, 0},
        {"arm64-16cpu-smt2.xml", 2, 4, 8, 16, LEVEL_CLUSTER, 1},
};

static Topology topology;

static void load(const char *file) {
        char path[512];
        Complaint why = {};

        snprintf(path, sizeof(path), "%s/%s", TOPOLOGIES, file);
        if (host_spec_load(path, LEVEL_AUTO, &topology, &why) != 0)
                fail_msg("%s", why.text);
}

/* The other CPU of CPU 0's core, 0 if there is none. */
static unsigned sibling_of_0(void) {
        const Core *core = &topology.core[topology.cpu[topology.slot_of[0]].core];

        for (unsigned slot = core->first_slot; slot < core->first_slot + core->n_cpus; slot++)
                if (topology.cpu[slot].os != 0)
                        return topology.cpu[slot].os;
        return 0;
}

static void hosts_are_what_they_say(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
                load(hosts[i].file);
                if (topology.n_nodes != hosts[i].nodes || topology.n_clusters != hosts[i].clusters ||
                    topology.n_cores != hosts[i].cores || topology.n_cpus != hosts[i].cpus ||
                    topology.level != hosts[i].level || sibling_of_0() != hosts[i].sibling)
                        fail_msg("%s: %u nodes %u clusters %u cores %u CPUs level %d sibling %u", hosts[i].file,
                                 topology.n_nodes, topology.n_clusters, topology.n_cores, topology.n_cpus,
                                 topology.level, sibling_of_0());
        }
}

static void uneven_clusters_keep_their_sizes(void **state) {
        static const unsigned sizes[] = {6, 4, 8, 7, 8, 8, 1};

        (void)state;
        load("uneven.xml");
        for (unsigned i = 0; i < topology.n_clusters; i++)
                assert_int_equal(topology.cluster[i].n_cpus, sizes[i]);
}

static void offline_cpus_have_no_slot(void **state) {
        (void)state;
        load("offline-cpus.xml");
        assert_int_equal(topology.slot_of[3], -1);
        assert_int_equal(topology.slot_of[17], -1);
        assert_int_equal(topology.core[topology.cpu[topology.slot_of[2]].core].n_cpus, 1);
        assert_false(cpuset_has(&topology.online, 61));
}

static void hybrid_cpus_have_kinds(void **state) {
        (void)state;
        load("core-i7-12850hx.xml");
        for (unsigned slot = 0; slot < topology.n_cpus; slot++)
                assert_int_equal(topology.cpu[slot].kind > 0, topology.cpu[slot].os < 16);
}

static void a_description_may_stand_for_itself(void **state) {
        Complaint why = {};

        (void)state;
        assert_int_equal(host_spec_load("numa:2 l3:3 core:2 pu:2", LEVEL_AUTO, &topology, &why), 0);
        assert_int_equal(topology.n_clusters, 6);
        assert_int_equal(host_spec_load("numa:2 l3:many", LEVEL_AUTO, &topology, &why), INPUT_BAD);
        assert_non_null(strstr(why.text, "numa:2 l3:many"));
        assert_int_equal(host_spec_load(TOPOLOGIES, LEVEL_AUTO, &topology, &why), INPUT_BAD);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(hosts_are_what_they_say),
                cmocka_unit_test(uneven_clusters_keep_their_sizes),
                cmocka_unit_test(offline_cpus_have_no_slot),
                cmocka_unit_test(hybrid_cpus_have_kinds),
                cmocka_unit_test(a_description_may_stand_for_itself),
        };

        return cmocka_run_group_tests_name("sim/topologies", tests, NULL, NULL);
}
