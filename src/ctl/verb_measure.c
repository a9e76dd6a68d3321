/* SPDX-License-Identifier: Apache-2.0 */

/*
 * measure: where the vCPUs really ran, and how long they waited. The daemon only
 * says which threads they are and which clusters it has, or would have, for each
 * VM; so it works whether the daemon acts or observes, and before is told from
 * after by measuring twice.
 */

#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/measure.h"
#include "util/cleanup.h"

enum { SECONDS_DEFAULT = 10, SECONDS_MAX = 3600 };

static int parse_seconds(const Ctl *ctl, const char *text, unsigned *ret) {
        char *end = NULL;
        long seconds = *text >= '0' && *text <= '9' ? strtol(text, &end, 10) : 0;

        if (!end || *end || seconds < 1 || seconds > SECONDS_MAX)
                return fail(ctl, EXIT_USAGE, "%s: whole seconds from 1 to %d are wanted", text, SECONDS_MAX);
        *ret = (unsigned)seconds;
        return EXIT_DONE;
}

/* What an earlier "measure --json" printed; *ret is a new reference. */
static int read_before(const Ctl *ctl, const char *path, json_t **ret) {
        AUTO_FCLOSE FILE *file = fopen(path, "re");
        json_error_t error;

        if (!file)
                return fail(ctl, EXIT_USAGE, "--before %s: %m", path);
        *ret = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
        if (!json_is_array(json_object_get(*ret, "vms"))) {
                json_decref(*ret);
                *ret = NULL;
                return fail(ctl, EXIT_USAGE, "--before %s: not what 'vasctl measure --json' prints", path);
        }
        return EXIT_DONE;
}

static void read_clusters(const json_t *host, int cluster_of[CPUS_MAX], int node_of[CPUS_MAX]) {
        const json_t *node, *cluster, *core, *number;
        size_t a, b, c, d;

        for (unsigned i = 0; i < CPUS_MAX; i++)
                cluster_of[i] = node_of[i] = -1;
        json_array_foreach (json_object_get(host, "nodes"), a, node)
                json_array_foreach (json_object_get(node, "clusters"), b, cluster)
                        json_array_foreach (json_object_get(cluster, "cores"), c, core)
                                json_array_foreach (json_object_get(core, "cpus"), d, number) {
                                        json_int_t cpu = json_integer_value(number);
                                        long long index = get_number(cluster, "cluster");

                                        if (cpu < 0 || cpu >= CPUS_MAX || index < 0 || index >= CPUS_MAX)
                                                continue;
                                        cluster_of[cpu] = (int)index;
                                        node_of[index] = (int)get_number(node, "node");
                                }
}

/* Every vCPU's thread. False: no memory. */
static bool take_threads(const json_t *vms, Measure *measure) {
        const json_t *vm, *vcpu;
        size_t n = 0, i, j;

        json_array_foreach (vms, i, vm)
                n += json_array_size(json_object_get(vm, "vcpu"));
        measure->vm = calloc(json_array_size(vms) + 1, sizeof(*measure->vm));
        measure->thread = calloc(n + 1, sizeof(*measure->thread));
        if (!measure->vm || !measure->thread)
                return false;
        measure->n_vms = (unsigned)json_array_size(vms);
        json_array_foreach (vms, i, vm)
                json_array_foreach (json_object_get(vm, "vcpu"), j, vcpu)
                        if (get_number(vcpu, "thread") > 0)
                                measure->thread[measure->n_threads++] =
                                        (MeasuredThread){.vm = (unsigned)i,
                                                         .pid = (int)get_number(vm, "pid"),
                                                         .tid = (int)get_number(vcpu, "thread"),
                                                         .stat_fd = -1,
                                                         .schedstat_fd = -1};
        return true;
}

static bool is_own(const json_t *vm, unsigned cluster) {
        const json_t *own;
        size_t i;

        json_array_foreach (json_object_get(vm, "clusters"), i, own)
                if (json_integer_value(own) == (json_int_t)cluster)
                        return true;
        return false;
}

static json_t *permille(uint64_t part, uint64_t whole) {
        return whole ? json_integer((json_int_t)((part * 1000 + whole / 2) / whole)) : json_null();
}

static int by_cluster(const void *a, const void *b) {
        unsigned x = ((const ClusterTime *)a)->cluster, y = ((const ClusterTime *)b)->cluster;

        return (x > y) - (x < y);
}

/* Of all VMs. */
typedef struct Sum {
        uint64_t ran_ns, outside_ns, waited_ns;
} Sum;

