/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "ctl/ctl.h"

static const char no_information[] = "No affinity information available";

static int print_affinity(const Ctl *ctl, const Answer *answer) {
        const json_t *affinity = json_object_get(answer->parameters, "affinity");

        if (!json_is_object(affinity))
                return fail(ctl, EXIT_FAILED, "the daemon's answer has no affinity in it");
        if (json_object_size(affinity) == 0)
                puts(no_information);
        else
                print_json(affinity, true);
        return EXIT_DONE;
}

int run_query_affinity(Ctl *ctl, int argc, char **argv) {
        const char *scope = NULL;
        const Option options[] = {{"-s", "--scope", &scope, NULL}};
        Answer answer;
        size_t n_words;
        int status = options_parse(ctl, argc, argv, options, 1, NULL, 0, &n_words);

        ctl->json = false; /* it is JSON anyway, and the documented words stay */
        if (status != EXIT_DONE)
                return status;
        if (!scope)
                return fail(ctl, EXIT_USAGE, "--scope is missing");
        daemon_call(ctl, "QueryAffinity", json_pack("{ss}", "scope", scope), &answer);
        status = answer.status;
        if (status == EXIT_DONE)
                status = print_affinity(ctl, &answer);
        else if (answer.no_vms) {
                puts(no_information);
                status = EXIT_DONE;
        } else if (status == EXIT_NO_VM) {
                puts(no_information);
                complain("%s", answer.why);
        } else
                fail_answer(ctl, &answer);
        answer_done(&answer);
        return status;
}
