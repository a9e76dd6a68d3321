/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One table says of every key where it stands, of what type it is and what is
 * legal; reading a file, an option or a request at run time all end in
 * settings_set(). inih splits the lines; it lets continuation lines and doubled
 * keys pass, so both are refused here: a setting that silently wins over another
 * one in the same file is a trap.
 */

#include "daemon/settings.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>

#include "util/cleanup.h"
#include "util/cpulist.h"
#include "wire/names.h"

enum {
        FILE_BYTES_MAX = 256 * 1024,
        LINE_BYTES_MAX = 190, /* inih cuts longer ones */
        CREDITS_MAX = 100000,
};

#define SECOND_NS INT64_C(1000000000)

typedef struct SettingInfo {
        const char *name; /* "section.key" */
        const char *initial;
        const char *legal;
} SettingInfo;

static const SettingInfo infos[SETTING_KEYS] = {
        [SET_MODE] = {"daemon.mode", "act", "act or observe"},
        [SET_CONNECT] = {"daemon.connect", "qemu:///system", "a libvirt connection URI"},
        [SET_ON_STOP] = {"daemon.on-stop", "restore", "restore or keep"},
        [SET_RUNTIME_DIR] = {"daemon.runtime-dir", "/run/vas", "an absolute path"},
        [SET_ADMIN_GROUP] = {"daemon.admin-group", "vas-admin", "a group's name, or nothing"},
        [SET_LOG_LEVEL] = {"daemon.log-level", "info", "error, warning, notice, info or debug"},
        [SET_METRICS_FILE] = {"daemon.metrics-file", "", "an absolute path, or nothing"},
        [SET_SMT] = {"placement.smt", "auto", "auto, true, false or own-cores"},
        [SET_SCHED_POLICY] = {"placement.sched-policy", "static", "static (or affinity), dynamic (or dynamicAffinity) or cluster"},
        [SET_LAYOUT] = {"placement.layout", "auto", "auto, pack or spread"},
        [SET_SKIP_CPUSET] = {"placement.skip-cpuset", "", "a list of CPUs below 4096 such as 0-1,4, or nothing"},
        [SET_RANGE_AFFINITY] = {"placement.range-affinity", "true", "true or false"},
        [SET_CLUSTER_LEVEL] = {"placement.cluster-level", "auto", "auto, cluster, l3 or numa"},
        [SET_INTERVAL] = {"defrag.interval", "5s", "a time from 100ms to 1h, such as 5s"},
        [SET_CREDITS_PER_EVENT] = {"defrag.credits-per-event", "1", "a number from 0 to 100000"},
        [SET_CREDITS_PER_10S] = {"defrag.credits-per-10s", "1", "a number from 0 to 100000"},
        [SET_BURST] = {"defrag.burst", "64", "a number from 0 to 100000"},
        [SET_COOL_DOWN] = {"defrag.cool-down", "30s", "a time from 0 to 24h, such as 30s"},
        [SET_UTIL_THRESH] = {"dynamic.util-thresh", "85", "a whole number from 0 to 100"},
        [SET_OVERCOMMIT_LAYERS] = {"dynamic.overcommit-layers", "6", "a whole number from 1 to 100"},
        [SET_UTIL_SOURCE] = {"dynamic.util-source", "leave", "leave, cpu or taskgroup"},
        [SET_EMULATE] = {"dynamic.emulate", "auto", "auto or never"},
};

const char *setting_name(SettingKey key) {
        return infos[key].name;
}

static const char *bare_name(SettingKey key) {
        return strchr(infos[key].name, '.') + 1;
}

SettingKey setting_by_name(const char *name) {
        for (SettingKey key = 0; key < SETTING_KEYS; key++)
                if (strcmp(name, setting_name(key)) == 0 || strcmp(name, bare_name(key)) == 0)
                        return key;
        return SETTING_KEYS;
}

/* One of two words; 0 or -EINVAL. */
static int parse_word(const char *value, const char *yes, const char *no, bool *ret) {
        if (strcmp(value, yes) != 0 && strcmp(value, no) != 0)
                return -EINVAL;
        *ret = strcmp(value, yes) == 0;
        return 0;
}

/* A decimal number with at most 3 digits after the point, in thousandths. */
static int parse_milli(const char *value, int32_t *ret) {
        int64_t whole = 0, milli = 0;
        int digits = 0, weight = 100;

        for (; isdigit((unsigned char)*value); value++, digits++) {
                whole = whole * 10 + (*value - '0');
                if (whole > CREDITS_MAX)
                        return -EINVAL;
        }
        if (digits == 0)
                return -EINVAL;
        if (*value == '.') {
                if (!isdigit((unsigned char)*++value))
                        return -EINVAL;
                for (; isdigit((unsigned char)*value) && weight > 0; value++, weight /= 10)
                        milli += weight * (*value - '0');
        }
        if (*value || whole * 1000 + milli > CREDITS_MAX * INT64_C(1000))
                return -EINVAL;
        *ret = (int32_t)(whole * 1000 + milli);
        return 0;
}

