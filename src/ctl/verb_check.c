/* SPDX-License-Identifier: Apache-2.0 */

/*
 * check: what the daemon can not see or do, and what mends it. The daemon judges
 * itself; without one, vasctl looks at what anybody can see.
 */

#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "daemon/settings.h"
#include "util/cleanup.h"
#include "wire/check.h"

enum { LEAD_WIDTH = 20 };

static Colour state_colour(const char *state) {
        return strcmp(state, "problem") == 0   ? COLOUR_BAD
               : strcmp(state, "warning") == 0 ? COLOUR_WARN
                                               : COLOUR_NONE;
}

static void print_check(const Ctl *ctl, const json_t *check) {
        AUTO_FREE char *name = text_clean(get_string(check, "name"));
        AUTO_FREE char *text = text_clean(get_string(check, "text"));
        AUTO_FREE char *remedy = text_clean(get_string(check, "remedy"));
        AUTO_FREE char *state = text_clean(get_string(check, "state"));
        Colour colour = state_colour(state ? state : "");
        char lead[64];

        if (!name || !text || !remedy || !state)
                return;
        snprintf(lead, sizeof(lead), "%-8.8s %-10.10s ", state, name);
        printf("%s", colour_start(ctl, colour));
        print_wrapped(ctl, lead, text);
        printf("%s", colour_end(ctl, colour));
        if (*remedy) {
                snprintf(lead, sizeof(lead), "%*s-> ", LEAD_WIDTH, "");
                print_wrapped(ctl, lead, remedy);
        }
}

static unsigned count(const json_t *checks, const char *state) {
        const json_t *check;
        unsigned n = 0;
        size_t i;

        json_array_foreach (checks, i, check)
                n += strcmp(get_string(check, "state"), state) == 0;
        return n;
}

static void print_sum(const json_t *checks) {
        unsigned problems = count(checks, "problem"), warnings = count(checks, "warning");

        if (problems || warnings)
                printf("\n%u problem%s, %u warning%s.\n", problems, plural(problems), warnings,
                       plural(warnings));
        else
                puts("\nAll is well.");
}

static void add_version(json_t *checks, const json_t *answer) {
        const char *version = get_string(answer, "version");

        if (strcmp(version, VAS_VERSION) == 0)
                check_add(checks, CHECK_OK, "version", "", "vasctl and the daemon are of the same version");
        else
                check_add(checks, CHECK_WARNING, "version",
                          "restart vas-daemon (its pins outlive that), or update the older one",
                          "the daemon is of version %s, vasctl of " VAS_VERSION, version);
}

static json_t *check_without(const Ctl *ctl, const Answer *answer) {
        AUTO_FREE Settings *settings = malloc(sizeof(*settings));
        json_t *checks = json_array();
        Outside outside;

        if (!settings || !checks)
                return checks;
        settings_defaults(settings);
        outside_read(ctl->root, settings->admin_group, &outside);
        check_add(checks, CHECK_PROBLEM, "daemon",
                  "systemctl start vas-daemon; 'journalctl -u vas-daemon' says why it ended", "%s",
                  answer->why ? answer->why : "not running");
        if (outside.has_libvirt)
                check_add(checks, CHECK_OK, "libvirt", "", "its read-only socket is there");
        else
                check_add(checks, CHECK_WARNING, "libvirt", "start virtqemud.socket or libvirtd.socket",
                          "no read-only socket in /run/libvirt");
        check_outside(checks, &outside, settings->admin_group);
        return checks;
}

static int print_checks(const Ctl *ctl, const json_t *checks) {
        const json_t *check;
        size_t i;

        if (ctl->json)
                print_json(checks, false);
        else {
                json_array_foreach (checks, i, check)
                        print_check(ctl, check);
                print_sum(checks);
        }
        return count(checks, "problem") ? EXIT_FAILED : EXIT_DONE;
}

int run_check(Ctl *ctl, int argc, char **argv) {
        json_t *checks;
        Answer answer;
        int status = options_none(ctl, argc, argv);

        if (status != EXIT_DONE)
                return status;
        daemon_call(ctl, "Check", NULL, &answer);
        checks = json_object_get(answer.parameters, "checks");
        if (answer.status == EXIT_NO_DAEMON) {
                checks = check_without(ctl, &answer);
                print_checks(ctl, checks);
                json_decref(checks);
                status = EXIT_NO_DAEMON;
        } else if (answer.status != EXIT_DONE)
                status = fail_answer(ctl, &answer);
        else {
                add_version(checks, answer.parameters);
                status = print_checks(ctl, checks);
        }
        answer_done(&answer);
        return status;
}
