/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Any text as a settings file: it is refused with a reason, or what it says can be
 * said again, key by key.
 */

#include "fuzz.h"

#include "daemon/settings.h"
#include "daemon/settings_internal.h"

static void say_again(const Settings *settings) {
        char why[SETTINGS_WHY_SIZE];
        Settings *again = malloc(sizeof(*again));

        must(again != NULL);
        settings_defaults(again);
        for (SettingKey key = 0; key < SETTING_KEYS; key++) {
                char *text = setting_text(settings, key), *back;

                must(text && settings_set(again, key, text, "fuzz", why) == 0);
                back = setting_text(again, key);
                must(back && strcmp(text, back) == 0);
                free(back);
                free(text);
        }
        free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Settings *settings = malloc(sizeof(*settings));
        char *text = fuzz_text(data, size), why[SETTINGS_WHY_SIZE];
        const VmWish nothing = {};
        VmPolicy policy;

        must(settings != NULL);
        settings_defaults(settings);
        if (settings_read_text(settings, "/etc/vas/fuzz.conf", text, why) == 0) {
                say_again(settings);
                settings_vm_policy(settings, "a vm", &nothing, &policy);
                must(policy.manage <= MANAGE_OBSERVE && policy.sched <= SCHED_CLUSTER);
        } else
                must_say_why(why, sizeof(why));
        free(settings);
        free(text);
        return 0;
}
