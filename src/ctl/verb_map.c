/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The host as a picture. Every CPU is one sign, or two where there are more VMs
 * than letters, in the topology's order, so that a cluster is always one piece
 * in brackets whatever the CPU numbers are. VMs get their letters in the order
 * in which they appear; the legend stands below. Clusters stand side by side as
 * far as the width allows; one that is wider than that is folded.
 */

#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"
#include "util/cpulist.h"

enum {
        SIGN_SIZE = 3, /* bytes, with the NUL */
        INDENT = 2,
        LEGEND_NAME_WIDTH = 28,
        OWNER_NONE = -1,
        OWNER_TWICE = -2,
        TWICE_SHOWN = 10, /* CPUs claimed twice that are named */
};

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

typedef struct MapVm {
        const char *name;
        const char *kind; /* of the first CPU found; "mixed" kinds show the first */
        unsigned cpus;
        int label; /* order of appearance; -1: not drawn yet */
} MapVm;

typedef struct Map {
        const Ctl *ctl;
        const json_t *nodes;
        MapVm *vm;
        unsigned n_vms, n_labels;
        unsigned *order; /* by label: index into vm[] */
        unsigned sign_width;
        bool threads; /* some core has more than one CPU */
        CpuSet skip, isolated;
        int owner[CPUS_MAX]; /* index into vm[], or OWNER_... */
} Map;

static void read_set(const json_t *object, const char *key, CpuSet *ret) {
        if (cpulist_parse(get_string(object, key), ret) < 0)
                cpuset_clear(ret);
}

/* Reads who owns what. 0 or -1 (no memory). */
static int map_read_owners(Map *map, const json_t *owners) {
        json_auto_t *index = json_object();
        const json_t *owner;
        size_t i;

        for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++)
                map->owner[cpu] = OWNER_NONE;
        map->vm = calloc(json_array_size(owners) + 1, sizeof(*map->vm));
        map->order = calloc(json_array_size(owners) + 1, sizeof(*map->order));
        if (!index || !map->vm || !map->order)
                return -1;
        json_array_foreach (owners, i, owner) {
                const char *uuid = get_string(owner, "vm");
                const json_t *known = json_object_get(index, uuid);
                long long cpu = get_number(owner, "cpu");
                int vm = known ? (int)json_integer_value(known) : (int)map->n_vms;

                if (cpu < 0 || cpu >= CPUS_MAX)
                        continue;
                if (!known) {
                        if (json_object_set_new(index, uuid, json_integer(vm)) < 0)
                                return -1;
                        map->vm[map->n_vms++] = (MapVm){.name = get_string(owner, "name"),
                                                        .kind = get_string(owner, "kind"),
                                                        .label = -1};
                }
                map->vm[vm].cpus++;
                map->owner[cpu] = map->owner[cpu] == OWNER_NONE ? vm : OWNER_TWICE;
        }
        return 0;
}

/* Gives letters in the order of appearance. */
static void map_label(Map *map) {
        const json_t *node, *cluster, *core, *number;
        size_t a, b, c, d;

        json_array_foreach (map->nodes, a, node)
                json_array_foreach (json_object_get(node, "clusters"), b, cluster)
                        json_array_foreach (json_object_get(cluster, "cores"), c, core) {
                                const json_t *cpus = json_object_get(core, "cpus");

                                map->threads = map->threads || json_array_size(cpus) > 1;
                                json_array_foreach (cpus, d, number) {
                                        json_int_t cpu = json_integer_value(number);
                                        int vm = cpu >= 0 && cpu < CPUS_MAX ? map->owner[cpu] : OWNER_NONE;

                                        if (vm >= 0 && map->vm[vm].label < 0) {
                                                map->order[map->n_labels] = (unsigned)vm;
                                                map->vm[vm].label = (int)map->n_labels++;
                                        }
                                }
                        }
        map->sign_width = map->n_labels > strlen(letters) ? 2 : 1;
}

static void label_sign(const Map *map, unsigned label, char ret[SIGN_SIZE]) {
        size_t n = strlen(letters);

        if (map->sign_width == 1)
                snprintf(ret, SIGN_SIZE, "%c", letters[label % n]);
        else
                snprintf(ret, SIGN_SIZE, "%c%c", letters[label / n % n], letters[label % n]);
}

