/* SPDX-License-Identifier: Apache-2.0 */

#include "daemon/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/backend.h"
#include "util/cleanup.h"

#define CONFIG_PATH "/etc/vas/vas-daemon.conf"
#define PERSISTED_PATH "/var/lib/vas/settings.conf"

/* An option that sets a key. */
typedef struct OptionInfo {
        const char *name;
        SettingKey key;
        const char *where;
} OptionInfo;

static const OptionInfo option_infos[] = {
        {"-smt", SET_SMT, "option -smt"},
        {"--smt", SET_SMT, "option --smt"},
        {"-sp", SET_SCHED_POLICY, "option -sp"},
        {"--sched-policy", SET_SCHED_POLICY, "option --sched-policy"},
        {"-daut", SET_UTIL_THRESH, "option -daut"},
        {"--dynamic-util-thresh", SET_UTIL_THRESH, "option --dynamic-util-thresh"},
        {"-scs", SET_SKIP_CPUSET, "option -scs"},
        {"--skip-cpuset", SET_SKIP_CPUSET, "option --skip-cpuset"},
        {"--skip-cluster-cpumask", SET_SKIP_CPUSET, "option --skip-cluster-cpumask"},
        {"-ra", SET_RANGE_AFFINITY, "option -ra"},
        {"--range-affinity", SET_RANGE_AFFINITY, "option --range-affinity"},
        {"--connect", SET_CONNECT, "option --connect"},
        {"--mode", SET_MODE, "option --mode"},
        {"--runtime-dir", SET_RUNTIME_DIR, "option --runtime-dir"},
        {"--log-level", SET_LOG_LEVEL, "option --log-level"},
};

/* Whether arg is NAME or NAME=VALUE; *ret_value is NULL for the former. */
static bool arg_is(const char *arg, const char *name, const char **ret_value) {
        size_t length = strlen(name);

        if (strncmp(arg, name, length) != 0 || (arg[length] != '\0' && arg[length] != '='))
                return false;
        *ret_value = arg[length] == '=' ? arg + length + 1 : NULL;
        return true;
}

static const OptionInfo *option_find(const char *arg, const char **ret_value) {
        for (unsigned i = 0; i < sizeof(option_infos) / sizeof(*option_infos); i++)
                if (arg_is(arg, option_infos[i].name, ret_value))
                        return &option_infos[i];
        return NULL;
}

static int options_word(Options *options, const char *arg) {
        static const struct {
                const char *word;
                Command command;
        } words[] = {{"recover", COMMAND_RECOVER},     {"--check-config", COMMAND_CHECK_CONFIG},
                     {"--dry-run", COMMAND_DRY_RUN},   {"--oneshot", COMMAND_ONESHOT},
                     {"-h", COMMAND_HELP},             {"--help", COMMAND_HELP},
                     {"-v", COMMAND_VERSION},          {"--version", COMMAND_VERSION}};

        for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++)
                if (strcmp(arg, words[i].word) == 0) {
                        options->command = words[i].command;
                        return 0;
                }
        return -EINVAL;
}

/* The value of the option at argv[*i]: behind its '=', or the next argument. */
static const char *option_value(int argc, char **argv, int *i, const char *inline_value) {
        if (inline_value)
                return inline_value;
        return *i + 1 < argc ? argv[++*i] : NULL;
}

static int options_take(Options *options, int argc, char **argv, int *i, char ret_why[SETTINGS_WHY_SIZE]) {
        const char *arg = argv[*i], *value = NULL;
        const OptionInfo *info = option_find(arg, &value);

        if (!info && !arg_is(arg, "--config", &value)) {
                snprintf(ret_why, SETTINGS_WHY_SIZE, "unknown option or word '%.100s'; %s", arg,
                         strcmp(arg, "start") == 0 ? "'start server' is wanted" : "see vas-daemon --help");
                return -EINVAL;
        }
        value = option_value(argc, argv, i, value);
        if (!value) {
                snprintf(ret_why, SETTINGS_WHY_SIZE, "option %.100s needs a value", arg);
                return -EINVAL;
        }
        if (!info) {
                options->config = value;
                options->config_named = true;
                options->persisted = NULL;
                return 0;
        }
        if (options->n_overrides == OVERRIDES_MAX) {
                snprintf(ret_why, SETTINGS_WHY_SIZE, "more than %d options", OVERRIDES_MAX);
                return -EINVAL;
        }
        options->override[options->n_overrides++] =
                (Override){.key = info->key, .value = value, .where = info->where};
        return 0;
}

