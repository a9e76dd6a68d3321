/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/ctl.h"
#include "wire/names.h"

int run_set_config(Ctl *ctl, int argc, char **argv) {
        const char *policy = NULL;
        const Option options[] = {{"-sp", "--sched-policy", &policy, NULL}};
        SchedPolicy sched;
        Answer answer;
        size_t n_words;
        int status = options_parse(ctl, argc, argv, options, 1, NULL, 0, &n_words);

        if (status != EXIT_DONE)
                return status;
        if (!policy)
                return fail(ctl, EXIT_USAGE, "--sched-policy is missing");
        if (sched_parse(policy, &sched) < 0)
                return fail(ctl, EXIT_USAGE,
                            "--sched-policy: '%s' is not legal: affinity, dynamicAffinity (or static, "
                            "dynamic), cluster",
                            policy);
        daemon_call(ctl, "SetPolicy", json_pack("{ss}", "policy", sched_name(sched)), &answer);
        status = answer.status == EXIT_DONE ? EXIT_DONE : fail_answer(ctl, &answer);
        if (status == EXIT_DONE)
                puts("Success to execute command.");
        answer_done(&answer);
        return status;
}