/* A whole number with a unit, ms, s (also when left out), min or h. */
static int parse_time(const char *value, int64_t min_ns, int64_t max_ns, int64_t *ret) {
        static const struct {
                const char *unit;
                int64_t ns;
        } units[] = {{"ms", SECOND_NS / 1000}, {"s", SECOND_NS}, {"", SECOND_NS}, {"min", 60 * SECOND_NS},
                     {"h", 3600 * SECOND_NS}};
        int64_t number = 0;

        if (!isdigit((unsigned char)*value))
                return -EINVAL;
        for (; isdigit((unsigned char)*value); value++) {
                number = number * 10 + (*value - '0');
                if (number > 100000000)
                        return -EINVAL;
        }
        while (*value == ' ')
                value++;
        for (unsigned i = 0; i < sizeof(units) / sizeof(*units); i++)
                if (strcmp(value, units[i].unit) == 0) {
                        if (number * units[i].ns < min_ns || number * units[i].ns > max_ns)
                                return -EINVAL;
                        *ret = number * units[i].ns;
                        return 0;
                }
        return -EINVAL;
}

static int parse_text(const char *value, bool may_be_empty, char ret[SETTING_TEXT_MAX]) {
        if ((!*value && !may_be_empty) || strlen(value) >= SETTING_TEXT_MAX)
                return -EINVAL;
        strcpy(ret, value);
        return 0;
}

static int parse_percent(const char *value, unsigned *ret) {
        unsigned number = 0;

        if (!*value)
                return -EINVAL;
        for (; *value; value++) {
                if (!isdigit((unsigned char)*value))
                        return -EINVAL;
                number = number * 10 + (unsigned)(*value - '0');
                if (number > 100)
                        return -EINVAL;
        }
        *ret = number;
        return 0;
}

static int parse_layers(const char *value, uint8_t *ret) {
        unsigned number;
        int r = parse_percent(value, &number);

        if (r < 0 || number == 0)
                return -EINVAL;
        *ret = (uint8_t)number;
        return 0;
}

static int parse_log_level(const char *value, int *ret) {
        static const struct {
                const char *name;
                int level;
        } levels[] = {{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
                      {"info", LOG_INFO}, {"debug", LOG_DEBUG}};

        for (unsigned i = 0; i < sizeof(levels) / sizeof(*levels); i++)
                if (strcmp(value, levels[i].name) == 0) {
                        *ret = levels[i].level;
                        return 0;
                }
        return -EINVAL;
}

/* "package" is a level that the planner knows but no setting names. */
static int parse_level(const char *value, ClusterLevel *ret) {
        ClusterLevel level;

        if (level_parse(value, &level) < 0 || level == LEVEL_PACKAGE)
                return -EINVAL;
        *ret = level;
        return 0;
}

static int parse_source(const char *value, UtilSource *ret) {
        static const char *const words[] = {[UTIL_LEAVE] = "leave", [UTIL_CPU] = "cpu", [UTIL_TASKGROUP] = "taskgroup"};

        for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++)
                if (strcmp(value, words[i]) == 0) {
                        *ret = (UtilSource)i;
                        return 0;
                }
        return -EINVAL;
}

static int parse_path(const char *value, bool may_be_empty, char ret[SETTING_TEXT_MAX]) {
        return *value == '/' || !*value ? parse_text(value, may_be_empty, ret) : -EINVAL;
}

static int settings_parse(Settings *s, SettingKey key, const char *value) {
        switch (key) {
        case SET_MODE:
                return parse_word(value, "act", "observe", &s->act);
        case SET_CONNECT:
                return parse_text(value, false, s->connect);
        case SET_ON_STOP:
                return parse_word(value, "restore", "keep", &s->restore_on_stop);
        case SET_RUNTIME_DIR:
                return parse_path(value, false, s->runtime_dir);
        case SET_ADMIN_GROUP:
                return parse_text(value, true, s->admin_group);
        case SET_LOG_LEVEL:
                return parse_log_level(value, &s->log_level);
        case SET_METRICS_FILE:
                return parse_path(value, true, s->metrics_file);
        case SET_SMT:
                return smt_parse(value, &s->policy.smt);
        case SET_SCHED_POLICY:
                return sched_parse(value, &s->sched) < 0 ? -EINVAL : 0;
        case SET_LAYOUT:
                return layout_parse(value, &s->policy.layout);
        case SET_SKIP_CPUSET:
                return cpulist_parse(value, &s->policy.skip);
        case SET_RANGE_AFFINITY:
                return parse_word(value, "true", "false", &s->policy.range_affinity);
        case SET_CLUSTER_LEVEL:
                return parse_level(value, &s->level);
        case SET_INTERVAL:
                return parse_time(value, SECOND_NS / 10, 3600 * SECOND_NS, &s->interval_ns);
        case SET_CREDITS_PER_EVENT:
                return parse_milli(value, &s->policy.credits_per_event_milli);
        case SET_CREDITS_PER_10S:
                return parse_milli(value, &s->policy.credits_per_10s_milli);
        case SET_BURST:
                return parse_milli(value, &s->policy.burst_milli);
        case SET_COOL_DOWN:
                return parse_time(value, 0, 24 * 3600 * SECOND_NS, &s->policy.cool_down_ns);
        case SET_UTIL_THRESH:
                return parse_percent(value, &s->util_thresh);
        case SET_OVERCOMMIT_LAYERS:
                return parse_layers(value, &s->policy.overcommit_layers);
        case SET_UTIL_SOURCE:
                return parse_source(value, &s->util_source);
        case SET_EMULATE:
                return parse_word(value, "auto", "never", &s->emulate);
        case SETTING_KEYS:
                break;
        }
        return -EINVAL;
}

