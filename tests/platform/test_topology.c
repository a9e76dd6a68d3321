/* SPDX-License-Identifier: Apache-2.0 */

#include "support.h"

#include <errno.h>
#include <hwloc.h>
#include <stdlib.h>
#include <string.h>

#include "platform/topology_hwloc.h"

static Topology host;
static char why[256];

/* hwloc as it is, or as it is where it has no x86 component. */
static bool no_x86_component;

int __real_hwloc_topology_set_components(hwloc_topology_t topology, unsigned long flags, const char *name);
int __wrap_hwloc_topology_set_components(hwloc_topology_t topology, unsigned long flags, const char *name) {
        if (no_x86_component && strcmp(name, "x86") == 0)
                name = "no-such-component";
        return __real_hwloc_topology_set_components(topology, flags, name);
}

/* An older hwloc takes the level below, or above, for the clusters. */
static void need_clusters_and_kinds(char *tree) {
        if (VAS_HWLOC_SEES_CLUSTERS)
                return;
        tree_free(tree);
        skip_because("before 2.9 hwloc does not tell kernel clusters, or kinds of CPUs by capacity");
}

static void read_tree(const char *tree, ClusterLevel level) {
        why[0] = '\0';
        if (topology_from_hwloc(NULL, tree, level, &host, why) != 0)
                fail_msg("%s", why);
}

/* The cluster, node or core that the CPU is in, as a list. */
static void assert_cluster_of(unsigned cpu, const char *list) {
        CpuSet set;

        topology_cluster_cpus(&host, host.cpu[host.slot_of[cpu]].cluster, &set);
        assert_cpus(&set, list);
}

static void assert_node_of(unsigned cpu, const char *list) {
        CpuSet set;

        topology_node_cpus(&host, host.cpu[host.slot_of[cpu]].node, &set);
        assert_cpus(&set, list);
}

static void assert_core_of(unsigned cpu, const char *list) {
        CpuSet set;

        topology_core_cpus(&host, host.cpu[host.slot_of[cpu]].core, &set);
        assert_cpus(&set, list);
}

static void arm64_clusters(void **state) {
        char *tree = tree_new();

        (void)state;
        need_clusters_and_kinds(tree);
        tree_unpack(tree, "arm64-64cpu-16cluster-4node.tar.xz");
        read_tree(tree, LEVEL_AUTO);
        assert_int_equal(host.level, LEVEL_CLUSTER);
        assert_int_equal(host.n_cpus, 64);
        assert_int_equal(host.n_cores, 64);
        assert_int_equal(host.n_clusters, 16);
        assert_int_equal(host.n_nodes, 4);
        assert_int_equal(host.n_packages, 2);
        assert_cluster_of(0, "0-3");
        assert_cluster_of(38, "36-39");
        assert_node_of(38, "32-47");
        assert_int_equal(host.distance[0][0], 10);
        assert_int_equal(host.distance[0][3], 20);
        assert_true(cpuset_is_empty(&host.isolated));

        read_tree(tree, LEVEL_NUMA);
        assert_int_equal(host.n_clusters, 4);
        assert_int_equal(host.level, LEVEL_NUMA);
        assert_int_equal(topology_from_hwloc(NULL, tree, LEVEL_L3, &host, why), -ENODATA);
        assert_string_equal(why, "this host shows no shared caches");
        tree_free(tree);
}

static void arm64_smt(void **state) {
        char *tree = tree_new();

        (void)state;
        need_clusters_and_kinds(tree);
        tree_unpack(tree, "arm64-16cpu-smt2-2node.tar.xz");
        read_tree(tree, LEVEL_AUTO);
        assert_int_equal(host.level, LEVEL_CLUSTER);
        assert_int_equal(host.n_clusters, 4);
        assert_int_equal(host.n_cores, 8);
        assert_int_equal(host.smt_width, 2);
        assert_core_of(5, "4-5");
        assert_cluster_of(5, "4-7");
        tree_free(tree);
}

