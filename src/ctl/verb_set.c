/* SPDX-License-Identifier: Apache-2.0 */

#include <stdlib.h>

#include "ctl/ctl.h"
#include "daemon/settings.h"
#include "util/cleanup.h"

/* Whether the daemon could accept it, as far as that can be said from here. Fills
 * *ret_key and *ret_text, the value as the daemon will show it. */
static int check(const Ctl *ctl, const char *name, const char *value, SettingKey *ret_key, char **ret_text) {
        AUTO_FREE Settings *settings = malloc(sizeof(*settings));
        SettingKey key = setting_by_name(name);
        char why[SETTINGS_WHY_SIZE];

        if (key == SETTING_KEYS)
                return fail(ctl, EXIT_USAGE, "there is no setting '%s' (\"vasctl get\" lists them)", name);
        if (!settings)
                return fail(ctl, EXIT_FAILED, "out of memory");
        settings_defaults(settings);
        if (settings_set(settings, key, value, "set", why) < 0)
                return fail(ctl, EXIT_USAGE, "%s", why);
        *ret_text = setting_text(settings, key);
        if (!*ret_text)
                return fail(ctl, EXIT_FAILED, "out of memory");
        *ret_key = key;
        return EXIT_DONE;
}

static const char *from_when(SettingKey key, bool persist) {
        if (persist && setting_needs_start(key))
                return "from the daemon's next start on";
        return persist ? "now and at later starts" : "until the daemon ends";
}

int run_set(Ctl *ctl, int argc, char **argv) {
        bool persist = false;
        const Option options[] = {{NULL, "--persist", NULL, &persist}};
        const char *words[2];
        AUTO_FREE char *text = NULL, *clean = NULL;
        SettingKey key;
        Answer answer;
        size_t n_words;
        int status = options_parse(ctl, argc, argv, options, 1, words, 2, &n_words);

        if (status == EXIT_DONE && n_words < 2)
                return fail(ctl, EXIT_USAGE, n_words ? "the value is missing" : "key and value are missing");
        if (status == EXIT_DONE)
                status = check(ctl, words[0], words[1], &key, &text);
        if (status != EXIT_DONE)
                return status;
        daemon_call(ctl, "Set",
                    json_pack("{ss,ss,sb}", "key", setting_name(key), "value", words[1], "persist", persist),
                    &answer);
        status = answer.status == EXIT_DONE ? EXIT_DONE : fail_answer(ctl, &answer);
        clean = text_clean(text);
        if (status == EXIT_DONE)
                printf("%s = %s, %s.\n", setting_name(key), clean && *clean ? clean : "nothing",
                       from_when(key, persist));
        answer_done(&answer);
        return status;
}
