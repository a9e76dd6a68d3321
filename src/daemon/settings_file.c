/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Settings files. inih splits the lines; it lets continuation lines and doubled
 * keys pass, so both are refused here: a setting that silently wins over another
 * one in the same file is a trap.
 */

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/settings_internal.h"
#include "util/cleanup.h"
#include "wire/names.h"

enum {
        FILE_BYTES_MAX = 256 * 1024,
        LINE_BYTES_MAX = 190, /* inih cuts longer ones */
};

/* What inih's callback needs: it reports one key at a time. */
typedef struct Reading {
        Settings *settings;
        const char *path;
        VmRule *rule; /* of the [vm GLOB] section that is being read */
        char section[SETTING_TEXT_MAX];
        bool seen[SETTING_KEYS];
        char why[SETTINGS_WHY_SIZE]; /* "" while all is well; without file and line */
} Reading;

static VmRule *reading_rule(Reading *reading, const char *section) {
        Settings *settings = reading->settings;

        if (reading->rule && strcmp(section, reading->section) == 0)
                return reading->rule;
        if (settings->n_rules == VM_RULES_MAX || strlen(section) >= sizeof(reading->section))
                return NULL;
        strcpy(reading->section, section);
        reading->rule = &settings->rule[settings->n_rules++];
        memset(reading->rule, 0, sizeof(*reading->rule));
        snprintf(reading->rule->glob, sizeof(reading->rule->glob), "%s", section + strlen("vm "));
        snprintf(reading->rule->source, sizeof(reading->rule->source), "%.250s", reading->path);
        return reading->rule;
}

/* One key of a [vm GLOB] section; NULL, or what is legal. */
static const char *rule_set(VmRule *rule, const char *name, const char *value, bool *ret_twice) {
        bool *has = NULL;
        const char *legal = NULL;
        int r = 0;

        if (strcmp(name, "manage") == 0) {
                has = &rule->has_manage;
                legal = "auto, yes, no or observe";
                r = manage_parse(value, &rule->policy.manage);
        } else if (strcmp(name, "smt") == 0) {
                has = &rule->has_smt;
                legal = setting_legal(SET_SMT);
                r = smt_parse(value, &rule->policy.smt);
        } else if (strcmp(name, "layout") == 0) {
                has = &rule->has_layout;
                legal = setting_legal(SET_LAYOUT);
                r = layout_parse(value, &rule->policy.layout);
        } else if (strcmp(name, "sched-policy") == 0) {
                has = &rule->has_sched;
                legal = setting_legal(SET_SCHED_POLICY);
                r = sched_parse(value, &rule->policy.sched);
        } else if (strcmp(name, "cross-node") == 0) {
                has = &rule->has_cross_node;
                legal = "no or yes";
                r = setting_parse_word(value, "yes", "no", &rule->policy.cross_node);
        } else if (strcmp(name, "metadata-sched-policy") == 0) {
                has = &rule->has_metadata_sched;
                legal = "no or yes";
                r = setting_parse_word(value, "yes", "no", &rule->metadata_sched);
        } else
                return "manage, smt, layout, sched-policy, cross-node and metadata-sched-policy";
        *ret_twice = *has;
        *has = true;
        return r < 0 ? legal : NULL;
}

static int reading_rule_key(Reading *reading, const char *section, const char *name, const char *value) {
        VmRule *rule = reading_rule(reading, section);
        bool twice = false;

        if (!rule) {
                snprintf(reading->why, sizeof(reading->why), "more than %d [vm ...] sections", VM_RULES_MAX);
                return 0;
        }
        const char *legal = rule_set(rule, name, value, &twice);
        if (legal)
                snprintf(reading->why, sizeof(reading->why), "[%.100s] %.100s = '%.100s'; legal: %s", section, name,
                         value, legal);
        else if (twice)
                snprintf(reading->why, sizeof(reading->why), "[%.100s] gives %.100s twice", section, name);
        return reading->why[0] == '\0';
}

static int reading_key(void *userdata, const char *section, const char *name, const char *value) {
        Reading *reading = userdata;
        char full[SETTING_TEXT_MAX];

        if (reading->why[0])
                return 0;
        if (strncmp(section, "vm ", 3) == 0)
                return reading_rule_key(reading, section, name, value);
        snprintf(full, sizeof(full), "%.100s.%.100s", section, name);
        SettingKey key = setting_by_name(full);
        if (key == SETTING_KEYS) {
                snprintf(reading->why, sizeof(reading->why), "no such setting: [%.100s] %.100s", section, name);
                return 0;
        }
        if (reading->seen[key]) {
                snprintf(reading->why, sizeof(reading->why), "%s is given twice", full);
                return 0;
        }
        reading->seen[key] = true;
        if (settings_set(reading->settings, key, value, "", reading->why) < 0) {
                memmove(reading->why, reading->why + strlen(": "), strlen(reading->why) - 1);
                return 0;
        }
        return 1;
}