/* Two sockets of two L3s of four cores of two threads; the second threads are
 * numbered after all first ones, and the kernel's cluster is the L2. */
static void x86_tree(const char *tree, int offline) {
        for (unsigned cpu = 0; cpu < 32; cpu++) {
                unsigned core = cpu % 16;
                char pair[16], l3[16], package[16];

                if ((int)cpu == offline)
                        continue;
                if ((int)((cpu + 16) % 32) == offline)
                        snprintf(pair, sizeof(pair), "%u", cpu);
                else
                        snprintf(pair, sizeof(pair), "%u,%u", core, core + 16);
                snprintf(l3, sizeof(l3), "%u-%u,%u-%u", core / 4 * 4, core / 4 * 4 + 3, core / 4 * 4 + 16,
                         core / 4 * 4 + 19);
                snprintf(package, sizeof(package), "%u-%u,%u-%u", core / 8 * 8, core / 8 * 8 + 7,
                         core / 8 * 8 + 16, core / 8 * 8 + 23);
                sys_cpu(tree, &(SysCpu){cpu, .core = pair, .cluster = pair, .l2 = pair, .l3 = l3,
                                        .package = package});
        }
        sys_node(tree, 0, "0-7,16-23", "10 21");
        sys_node(tree, 1, "8-15,24-31", "21 10");
}

static void x86_caches(void **state) {
        char *tree = tree_new();

        (void)state;
        x86_tree(tree, -1);
        sys_online(tree, "0-31", "0-31", "3,19");
        read_tree(tree, LEVEL_AUTO);
        assert_int_equal(host.level, LEVEL_L3);
        assert_int_equal(host.n_clusters, 4);
        assert_int_equal(host.n_cores, 16);
        assert_int_equal(host.smt_width, 2);
        assert_int_equal(host.n_packages, 2);
        assert_cluster_of(25, "8-11,24-27");
        assert_core_of(25, "9,25");
        assert_int_equal(host.distance[1][0], 21);
        assert_cpus(&host.isolated, "3,19");
        read_tree(tree, LEVEL_PACKAGE);
        assert_cluster_of(25, "8-15,24-31");
        assert_int_equal(topology_from_hwloc(NULL, tree, LEVEL_CLUSTER, &host, why), -ENODATA);
        tree_free(tree);
}

static void offline_cpu_left_out(void **state) {
        char *tree = tree_new();

        (void)state;
        x86_tree(tree, 21);
        sys_online(tree, "0-31", "0-20,22-31", "");
        read_tree(tree, LEVEL_AUTO);
        assert_int_equal(host.n_cpus, 31);
        assert_cpus(&host.online, "0-20,22-31");
        assert_int_equal(host.slot_of[21], -1);
        assert_core_of(5, "5");
        assert_cluster_of(5, "4-7,20,22-23");
        tree_free(tree);
}

/* Four cores to an L2, which the kernel calls a cluster: smaller than the L3,
 * and hwloc would drop it for the L2. */
static void cluster_that_is_an_l2(void **state) {
        char *tree = tree_new();

        (void)state;
        need_clusters_and_kinds(tree);
        for (unsigned cpu = 0; cpu < 16; cpu++) {
                char self[8], l2[16];

                snprintf(self, sizeof(self), "%u", cpu);
                snprintf(l2, sizeof(l2), "%u-%u", cpu / 4 * 4, cpu / 4 * 4 + 3);
                sys_cpu(tree, &(SysCpu){cpu, .core = self, .cluster = l2, .l2 = l2, .l3 = "0-15",
                                        .package = "0-15"});
        }
        sys_node(tree, 0, "0-15", "10");
        sys_online(tree, "0-15", "0-15", "");
        read_tree(tree, LEVEL_AUTO);
        assert_int_equal(host.level, LEVEL_CLUSTER);
        assert_int_equal(host.n_clusters, 4);
        assert_cluster_of(6, "4-7");
        read_tree(tree, LEVEL_L3);
        assert_int_equal(host.n_clusters, 1);
        tree_free(tree);
}