int settings_set(Settings *settings, SettingKey key, const char *value, const char *where,
                 char ret_why[SETTINGS_WHY_SIZE]) {
        int r = settings_parse(settings, key, value);

        if (r < 0) {
                snprintf(ret_why, SETTINGS_WHY_SIZE, "%s: bad value '%.100s' for %s; legal: %s", where, value,
                         bare_name(key), infos[key].legal);
                return -EINVAL;
        }
        snprintf(settings->source[key], SETTING_TEXT_MAX, "%s", where);
        return 0;
}

void settings_defaults(Settings *ret) {
        char why[SETTINGS_WHY_SIZE];

        memset(ret, 0, sizeof(*ret));
        policy_defaults(&ret->policy);
        for (SettingKey key = 0; key < SETTING_KEYS; key++)
                if (settings_set(ret, key, infos[key].initial, "default", why) < 0)
                        abort(); /* our own table is wrong */
}

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
        return reading->rule;
}

/* One key of a [vm GLOB] section; NULL, or what is legal. */
static const char *rule_set(VmRule *rule, const char *name, const char *value, bool *ret_twice) {
        bool *has = NULL;
        const char *legal = NULL;
        int r = 0;

        if (strcmp(name, "manage") == 0) {
                has = &rule->has_manage;
                legal = "yes, no or observe";
                r = manage_parse(value, &rule->policy.manage);
        } else if (strcmp(name, "smt") == 0) {
                has = &rule->has_smt;
                legal = infos[SET_SMT].legal;
                r = smt_parse(value, &rule->policy.smt);
        } else if (strcmp(name, "layout") == 0) {
                has = &rule->has_layout;
                legal = infos[SET_LAYOUT].legal;
                r = layout_parse(value, &rule->policy.layout);
        } else if (strcmp(name, "sched-policy") == 0) {
                has = &rule->has_sched;
                legal = infos[SET_SCHED_POLICY].legal;
                r = sched_parse(value, &rule->policy.sched);
        } else if (strcmp(name, "cross-node") == 0) {
                has = &rule->has_cross_node;
                legal = "no or yes";
                r = parse_word(value, "yes", "no", &rule->policy.cross_node);
        } else
                return "manage, smt, layout, sched-policy and cross-node";
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
static int settings_read_text(Settings *settings, const char *path, const char *text,
                              char ret_why[SETTINGS_WHY_SIZE]) {
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
        if (ferror(file) || length > FILE_BYTES_MAX || memchr(text, '\0', length)) {
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
        if (n < 0)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
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

void settings_vm_policy(const Settings *settings, const char *name, VmPolicy *ret) {
        vm_policy_defaults(ret);
        ret->smt = settings->policy.smt;
        ret->layout = settings->policy.layout;
        ret->sched = settings->sched;
        for (unsigned i = 0; i < settings->n_rules; i++) {
                const VmRule *rule = &settings->rule[i];
                if (fnmatch(rule->glob, name, 0) != 0)
                        continue;
                if (rule->has_manage)
                        ret->manage = rule->policy.manage;
                if (rule->has_smt)
                        ret->smt = rule->policy.smt;
                if (rule->has_layout)
                        ret->layout = rule->policy.layout;
                if (rule->has_sched)
                        ret->sched = rule->policy.sched;
                if (rule->has_cross_node)
                        ret->cross_node = rule->policy.cross_node;
        }
}

bool settings_want_dynamic(const Settings *settings) {
        if (settings->sched == SCHED_DYNAMIC)
                return true;
        for (unsigned i = 0; i < settings->n_rules; i++)
                if (settings->rule[i].has_sched && settings->rule[i].policy.sched == SCHED_DYNAMIC)
                        return true;
        return false;
}

bool settings_named(const Settings *settings, SettingKey key) {
        return strcmp(settings->source[key], "default") != 0;
}