/* One VM's result as JSON. */
static json_t *vm_result(const Measure *measure, const int *node_of, const json_t *vm, MeasuredVm *measured,
                         Sum *sum) {
        json_t *clusters = json_array(), *nodes = json_array();
        bool met[CPUS_MAX] = {};
        uint64_t outside = 0;

        if (measured->n_clusters > 0)
                qsort(measured->cluster, measured->n_clusters, sizeof(ClusterTime), by_cluster);
        for (unsigned i = 0; i < measured->n_clusters; i++) {
                const ClusterTime *time = &measured->cluster[i];
                int node = node_of[time->cluster];

                json_array_append_new(clusters,
                                      json_pack("{si,so}", "cluster", (int)time->cluster, "permille",
                                                permille(time->ran_ns, measured->ran_ns)));
                if (node >= 0 && node < CPUS_MAX && !met[node])
                        json_array_append_new(nodes, json_integer(node));
                if (node >= 0 && node < CPUS_MAX)
                        met[node] = true;
                if (!is_own(vm, time->cluster))
                        outside += time->ran_ns;
        }
        sum->ran_ns += measured->ran_ns;
        sum->outside_ns += outside;
        sum->waited_ns += measured->waited_ns;
        return json_pack("{ss,ss,ss,si,si,sI,sI,so,so,so,so}", "uuid", get_string(vm, "uuid"), "name",
                         get_string(vm, "name"), "verdict", get_string(vm, "verdict"), "vcpus",
                         (int)get_number(vm, "vcpus"), "measured", (int)measured->n_threads, "min_clusters",
                         (json_int_t)get_number(vm, "min_clusters"), "ran_ms",
                         (json_int_t)(measured->ran_ns / 1000000), "clusters", clusters, "nodes", nodes,
                         "outside_permille", permille(outside, measured->ran_ns), "waited_permille",
                         measure->waits
                                 ? permille(measured->waited_ns, measured->ran_ns + measured->waited_ns)
                                 : json_null());
}

static double tenths(uint64_t part, uint64_t whole) {
        uint64_t rounded = (part * 10 + whole / 2) / whole;

        return (double)rounded / 10;
}

static json_t *result(const Measure *measure, const int *node_of, const json_t *vms, bool acting) {
        json_t *list = json_array();
        const json_t *vm;
        Sum sum = {};
        size_t i;

        json_array_foreach (vms, i, vm)
                json_array_append_new(list, vm_result(measure, node_of, vm, &measure->vm[i], &sum));
        return json_pack("{sf,si,si,si,sf,sb,so,so,so}", "seconds", tenths(measure->took_ns, 1000000000),
                         "passes", (int)measure->passes, "threads", (int)measure->n_threads, "lost",
                         (int)measure->n_lost, "cpu_percent",
                         tenths(measure->cost_ns * 100, measure->took_ns + 1), "acting", acting,
                         "outside_permille", permille(sum.outside_ns, sum.ran_ns), "waited_permille",
                         measure->waits ? permille(sum.waited_ns, sum.ran_ns + sum.waited_ns) : json_null(),
                         "vms", list);
}

static const json_t *find_vm(const json_t *result, const char *uuid) {
        const json_t *vm;
        size_t i;

        json_array_foreach (json_object_get(result, "vms"), i, vm)
                if (strcmp(get_string(vm, "uuid"), uuid) == 0)
                        return vm;
        return NULL;
}

typedef struct Field {
        char text[32];
} Field;

static const char *count_text(const json_t *vm, const char *key, Field *field) {
        size_t n = json_array_size(json_object_get(vm, key));

        snprintf(field->text, sizeof(field->text), n ? "%zu" : "-", n);
        return field->text;
}

static const char *percent_text(const json_t *vm, const char *key, Field *field) {
        const json_t *value = json_object_get(vm, key);
        double percent = (double)json_integer_value(value) / 10;

        if (json_is_integer(value))
                snprintf(field->text, sizeof(field->text), "%.1f %%", percent);
        else
                strcpy(field->text, "-");
        return field->text;
}

typedef const char *FieldText(const json_t *vm, const char *key, Field *field);

/* "now", or "before > now". */
static void add_field(Table *table, FieldText *text_of, const json_t *before, const json_t *vm,
                      const char *key) {
        Field now, then;

        text_of(vm, key, &now);
        if (before && strcmp(text_of(before, key, &then), now.text) != 0)
                table_add(table, COLOUR_NONE, "%s > %s", then.text, now.text);
        else
                table_add(table, COLOUR_NONE, "%s", now.text);
}

