/* SPDX-License-Identifier: Apache-2.0 */

/* One VM and its vCPUs. */

#include <string.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"

static const char *or_dash(const char *text) {
        return *text ? text : "-";
}

static void add_vcpu(Table *table, const json_t *vm, const json_t *vcpu) {
        const char *state = get_string(vcpu, "state");
        long long cpu = get_number(vcpu, "cpu"), thread = get_number(vcpu, "thread");

        table_add(table, COLOUR_NONE, "%lld", get_number(vcpu, "vcpu"));
        table_add(table, COLOUR_NONE, thread > 0 ? "%lld" : "-", thread);
        table_add(table, COLOUR_NONE, cpu >= 0 ? "%lld" : "-", cpu);
        table_add(table, strcmp(state, "placed") == 0 ? COLOUR_GOOD : COLOUR_NONE, "%s", state);
        table_add_delay(table, run_delay_ms(vm, vcpu));
        table_add(table, COLOUR_NONE, "%s", or_dash(get_string(vcpu, "mask")));
        table_add(table, COLOUR_NONE, "%s", or_dash(get_string(vcpu, "allowed")));
}

static bool many(const json_t *vm, const char *key) {
        return json_array_size(json_object_get(vm, key)) != 1;
}

static void print_head(const Ctl *ctl, const json_t *vm) {
        AUTO_FREE char *nodes = get_list(vm, "nodes");
        AUTO_FREE char *clusters = get_list(vm, "clusters");
        const char *verdict = get_string(vm, "verdict"), *why = get_string(vm, "reason_text");
        long long min_clusters = get_number(vm, "min_clusters"), min_nodes = get_number(vm, "min_nodes");
        Colour colour = verdict_colour(verdict);

        printf("%s", colour_start(ctl, COLOUR_BOLD));
        print_clean(get_string(vm, "name"));
        printf("%s  %s", colour_end(ctl, COLOUR_BOLD), colour_start(ctl, colour));
        print_clean(verdict);
        printf("%s  ", colour_end(ctl, colour));
        print_clean(get_string(vm, "uuid"));
        printf("  pid %lld\n", get_number(vm, "pid"));
        printf("%s %s, %s %s", many(vm, "nodes") ? "nodes" : "node", nodes && *nodes ? nodes : "-",
               many(vm, "clusters") ? "clusters" : "cluster", clusters && *clusters ? clusters : "-");
        if (min_clusters > 0)
                printf(" (at best %lld %s in %lld %s)", min_clusters,
                       min_clusters == 1 ? "cluster" : "clusters", min_nodes,
                       min_nodes == 1 ? "node" : "nodes");
        putchar('\n');
        if (*why) {
                AUTO_FREE char *clean = text_clean(why);

                print_wrapped(ctl, "why: ", clean ? clean : "");
        }
}

static void print_memory(const json_t *vm) {
        const json_t *memory = json_object_get(vm, "memory"), *share;
        size_t i;

        if (json_array_size(memory) == 0)
                return;
        printf("memory");
        json_array_foreach (memory, i, share)
                printf("%s node %lld: %lld %%", i ? "," : "", get_number(share, "node"),
                       get_number(share, "permille") / 10);
        puts(get_bool(vm, "remote_memory") ? " (remote)" : "");
}

static int print_vm(const Ctl *ctl, const json_t *vm) {
        Table table = {};
        const json_t *vcpu;
        size_t i;
        bool failed;

        table_title(&table, "vCPU", true);
        table_title(&table, "THREAD", true);
        table_title(&table, "CPU", true);
        table_title(&table, "STATE", false);
        table_title(&table, "DELAY", true);
        table_title(&table, "MASK", false);
        table_title(&table, "ALLOWED", false);
        json_array_foreach (json_object_get(vm, "vcpu"), i, vcpu)
                add_vcpu(&table, vm, vcpu);
        failed = table.failed;
        if (!failed) {
                print_head(ctl, vm);
                print_memory(vm);
                putchar('\n');
                table_print(ctl, &table);
        }
        table_done(&table);
        return failed ? fail(ctl, EXIT_FAILED, "out of memory") : EXIT_DONE;
}

int run_show(Ctl *ctl, int argc, char **argv) {
        const char *name;
        const json_t *vm;
        Answer answer;
        int status = options_one_vm(ctl, argc, argv, NULL, 0, &name);

        if (status != EXIT_DONE)
                return status;
        daemon_call(ctl, "ListVms", json_pack("{ss,sb}", "scope", name, "detail", 1), &answer);
        vm = json_array_get(json_object_get(answer.parameters, "vms"), 0);
        if (answer.status != EXIT_DONE)
                status = fail_answer(ctl, &answer);
        else if (!vm)
                status = fail(ctl, EXIT_NO_VM, "no running VM has the name or UUID '%s'", name);
        else if (ctl->json)
                print_json(vm, false);
        else
                status = print_vm(ctl, vm);
        answer_done(&answer);
        return status;
}
