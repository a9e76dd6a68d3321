/* SPDX-License-Identifier: Apache-2.0 */

/* reassign, in VSched's words and in ours. */

#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"

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

static void print_result(const json_t *result, bool dry_run) {
        if (print_plan_moves(json_object_get(result, "moves"), dry_run) == 0)
                puts("Nothing to move: it is as good as it can be.");
        print_scores(json_object_get(result, "before"), json_object_get(result, "after"));
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
