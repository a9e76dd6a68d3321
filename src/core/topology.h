/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The host as the planner sees it: NUMA nodes > clusters > cores > CPUs.
 *
 * A *slot* is a position in cpu[]. CPUs are sorted by node, cluster, core and
 * SMT rank, so a node, a cluster and a core are each an unbroken interval of
 * slots, whatever the operating system's numbers are. Only online CPUs have a
 * slot. A cluster lies in one node; where the machine has it otherwise, the
 * cluster is cut at the node's border.
 */

#include "core/cpuset.h"

enum {
        NODES_MAX = 256,
        CLUSTERS_MAX = CPUS_MAX,
        CORES_MAX = CPUS_MAX,
        DISTANCE_LOCAL = 10,  /* as in ACPI's SLIT */
        DISTANCE_REMOTE = 20, /* when the machine does not say */
};

typedef enum ClusterLevel {
        LEVEL_AUTO,
        LEVEL_CLUSTER, /* the kernel's cluster */
        LEVEL_L3,      /* last-level cache */
        LEVEL_NUMA,
        LEVEL_PACKAGE,
} ClusterLevel;

/* One online CPU, as platform/ or a test describes it. Keys need only be equal
 * for CPUs of the same thing and differ otherwise, host-wide. */
typedef struct CpuFact {
        uint16_t os;         /* the operating system's CPU number */
        uint16_t node;       /* the operating system's NUMA node number */
        uint32_t cluster;    /* key */
        uint32_t core;       /* key */
        uint32_t package;    /* key */
        uint8_t kind;        /* efficiency class; 0 = slowest */
} CpuFact;

typedef struct Cpu {
        uint16_t os;
        uint16_t core;
        uint16_t cluster;
        uint16_t node;
        uint8_t smt_rank; /* 0 for a core's first CPU */
        uint8_t kind;
} Cpu;

typedef struct Core {
        uint16_t first_slot, n_cpus;
        uint16_t cluster, node;
} Core;

typedef struct Cluster {
        uint16_t first_slot, n_cpus;
        uint16_t first_core, n_cores;
        uint16_t node;
        uint16_t package;
} Cluster;

typedef struct Node {
        uint16_t os;
        uint16_t first_slot, n_cpus;
        uint16_t first_cluster, n_clusters;
        uint16_t first_core, n_cores;
} Node;

typedef struct Topology {
        uint16_t n_nodes, n_clusters, n_cores, n_cpus, n_packages;
        uint8_t smt_width;   /* most CPUs on one core */
        bool hybrid;         /* CPUs of several kinds */
        ClusterLevel level;  /* what a cluster is on this host */
        CpuSet online;       /* all CPUs with a slot */
        CpuSet isolated;     /* CPUs that the kernel keeps from its scheduler */
        Node node[NODES_MAX];
        Cluster cluster[CLUSTERS_MAX];
        Core core[CORES_MAX];
        Cpu cpu[CPUS_MAX];          /* by slot */
        int16_t slot_of[CPUS_MAX];  /* by OS number; -1: no slot */
        uint8_t distance[NODES_MAX][NODES_MAX]; /* by node index */
} Topology;

/*
 * Sorts facts into *ret. distance may be NULL; else it is n_os_nodes *
 * n_os_nodes, indexed by the operating system's node numbers.
 * Returns 0; or 1 when the facts can not be used (none, too many nodes, a CPU
 * number twice or out of range), and then *ret_why says why in a few words.
 */
int topology_build(const CpuFact *facts, unsigned n_facts,
                   const uint8_t *distance, unsigned n_os_nodes,
                   ClusterLevel level, const CpuSet *isolated,
                   Topology *ret, const char **ret_why);

/* The CPUs of a node, cluster or core as a set. */
void topology_node_cpus(const Topology *topology, unsigned node, CpuSet *ret);
void topology_cluster_cpus(const Topology *topology, unsigned cluster, CpuSet *ret);
void topology_core_cpus(const Topology *topology, unsigned core, CpuSet *ret);
/* The index of the node with that OS number; -1 if there is none. */
int topology_node_by_os(const Topology *topology, unsigned os);
