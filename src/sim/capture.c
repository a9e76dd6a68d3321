/* SPDX-License-Identifier: Apache-2.0 */

#include "sim/capture.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "platform/topology_hwloc.h"
#include "util/cleanup.h"
#include "util/cpulist.h"
#include "util/utf8.h"
#include "wire/capture.h"
#include "wire/names.h"

/* The file as JSON. A file that grows while it is read is cut, and is then none. */
static int load_json(const char *path, json_t **ret, Complaint *ret_why) {
        AUTO_FCLOSE FILE *file = fopen(path, "re");
        AUTO_FREE char *text = NULL;
        json_error_t error;
        size_t used = 0;

        if (!file)
                return complain(ret_why, "%.200s: %s", path, strerror(errno));
        text = malloc(CAPTURE_BYTES_MAX + 1);
        if (!text)
                return -ENOMEM;
        used = fread(text, 1, CAPTURE_BYTES_MAX + 1, file);
        if (ferror(file))
                return complain(ret_why, "%.200s can not be read", path);
        if (used > CAPTURE_BYTES_MAX)
                return complain(ret_why, "%.200s: larger than %d MB", path, CAPTURE_BYTES_MAX >> 20);
        *ret = json_loadb(text, used, JSON_REJECT_DUPLICATES, &error);
        if (*ret)
                return 0;
        text_disarm(error.text);
        return complain(ret_why, "%.200s:%d: no JSON: %.100s", path, error.line, error.text);
}

static int load_topology(const json_t *json, const char *path, Topology *ret, Complaint *ret_why) {
        const char *xml = json_string_value(json_object_get(json, "topology_xml"));
        const char *level = json_string_value(json_object_get(json, "cluster_level"));
        const char *isolated = json_string_value(json_object_get(json, "isolated"));
        ClusterLevel cluster_level;
        char why[256];
        CpuSet set;
        int r;

        if (!xml || *xml != '<')
                return complain(ret_why, "%.200s: topology_xml is no XML", path);
        if (!level || level_parse(level, &cluster_level) < 0)
                return complain(ret_why,
                                "%.200s: cluster_level is none of auto, cluster, l3, numa and package", path);
        if (!isolated || cpulist_parse(isolated, &set) < 0)
                return complain(ret_why, "%.200s: isolated is not a list of CPUs below %d", path, CPUS_MAX);
        r = topology_from_hwloc(xml, NULL, cluster_level, ret, why);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return complain(ret_why, "%.200s: topology_xml: %.200s", path, why);
        ret->isolated = set;
        return 0;
}

/* The VM of that UUID or else name; -1: all; -2: none. */
static int32_t find_vm(const Snapshot *snapshot, const char *scope) {
        if (strcmp(scope, "all") == 0)
                return -1;
        for (uint32_t v = 0; v < snapshot->n_vms; v++)
                if (strcasecmp(snapshot->vm[v].uuid, scope) == 0)
                        return (int32_t)v;
        for (uint32_t v = 0; v < snapshot->n_vms; v++)
                if (strcmp(snapshot->vm[v].name, scope) == 0)
                        return (int32_t)v;
        return -2;
}

/* Whether the daemon made the same plan; null: it made none for that question. */
static json_t *compare(const json_t *json, const char *reassign, const json_t *plan) {
        const json_t *theirs = json_object_get(json, reassign ? "reassign" : "plan");

        if (!json_is_object(theirs) || (reassign && strcmp(reassign, "all") != 0))
                return json_null();
        return json_boolean(json_equal(theirs, plan));
}

static json_t *plan_again(const Topology *topology, Capture *capture, const PlanRequest *request) {
        AUTO_FREE PlanWork *work = calloc(1, plan_work_size());
        AUTO_FREE Plan *plan = calloc(1, sizeof(*plan));

        if (!work || !plan)
                return NULL;
        plan_make(topology, &capture->snapshot, &capture->policy, &capture->history, request, capture->now_ns,
                  work, plan);
        return capture_plan(&capture->snapshot, plan);
}

static json_t *pack_names(const Snapshot *snapshot) {
        json_t *names = json_object();

        for (uint32_t v = 0; names && v < snapshot->n_vms; v++)
                json_object_set_new(names, snapshot->vm[v].uuid, json_string(snapshot->vm[v].name));
        return names;
}