static void print_sign(const Map *map, json_int_t cpu) {
        static const char *const palette[] = {"\033[32m", "\033[36m", "\033[33m", "\033[35m",
                                              "\033[34m", "\033[92m", "\033[96m", "\033[95m"};
        int owner = cpu >= 0 && cpu < CPUS_MAX ? map->owner[cpu] : OWNER_NONE;
        char sign[SIGN_SIZE] = {};
        const char *colour = "\033[2m";

        if (owner >= 0) {
                label_sign(map, (unsigned)map->vm[owner].label, sign);
                colour = palette[(unsigned)map->vm[owner].label % (sizeof(palette) / sizeof(palette[0]))];
        } else {
                char c = owner == OWNER_TWICE                        ? '!'
                         : cpuset_has(&map->skip, (unsigned)cpu)     ? '#'
                         : cpuset_has(&map->isolated, (unsigned)cpu) ? '%'
                                                                     : '.';

                memset(sign, c, map->sign_width);
                if (owner == OWNER_TWICE)
                        colour = "\033[1;31m";
        }
        printf("%s%s%s", map->ctl->colour ? colour : "", sign, map->ctl->colour ? "\033[0m" : "");
}

static bool cores_stand_apart(const Map *map) {
        return map->threads || map->sign_width > 1;
}

static unsigned core_width(const Map *map, const json_t *core) {
        unsigned n = (unsigned)json_array_size(json_object_get(core, "cpus"));

        return n * map->sign_width + (map->sign_width > 1 && n > 0 ? n - 1 : 0);
}

static unsigned cluster_width(const Map *map, const json_t *cluster) {
        const json_t *cores = json_object_get(cluster, "cores"), *core;
        unsigned width = 0;
        size_t i;

        json_array_foreach (cores, i, core)
                width += core_width(map, core) + (i > 0 && cores_stand_apart(map));
        return width;
}

static void print_core(const Map *map, const json_t *core) {
        const json_t *cpus = json_object_get(core, "cpus"), *number;
        size_t i;

        json_array_foreach (cpus, i, number) {
                if (i > 0 && map->sign_width > 1)
                        putchar(':');
                print_sign(map, json_integer_value(number));
        }
}

/* The cluster's cores in brackets, folded into lines of at most room columns,
 * those after the first indented by indent. */
static void print_cluster(const Map *map, const json_t *cluster, unsigned room, unsigned indent) {
        const json_t *cores = json_object_get(cluster, "cores"), *core;
        unsigned used = 0;
        size_t i;

        putchar('[');
        json_array_foreach (cores, i, core) {
                unsigned width = core_width(map, core), gap = i > 0 && cores_stand_apart(map);

                if (used > 0 && used + gap + width > room) {
                        printf("\n%*s", (int)indent, "");
                        used = 0;
                } else if (gap) {
                        putchar(' ');
                        used++;
                }
                print_core(map, core);
                used += width;
        }
        putchar(']');
}

static unsigned digits(long long n) {
        unsigned count = 1;

        for (; n >= 10; n /= 10)
                count++;
        return count;
}

/* How clusters are laid out: the same on every node. */
typedef struct Grid {
        unsigned number_width, cluster_width, columns, room;
} Grid;

static Grid map_grid(const Map *map) {
        const json_t *node, *cluster;
        Grid grid = {.columns = 1};
        unsigned cell;
        size_t i, j;

        json_array_foreach (map->nodes, i, node)
                json_array_foreach (json_object_get(node, "clusters"), j, cluster) {
                        unsigned width = cluster_width(map, cluster),
                                 n = digits(get_number(cluster, "cluster"));

                        grid.cluster_width = width > grid.cluster_width ? width : grid.cluster_width;
                        grid.number_width = n > grid.number_width ? n : grid.number_width;
                }
        grid.room = map->ctl->width - INDENT - grid.number_width - 3;
        cell = grid.number_width + 3 + grid.cluster_width;
        if (grid.cluster_width <= grid.room)
                grid.columns = 1 + (map->ctl->width - INDENT - cell) / (cell + 2);
        return grid;
}

