/* SPDX-License-Identifier: Apache-2.0 */

/*
 * VSched's options have briefs of two letters ("-sp"), so getopt does not fit.
 * "--opt value" and "--opt=value" mean the same, and so do "-sp value" and
 * "-sp=value". A value that looks like an option must be written with '=': that
 * way a forgotten value is noticed. A single '-' is a value.
 */

#include <string.h>

#include "ctl/ctl.h"

static const Option *option_find(const Option *options, size_t n_options, const char *word, size_t length) {
        for (size_t i = 0; i < n_options; i++)
                if ((strlen(options[i].name) == length && strncmp(options[i].name, word, length) == 0) ||
                    (options[i].brief && strlen(options[i].brief) == length &&
                     strncmp(options[i].brief, word, length) == 0))
                        return &options[i];
        return NULL;
}

static int option_take_flag(const Ctl *ctl, const Option *option, const char *value) {
        if (value)
                return fail(ctl, EXIT_USAGE, "%s takes no value", option->name);
        *option->flag = true;
        return EXIT_DONE;
}

static int option_take_value(const Ctl *ctl, const Option *option, const char *value) {
        if (*option->value)
                return fail(ctl, EXIT_USAGE, "%s is given twice", option->name);
        if (!value || !*value)
                return fail(ctl, EXIT_USAGE, "%s needs a value", option->name);
        *option->value = value;
        return EXIT_DONE;
}

/* Takes the option at argv[*at], and its value behind it. */
static int option_take(Ctl *ctl, int argc, char **argv, int *at, const Option *options, size_t n_options) {
        const Option common[] = {{NULL, "--socket", &ctl->socket, NULL}, {NULL, "--json", NULL, &ctl->json}};
        const char *word = argv[*at], *equals = strchr(word, '=');
        size_t length = equals ? (size_t)(equals - word) : strlen(word);
        const Option *option = option_find(options, n_options, word, length);
        const char *value = equals ? equals + 1 : NULL;

        if (!option)
                option = option_find(common, ctl->verb->query ? 2 : 1, word, length);
        if (!option)
                return fail(ctl, EXIT_USAGE, "unknown option '%s'", word);
        if (option->flag)
                return option_take_flag(ctl, option, value);
        if (!value && *at + 1 < argc && (argv[*at + 1][0] != '-' || !argv[*at + 1][1]))
                value = argv[++*at];
        return option_take_value(ctl, option, value);
}

int options_parse(Ctl *ctl, int argc, char **argv, const Option *options, size_t n_options,
                  const char **words, size_t max_words, size_t *ret_words) {
        bool only_words = false;
        size_t n_words = 0;
        int status;

        for (int i = 0; i < argc; i++) {
                if (!only_words && strcmp(argv[i], "--") == 0)
                        only_words = true;
                else if (!only_words && argv[i][0] == '-' && argv[i][1]) {
                        status = option_take(ctl, argc, argv, &i, options, n_options);
                        if (status != EXIT_DONE)
                                return status;
                } else if (n_words < max_words)
                        words[n_words++] = argv[i];
                else
                        return fail(ctl, EXIT_USAGE, "'%s' is one word too many", argv[i]);
        }
        *ret_words = n_words;
        return EXIT_DONE;
}

int options_none(Ctl *ctl, int argc, char **argv) {
        size_t n_words;

        return options_parse(ctl, argc, argv, NULL, 0, NULL, 0, &n_words);
}

int options_one_vm(Ctl *ctl, int argc, char **argv, const Option *options, size_t n_options,
                   const char **ret_vm) {
        size_t n_words;
        int status = options_parse(ctl, argc, argv, options, n_options, ret_vm, 1, &n_words);

        if (status == EXIT_DONE && (n_words == 0 || !**ret_vm))
                return fail(ctl, EXIT_USAGE, "the VM's name or UUID is missing");
        return status;
}
