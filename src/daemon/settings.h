/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The settings in force, and where each comes from. Layers, the later wins:
 * defaults, the settings file, its drop-ins, what --persist wrote, the command
 * line, values set at run time.
 *
 * Settings are read as a whole: one unknown key or bad value refuses all that
 * was to be read, and what was in force before stays.
 */

#include "core/plan.h"

typedef enum SettingKey {
        SET_MODE,
        SET_CONNECT,
        SET_ON_STOP,
        SET_RUNTIME_DIR,
        SET_ADMIN_GROUP,
        SET_LOG_LEVEL,
        SET_METRICS_FILE,
        SET_SMT,
        SET_SCHED_POLICY,
        SET_LAYOUT,
        SET_SKIP_CPUSET,
        SET_RANGE_AFFINITY,
        SET_CLUSTER_LEVEL,
        SET_EMULATOR_THREADS,
        SET_INTERVAL,
        SET_CREDITS_PER_EVENT,
        SET_CREDITS_PER_10S,
        SET_BURST,
        SET_COOL_DOWN,
        SET_UTIL_THRESH,
        SET_OVERCOMMIT_LAYERS,
        SET_UTIL_SOURCE,
        SET_EMULATE,
        SETTING_KEYS,
} SettingKey;

enum { SETTING_TEXT_MAX = 256, VM_RULES_MAX = 256 };

/* One [vm GLOB] section. */
typedef struct VmRule {
        char glob[SETTING_TEXT_MAX];
        char source[SETTING_TEXT_MAX]; /* the file */
        VmPolicy policy;
        bool metadata_sched; /* a VM's metadata may choose its sched-policy */
        bool has_manage, has_smt, has_layout, has_sched, has_cross_node, has_metadata_sched;
} VmRule;

/* Whose use counts in dynamic binding. LEAVE: what the host does anyhow; for our
 * own controller that is the CPU's. */
typedef enum UtilSource { UTIL_LEAVE, UTIL_CPU, UTIL_TASKGROUP } UtilSource;

typedef struct Settings {
        bool act; /* mode */
        bool restore_on_stop;
        int log_level;
        char connect[SETTING_TEXT_MAX];
        char runtime_dir[SETTING_TEXT_MAX];
        char admin_group[SETTING_TEXT_MAX];
        char metrics_file[SETTING_TEXT_MAX]; /* "": none */
        Policy policy;
        SchedPolicy sched;
        ClusterLevel level;
        int64_t interval_ns;
        unsigned util_thresh; /* percent */
        UtilSource util_source;
        bool emulate; /* auto; false: never */
        unsigned n_rules;
        VmRule rule[VM_RULES_MAX];
        char source[SETTING_KEYS][SETTING_TEXT_MAX]; /* "default", FILE, "option -smt", "run time" */
} Settings;

enum { SETTINGS_WHY_SIZE = 1024 };

void settings_defaults(Settings *ret);

/*
 * Sets one key from text. where names the source for messages and becomes the
 * key's source. Returns 0, or -EINVAL with one line in ret_why: what, where,
 * and what is legal; settings are then untouched.
 */
int settings_set(Settings *settings, SettingKey key, const char *value, const char *where,
                 char ret_why[SETTINGS_WHY_SIZE]);

/* Whether what holds together is legal together: 0, or -EINVAL with one line in
 * ret_why. For a set that is about to be in force. */
int settings_check(const Settings *settings, char ret_why[SETTINGS_WHY_SIZE]);

/* "section.key", or the bare key; SETTING_KEYS when there is no such key. */
SettingKey setting_by_name(const char *name);
const char *setting_name(SettingKey key); /* "placement.smt" */
const char *setting_legal(SettingKey key); /* half a line for people */
/* Whether a new value is taken at the next start only. */
bool setting_needs_start(SettingKey key);
/* The value in force as newly allocated text, in the form that settings_set() reads;
 * NULL: out of memory. */
char *setting_text(const Settings *settings, SettingKey key);

/*
 * Adds a file over what settings holds. Returns 0; 1 when there is no such
 * file; -EINVAL or another -errno, with one line in ret_why. On failure
 * settings are in an undefined state: read into a copy.
 */
int settings_read_file(Settings *settings, const char *path, char ret_why[SETTINGS_WHY_SIZE]);

/* Adds FILE, FILE.d's *.conf in order of name, and persisted (NULL: none). Each
 * may be missing. */
int settings_read_all(Settings *settings, const char *path, const char *persisted,
                      char ret_why[SETTINGS_WHY_SIZE]);

/*
 * Gives the key, with the value that it has in settings, its place in the file
 * persisted; what the file has of other keys stays. Replaced atomically, and only by
 * what is read back as the same. 0; or a negative value with one line in ret_why, the
 * file untouched.
 */
int settings_persist(const Settings *settings, SettingKey key, const char *persisted,
                     char ret_why[SETTINGS_WHY_SIZE]);

/* Whether somebody gave the key a value: it is not the default. */
bool settings_named(const Settings *settings, SettingKey key);

/* Whether the host's policy, or that of some [vm] section, is or may become dynamic. */
bool settings_want_dynamic(const Settings *settings);

/*
 * What holds for a VM of that name: the host's values, each matching rule in order,
 * then what its metadata may ask for: less management, a layout, and a sched-policy
 * where a rule says so. Returns what is wrong with the wish, or was refused of it.
 */
WishFault settings_vm_policy(const Settings *settings, const char *name, const VmWish *wish, VmPolicy *ret);
