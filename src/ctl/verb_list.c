/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"

static void add_vm(Table *table, const json_t *vm) {
        AUTO_FREE char *nodes = get_list(vm, "nodes");
        AUTO_FREE char *pins = pins_marks(vm);
        const char *verdict = get_string(vm, "verdict"), *reason = get_string(vm, "reason"),
                   *cpus = get_string(vm, "cpus");
        long long minimum = get_number(vm, "min_clusters");
        long long clusters = (long long)json_array_size(json_object_get(vm, "clusters"));
        bool pinned_apart = strcmp(verdict, "PINNED") == 0 && minimum > 0 && clusters > minimum;

        if (pins)
                reason = pins;
        table_add(table, COLOUR_NONE, "%s", get_string(vm, "name"));
        table_add(table, COLOUR_NONE, "%lld", get_number(vm, "vcpus"));
        table_add(table, pins ? COLOUR_WARN : verdict_colour(verdict), *reason ? "%s (%s)" : "%s", verdict,
                  reason);
        table_add(table, COLOUR_NONE, "%s", nodes && *nodes ? nodes : "-");
        if (clusters == 0)
                table_add(table, COLOUR_NONE, "-");
        else
                table_add(table, pinned_apart ? COLOUR_WARN : COLOUR_NONE,
                          minimum > 0 ? "%lld (%lld)" : "%lld", clusters, minimum);
        table_add(table, COLOUR_NONE, "%s", *cpus ? cpus : "-");
}

static int print_list(const Ctl *ctl, const json_t *vms) {
        Table table = {};
        const json_t *vm;
        size_t i;
        bool failed;

        if (json_array_size(vms) == 0) {
                puts("There are no running VMs.");
                return EXIT_DONE;
        }
        table_title(&table, "VM", false);
        table_title(&table, "vCPUs", true);
        table_title(&table, "VERDICT", false);
        table_title(&table, "NODES", false);
        table_title(&table, "CLUSTERS", false);
        table_title(&table, "CPUS", false);
        json_array_foreach (vms, i, vm)
                add_vm(&table, vm);
        failed = table.failed;
        if (!failed)
                table_print(ctl, &table);
        table_done(&table);
        return failed ? fail(ctl, EXIT_FAILED, "out of memory") : EXIT_DONE;
}

int run_list(Ctl *ctl, int argc, char **argv) {
        Answer answer;
        int status = options_none(ctl, argc, argv);

        if (status != EXIT_DONE)
                return status;
        daemon_call(ctl, "ListVms", json_pack("{ss,sb}", "scope", "all", "detail", 0), &answer);
        status = answer.status;
        if (answer.no_vms)
                status = EXIT_DONE;
        if (status != EXIT_DONE)
                fail_answer(ctl, &answer);
        else if (ctl->json)
                print_json(answer.no_vms ? json_array() : json_object_get(answer.parameters, "vms"), false);
        else
                status = print_list(ctl, json_object_get(answer.parameters, "vms"));
        answer_done(&answer);
        return status;
}
