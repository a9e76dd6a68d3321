/* SPDX-License-Identifier: Apache-2.0 */

/* reassign, in VSched's words and in ours. */

#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"

enum { MOVES_SHOWN = 40 };

static const char nothing_to_do[] = "Virtual machine needs to reassign cpu does not exist";

static void call_reassign(const Ctl *ctl, const char *scope, bool dry_run, Answer *ret) {
        daemon_call(ctl, "Reassign", json_pack("{ss,sb}", "scope", scope, "dry_run", dry_run), ret);
}

/* A write that the kernel refused: the answer came, and yet it is a failure. */
static int fail_writes(const Ctl *ctl, const Answer *answer) {
        return fail(ctl, EXIT_FAILED, "the kernel refused %lld of the changes of CPU masks",
                    get_number(answer->parameters, "failed"));
}

int run_opt_reassign(Ctl *ctl, int argc, char **argv) {
        const char *scope = NULL;
        const Option options[] = {{"-s", "--scope", &scope, NULL}};
        Answer answer;
        size_t n_words;
        int status = options_parse(ctl, argc, argv, options, 1, NULL, 0, &n_words);

        if (status != EXIT_DONE)
                return status;
        if (!scope)
                return fail(ctl, EXIT_USAGE, "--scope is missing");
        call_reassign(ctl, scope, false, &answer);
        status = answer.status;
        if (answer.no_vms || (status == EXIT_DONE && get_number(answer.parameters, "vms") == 0)) {
                puts(nothing_to_do);
                status = EXIT_DONE;
        } else if (status == EXIT_NO_VM) {
                puts(nothing_to_do);
                complain("%s", answer.why);
        } else if (status != EXIT_DONE)
                fail_answer(ctl, &answer);
        else if (get_number(answer.parameters, "failed") > 0)
                status = fail_writes(ctl, &answer);
        else
                puts("ReAssign success");
        answer_done(&answer);
        return status;
}

static void print_move(const json_t *move) {
        long long from = get_number(move, "from"), to = get_number(move, "to");

        printf("  ");
        print_clean(get_string(move, "name"));
        printf(" vCPU %lld: ", get_number(move, "vcpu"));
        if (to >= 0 && from >= 0)
                printf("CPU %lld -> %lld", from, to);
        else if (to >= 0)
                printf("CPU %lld", to);
        else {
                printf("CPUs ");
                print_clean(get_string(move, "mask"));
        }
        printf(" (");
        print_clean(get_string(move, "kind"));
        puts(")");
}

static void print_score(const json_t *before, const json_t *after, const char *key, const char *what) {
        long long from = get_number(before, key), to = get_number(after, key);

        if (from != to)
                printf("  %-38s %lld -> %lld\n", what, from, to);
        else if (from > 0)
                printf("  %-38s %lld\n", what, from);
}

static void print_result(const json_t *result, bool dry_run) {
        const json_t *moves = json_object_get(result, "moves"), *before = json_object_get(result, "before"),
                     *after = json_object_get(result, "after");
        size_t n = json_array_size(moves);

        if (n == 0)
                puts("Nothing to move: it is as good as it can be.");
        else
                printf("%zu %s of a vCPU%s:\n", n, n == 1 ? "move" : "moves",
                       dry_run ? " would be made" : "");
        for (size_t i = 0; i < n && i < MOVES_SHOWN; i++)
                print_move(json_array_get(moves, i));
        if (n > MOVES_SHOWN)
                printf("  and %zu more (--json shows all)\n", n - MOVES_SHOWN);
        print_score(before, after, "unplaced", "VMs without CPUs of their own");
        print_score(before, after, "excess_nodes", "NUMA nodes above the minimum");
        print_score(before, after, "excess_clusters", "clusters above the minimum");
        print_score(before, after, "shared_cores", "cores that carry two VMs");
}

int run_reassign(Ctl *ctl, int argc, char **argv) {
        bool dry_run = false;
        const char *scope;
        const Option options[] = {{NULL, "--dry-run", NULL, &dry_run}};
        Answer answer;
        int status = options_one_vm(ctl, argc, argv, options, 1, &scope);

        if (status != EXIT_DONE)
                return status;
        call_reassign(ctl, scope, dry_run, &answer);
        status = answer.status;
        if (answer.no_vms) {
                puts(ctl->json ? "{\"vms\": 0, \"moves\": []}" : "There is no VM to reassign.");
                status = EXIT_DONE;
        } else if (status != EXIT_DONE)
                fail_answer(ctl, &answer);
        else if (get_number(answer.parameters, "failed") > 0)
                status = fail_writes(ctl, &answer);
        else if (ctl->json)
                print_json(answer.parameters, false);
        else
                print_result(answer.parameters, dry_run);
        answer_done(&answer);
        return status;
}
