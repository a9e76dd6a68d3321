/* SPDX-License-Identifier: Apache-2.0 */

/* metrics: figures for machines, the same on a terminal and off it. */

#include <errno.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"
#include "wire/exposition.h"

static int print_metrics(const Ctl *ctl, const json_t *metrics, bool openmetrics) {
        AUTO_FREE char *text = NULL; /* for JSON too: the answer is judged by it */
        int r = exposition_new(metrics, openmetrics ? EXPOSITION_OPENMETRICS : EXPOSITION_PROMETHEUS, &text);

        if (r == -EBADMSG)
                return fail(ctl, EXIT_FAILED, "the daemon's answer is no list of metrics");
        if (r < 0)
                return fail(ctl, EXIT_FAILED, "out of memory");
        if (ctl->json)
                print_json(metrics, false);
        else
                fputs(text, stdout);
        return EXIT_DONE;
}

int run_metrics(Ctl *ctl, int argc, char **argv) {
        bool openmetrics = false;
        const Option options[] = {{NULL, "--openmetrics", NULL, &openmetrics}};
        Answer answer;
        size_t n_words;
        int status = options_parse(ctl, argc, argv, options, 1, NULL, 0, &n_words);

        if (status != EXIT_DONE)
                return status;
        if (ctl->json && openmetrics)
                return fail(ctl, EXIT_USAGE, "--json and --openmetrics exclude each other");
        daemon_call(ctl, "GetMetrics", NULL, &answer);
        status = answer.status;
        if (status != EXIT_DONE)
                fail_answer(ctl, &answer);
        else
                status = print_metrics(ctl, json_object_get(answer.parameters, "metrics"), openmetrics);
        answer_done(&answer);
        return status;
}
