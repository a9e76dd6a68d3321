/* SPDX-License-Identifier: Apache-2.0 */

/*
 * hwloc -> Topology.
 *
 * What a cluster is: one level for the whole host, the smallest of kernel
 * cluster, last-level cache, NUMA node and package at which most sets hold at
 * least two physical cores. "Most" and "physical cores", because on x86 the
 * kernel's cluster is the L2, which is often one core with its two threads:
 * of no use to a VM. A hybrid machine has both sorts. Where no level fits (one
 * core in all), the NUMA node is the cluster. CPUs of no set at the chosen
 * level (low-power cores beside the L3) form one cluster per NUMA node.
 *
 * hwloc drops a kernel cluster whose CPUs are those of an L2, as on machines
 * with four cores to an L2. So the L2s are left out at first. Only where there
 * is no L3 the machine is read a second time with its L2s, which then are the
 * last level. An L4 is memory's cache more than the cores', and is no cluster.
 *
 * Keys are hwloc's gp_index, unique over all objects. The kernel's own ids are
 * not used: cluster_id repeats between sockets.
 *
 * The kernel shows no topology for a CPU that is offline, so those are left
 * out. CPUs that this process itself may not use are taken in: VMs may. hwloc's
 * x86 component is kept out, since it binds the calling thread to one CPU after
 * the other. hwloc has it on x86 alone.
 */

#include "platform/topology_hwloc.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <hwloc.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "platform/files.h"
#include "platform/topology_xml.h"
#include "util/cleanup.h"
#include "util/cpulist.h"

enum {
        WHY_SIZE = 256,
        XML_BYTES_MAX = 64 * 1024 * 1024,
};

#define NO_TOPOLOGY "'%.180s' is neither an hwloc description nor an XML file"

/* Keys of CPUs that lie in no object of their level; gp_index counts from 0. */
static const uint32_t KEY_NO_PACKAGE = UINT32_MAX;
static const uint32_t KEY_OUTSIDE = UINT32_MAX - 1; /* minus the node's number */

static void cleanup_topology(hwloc_topology_t *topology) {
        if (*topology)
                hwloc_topology_destroy(*topology);
}
#define AUTO_HWLOC CLEANUP(cleanup_topology)

/* Returns r, so that a failure is one statement. */
__attribute__((format(printf, 3, 4))) static int fail(int r, char *ret_why, const char *format, ...) {
        va_list args;

        va_start(args, format);
        vsnprintf(ret_why, WHY_SIZE, format, args);
        va_end(args);
        return r;
}

static bool is_xml_text(const char *spec) {
        return spec[0] == '<';
}

static int set_xml(hwloc_topology_t topology, const char *text, size_t size, char *ret_why) {
        AUTO_FREE char *clean = NULL;
        char why[WHY_SIZE] = "out of memory";
        int r = size > XML_BYTES_MAX ? -EFBIG : topology_xml_clean(text, size, &clean, why);

        if (r < 0)
                return fail(r, ret_why, "the XML of a topology: %.200s", r == -EFBIG ? "it is too long" : why);
        if (hwloc_topology_set_xmlbuffer(topology, clean, (int)strlen(clean) + 1) < 0)
                return fail(-EINVAL, ret_why, "hwloc can not read the XML of a topology");
        return 0;
}

/* One level of a description, "l3:10" or "pu:2(indexes=...)", or one of its kinds of
 * memory, "[numa]". Returns what follows, NULL if it is neither; and what each object of
 * the level above has. */
static const char *skip_level(const char *at, unsigned long *ret_count) {
        const bool memory = *at == '[';

        at += memory;
        if (!isalpha((unsigned char)*at))
                return NULL;
        at += strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
        *ret_count = 1;
        if (!memory) {
                char *end;

                if (at[0] != ':' || !isdigit((unsigned char)at[1]))
                        return NULL;
                *ret_count = strtoul(at + 1, &end, 10);
                at = end;
        }
        if (*at == '(') {
                at = strchr(at, ')');
                if (!at)
                        return NULL;
                at++;
        }
        if (memory && *at++ != ']')
                return NULL;
        return *at == ' ' || *at == '\0' ? at : NULL;
}