static void l2_as_last_level(void **state) {
        char *tree = tree_new();

        (void)state;
        for (unsigned cpu = 0; cpu < 8; cpu++) {
                char self[8], *l2 = cpu < 4 ? "0-3" : "4-7";

                snprintf(self, sizeof(self), "%u", cpu);
                sys_cpu(tree, &(SysCpu){cpu, .core = self, .l2 = l2, .package = "0-7"});
        }
        sys_node(tree, 0, "0-7", "10");
        sys_online(tree, "0-7", "0-7", "");
        read_tree(tree, LEVEL_AUTO);
        assert_int_equal(host.level, LEVEL_L3);
        assert_int_equal(host.n_clusters, 2);
        assert_cluster_of(5, "4-7");
        tree_free(tree);
}

/* Big cores with two threads beside an L3, small ones in a module of four with
 * an L2, and two low-power ones that the L3 does not cover. */
static void hybrid(void **state) {
        char *tree = tree_new();
        static const SysCpu cpu[] = {
                {0, "0-1", "0-1", "0-13", "0-11", "0-1", 1024},
                {1, "0-1", "0-1", "0-13", "0-11", "0-1", 1024},
                {2, "2-3", "2-3", "0-13", "0-11", "2-3", 1024},
                {3, "2-3", "2-3", "0-13", "0-11", "2-3", 1024},
                {4, "4-5", "4-5", "0-13", "0-11", "4-5", 1024},
                {5, "4-5", "4-5", "0-13", "0-11", "4-5", 1024},
                {6, "6-7", "6-7", "0-13", "0-11", "6-7", 1024},
                {7, "6-7", "6-7", "0-13", "0-11", "6-7", 1024},
                {8, "8", "8-11", "0-13", "0-11", "8-11", 600},
                {9, "9", "8-11", "0-13", "0-11", "8-11", 600},
                {10, "10", "8-11", "0-13", "0-11", "8-11", 600},
                {11, "11", "8-11", "0-13", "0-11", "8-11", 600},
                {12, "12", "12-13", "0-13", NULL, "12-13", 300},
                {13, "13", "12-13", "0-13", NULL, "12-13", 300},
        };

        (void)state;
        need_clusters_and_kinds(tree);
        for (unsigned i = 0; i < 14; i++)
                sys_cpu(tree, &cpu[i]);
        sys_node(tree, 0, "0-13", "10");
        sys_online(tree, "0-13", "0-13", "");
        read_tree(tree, LEVEL_AUTO);
        assert_int_equal(host.level, LEVEL_L3);
        assert_int_equal(host.n_clusters, 2);
        assert_cluster_of(0, "0-11");
        assert_cluster_of(12, "12-13");
        assert_int_equal(host.cpu[host.slot_of[12]].kind, 0);
        assert_int_equal(host.cpu[host.slot_of[9]].kind, 1);
        assert_int_equal(host.cpu[host.slot_of[3]].kind, 2);
        tree_free(tree);
}

static void one_core_is_a_cluster(void **state) {
        (void)state;
        assert_int_equal(topology_from_hwloc("core:1 pu:2", NULL, LEVEL_AUTO, &host, why), 0);
        assert_int_equal(host.level, LEVEL_NUMA);
        assert_int_equal(host.n_clusters, 1);
        /* A cache for each core is no cluster either. */
        assert_int_equal(topology_from_hwloc("numa:2 l3:4 core:1 pu:2", NULL, LEVEL_AUTO, &host, why), 0);
        assert_int_equal(host.level, LEVEL_NUMA);
        assert_int_equal(host.n_clusters, 2);
}

