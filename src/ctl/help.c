/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/ctl.h"

static void print_block(bool grouped) {
        for (size_t i = 0; i < n_verbs; i++) {
                const Verb *verb = &verbs[i];
                char line[128];

                if ((verb->group != NULL) != grouped)
                        continue;
                snprintf(line, sizeof(line), "%s%s%s%s%s", verb->group ? verb->group : "",
                         verb->group ? " " : "", verb->name, *verb->arguments ? " " : "", verb->arguments);
                if (grouped)
                        printf("  %s\n        %s\n", line, verb->summary);
                else
                        printf("  %-28s %s\n", line, verb->summary);
        }
}

void help_print(void) {
        puts("Usage: vasctl [--socket PATH] COMMAND [OPTIONS]\n"
             "\n"
             "Shows what vas-daemon did with this host's VMs and why, and directs it.\n"
             "\n"
             "Commands:");
        print_block(false);
        puts("\n"
             "Commands as VSched documents them:");
        print_block(true);
        puts("\n"
             "Options:\n"
             "  -h, --help       this help; after a command, that command's own\n"
             "  --version        the version\n"
             "  --socket PATH    the daemon's socket (default: $VAS_SOCKET, or\n"
             "                   " VAS_SOCKET_DEFAULT ")\n"
             "  --json           after a query: the answer as JSON\n"
             "\n"
             "Exit status: 0 done, 1 failed, 2 usage, 3 no such VM, 4 the daemon is not\n"
             "running, 5 not permitted. NO_COLOR is respected.");
}

void help_print_verb(const Verb *verb) {
        printf("Usage: vasctl %s%s%s%s%s%s\n\n%s\n", verb->group ? verb->group : "", verb->group ? " " : "",
               verb->name, *verb->arguments ? " " : "", verb->arguments, verb->query ? " [--json]" : "",
               verb->summary);
        if (verb->details)
                printf("\n%s\n", verb->details);
}