/* hwloc would take minutes, and all memory, for a host that is far past our limits, and
 * then it would be refused. */
static int check_description(const char *description, char *ret_why) {
        unsigned long n = 1, count;

        for (const char *at = description; *(at += strspn(at, " "));) {
                const bool nodes = strncasecmp(at + (*at == '['), "n", 1) == 0; /* NUMANode, numa, node */

                at = skip_level(at, &count);
                if (!at)
                        return fail(-EINVAL, ret_why, NO_TOPOLOGY, description);
                n = count > CPUS_MAX ? count : n * count;
                if (n > CPUS_MAX)
                        return fail(-ERANGE, ret_why, "this host is past the limit of %d CPUs", CPUS_MAX);
                if (nodes && n > NODES_MAX)
                        return fail(-ERANGE, ret_why, "this host is past the limit of %d NUMA nodes", NODES_MAX);
        }
        return 0;
}

/* A file is XML; what is no file is a synthetic description. */
static int set_source(hwloc_topology_t topology, const char *spec, char *ret_why) {
        struct stat st;
        int size;

        if (is_xml_text(spec))
                return set_xml(topology, spec, strlen(spec), ret_why);
        if (stat(spec, &st) < 0) {
                int r = check_description(spec, ret_why);
                if (r < 0 || hwloc_topology_set_synthetic(topology, spec) == 0)
                        return r;
        }
        AUTO_CLOSE int fd = open(spec, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > XML_BYTES_MAX)
                return fail(-EINVAL, ret_why, NO_TOPOLOGY, spec);
        AUTO_FREE char *text = malloc((size_t)st.st_size + 1);
        if (!text)
                return fail(-ENOMEM, ret_why, "out of memory");
        size = fd_read(fd, text, (size_t)st.st_size + 1);
        if (size < 0)
                return fail(size, ret_why, "'%.180s' can not be read: %s", spec, strerror(-size));
        return set_xml(topology, text, (size_t)size, ret_why);
}

/* hwloc takes another root from the environment only. */
static int load_below(hwloc_topology_t topology, const char *fsroot) {
        int r;

        if (!fsroot || !*fsroot)
                return hwloc_topology_load(topology) < 0 ? -errno : 0;
        const char *now = getenv("HWLOC_FSROOT");
        AUTO_FREE char *before = now ? strdup(now) : NULL;
        if (now && !before)
                return -ENOMEM;
        if (setenv("HWLOC_FSROOT", fsroot, 1) < 0)
                return -errno;
        r = hwloc_topology_load(topology) < 0 ? -errno : 0;
        if (before)
                setenv("HWLOC_FSROOT", before, 1);
        else
                unsetenv("HWLOC_FSROOT");
        return r;
}

/* One that this hwloc was built without is out already: hwloc refuses its name (EINVAL). */
static int keep_out_component(hwloc_topology_t topology, const char *name) {
        if (hwloc_topology_set_components(topology, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, name) == 0)
                return 0;
        return errno == EINVAL ? 0 : -1;
}

static int load(const char *spec, const char *fsroot, bool with_l2, hwloc_topology_t *ret, char *ret_why) {
        AUTO_HWLOC hwloc_topology_t topology = NULL;
        int r;

        if (hwloc_topology_init(&topology) < 0)
                return fail(-ENOMEM, ret_why, "hwloc does not start: out of memory");
        if (hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) < 0 ||
            hwloc_topology_set_cache_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE) < 0 ||
            hwloc_topology_set_type_filter(topology, HWLOC_OBJ_L3CACHE, HWLOC_TYPE_FILTER_KEEP_ALL) < 0 ||
            (with_l2 &&
             hwloc_topology_set_type_filter(topology, HWLOC_OBJ_L2CACHE, HWLOC_TYPE_FILTER_KEEP_ALL) < 0) ||
            keep_out_component(topology, "x86") < 0)
                return fail(-errno, ret_why, "hwloc can not be set up: %s", strerror(errno));
        r = spec ? set_source(topology, spec, ret_why) : 0;
        if (r < 0)
                return r;
        r = load_below(topology, spec ? NULL : fsroot);
        if (r < 0)
                return fail(r, ret_why, "hwloc can not read the topology of %.180s: %s",
                            !spec ? "this host" : is_xml_text(spec) ? "the XML" : spec, strerror(-r));
        *ret = STEAL_PTR(topology);
        return 0;
}

