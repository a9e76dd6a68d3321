/* SPDX-License-Identifier: Apache-2.0 */

/*
 * recover, in VSched's words and in ours. Recovery is what an operator reaches
 * for when something went wrong, so it must also work when the daemon is gone:
 * then "vas-daemon recover" does it, from the state file. What that program says
 * is kept, and shown only if it failed.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"

extern char **environ;

/* Runs in the child; does not return. */
static void exec_recover(int output) {
        char *argv[] = {"vas-daemon", "recover", NULL};
        const char *path = getenv("VAS_DAEMON");

        if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
                _exit(127);
        if (path && *path)
                execve(path, argv, environ);
        else {
                execve(VAS_DAEMON_DEFAULT, argv, environ);
                execvp("vas-daemon", argv);
        }
        _exit(127);
}

/* Reads all that comes; keeps the last line that is not empty. */
static void keep_last_line(int fd, char *ret, size_t size) {
        AUTO_FCLOSE FILE *f = fdopen(fd, "r");
        AUTO_FREE char *line = NULL;
        size_t room = 0;

        if (!f) {
                close(fd);
                return;
        }
        while (getline(&line, &room, f) >= 0) {
                line[strcspn(line, "\r\n")] = '\0';
                if (*line)
                        snprintf(ret, size, "%s", line);
        }
}

/* The exit status for us; *ret_why is what it said last. */
static int run_daemon_recover(char *ret_why, size_t size) {
        int output[2], wait_status;
        pid_t child;

        *ret_why = '\0';
        fflush(stdout);
        if (pipe2(output, O_CLOEXEC) < 0)
                return EXIT_FAILED;
        child = fork();
        if (child == 0)
                exec_recover(output[1]);
        close(output[1]);
        if (child < 0) {
                close(output[0]);
                return EXIT_FAILED;
        }
        keep_last_line(output[0], ret_why, size);
        while (waitpid(child, &wait_status, 0) < 0)
                if (errno != EINTR)
                        return EXIT_FAILED;
        if (!WIFEXITED(wait_status))
                return EXIT_FAILED;
        if (WEXITSTATUS(wait_status) == 127)
                return EXIT_NO_DAEMON;
        return WEXITSTATUS(wait_status) == EXIT_NOT_PERMITTED ? EXIT_NOT_PERMITTED
               : WEXITSTATUS(wait_status) == 0                ? EXIT_DONE
                                                              : EXIT_FAILED;
}

/* Recovers through the daemon or without it. Says so when that failed. */
static int recover(const Ctl *ctl, Answer *answer) {
        char why[1024];
        int status;

        daemon_call(ctl, "Recover", NULL, answer);
        if (answer->status == EXIT_NO_DAEMON) {
                status = run_daemon_recover(why, sizeof(why));
                if (status == EXIT_NO_DAEMON)
                        return fail(ctl, status, "%s, and the program vas-daemon was not found", answer->why);
                if (status != EXIT_DONE)
                        return fail(ctl, status, "%s", *why ? why : "vas-daemon recover failed");
                return EXIT_DONE;
        }
        if (answer->status != EXIT_DONE)
                return fail_answer(ctl, answer);
        if (get_number(answer->parameters, "failed") > 0)
                return fail(ctl, EXIT_FAILED, "%lld masks were restored, %lld could not be",
                            get_number(answer->parameters, "restored"),
                            get_number(answer->parameters, "failed"));
        return EXIT_DONE;
}

int run_opt_recover(Ctl *ctl, int argc, char **argv) {
        Answer answer;
        int status = options_none(ctl, argc, argv);

        if (status != EXIT_DONE)
                return status;
        status = recover(ctl, &answer);
        if (status == EXIT_DONE)
                puts("Start recover vm affinity setting.\nSuccess to recover vm affinity setting.");
        answer_done(&answer);
        return status;
}

int run_recover(Ctl *ctl, int argc, char **argv) {
        Answer answer;
        int status = options_none(ctl, argc, argv);

        if (status != EXIT_DONE)
                return status;
        status = recover(ctl, &answer);
        if (status == EXIT_DONE && answer.status == EXIT_DONE)
                printf("Restored %lld %s. The daemon is paused; \"vasctl resume\" lets it act again.\n",
                       get_number(answer.parameters, "restored"),
                       get_number(answer.parameters, "restored") == 1 ? "mask" : "masks");
        else if (status == EXIT_DONE)
                puts("Restored the masks without a daemon. When it is started, it stays paused until "
                     "\"vasctl resume\".");
        answer_done(&answer);
        return status;
}
