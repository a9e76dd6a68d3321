/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/ctl.h"

static int run_simple(Ctl *ctl, int argc, char **argv, const char *method, const char *done) {
        Answer answer;
        int status = options_none(ctl, argc, argv);

        if (status != EXIT_DONE)
                return status;
        daemon_call(ctl, method, NULL, &answer);
        status = answer.status == EXIT_DONE ? EXIT_DONE : fail_answer(ctl, &answer);
        if (status == EXIT_DONE)
                puts(done);
        answer_done(&answer);
        return status;
}

int run_pause(Ctl *ctl, int argc, char **argv) {
        return run_simple(ctl, argc, argv, "Pause",
                          "Paused: all pins stay, nothing is moved until \"vasctl resume\".");
}

int run_resume(Ctl *ctl, int argc, char **argv) {
        return run_simple(ctl, argc, argv, "Resume", "Resumed.");
}