static void add_vm(Table *table, const json_t *before, const json_t *vm) {
        const json_t *then = find_vm(before, get_string(vm, "uuid"));
        const char *verdict = get_string(vm, "verdict");
        long long fewest = get_number(vm, "min_clusters");
        Field now, past;
        bool other =
                then && strcmp(count_text(then, "clusters", &past), count_text(vm, "clusters", &now)) != 0;

        table_add(table, COLOUR_NONE, "%s", get_string(vm, "name"));
        table_add(table, verdict_colour(verdict), "%s", verdict);
        if (get_number(vm, "measured") > 0)
                table_add(table, COLOUR_NONE, "%.1f s", get_real(vm, "ran_ms") / 1000);
        else
                table_add(table, COLOUR_NONE, "-");
        add_field(table, count_text, then, vm, "nodes");
        table_add(table, COLOUR_NONE, fewest > 0 ? "%s%s%s (%lld)" : "%s%s%s", other ? past.text : "",
                  other ? " > " : "", count_text(vm, "clusters", &now), fewest);
        add_field(table, percent_text, then, vm, "outside_permille");
        add_field(table, percent_text, then, vm, "waited_permille");
}

static void print_sum(const json_t *before, const json_t *result) {
        Field outside, waited, outside_then, waited_then;

        printf("\nAll VMs: %s of their time outside, %s waited",
               percent_text(result, "outside_permille", &outside),
               percent_text(result, "waited_permille", &waited));
        if (before)
                printf(" (before: %s and %s)", percent_text(before, "outside_permille", &outside_then),
                       percent_text(before, "waited_permille", &waited_then));
        puts(".");
}

static int print_result(const Ctl *ctl, const json_t *before, const json_t *result) {
        Table table = {};
        const json_t *vm;
        size_t i;
        bool failed;

        if (json_array_size(json_object_get(result, "vms")) == 0) {
                puts("There are no running VMs.");
                return EXIT_DONE;
        }
        table_title(&table, "VM", false);
        table_title(&table, "VERDICT", false);
        table_title(&table, "RAN", true);
        table_title(&table, "NODES", true);
        table_title(&table, "CLUSTERS", true);
        table_title(&table, "OUTSIDE", true);
        table_title(&table, "WAITED", true);
        json_array_foreach (json_object_get(result, "vms"), i, vm)
                add_vm(&table, before, vm);
        failed = table.failed;
        if (!failed)
                table_print(ctl, &table);
        table_done(&table);
        if (failed)
                return fail(ctl, EXIT_FAILED, "out of memory");
        print_sum(before, result);
        printf("%.1f s, %lld looks at %lld vCPUs, which took %.1f %% of a CPU.\n",
               get_real(result, "seconds"), get_number(result, "passes"), get_number(result, "threads"),
               get_real(result, "cpu_percent"));
        if (get_number(result, "lost") > 0)
                printf("%lld of them could not be read, or ended.\n", get_number(result, "lost"));
        if (!get_bool(result, "acting"))
                puts("The daemon changes nothing now: OUTSIDE is against where it would have them.");
        return EXIT_DONE;
}

static int measure_and_print(const Ctl *ctl, unsigned seconds, const json_t *before, const json_t *status,
                             const json_t *host, const json_t *vms) {
        Measure measure = {.root = ctl->root};
        bool acting = strcmp(get_string(status, "mode"), "act") == 0 && !get_bool(status, "paused");
        json_auto_t *measured = NULL;
        int node_of[CPUS_MAX];

        read_clusters(host, measure.cluster_of, node_of);
        if (take_threads(vms, &measure) && (measure.n_threads == 0 || measure_run(&measure, seconds)))
                measured = result(&measure, node_of, vms, acting);
        measure_done(&measure);
        if (!measured)
                return fail(ctl, EXIT_FAILED, "out of memory");
        if (!ctl->json)
                return print_result(ctl, before, measured);
        print_json(measured, false);
        return EXIT_DONE;
}

int run_measure(Ctl *ctl, int argc, char **argv) {
        const char *words[1] = {}, *path = NULL;
        const Option options[] = {{NULL, "--before", &path, NULL}};
        Answer status = {}, host = {}, list = {};
        unsigned seconds = SECONDS_DEFAULT;
        json_auto_t *before = NULL;
        size_t n_words;
        int r = options_parse(ctl, argc, argv, options, 1, words, 1, &n_words);

        if (r == EXIT_DONE && n_words > 0)
                r = parse_seconds(ctl, words[0], &seconds);
        if (r == EXIT_DONE && path)
                r = read_before(ctl, path, &before);
        if (r == EXIT_DONE && daemon_ask(ctl, "GetStatus", NULL, &status, &r) &&
            daemon_ask(ctl, "GetHost", NULL, &host, &r) &&
            daemon_ask(ctl, "ListVms", json_pack("{ss,sb}", "scope", "all", "detail", 1), &list, &r))
                r = measure_and_print(ctl, seconds, before, json_object_get(status.parameters, "status"),
                                      host.parameters, json_object_get(list.parameters, "vms"));
        answer_done(&status);
        answer_done(&host);
        answer_done(&list);
        return r;
}