/* The number of the first line that is too long for inih; 0 if there is none. */
static int text_long_line(const char *text) {
        for (int line = 1; *text; line++) {
                size_t length = strcspn(text, "\n");
                if (length > LINE_BYTES_MAX)
                        return line;
                text += length + (text[length] == '\n');
        }
        return 0;
}

/* Parses text key by key, so that the line of each key is known. */
int settings_read_text(Settings *settings, const char *path, const char *text, char ret_why[SETTINGS_WHY_SIZE]) {
        Reading reading = {.settings = settings, .path = path};
        int line = text_long_line(text);

        if (line > 0) {
                snprintf(ret_why, SETTINGS_WHY_SIZE, "%s:%d: longer than %d bytes", path, line, LINE_BYTES_MAX);
                return -EINVAL;
        }
        line = ini_parse_string(text, reading_key, &reading);
        if (line < 0)
                return -ENOMEM;
        if (line > 0) {
                snprintf(ret_why, SETTINGS_WHY_SIZE, "%.200s:%d: %.700s", path, line,
                         reading.why[0] ? reading.why : "not a [section], key = value, comment or blank line");
                return -EINVAL;
        }
        for (SettingKey key = 0; key < SETTING_KEYS; key++)
                if (reading.seen[key])
                        snprintf(settings->source[key], SETTING_TEXT_MAX, "%.250s", path);
        return 0;
}

int settings_read_file(Settings *settings, const char *path, char ret_why[SETTINGS_WHY_SIZE]) {
        AUTO_FCLOSE FILE *file = fopen(path, "re");
        AUTO_FREE char *text = NULL;

        if (!file && (errno == ENOENT || errno == ENOTDIR))
                return 1;
        if (!file) {
                int r = -errno;
                snprintf(ret_why, SETTINGS_WHY_SIZE, "%.200s: %s", path, strerror(-r));
                return r;
        }
        text = malloc(FILE_BYTES_MAX + 1);
        if (!text)
                return -ENOMEM;
        size_t length = fread(text, 1, FILE_BYTES_MAX + 1, file);
        if (ferror(file)) {
                snprintf(ret_why, SETTINGS_WHY_SIZE, "%.200s: it can not be read", path);
                return -EIO;
        }
        if (length > FILE_BYTES_MAX || memchr(text, '\0', length)) {
                snprintf(ret_why, SETTINGS_WHY_SIZE, "%.200s: not a text file of at most %d bytes", path,
                         FILE_BYTES_MAX);
                return -EINVAL;
        }
        text[length] = '\0';
        return settings_read_text(settings, path, text, ret_why);
}

static int is_conf(const struct dirent *entry) {
        const char *dot = strrchr(entry->d_name, '.');

        return entry->d_name[0] != '.' && dot && strcmp(dot, ".conf") == 0;
}

static int settings_read_drop_ins(Settings *settings, const char *path, char ret_why[SETTINGS_WHY_SIZE]) {
        AUTO_FREE char *directory = NULL;
        struct dirent **entries = NULL;
        int r = 0;

        if (asprintf(&directory, "%s.d", path) < 0) {
                directory = NULL;
                return -ENOMEM;
        }
        int n = scandir(directory, &entries, is_conf, alphasort);
        if (n < 0 && (errno == ENOENT || errno == ENOTDIR))
                return 0;
        if (n < 0) {
                int error = errno;
                snprintf(ret_why, SETTINGS_WHY_SIZE, "%.200s: %s", directory, strerror(error));
                return -error;
        }
        for (int i = 0; i < n; i++) {
                AUTO_FREE char *file = NULL;
                if (r >= 0 && asprintf(&file, "%s/%s", directory, entries[i]->d_name) < 0) {
                        file = NULL;
                        r = -ENOMEM;
                }
                if (r >= 0)
                        r = settings_read_file(settings, file, ret_why);
                free(entries[i]);
        }
        free(entries);
        return r < 0 ? r : 0;
}

int settings_read_all(Settings *settings, const char *path, const char *persisted,
                      char ret_why[SETTINGS_WHY_SIZE]) {
        int r;

        snprintf(ret_why, SETTINGS_WHY_SIZE, "out of memory");
        r = settings_read_file(settings, path, ret_why);
        if (r >= 0)
                r = settings_read_drop_ins(settings, path, ret_why);
        if (r >= 0 && persisted)
                r = settings_read_file(settings, persisted, ret_why);
        return r < 0 ? r : 0;
}
