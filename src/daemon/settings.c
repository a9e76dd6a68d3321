/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One table says of every key where it stands, of what type it is and what is
 * legal; reading a file, an option or a request at run time all end in
 * settings_set(). vasctl has the table too, and so refuses a bad value before
 * it asks anybody.
 */

#include "daemon/settings.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/settings_internal.h"

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
        [SET_EMULATOR_THREADS] = {"placement.emulator-threads", "leave", "leave, cluster or housekeeping"},
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

const char *setting_legal(SettingKey key) {
        return infos[key].legal;
}

bool setting_needs_start(SettingKey key) {
        return key == SET_CONNECT || key == SET_RUNTIME_DIR || key == SET_ADMIN_GROUP;
}

SettingKey setting_by_name(const char *name) {
        SettingKey found = SETTING_KEYS;

        for (SettingKey key = 0; key < SETTING_KEYS; key++) {
                if (strcmp(name, setting_name(key)) == 0)
                        return key;
                if (strcmp(name, bare_name(key)) != 0)
                        continue;
                if (found != SETTING_KEYS)
                        return SETTING_KEYS; /* of more than one section */
                found = key;
        }
        return found;
}

int settings_set(Settings *settings, SettingKey key, const char *value, const char *where,
                 char ret_why[SETTINGS_WHY_SIZE]) {
        int r = setting_parse(settings, key, value);

        if (r < 0) {
                snprintf(ret_why, SETTINGS_WHY_SIZE, "%s: bad value '%.100s' for %s; legal: %s", where, value,
                         bare_name(key), infos[key].legal);
                return -EINVAL;
        }
        snprintf(settings->source[key], SETTING_TEXT_MAX, "%s", where);
        return 0;
}

int settings_check(const Settings *settings, char ret_why[SETTINGS_WHY_SIZE]) {
        if (settings->policy.helpers != HELPERS_HOUSEKEEPING || !cpuset_is_empty(&settings->policy.skip))
                return 0;
        snprintf(ret_why, SETTINGS_WHY_SIZE,
                 "emulator-threads = housekeeping (%s) wants the CPUs of skip-cpuset, which is empty (%s); legal: "
                 "leave or cluster, or a skip-cpuset that names CPUs",
                 settings->source[SET_EMULATOR_THREADS], settings->source[SET_SKIP_CPUSET]);
        return -EINVAL;
}

void settings_defaults(Settings *ret) {
        char why[SETTINGS_WHY_SIZE];

        memset(ret, 0, sizeof(*ret));
        policy_defaults(&ret->policy);
        for (SettingKey key = 0; key < SETTING_KEYS; key++)
                if (settings_set(ret, key, infos[key].initial, "default", why) < 0)
                        abort(); /* our own table is wrong */
}

static void rule_apply(const VmRule *rule, VmPolicy *policy, bool *metadata_sched) {
        if (rule->has_manage)
                policy->manage = rule->policy.manage;
        if (rule->has_smt)
                policy->smt = rule->policy.smt;
        if (rule->has_layout)
                policy->layout = rule->policy.layout;
        if (rule->has_sched)
                policy->sched = rule->policy.sched;
        if (rule->has_cross_node)
                policy->cross_node = rule->policy.cross_node;
        if (rule->has_metadata_sched)
                *metadata_sched = rule->metadata_sched;
}

/* How much is done with a VM: none, judging, placing, taking over. */
static int manage_reach(Manage manage) {
        static const int reach[] = {[MANAGE_NO] = 0, [MANAGE_OBSERVE] = 1, [MANAGE_AUTO] = 2, [MANAGE_YES] = 3};

        return reach[manage];
}

static WishFault wish_apply(const VmWish *wish, bool may_choose_sched, VmPolicy *policy) {
        WishFault fault = wish->fault;

        if (wish->has_layout)
                policy->layout = wish->layout;
        if (wish->has_sched && may_choose_sched)
                policy->sched = wish->sched;
        else if (wish->has_sched && wish->sched != policy->sched)
                fault = WISH_SCHED;
        if (wish->has_manage && manage_reach(wish->manage) <= manage_reach(policy->manage))
                policy->manage = wish->manage;
        else if (wish->has_manage)
                fault = WISH_WIDENS;
        return fault;
}

WishFault settings_vm_policy(const Settings *settings, const char *name, const VmWish *wish, VmPolicy *ret) {
        bool metadata_sched = false;

        vm_policy_defaults(ret);
        ret->smt = settings->policy.smt;
        ret->layout = settings->policy.layout;
        ret->sched = settings->sched;
        for (unsigned i = 0; i < settings->n_rules; i++)
                if (fnmatch(settings->rule[i].glob, name, 0) == 0)
                        rule_apply(&settings->rule[i], ret, &metadata_sched);
        return wish_apply(wish, metadata_sched, ret);
}

bool settings_want_dynamic(const Settings *settings) {
        if (settings->sched == SCHED_DYNAMIC)
                return true;
        for (unsigned i = 0; i < settings->n_rules; i++)
                if ((settings->rule[i].has_sched && settings->rule[i].policy.sched == SCHED_DYNAMIC) ||
                    settings->rule[i].metadata_sched)
                        return true;
        return false;
}

bool settings_named(const Settings *settings, SettingKey key) {
        return strcmp(settings->source[key], "default") != 0;
}