static int replan(const json_t *json, const char *path, const char *reassign, json_t **ret,
                  Complaint *ret_why) {
        AUTO_FREE Topology *topology = calloc(1, sizeof(*topology));
        AUTO_FREE Capture *capture = calloc(1, sizeof(*capture));
        PlanRequest request = {.kind = reassign ? PLAN_REASSIGN : PLAN_ROUND, .vm = -1};
        char why[CAPTURE_WHY_SIZE];
        int r;

        if (!topology || !capture)
                return -ENOMEM;
        if (capture_unpack(json, capture, why) < 0)
                return complain(ret_why, "%.200s: %.200s", path, why);
        r = load_topology(json, path, topology, ret_why);
        if (r)
                return r;
        if (reassign && (request.vm = find_vm(&capture->snapshot, reassign)) == -2)
                return complain(ret_why, "%.200s: no VM has the name or UUID \"%.100s\"", path, reassign);
        json_t *plan = plan_again(topology, capture, &request);
        *ret = json_pack("{s:i, s:i, s:i, s:i, s:o, s:o, s:o}", "vms", (int)capture->snapshot.n_vms, "vcpus",
                         (int)capture->snapshot.n_vcpus, "cpus", topology->n_cpus, "clusters",
                         topology->n_clusters, "names", pack_names(&capture->snapshot), "same",
                         compare(json, reassign, plan), "plan", plan);
        return *ret ? 0 : -ENOMEM;
}

int capture_replan(const char *path, const char *reassign, json_t **ret, Complaint *ret_why) {
        json_auto_t *json = NULL;
        int r = load_json(path, &json, ret_why);

        return r ? r : replan(json, path, reassign, ret, ret_why);
}

static int number(const json_t *object, const char *key) {
        return (int)json_integer_value(json_object_get(object, key));
}

static void print_cpu(FILE *out, int cpu) {
        if (cpu < 0)
                fputs("none", out);
        else
                fprintf(out, "%d", cpu);
}

static void print_move(const json_t *names, const json_t *move, FILE *out) {
        const char *uuid = json_string_value(json_object_get(move, "vm"));
        const char *name = json_string_value(json_object_get(names, uuid));
        char clean[VM_NAME_SIZE];

        snprintf(clean, sizeof(clean), "%s", name ? name : uuid);
        text_disarm(clean);
        fprintf(out, "  %s vCPU %d: CPU ", clean, number(move, "vcpu"));
        print_cpu(out, number(move, "from"));
        fputs(" -> ", out);
        print_cpu(out, number(move, "to"));
        fprintf(out, " (%s)\n", json_string_value(json_object_get(move, "kind")));
}

static void print_score(const char *title, const json_t *score, FILE *out) {
        fprintf(out,
                "%s: %d VMs without CPUs of their own, %d nodes and %d clusters above the minimum, %d shared "
                "cores\n",
                title, number(score, "unplaced"), number(score, "excess_nodes"),
                number(score, "excess_clusters"), number(score, "shared_cores"));
}

static void print_all(const json_t *found, const char *reassign, FILE *out) {
        const json_t *plan = json_object_get(found, "plan"), *moves = json_object_get(plan, "moves"), *move;
        const json_t *same = json_object_get(found, "same");
        size_t i, n = json_array_size(moves);

        fprintf(out, "%d VMs with %d vCPUs on %d CPUs in %d clusters\n", number(found, "vms"),
                number(found, "vcpus"), number(found, "cpus"), number(found, "clusters"));
        fprintf(out, "%s: %zu move%s%s\n", reassign ? "reassigned" : "the next round", n, n == 1 ? "" : "s",
                json_is_true(same)    ? ", as the daemon planned"
                : json_is_false(same) ? "; the daemon planned otherwise"
                                      : "");
        json_array_foreach (moves, i, move)
                print_move(json_object_get(found, "names"), move, out);
        print_score("before", json_object_get(plan, "before"), out);
        print_score("after", json_object_get(plan, "after"), out);
}

int capture_run(const Options *options, FILE *out, Complaint *ret_why) {
        json_auto_t *found = NULL;
        int r = capture_replan(options->file, options->reassign, &found, ret_why);

        if (r)
                return r;
        if (!options->json) {
                print_all(found, options->reassign, out);
                return 0;
        }
        json_object_del(found, "names");
        return json_dumpf(found, out, JSON_ENSURE_ASCII | JSON_INDENT(2)) < 0 || fputc('\n', out) == EOF
                       ? -EIO
                       : 0;
}
