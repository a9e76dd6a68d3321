/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What --persist wrote: a settings file of its own, so that no file of the
 * operator's is ever edited by a program. It is small and only ours, so it is
 * written anew from what it holds. The new text is read back before it takes the
 * old one's place: a value that the file's form can not carry (a list longer
 * than a line, text with a comment sign) is refused rather than found out at the
 * next start.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/settings_internal.h"
#include "util/cleanup.h"
#include "util/replace.h"

/* "[section]\nkey = value\n" of each key whose source is where. */
static char *persisted_text(const Settings *settings, const char *where) {
        char *text = NULL;
        size_t size;
        bool failed = false;
        FILE *file = open_memstream(&text, &size);

        if (!file)
                return NULL;
        fputs("# Written by 'vasctl set --persist'; wins over /etc/vas.\n", file);
        for (SettingKey key = 0; key < SETTING_KEYS; key++) {
                const char *name = setting_name(key), *dot = strchr(name, '.');
                AUTO_FREE char *value = NULL;

                if (strcmp(settings->source[key], where) != 0)
                        continue;
                value = setting_text(settings, key);
                failed |= !value;
                fprintf(file, "[%.*s]\n%s = %s\n", (int)(dot - name), name, dot + 1, value ? value : "");
        }
        failed |= fclose(file) != 0; /* text is where it stays only now */
        return failed ? free(text), NULL : text;
}

/* Whether the text says of each of its keys what settings say. */
static int persisted_check(const Settings *settings, SettingKey changed, const char *path, const char *text,
                           char ret_why[SETTINGS_WHY_SIZE]) {
        AUTO_FREE Settings *back = malloc(sizeof(*back));

        if (!back)
                return -ENOMEM;
        settings_defaults(back);
        int r = settings_read_text(back, path, text, ret_why);
        for (SettingKey key = 0; r == 0 && key < SETTING_KEYS; key++) {
                AUTO_FREE char *wanted = setting_text(settings, key), *found = setting_text(back, key);

                if (!wanted || !found)
                        return -ENOMEM;
                if (strcmp(settings->source[key], path) == 0 && strcmp(wanted, found) != 0)
                        r = -EINVAL;
        }
        if (r == -EINVAL)
                snprintf(ret_why, SETTINGS_WHY_SIZE,
                         "%s can not be kept in %.200s: the value is too long or has signs "
                         "that a settings file has a meaning for",
                         setting_name(changed), path);
        return r;
}

static int persisted_read(Settings *ret, const char *path, char ret_why[SETTINGS_WHY_SIZE]) {
        settings_defaults(ret);
        int r = settings_read_file(ret, path, ret_why);
        if (r >= 0 && ret->n_rules > 0) {
                snprintf(ret_why, SETTINGS_WHY_SIZE,
                         "%.200s has [vm ...] sections, which would be lost: move them to a file in /etc/vas",
                         path);
                return -EINVAL;
        }
        return r < 0 ? r : 0;
}

int settings_persist(const Settings *settings, SettingKey key, const char *persisted,
                     char ret_why[SETTINGS_WHY_SIZE]) {
        AUTO_FREE Settings *kept = malloc(sizeof(*kept));
        AUTO_FREE char *value = setting_text(settings, key), *text = NULL;
        int r;

        snprintf(ret_why, SETTINGS_WHY_SIZE, "out of memory");
        if (!kept || !value)
                return -ENOMEM;
        r = persisted_read(kept, persisted, ret_why);
        if (r == 0)
                r = settings_set(kept, key, value, persisted, ret_why);
        if (r < 0)
                return r;
        text = persisted_text(kept, persisted);
        if (!text)
                return -ENOMEM;
        r = persisted_check(kept, key, persisted, text, ret_why);
        if (r < 0)
                return r;
        r = file_replace(persisted, text, true);
        if (r < 0)
                snprintf(ret_why, SETTINGS_WHY_SIZE, "%.500s: %s", persisted, strerror(-r));
        return r;
}