static bool object_is_level(hwloc_obj_t object, ClusterLevel level) {
        switch (level) {
        case LEVEL_CLUSTER:
                return object->type == HWLOC_OBJ_GROUP && object->subtype &&
                       strcmp(object->subtype, "Cluster") == 0;
        case LEVEL_L3:
                return object->type == HWLOC_OBJ_L3CACHE || object->type == HWLOC_OBJ_L2CACHE;
        case LEVEL_NUMA:
                return object->type == HWLOC_OBJ_NUMANODE;
        case LEVEL_PACKAGE:
                return object->type == HWLOC_OBJ_PACKAGE;
        default:
                return false;
        }
}

/* The innermost object of that level around a CPU or core; NULL if there is none. */
static hwloc_obj_t set_around(hwloc_obj_t inner, ClusterLevel level) {
        for (hwloc_obj_t o = inner->parent; o; o = o->parent)
                if (object_is_level(o, level))
                        return o;
        return NULL;
}

/* By walking down: hwloc counts what is inside a set by going through the whole
 * level, which takes seconds for thousands of small caches. */
static unsigned count_below(hwloc_obj_t object, hwloc_obj_type_t type) {
        unsigned n = 0;

        if (object->type == type)
                return 1;
        for (hwloc_obj_t child = object->first_child; child; child = child->next_sibling)
                n += count_below(child, type);
        return n;
}

static unsigned cores_inside(hwloc_obj_t object) {
        hwloc_obj_t above = object->type == HWLOC_OBJ_NUMANODE ? object->parent : object;
        unsigned cores = count_below(above, HWLOC_OBJ_CORE);

        return cores ? cores : count_below(above, HWLOC_OBJ_PU);
}

typedef struct LevelCount {
        unsigned sets; /* that hold a CPU at all */
        unsigned wide; /* that hold two cores or more */
} LevelCount;

static void count_depth(hwloc_topology_t topology, int depth, ClusterLevel level, LevelCount *count) {
        for (hwloc_obj_t o = hwloc_get_next_obj_by_depth(topology, depth, NULL); o;
             o = hwloc_get_next_obj_by_depth(topology, depth, o)) {
                unsigned cores = object_is_level(o, level) ? cores_inside(o) : 0;

                count->sets += cores > 0;
                count->wide += cores > 1;
        }
}

/* hwloc drops a kernel cluster that is but one core: such a core lies in none. */
static unsigned cores_in_no_cluster(hwloc_topology_t topology) {
        unsigned n = 0;

        for (hwloc_obj_t core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, NULL); core;
             core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core))
                n += set_around(core, LEVEL_CLUSTER) == NULL;
        return n;
}

static LevelCount level_count(hwloc_topology_t topology, ClusterLevel level) {
        LevelCount count = {};

        if (level == LEVEL_NUMA)
                count_depth(topology, HWLOC_TYPE_DEPTH_NUMANODE, level, &count);
        else
                for (int depth = 0; depth < hwloc_topology_get_depth(topology); depth++)
                        count_depth(topology, depth, level, &count);
        if (level == LEVEL_CLUSTER && count.sets > 0)
                count.sets += cores_in_no_cluster(topology);
        return count;
}

static bool level_fits(hwloc_topology_t topology, ClusterLevel level) {
        LevelCount count = level_count(topology, level);

        return 2 * count.wide > count.sets;
}

/* Whether the L2s must be looked at: no L3, and nothing smaller that will do. */
static bool needs_l2(hwloc_topology_t topology, ClusterLevel level) {
        if (level_count(topology, LEVEL_L3).sets > 0)
                return false;
        return level == LEVEL_L3 || (level == LEVEL_AUTO && !level_fits(topology, LEVEL_CLUSTER));
}

