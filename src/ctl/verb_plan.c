/* SPDX-License-Identifier: Apache-2.0 */

/* plan: what would happen if. */

#include <stdlib.h>
#include <string.h>

#include "core/snapshot.h"
#include "ctl/ctl.h"
#include "util/cleanup.h"
#include "util/cpulist.h"
#include "wire/names.h"

typedef struct What {
        const char *add, *remove, *reassign, *policy;
        long add_vcpus;
        const char *range; /* NULL: everywhere */
} What;

/* Whether it is a list of CPUs or "nodeN". Which there are, the daemon knows. */
static bool is_range(const char *text) {
        CpuSet cpus = {};

        if (strncmp(text, "node", 4) == 0)
                return text[4] && strlen(text + 4) <= 4 && strspn(text + 4, "0123456789") == strlen(text + 4);
        return cpulist_parse(text, &cpus) == 0 && !cpuset_is_empty(&cpus);
}

static int parse_add(const Ctl *ctl, What *what) {
        char *end = NULL;

        if (!what->add)
                return EXIT_DONE;
        if (*what->add >= '0' && *what->add <= '9')
                what->add_vcpus = strtol(what->add, &end, 10);
        if (!end || (*end && *end != ':') || what->add_vcpus < 1 || what->add_vcpus > VM_VCPUS_MAX)
                return fail(ctl, EXIT_USAGE, "--add %s: N[:RANGE] is wanted, N being 1 to %d vCPUs",
                            what->add, VM_VCPUS_MAX);
        if (!*end)
                return EXIT_DONE;
        what->range = end + 1;
        if (!is_range(what->range))
                return fail(ctl, EXIT_USAGE,
                            "--add %s: the range is neither CPUs like 0-7,12 nor a node like node0",
                            what->add);
        return EXIT_DONE;
}

static int parse_what(Ctl *ctl, int argc, char **argv, What *ret) {
        const Option options[] = {{NULL, "--add", &ret->add, NULL},
                                  {NULL, "--remove", &ret->remove, NULL},
                                  {NULL, "--reassign", &ret->reassign, NULL},
                                  {NULL, "--policy", &ret->policy, NULL}};
        SchedPolicy sched;
        size_t n_words;
        int status = options_parse(ctl, argc, argv, options, 4, NULL, 0, &n_words);

        if (status == EXIT_DONE)
                status = parse_add(ctl, ret);
        if (status == EXIT_DONE && ret->policy && sched_parse(ret->policy, &sched) < 0)
                return fail(ctl, EXIT_USAGE, "--policy %s: static, dynamic or cluster is wanted",
                            ret->policy);
        return status;
}

/* The question as a half sentence: "If a VM of 4 vCPUs came, and ...". */
static void print_question(const Ctl *ctl, const What *what) {
        char vcpus[128];
        const struct {
                const char *before, *value, *after;
        } parts[] = {{"a VM came that wants ", what->add ? vcpus : NULL, ""},
                     {"the VM ", what->remove, " went"},
                     {"", what->reassign,
                      what->reassign && strcmp(what->reassign, "all") == 0 ? " VMs were placed anew"
                                                                           : " was placed anew"},
                     {"the policy were ", what->policy, ""}};
        const char *join = "If ";

        snprintf(vcpus, sizeof(vcpus), "%ld vCPU%s%s%.80s", what->add_vcpus, plural(what->add_vcpus),
                 what->range ? " in " : "", what->range ? what->range : "");
        fputs(colour_start(ctl, COLOUR_BOLD), stdout);
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
                if (parts[i].value) {
                        printf("%s%s", join, parts[i].before);
                        print_clean(parts[i].value);
                        fputs(parts[i].after, stdout);
                        join = ", and ";
                }
        printf("%s%s", *join == ',' ? ":" : "What the next round would do:", colour_end(ctl, COLOUR_BOLD));
        putchar('\n');
}

/* "A -> B", or one of them where the other is the same or missing. */
static void add_pair(Table *table, Colour colour, const char *from, const char *to) {
        if (!*from || !*to || strcmp(from, to) == 0)
                table_add(table, colour, "%s", *to ? to : *from ? from : "-");
        else
                table_add(table, colour, "%s -> %s", from, to);
}

static char *clusters_of(const json_t *place) {
        char *text = NULL;
        long long clusters = get_number(place, "clusters"), minimum = get_number(place, "min_clusters");

        if (clusters == 0)
                return strdup("");
        return asprintf(&text, minimum ? "%lld (%lld)" : "%lld", clusters, minimum) < 0 ? NULL : text;
}