int options_parse(int argc, char **argv, Options *ret, char ret_why[SETTINGS_WHY_SIZE]) {
        Options options = {.config = CONFIG_PATH, .persisted = PERSISTED_PATH};
        bool have_command = false;

        for (int i = 1; i < argc; i++) {
                if (!have_command && i + 1 < argc && strcmp(argv[i], "start") == 0 &&
                    strcmp(argv[i + 1], "server") == 0) {
                        options.command = COMMAND_START;
                        have_command = true;
                        i++;
                } else if (!have_command && options_word(&options, argv[i]) == 0)
                        have_command = true;
                else if (options_take(&options, argc, argv, &i, ret_why) < 0)
                        return -EINVAL;
        }
        if (!have_command) {
                snprintf(ret_why, SETTINGS_WHY_SIZE,
                         "what to do? 'vas-daemon start server' runs the service; see vas-daemon --help");
                return -EINVAL;
        }
        *ret = options;
        return 0;
}

int options_settings(const Options *options, Settings *ret, char ret_why[SETTINGS_WHY_SIZE]) {
        AUTO_FREE Settings *settings = malloc(sizeof(*settings));
        int r;

        if (!settings) {
                snprintf(ret_why, SETTINGS_WHY_SIZE, "out of memory");
                return -ENOMEM;
        }
        settings_defaults(settings);
        if (options->config_named && access(options->config, F_OK) < 0) {
                r = -errno;
                snprintf(ret_why, SETTINGS_WHY_SIZE, "%.500s: %s", options->config, strerror(-r));
                return r;
        }
        r = settings_read_all(settings, options->config, options->persisted, ret_why);
        for (unsigned i = 0; r == 0 && i < options->n_overrides; i++) {
                const Override *override = &options->override[i];
                r = settings_set(settings, override->key, override->value, override->where, ret_why);
        }
        if (r == 0)
                r = settings_check(settings, ret_why);
        if (r == 0 && backend_check(settings, "", ret_why) != 0)
                r = -EINVAL;
        if (r < 0)
                return r;
        *ret = *settings;
        return 0;
}

void options_print_help(void) {
        fputs("Usage:\n"
              "  vas-daemon start server [OPTIONS]   run the service\n"
              "  vas-daemon recover [OPTIONS]        undo every binding, without a running daemon\n"
              "  vas-daemon --oneshot [OPTIONS]      place everything once, keep the bindings, and end\n"
              "  vas-daemon --dry-run [OPTIONS]      show what --oneshot would do; changes nothing\n"
              "  vas-daemon --check-config [OPTIONS] read the settings and say what is wrong with them\n"
              "  vas-daemon --help | --version\n"
              "\n"
              "Options as VSched documents them:\n"
              "  -smt,  --smt true|false             whether SMT siblings count as CPUs of their own\n"
              "                                      (also: auto, the default, and own-cores)\n"
              "  -sp,   --sched-policy affinity|dynamicAffinity\n"
              "                                      static or dynamic binding (also: cluster)\n"
              "  -daut, --dynamic-util-thresh 0..100 dynamic: use in percent above which a vCPU may leave\n"
              "  -scs,  --skip-cpuset LIST           CPUs that are never given to vCPUs, such as 0-1,4\n"
              "  -ra,   --range-affinity true|false  false: only VMs whose range is whole NUMA nodes\n"
              "\n"
              "Further options:\n"
              "  --config FILE                       settings file (" CONFIG_PATH ")\n"
              "  --mode act|observe                  observe decides and writes nothing\n"
              "  --connect URI                       libvirt to listen to (qemu:///system)\n"
              "  --runtime-dir DIR                   lock, state and control socket (/run/vas)\n"
              "  --log-level LEVEL                   error, warning, notice, info or debug\n"
              "\n"
              "Both '--opt value' and '--opt=value' are understood. Options win over the settings file.\n",
              stdout);
}