static void node_count(const Map *map, const json_t *node, CpuSet *ret_cpus, unsigned *ret_owned,
                       unsigned *ret_free) {
        node_cpus(node, ret_cpus);
        *ret_owned = *ret_free = 0;
        CPUSET_FOREACH (cpu, ret_cpus) {
                *ret_owned += map->owner[cpu] != OWNER_NONE;
                *ret_free += map->owner[cpu] == OWNER_NONE && !cpuset_has(&map->skip, (unsigned)cpu);
        }
}

static void print_node(const Map *map, const json_t *node, const Grid *grid) {
        const json_t *clusters = json_object_get(node, "clusters"), *cluster;
        unsigned owned, unowned;
        AUTO_FREE char *list = NULL;
        CpuSet cpus;
        size_t i;

        node_count(map, node, &cpus, &owned, &unowned);
        list = cpulist_new(&cpus);
        if (list)
                text_cut(list, map->ctl->width - 40);
        printf("%snode %lld%s  %u owned, %u free; CPUs %s\n", colour_start(map->ctl, COLOUR_BOLD),
               get_number(node, "node"), colour_end(map->ctl, COLOUR_BOLD), owned, unowned,
               list ? list : "?");
        json_array_foreach (clusters, i, cluster) {
                bool last = (i + 1) % grid->columns == 0 || i + 1 == json_array_size(clusters);

                printf("%*s%*lld ", INDENT, "", (int)grid->number_width, get_number(cluster, "cluster"));
                print_cluster(map, cluster, grid->room, INDENT + grid->number_width + 2);
                if (last)
                        putchar('\n');
                else
                        printf("%*s", (int)(grid->cluster_width - cluster_width(map, cluster)), "");
        }
}

/* "a web1 (8)", newly allocated and clean. */
static char *legend_entry(const Map *map, unsigned label) {
        const MapVm *vm = &map->vm[map->order[label]];
        AUTO_FREE char *name = text_clean(vm->name);
        AUTO_FREE char *kind = text_clean(vm->kind);
        char sign[SIGN_SIZE] = {}, *entry = NULL;
        bool placed = kind && strcmp(kind, "placed") == 0;

        if (!name || !kind)
                return NULL;
        label_sign(map, label, sign);
        text_cut(name, LEGEND_NAME_WIDTH);
        text_cut(kind, 10);
        if (asprintf(&entry, "%s %s (%u%s%s)", sign, name, vm->cpus, placed ? "" : ", ", placed ? "" : kind) <
            0)
                return NULL;
        return entry;
}

static void print_legend(const Map *map) {
        unsigned widest = 0, columns;

        for (unsigned i = 0; i < map->n_labels; i++) {
                AUTO_FREE char *entry = legend_entry(map, i);
                unsigned width = entry ? text_width(entry) : 0;

                widest = width > widest ? width : widest;
        }
        columns = 1 + (map->ctl->width > INDENT + widest ? (map->ctl->width - INDENT - widest) / (widest + 2)
                                                         : 0);
        for (unsigned i = 0; i < map->n_labels; i++) {
                AUTO_FREE char *entry = legend_entry(map, i);
                bool first = i % columns == 0, last = (i + 1) % columns == 0 || i + 1 == map->n_labels;

                printf("%*s%s", first ? INDENT : 0, "", entry ? entry : "?");
                if (last)
                        putchar('\n');
                else
                        printf("%*s", (int)(widest + 2 - (entry ? text_width(entry) : 1)), "");
        }
}

/* Who claims the CPUs that more than one vCPU claims. */
static void print_twice(const Map *map, const json_t *owners) {
        unsigned shown = 0;

        for (unsigned cpu = 0; cpu < CPUS_MAX && shown < TWICE_SHOWN; cpu++) {
                const char *separator = " ";
                const json_t *owner;
                size_t i;

                if (map->owner[cpu] != OWNER_TWICE)
                        continue;
                shown++;
                printf("claimed twice (!): CPU %u by", cpu);
                json_array_foreach (owners, i, owner) {
                        if (get_number(owner, "cpu") != (long long)cpu)
                                continue;
                        printf("%s", separator);
                        print_clean(get_string(owner, "name"));
                        printf(" vCPU %lld", get_number(owner, "vcpu"));
                        separator = ", ";
                }
                putchar('\n');
        }
}

