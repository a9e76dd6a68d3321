/* SPDX-License-Identifier: Apache-2.0 */

/* vasctl: finds the verb and runs it. */

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl/ctl.h"

enum { WIDTH_DEFAULT = 80, WIDTH_MIN = 40, HEIGHT_DEFAULT = 24 };

void ctl_measure(Ctl *ctl) {
        struct winsize size;

        if (!ctl->terminal || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
                return;
        if (size.ws_col > 0)
                ctl->width = size.ws_col < WIDTH_MIN ? WIDTH_MIN : size.ws_col;
        if (size.ws_row > 0)
                ctl->height = size.ws_row;
}

static void ctl_init(Ctl *ctl) {
        const char *socket = getenv("VAS_SOCKET"), *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
        const char *root = getenv("VAS_ROOT");

        *ctl = (Ctl){.root = root ? root : "",
                     .width = WIDTH_DEFAULT,
                     .height = HEIGHT_DEFAULT,
                     .terminal = isatty(STDOUT_FILENO)};
        ctl->default_socket = socket && *socket ? socket : VAS_SOCKET_DEFAULT;
        ctl->moves_cursor = ctl->terminal && term && *term && strcmp(term, "dumb") != 0;
        ctl->colour = ctl->moves_cursor && !(no_colour && *no_colour);
        ctl_measure(ctl);
}

/* Whether one of the words asks for help, before a "--". */
static bool asks_for_help(int argc, char **argv) {
        for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
                if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0)
                        return true;
        return false;
}

/* The verb that the first words name, and how many words that took. Two words
 * come first: "set config" is not the "set" of a key. */
static const Verb *verb_find(int argc, char **argv, int *ret_taken) {
        const Verb *single = NULL;

        for (size_t i = 0; i < n_verbs; i++) {
                const Verb *verb = &verbs[i];

                if (!verb->group && strcmp(argv[0], verb->name) == 0)
                        single = verb;
                else if (verb->group && argc > 1 && strcmp(argv[0], verb->group) == 0 &&
                         strcmp(argv[1], verb->name) == 0) {
                        *ret_taken = 2;
                        return verb;
                }
        }
        *ret_taken = 1;
        return single;
}

static bool is_group(const char *word) {
        for (size_t i = 0; i < n_verbs; i++)
                if (verbs[i].group && strcmp(verbs[i].group, word) == 0)
                        return true;
        return false;
}

static int unknown_verb(const Ctl *ctl, int argc, char **argv) {
        if (asks_for_help(argc, argv)) {
                help_print();
                return EXIT_DONE;
        }
        if (!is_group(argv[0]))
                return fail(ctl, EXIT_USAGE, "'%s' is not a command of vasctl (see vasctl --help)", argv[0]);
        if (argc < 2)
                return fail(ctl, EXIT_USAGE, "'%s' needs one more word (see vasctl --help)", argv[0]);
        return fail(ctl, EXIT_USAGE, "'%s %s' is not a command of vasctl (see vasctl --help)", argv[0],
                    argv[1]);
}

static int run_verb(Ctl *ctl, int argc, char **argv) {
        int taken;

        ctl->verb = verb_find(argc, argv, &taken);
        if (!ctl->verb)
                return unknown_verb(ctl, argc, argv);
        if (asks_for_help(argc - taken, argv + taken)) {
                help_print_verb(ctl->verb);
                return EXIT_DONE;
        }
        return ctl->verb->run(ctl, argc - taken, argv + taken);
}

/* Options in front of the verb. */
static int run(Ctl *ctl, int argc, char **argv) {
        if (argc > 0 && strcmp(argv[0], "--complete") == 0)
                return complete_line(ctl, argc - 1, argv + 1);
        for (; argc > 0 && argv[0][0] == '-'; argc--, argv++) {
                if (strcmp(argv[0], "-h") == 0 || strcmp(argv[0], "--help") == 0) {
                        help_print();
                        return EXIT_DONE;
                }
                if (strcmp(argv[0], "--version") == 0) {
                        puts("vasctl " VAS_VERSION);
                        return EXIT_DONE;
                }
                if (strncmp(argv[0], "--socket=", 9) == 0 && argv[0][9])
                        ctl->default_socket = argv[0] + 9;
                else if (strcmp(argv[0], "--socket") == 0 && argc > 1) {
                        ctl->default_socket = argv[1];
                        argc--, argv++;
                } else
                        return fail(ctl, EXIT_USAGE, "unknown option '%s' (see vasctl --help)", argv[0]);
        }
        if (argc == 0) {
                help_print();
                return EXIT_DONE;
        }
        return run_verb(ctl, argc, argv);
}

int main(int argc, char **argv) {
        Ctl ctl;
        int status;

        setlocale(LC_CTYPE, "");
        ctl_init(&ctl);
        status = run(&ctl, argc - 1, argv + 1);
        if ((fflush(stdout) != 0 || ferror(stdout)) && status == EXIT_DONE) {
                complain("the output could not be written");
                status = EXIT_FAILED;
        }
        return status;
}
