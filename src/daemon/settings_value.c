/* SPDX-License-Identifier: Apache-2.0 */

/* The text of each setting to its value, and back. */

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "daemon/settings_internal.h"
#include "util/cpulist.h"
#include "wire/names.h"

enum { CREDITS_MAX = 100000 };

#define SECOND_NS INT64_C(1000000000)

/* One of two words; 0 or -EINVAL. */
int setting_parse_word(const char *value, const char *yes, const char *no, bool *ret) {
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
        } units[] = {{"ms", SECOND_NS / 1000},
                     {"s", SECOND_NS},
                     {"", SECOND_NS},
                     {"min", 60 * SECOND_NS},
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
        for (const char *c = value; *c; c++)
                if ((unsigned char)*c < ' ' || *c == 0x7f)
                        return -EINVAL; /* a newline would begin another line of a file */
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

static const char *const log_levels[] = {[LOG_ERR] = "error",
                                         [LOG_WARNING] = "warning",
                                         [LOG_NOTICE] = "notice",
                                         [LOG_INFO] = "info",
                                         [LOG_DEBUG] = "debug"};

static int parse_log_level(const char *value, int *ret) {
        for (int level = LOG_ERR; level <= LOG_DEBUG; level++)
                if (strcmp(value, log_levels[level]) == 0) {
                        *ret = level;
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

static const char *const util_sources[] = {
        [UTIL_LEAVE] = "leave", [UTIL_CPU] = "cpu", [UTIL_TASKGROUP] = "taskgroup"};

static int parse_source(const char *value, UtilSource *ret) {
        for (unsigned i = 0; i < sizeof(util_sources) / sizeof(*util_sources); i++)
                if (strcmp(value, util_sources[i]) == 0) {
                        *ret = (UtilSource)i;
                        return 0;
                }
        return -EINVAL;
}

static int parse_path(const char *value, bool may_be_empty, char ret[SETTING_TEXT_MAX]) {
        return *value == '/' || !*value ? parse_text(value, may_be_empty, ret) : -EINVAL;
}

int setting_parse(Settings *s, SettingKey key, const char *value) {
        switch (key) {
        case SET_MODE:
                return setting_parse_word(value, "act", "observe", &s->act);
        case SET_CONNECT:
                return parse_text(value, false, s->connect);
        case SET_ON_STOP:
                return setting_parse_word(value, "restore", "keep", &s->restore_on_stop);
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
                return setting_parse_word(value, "true", "false", &s->policy.range_affinity);
        case SET_CLUSTER_LEVEL:
                return parse_level(value, &s->level);
        case SET_EMULATOR_THREADS:
                return helpers_parse(value, &s->policy.helpers);
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
                return setting_parse_word(value, "auto", "never", &s->emulate);
        case SETTING_KEYS:
                break;
        }
        return -EINVAL;
}

/* In the largest unit that leaves a whole number. */
static char *time_new(int64_t ns) {
        static const struct {
                const char *unit;
                int64_t ns;
        } units[] = {
                {"h", 3600 * SECOND_NS}, {"min", 60 * SECOND_NS}, {"s", SECOND_NS}, {"ms", SECOND_NS / 1000}};
        unsigned i = 0;
        char *text;

        while (i < 3 && (ns % units[i].ns != 0 || ns == 0))
                i++;
        if (ns == 0)
                i = 2;
        return asprintf(&text, "%" PRId64 "%s", ns / units[i].ns, units[i].unit) < 0 ? NULL : text;
}

static char *milli_new(int32_t milli) {
        char *text;
        int r = asprintf(&text, "%d.%03d", milli / 1000, milli % 1000);

        if (r < 0)
                return NULL;
        for (char *end = text + r - 1; *end == '0' || *end == '.'; end--) {
                bool point = *end == '.';
                *end = '\0';
                if (point)
                        break;
        }
        return text;
}

static char *number_new(unsigned number) {
        char *text;

        return asprintf(&text, "%u", number) < 0 ? NULL : text;
}

/* The keys whose value is one of some words, or text. */
static const char *setting_word(const Settings *s, SettingKey key) {
        switch (key) {
        case SET_MODE:
                return s->act ? "act" : "observe";
        case SET_CONNECT:
                return s->connect;
        case SET_ON_STOP:
                return s->restore_on_stop ? "restore" : "keep";
        case SET_RUNTIME_DIR:
                return s->runtime_dir;
        case SET_ADMIN_GROUP:
                return s->admin_group;
        case SET_LOG_LEVEL:
                return log_levels[s->log_level];
        case SET_METRICS_FILE:
                return s->metrics_file;
        case SET_SMT:
                return smt_name(s->policy.smt);
        case SET_SCHED_POLICY:
                return sched_name(s->sched);
        case SET_LAYOUT:
                return layout_name(s->policy.layout);
        case SET_RANGE_AFFINITY:
                return s->policy.range_affinity ? "true" : "false";
        case SET_CLUSTER_LEVEL:
                return level_name(s->level);
        case SET_EMULATOR_THREADS:
                return helpers_name(s->policy.helpers);
        case SET_UTIL_SOURCE:
                return util_sources[s->util_source];
        case SET_EMULATE:
                return s->emulate ? "auto" : "never";
        default:
                return NULL;
        }
}

char *setting_text(const Settings *s, SettingKey key) {
        const char *word = setting_word(s, key);

        switch (key) {
        case SET_SKIP_CPUSET:
                return cpulist_new(&s->policy.skip);
        case SET_INTERVAL:
                return time_new(s->interval_ns);
        case SET_CREDITS_PER_EVENT:
                return milli_new(s->policy.credits_per_event_milli);
        case SET_CREDITS_PER_10S:
                return milli_new(s->policy.credits_per_10s_milli);
        case SET_BURST:
                return milli_new(s->policy.burst_milli);
        case SET_COOL_DOWN:
                return time_new(s->policy.cool_down_ns);
        case SET_UTIL_THRESH:
                return number_new(s->util_thresh);
        case SET_OVERCOMMIT_LAYERS:
                return number_new(s->policy.overcommit_layers);
        default:
                return word ? strdup(word) : NULL;
        }
}
