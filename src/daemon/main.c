/* SPDX-License-Identifier: Apache-2.0 */

/* vas-daemon: reads the command line and the settings, and hands over. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/once.h"
#include "daemon/server.h"
#include "platform/confine.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/utf8.h"

enum { EXIT_USAGE = 2 };

/* Signals reach only the event loop; none may hit one of libvirt's threads. */
static void block_signals(void) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
}

/* Before any thread is started: it is for all of them. */
static void give_up_rights(void) {
        int r = confine();

        if (r < 0)
                log_warning("the kernel does not confine this process (seccomp: %s): going on without", strerror(-r));
}

static int run(const Options *options, Settings *settings) {
        switch (options->command) {
        case COMMAND_START:
                block_signals();
                return server_run(options, settings);
        case COMMAND_RECOVER:
                return once_recover(settings);
        case COMMAND_DRY_RUN:
                return once_round(settings, false);
        case COMMAND_ONESHOT:
                return once_round(settings, true);
        case COMMAND_CHECK_CONFIG:
                return EXIT_SUCCESS;
        case COMMAND_HELP:
                options_print_help();
                return EXIT_SUCCESS;
        case COMMAND_VERSION:
                puts("vas-daemon " VAS_VERSION);
                return EXIT_SUCCESS;
        }
        return EXIT_USAGE;
}

int main(int argc, char **argv) {
        char why[SETTINGS_WHY_SIZE] = "";
        Options options;
        AUTO_FREE Settings *settings = calloc(1, sizeof(*settings));

        log_set_program("vas-daemon");
        if (options_parse(argc, argv, &options, why) < 0) {
                text_disarm(why);
                fprintf(stderr, "vas-daemon: %s\n", why);
                return EXIT_USAGE;
        }
        if (options.command == COMMAND_HELP || options.command == COMMAND_VERSION)
                return run(&options, NULL);
        if (!settings || options_settings(&options, settings, why) < 0) {
                text_disarm(why);
                fprintf(stderr, "vas-daemon: %s\n", settings ? why : "out of memory");
                return EXIT_USAGE;
        }
        log_set_level(settings->log_level);
        give_up_rights();
        return run(&options, settings);
}
