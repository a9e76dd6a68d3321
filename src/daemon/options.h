/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The command line of vas-daemon: VSched's documented words, and our own. */

#include "daemon/settings.h"

typedef enum Command {
        COMMAND_START,
        COMMAND_RECOVER,
        COMMAND_CHECK_CONFIG,
        COMMAND_DRY_RUN,
        COMMAND_ONESHOT,
        COMMAND_HELP,
        COMMAND_VERSION,
} Command;

/* One value that wins over the files, and what to call its source. */
typedef struct Override {
        SettingKey key;
        const char *value;
        const char *where; /* the option, as it was typed: "option -scs" */
} Override;

enum { OVERRIDES_MAX = 32 };

typedef struct Options {
        Command command;
        const char *config;    /* path of the settings file */
        bool config_named;     /* on the command line: then it must be there */
        const char *persisted; /* path of what --persist wrote */
        unsigned n_overrides;
        Override override[OVERRIDES_MAX];
} Options;

/* Everything borrowed from argv. 0; or -EINVAL with one line in ret_why. */
int options_parse(int argc, char **argv, Options *ret, char ret_why[SETTINGS_WHY_SIZE]);

/*
 * Reads the files, then applies the options. 0; or a negative value with one
 * line in ret_why, *ret untouched.
 */
int options_settings(const Options *options, Settings *ret, char ret_why[SETTINGS_WHY_SIZE]);

void options_print_help(void);