static void descriptions(void **state) {
        char *tree = tree_new();

        (void)state;
        assert_int_equal(topology_from_hwloc("numa:4 l3:10 core:8 pu:1", NULL, LEVEL_AUTO, &host, why), 0);
        assert_int_equal(host.n_nodes, 4);
        assert_int_equal(host.n_clusters, 40);
        assert_int_equal(host.level, LEVEL_L3);
        assert_true(cpuset_is_empty(&host.isolated));
        /* The tree says nothing but what is isolated. */
        tree_write(tree, "sys/devices/system/cpu/isolated", "7\n");
        assert_int_equal(topology_from_hwloc("numa:4 l3:10 core:8 pu:1", tree, LEVEL_AUTO, &host, why), 0);
        assert_cpus(&host.isolated, "7");
        tree_free(tree);
}

static void nonsense_is_refused(void **state) {
        static const char *const specs[] = {"",  "nonsense",  "numa:4 l3:x", "numa l3:4 pu:1", "co: 1913 191", "4 8 2",
                                            "pu:2(x", "[numa pu:2", "l3:1nu:3102 pu:1",
                                            "/", "/dev/null", "/nowhere/host.xml"};

        (void)state;
        for (unsigned i = 0; i < sizeof(specs) / sizeof(*specs); i++) {
                why[0] = '\0';
                assert_int_equal(topology_from_hwloc(specs[i], NULL, LEVEL_AUTO, &host, why), -EINVAL);
                assert_non_null(strstr(why, "neither"));
        }
        assert_int_equal(topology_from_hwloc("l3:65 core:64 pu:1", NULL, LEVEL_AUTO, &host, why), -ERANGE);
        assert_non_null(strstr(why, "4096"));
        /* hwloc itself would take minutes for this one */
        assert_int_equal(topology_from_hwloc("l3:2 numa:2410 core:8 pu:1", NULL, LEVEL_AUTO, &host, why), -ERANGE);
        assert_int_equal(topology_from_hwloc("pu:18446744073709551617", NULL, LEVEL_AUTO, &host, why), -ERANGE);
        assert_int_equal(topology_from_hwloc("package:2 [numa(memory=1GB)] l3:2 core:2 pu:2(indexes=2*4:1*2)", NULL,
                                             LEVEL_AUTO, &host, why),
                         0);
        assert_int_equal(host.n_nodes, 2);
        assert_int_equal(topology_from_hwloc("numa:257 pu:1", NULL, LEVEL_AUTO, &host, why), -ERANGE);
        assert_non_null(strstr(why, "256"));
}

#define SETS(cpus, nodes)                                                                                          \
        " cpuset='" cpus "' complete_cpuset='" cpus "' nodeset='" nodes "' complete_nodeset='" nodes "'"
#define XML_CPU(n, set) "<object type='PU' os_index='" n "'" SETS(set, "0x1") " gp_index='1" n "'/>"
#define XML_NODE "<object type='NUMANode' os_index='0'" SETS("0x3", "0x1") " gp_index='3'/>"
#define XML_OF(version, inside) "<topology version='" version "'>" inside "</topology>"
#define XML_HOST(inside) "<object type='Machine'" SETS("0x3", "0x1") " gp_index='1'>" inside "</object>"
#define XML_WHOLE XML_HOST(XML_NODE XML_CPU("0", "0x1") XML_CPU("1", "0x2"))