static void add_change(Table *table, const json_t *change) {
        const json_t *before = json_object_get(change, "before"), *after = json_object_get(change, "after");
        const char *what = get_string(change, "change");
        long long moves = get_number(change, "moves");
        AUTO_FREE char *from = clusters_of(before);
        AUTO_FREE char *to = clusters_of(after);

        if (!from || !to) {
                table->failed = true;
                return;
        }
        table_add(table, COLOUR_NONE, "%s", get_string(change, "name"));
        table_add(table, COLOUR_NONE, "%lld", get_number(change, "vcpus"));
        if (strcmp(what, "kept") == 0)
                table_add(table, COLOUR_NONE, moves ? "%lld moved" : "stays", moves);
        else
                table_add(table, COLOUR_NONE, strcmp(what, "added") == 0 ? "comes" : "goes");
        add_pair(table, verdict_colour(get_string(after, "verdict")), get_string(before, "verdict"),
                 get_string(after, "verdict"));
        add_pair(table, COLOUR_NONE, from, to);
        add_pair(table, COLOUR_NONE, get_string(before, "cpus"), get_string(after, "cpus"));
}

static bool print_changes(const Ctl *ctl, const json_t *changes) {
        Table table = {};
        const json_t *change;
        bool failed;
        size_t i;

        table_title(&table, "VM", false);
        table_title(&table, "vCPUs", true);
        table_title(&table, "CHANGE", false);
        table_title(&table, "VERDICT", false);
        table_title(&table, "CLUSTERS", false);
        table_title(&table, "CPUS", false);
        json_array_foreach (changes, i, change)
                add_change(&table, change);
        failed = table.failed;
        if (!failed)
                table_print(ctl, &table);
        table_done(&table);
        return !failed;
}

/* Why a VM that is not as well placed as can be would be so. */
static void print_reasons(const Ctl *ctl, const json_t *changes) {
        const json_t *change;
        size_t i;

        json_array_foreach (changes, i, change) {
                const json_t *after = json_object_get(change, "after");
                const char *reason = get_string(after, "reason_text"),
                           *blocker = get_string(after, "blocker");
                AUTO_FREE char *line = NULL;
                AUTO_FREE char *clean = NULL;

                if (!*reason || asprintf(&line, "%s: %s%s%s", get_string(change, "name"), reason,
                                         *blocker ? "; in its way: " : "", blocker) < 0)
                        continue;
                clean = text_clean(line);
                if (clean)
                        print_wrapped(ctl, "  ", clean);
        }
}

static int print_plan(const Ctl *ctl, const What *what, const json_t *plan) {
        const json_t *changes = json_object_get(plan, "changes");

        print_question(ctl, what);
        if (json_array_size(changes) == 0)
                puts("Nothing would change: no VM would move, no verdict would be another.");
        else {
                if (!print_changes(ctl, changes))
                        return fail(ctl, EXIT_FAILED, "out of memory");
                print_reasons(ctl, changes);
        }
        print_plan_moves(json_object_get(plan, "moves"), true);
        print_scores(json_object_get(plan, "before"), json_object_get(plan, "after"));
        if (!get_bool(plan, "acting"))
                puts("The daemon only observes: it does none of this by itself.");
        return EXIT_DONE;
}

/* An optional member is left out when there is nothing to say. */
static void set_text(json_t *parameters, const char *key, const char *value) {
        if (value)
                json_object_set_new(parameters, key, json_string(value));
}

/* NULL: a value is not valid UTF-8, or no memory. */
static json_t *pack_what(const What *what) {
        const char *const texts[] = {what->range, what->remove, what->reassign, what->policy};
        json_t *parameters = json_object();
        size_t wanted = 0;

        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
                wanted += texts[i] != NULL;
        set_text(parameters, "range", what->range);
        set_text(parameters, "remove", what->remove);
        set_text(parameters, "reassign", what->reassign);
        set_text(parameters, "policy", what->policy);
        if (json_object_size(parameters) != wanted) {
                json_decref(parameters);
                return NULL;
        }
        if (what->add)
                json_object_set_new(parameters, "add", json_integer(what->add_vcpus));
        return parameters;
}

int run_plan(Ctl *ctl, int argc, char **argv) {
        What what = {};
        json_t *parameters;
        Answer answer;
        int status = parse_what(ctl, argc, argv, &what);

        if (status != EXIT_DONE)
                return status;
        parameters = pack_what(&what);
        if (!parameters)
                return fail(ctl, EXIT_USAGE, "a value is not valid UTF-8");
        daemon_call(ctl, "Plan", parameters, &answer);
        status = answer.status;
        if (status != EXIT_DONE)
                fail_answer(ctl, &answer);
        else if (ctl->json)
                print_json(answer.parameters, false);
        else
                status = print_plan(ctl, &what, answer.parameters);
        answer_done(&answer);
        return status;
}