static ClusterLevel level_choose(hwloc_topology_t topology) {
        for (ClusterLevel level = LEVEL_CLUSTER; level <= LEVEL_PACKAGE; level++)
                if (level_fits(topology, level))
                        return level;
        return LEVEL_NUMA;
}

static const char *level_words(ClusterLevel level) {
        switch (level) {
        case LEVEL_CLUSTER:
                return "kernel clusters";
        case LEVEL_L3:
                return "shared caches";
        case LEVEL_PACKAGE:
                return "packages";
        default:
                return "NUMA nodes";
        }
}

static int load_for_level(const char *spec, const char *fsroot, ClusterLevel level, hwloc_topology_t *ret,
                          char *ret_why) {
        AUTO_HWLOC hwloc_topology_t topology = NULL;
        int r;

        r = load(spec, fsroot, false, &topology, ret_why);
        if (r < 0)
                return r;
        if (needs_l2(topology, level)) {
                hwloc_topology_destroy(STEAL_PTR(topology));
                r = load(spec, fsroot, true, &topology, ret_why);
                if (r < 0)
                        return r;
        }
        if (level != LEVEL_AUTO && level_count(topology, level).sets == 0)
                return fail(-ENODATA, ret_why, "this host shows no %s", level_words(level));
        *ret = STEAL_PTR(topology);
        return 0;
}

/* The number of the smallest NUMA node that holds the CPU: where there is
 * high-bandwidth memory, a CPU lies in more than one. */
static unsigned cpu_node(hwloc_topology_t topology, hwloc_obj_t pu) {
        hwloc_obj_t best = NULL;
        int best_weight = 0;

        for (hwloc_obj_t o = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, NULL); o;
             o = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, o)) {
                int weight = hwloc_bitmap_weight(o->cpuset);

                if (hwloc_bitmap_isset(o->cpuset, pu->os_index) && (!best || weight < best_weight)) {
                        best = o;
                        best_weight = weight;
                }
        }
        return best ? best->os_index : 0;
}

static uint8_t cpu_kind(hwloc_topology_t topology, hwloc_obj_t pu) {
        int index = hwloc_cpukinds_get_by_cpuset(topology, pu->cpuset, 0), efficiency;

        if (index < 0 ||
            hwloc_cpukinds_get_info(topology, (unsigned)index, NULL, &efficiency, NULL, NULL, 0) < 0)
                return 0;
        return efficiency < 0 ? 0 : efficiency > UINT8_MAX ? UINT8_MAX : (uint8_t)efficiency;
}

static CpuFact cpu_fact(hwloc_topology_t topology, hwloc_obj_t pu, ClusterLevel level) {
        unsigned node = cpu_node(topology, pu);
        hwloc_obj_t package = set_around(pu, LEVEL_PACKAGE), cluster = set_around(pu, level);
        hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_CORE, pu);
        CpuFact fact = {
                .os = (uint16_t)pu->os_index,
                .node = (uint16_t)node,
                .core = (uint32_t)(core ? core : pu)->gp_index,
                .package = package ? (uint32_t)package->gp_index : KEY_NO_PACKAGE,
                .cluster = cluster ? (uint32_t)cluster->gp_index : KEY_OUTSIDE - node,
                .kind = cpu_kind(topology, pu),
        };
        return fact;
}

static int collect_facts(hwloc_topology_t topology, ClusterLevel level, CpuFact *ret, unsigned *ret_n,
                         char *ret_why) {
        unsigned n = 0;

        for (hwloc_obj_t pu = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, NULL); pu;
             pu = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, pu)) {
                if (n == CPUS_MAX || pu->os_index >= CPUS_MAX)
                        return fail(-ERANGE, ret_why, "this host has a CPU number past the limit of %d CPUs",
                                    CPUS_MAX);
                ret[n] = cpu_fact(topology, pu, level);
                if (ret[n].node >= NODES_MAX)
                        return fail(-ERANGE, ret_why, "this host has a NUMA node number past the limit of %d",
                                    NODES_MAX);
                n++;
        }
        *ret_n = n;
        return 0;
}

