/* SPDX-License-Identifier: Apache-2.0 */

/* The settings in force, and where each comes from. */

#include <stdio.h>
#include <string.h>

#include "daemon/view_internal.h"
#include "daemon/view_settings.h"
#include "util/cleanup.h"
#include "wire/names.h"

/* 0, or -1 when memory ran out. */
static int settings_add(json_t *array, const char *key, const char *value, const char *source,
                        const char *legal) {
        return json_array_append_new(array, json_pack("{s:o, s:o, s:o, s:s}", "key", view_text(key), "value",
                                                      view_text(value), "source", view_text(source), "legal",
                                                      legal));
}

static int rule_add(json_t *array, const VmRule *rule, bool has, const char *key, const char *value) {
        char name[SETTING_TEXT_MAX + 32];

        if (!has)
                return 0;
        snprintf(name, sizeof(name), "vm %s.%s", rule->glob, key);
        return settings_add(array, name, value, rule->source, "set in a file, section [vm PATTERN]");
}

static int rule_add_all(json_t *array, const VmRule *rule) {
        const VmPolicy *policy = &rule->policy;

        if (rule_add(array, rule, rule->has_manage, "manage", manage_name(policy->manage)) < 0 ||
            rule_add(array, rule, rule->has_smt, "smt", smt_name(policy->smt)) < 0 ||
            rule_add(array, rule, rule->has_layout, "layout", layout_name(policy->layout)) < 0 ||
            rule_add(array, rule, rule->has_sched, "sched-policy", sched_name(policy->sched)) < 0)
                return -1;
        if (rule_add(array, rule, rule->has_cross_node, "cross-node", policy->cross_node ? "yes" : "no") < 0)
                return -1;
        return rule_add(array, rule, rule->has_metadata_sched, "metadata-sched-policy",
                        rule->metadata_sched ? "yes" : "no");
}

json_t *view_settings(const Settings *settings, SettingKey only) {
        json_t *array = json_array();
        int r = array ? 0 : -1;

        for (SettingKey key = 0; r == 0 && key < SETTING_KEYS; key++) {
                AUTO_FREE char *value = NULL;

                if (only != SETTING_KEYS && only != key)
                        continue;
                value = setting_text(settings, key);
                r = value ? settings_add(array, setting_name(key), value, settings->source[key],
                                         setting_legal(key))
                          : -1;
        }
        for (unsigned i = 0; r == 0 && only == SETTING_KEYS && i < settings->n_rules; i++)
                r = rule_add_all(array, &settings->rule[i]);
        if (r == 0)
                return array;
        json_decref(array);
        return NULL;
}
