/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/ctl.h"
#include "daemon/settings.h"

static int print_settings(const Ctl *ctl, const json_t *settings) {
        Table table = {};
        const json_t *setting;
        size_t i;
        bool failed;

        table_title(&table, "SETTING", false);
        table_title(&table, "SOURCE", false);
        json_array_foreach (settings, i, setting) {
                table_add(&table, COLOUR_NONE, "%s = %s", get_string(setting, "key"),
                          get_string(setting, "value"));
                table_add(&table, COLOUR_NONE, "%s", get_string(setting, "source"));
        }
        failed = table.failed;
        if (!failed)
                table_print(ctl, &table);
        table_done(&table);
        return failed ? fail(ctl, EXIT_FAILED, "out of memory") : EXIT_DONE;
}

int run_get(Ctl *ctl, int argc, char **argv) {
        const char *key = NULL;
        const json_t *settings;
        Answer answer;
        size_t n_words;
        int status = options_parse(ctl, argc, argv, NULL, 0, &key, 1, &n_words);

        if (status != EXIT_DONE)
                return status;
        if (key && setting_by_name(key) == SETTING_KEYS)
                return fail(ctl, EXIT_USAGE, "there is no setting '%s' (\"vasctl get\" lists them)", key);
        daemon_call(ctl, "GetSettings", key ? json_pack("{ss}", "key", key) : NULL, &answer);
        status = answer.status;
        settings = json_object_get(answer.parameters, "settings");
        if (status != EXIT_DONE)
                fail_answer(ctl, &answer);
        else if (ctl->json)
                print_json(key ? json_array_get(settings, 0) : settings, false);
        else
                status = print_settings(ctl, settings);
        answer_done(&answer);
        return status;
}