/* Fills the NODES_MAX x NODES_MAX matrix with what the machine says, and with
 * "local" and "remote" where it says nothing. */
static void collect_distances(hwloc_topology_t topology, uint8_t *ret) {
        struct hwloc_distances_s *matrix = NULL;
        unsigned n = 1;

        for (unsigned a = 0; a < NODES_MAX; a++)
                for (unsigned b = 0; b < NODES_MAX; b++)
                        ret[a * NODES_MAX + b] = a == b ? DISTANCE_LOCAL : DISTANCE_REMOTE;
        if (hwloc_distances_get_by_type(topology, HWLOC_OBJ_NUMANODE, &n, &matrix,
                                        HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) < 0 ||
            n == 0)
                return;
        for (unsigned a = 0; a < matrix->nbobjs; a++)
                for (unsigned b = 0; b < matrix->nbobjs; b++) {
                        unsigned from = matrix->objs[a]->os_index, to = matrix->objs[b]->os_index;
                        hwloc_uint64_t value = matrix->values[a * matrix->nbobjs + b];

                        if (from < NODES_MAX && to < NODES_MAX)
                                ret[from * NODES_MAX + to] = value > UINT8_MAX ? UINT8_MAX : (uint8_t)value;
                }
        hwloc_distances_release(topology, matrix);
}

/* A kernel that does not tell has none isolated. */
static int read_isolated(const char *fsroot, CpuSet *ret) {
        AUTO_FREE char *path = NULL;
        char text[CPULIST_SIZE];
        int r;

        cpuset_clear(ret);
        if (asprintf(&path, "%s/sys/devices/system/cpu/isolated", fsroot ? fsroot : "") < 0) {
                path = NULL;
                return -ENOMEM;
        }
        r = file_read_at(AT_FDCWD, path, text, sizeof(text));
        if (r == -ENOENT)
                return 0;
        return r < 0 ? r : cpulist_parse(text, ret);
}

static int build(hwloc_topology_t topology, ClusterLevel level, const CpuSet *isolated, Topology *ret,
                 char *ret_why) {
        AUTO_FREE CpuFact *facts = malloc(CPUS_MAX * sizeof(*facts));
        AUTO_FREE uint8_t *distance = malloc(NODES_MAX * NODES_MAX);
        const char *why = NULL;
        unsigned n = 0;
        int r;

        if (!facts || !distance)
                return fail(-ENOMEM, ret_why, "out of memory");
        if (level == LEVEL_AUTO)
                level = level_choose(topology);
        r = collect_facts(topology, level, facts, &n, ret_why);
        if (r < 0)
                return r;
        collect_distances(topology, distance);
        if (topology_build(facts, n, distance, NODES_MAX, level, isolated, ret, &why) != 0)
                return fail(-ERANGE, ret_why, "this host's topology can not be used: %s", why);
        return 0;
}

int topology_from_hwloc(const char *spec, const char *fsroot, ClusterLevel level, Topology *ret,
                        char ret_why[256]) {
        AUTO_HWLOC hwloc_topology_t topology = NULL;
        CpuSet isolated;
        int r;

        r = load_for_level(spec, fsroot, level, &topology, ret_why);
        if (r < 0)
                return r;
        if (spec && (!fsroot || !*fsroot))
                cpuset_clear(&isolated);
        else
                r = read_isolated(fsroot, &isolated);
        if (r < 0)
                return fail(r, ret_why, "sys/devices/system/cpu/isolated can not be read: %s", strerror(-r));
        return build(topology, level, &isolated, ret, ret_why);
}

char *topology_export_xml(const char *spec, const char *fsroot, ClusterLevel level) {
        AUTO_HWLOC hwloc_topology_t topology = NULL;
        char why[WHY_SIZE], *buffer = NULL, *copy;
        int length;

        if (load_for_level(spec, fsroot, level, &topology, why) < 0 ||
            hwloc_topology_export_xmlbuffer(topology, &buffer, &length, 0) < 0)
                return NULL;
        copy = strdup(buffer);
        hwloc_free_xmlbuffer(topology, buffer);
        return copy;
}