/* hwloc itself would end the process for some of these, or hang. */
static void xml_that_hwloc_never_wrote(void **state) {
        static const struct {
                const char *xml, *why;
        } cases[] = {
                {"<topology version='2.0'>", "not well-formed"},
                {XML_OF("1.0", XML_WHOLE), "hwloc 2"},
                {"<hosts/>", "hwloc 2"},
                {XML_OF("2.0", ""), "no machine"},
                {XML_OF("2.0", XML_WHOLE XML_WHOLE), "a second machine"},
                {XML_OF("2.0", XML_CPU("0", "0x1")), "around all other"},
                {XML_OF("2.0", XML_HOST(XML_WHOLE)), "around all other"},
                {XML_OF("2.0", "<object type='Machine' cpuset='0x1'/>"), "without a set"},
                {XML_OF("2.0", XML_HOST("<object type='PU' os_index='0'/>")), "without a set"},
                {XML_OF("2.0", XML_HOST(XML_CPU("0", "0x%"))), "without a set"},
                {XML_OF("2.0", XML_HOST(XML_CPU("0", "0x2"))), "not its number"},
                {XML_OF("2.0", XML_HOST(XML_CPU("2", "0x4"))), "more CPUs"},
                {XML_OF("2.0", XML_HOST("<object type='Core'" SETS("0x0", "0x1") "/>")), "without a CPU"},
                {XML_OF("2.0", XML_HOST("<object type='Engine'" SETS("0x1", "0x1") "/>")), "no type"},
                {XML_OF("2.0", XML_HOST("<object type='NUMANode' os_index='1'" SETS("0x3", "0x1") "/>")),
                 "not its number"},
                {XML_OF("2.0", XML_WHOLE "<distances2 type='NUMANode' nbobjs='2' kind='5' indexing='os'/>"),
                 "distances"},
        };

        (void)state;
        assert_int_equal(topology_from_hwloc(XML_OF("2.0", XML_WHOLE), NULL, LEVEL_AUTO, &host, why), 0);
        assert_int_equal(host.n_cpus, 2);
        for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                why[0] = '\0';
                assert_int_equal(topology_from_hwloc(cases[i].xml, NULL, LEVEL_AUTO, &host, why), -EINVAL);
                if (!strstr(why, cases[i].why))
                        fail_msg("%s: '%s', not '%s'", cases[i].xml, why, cases[i].why);
        }
}

/* hwloc's XML keeps the kernel's clusters, which no description can say. */
static void xml_keeps_all(void **state) {
        char *tree = tree_new(), path[128];

        (void)state;
        need_clusters_and_kinds(tree);
        tree_unpack(tree, "arm64-64cpu-16cluster-4node.tar.xz");
        char *xml = topology_export_xml(NULL, tree, LEVEL_AUTO);
        assert_non_null(xml);
        tree_write(tree, "host.xml", "%s", xml);
        free(xml);
        snprintf(path, sizeof(path), "%s/host.xml", tree);
        assert_int_equal(topology_from_hwloc(path, NULL, LEVEL_AUTO, &host, why), 0);
        assert_int_equal(host.level, LEVEL_CLUSTER);
        assert_int_equal(host.n_clusters, 16);
        assert_cluster_of(38, "36-39");
        assert_int_equal(host.distance[0][3], 20);
        tree_free(tree);
}

static void this_machine(void **state) {
        (void)state;
        assert_null(getenv("HWLOC_FSROOT"));
        assert_int_equal(topology_from_hwloc(NULL, "", LEVEL_AUTO, &host, why), 0);
        assert_true(host.n_cpus >= 1 && host.n_nodes >= 1 && host.n_clusters >= 1);
}

static void without_an_x86_component(void **state) {
        (void)state;
        no_x86_component = true;
        int r = topology_from_hwloc(NULL, "", LEVEL_AUTO, &host, why);
        no_x86_component = false;
        if (r != 0)
                fail_msg("%s", why);
        assert_true(host.n_cpus >= 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(arm64_clusters),
                cmocka_unit_test(arm64_smt),
                cmocka_unit_test(x86_caches),
                cmocka_unit_test(offline_cpu_left_out),
                cmocka_unit_test(cluster_that_is_an_l2),
                cmocka_unit_test(l2_as_last_level),
                cmocka_unit_test(hybrid),
                cmocka_unit_test(one_core_is_a_cluster),
                cmocka_unit_test(descriptions),
                cmocka_unit_test(nonsense_is_refused),
                cmocka_unit_test(xml_keeps_all),
                cmocka_unit_test(xml_that_hwloc_never_wrote),
                cmocka_unit_test(this_machine),
                cmocka_unit_test(without_an_x86_component),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