/* What is wrong with operators' own pins, a line for each VM. */
static void print_pins(const Ctl *ctl) {
        const json_t *vm;
        Answer answer;
        size_t i;

        daemon_call(ctl, "ListVms", json_pack("{ss,sb}", "scope", "all", "detail", 0), &answer);
        json_array_foreach (json_object_get(answer.parameters, "vms"), i, vm) {
                AUTO_FREE char *judged = pins_judged(vm);
                AUTO_FREE char *name = text_clean(get_string(vm, "name"));
                AUTO_FREE char *line = NULL;

                if (!judged || !name || asprintf(&line, "%s, %s", name, judged) < 0)
                        continue;
                print_wrapped(ctl, "pinned badly: ", line);
        }
        answer_done(&answer);
}

/* One line: what the daemon's part in this is, if it is not simply acting. */
static void print_mode(const Ctl *ctl) {
        const json_t *status;
        Answer answer;

        daemon_call(ctl, "GetStatus", NULL, &answer);
        status = json_object_get(answer.parameters, "status");
        if (get_bool(status, "paused"))
                puts("The daemon is paused: this is where it would have the vCPUs.");
        else if (strcmp(get_string(status, "mode"), "observe") == 0)
                puts("The daemon only observes: this is where it would have the vCPUs.");
        answer_done(&answer);
}

static void print_head(const Map *map, const json_t *host) {
        const json_t *node;
        unsigned owned = 0, unowned = 0, cpus = 0;
        size_t i, clusters = 0;

        json_array_foreach (map->nodes, i, node) {
                unsigned node_owned, node_free;
                CpuSet set;

                node_count(map, node, &set, &node_owned, &node_free);
                owned += node_owned;
                unowned += node_free;
                cpus += cpuset_count(&set);
                clusters += json_array_size(json_object_get(node, "clusters"));
        }
        printf("%u CPUs in %zu cluster%s (", cpus, clusters, plural((long long)clusters));
        print_clean(get_string(host, "cluster_level"));
        printf(") of %zu node%s: %u owned, %u free\n", i, plural((long long)i), owned, unowned);
}

static void print_set(const char *what, const json_t *host, const char *key) {
        const char *list = get_string(host, key);

        if (!*list)
                return;
        printf("%s: CPUs ", what);
        print_clean(list);
        putchar('\n');
}

static int print_map(const Ctl *ctl, const json_t *host) {
        AUTO_FREE Map *map = calloc(1, sizeof(*map));
        const json_t *node;
        Grid grid;
        size_t i;
        int r;

        if (!map)
                return -1;
        map->ctl = ctl;
        map->nodes = json_object_get(host, "nodes");
        read_set(host, "skip_cpuset", &map->skip);
        read_set(host, "isolated", &map->isolated);
        r = map_read_owners(map, json_object_get(host, "owners"));
        if (r == 0) {
                map_label(map);
                grid = map_grid(map);
                print_head(map, host);
                print_mode(ctl);
                json_array_foreach (map->nodes, i, node)
                        print_node(map, node, &grid);
                print_legend(map);
                print_twice(map, json_object_get(host, "owners"));
                print_pins(ctl);
                print_set("offline", host, "offline");
                print_set("skipped (#)", host, "skip_cpuset");
                print_set("isolated (%)", host, "isolated");
        }
        free(map->vm);
        free(map->order);
        return r;
}

int run_map(Ctl *ctl, int argc, char **argv) {
        Answer answer;
        int status = options_none(ctl, argc, argv);

        if (status != EXIT_DONE)
                return status;
        daemon_call(ctl, "GetHost", NULL, &answer);
        if (answer.status != EXIT_DONE)
                status = fail_answer(ctl, &answer);
        else if (ctl->json)
                print_json(answer.parameters, false);
        else if (print_map(ctl, answer.parameters) < 0)
                status = fail(ctl, EXIT_FAILED, "out of memory");
        answer_done(&answer);
        return status;
}
