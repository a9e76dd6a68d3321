/* SPDX-License-Identifier: Apache-2.0 */

/* Settings files, their errors, their layers, and the command line. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/options.h"

typedef struct Place {
        char directory[64], path[96];
        Settings *settings;
        char why[SETTINGS_WHY_SIZE];
} Place;

static void put(const char *path, const char *text) {
        FILE *file = fopen(path, "we");

        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
        assert_int_equal(fclose(file), 0);
}

static int setup(void **state) {
        Place *place = calloc(1, sizeof(*place));

        strcpy(place->directory, "/tmp/vas-settings-XXXXXX");
        if (!mkdtemp(place->directory))
                return -1;
        snprintf(place->path, sizeof(place->path), "%s/vas.conf", place->directory);
        place->settings = malloc(sizeof(*place->settings));
        settings_defaults(place->settings);
        *state = place;
        return 0;
}

static int teardown(void **state) {
        Place *place = *state;
        char command[128];

        snprintf(command, sizeof(command), "rm -rf '%s'", place->directory);
        if (system(command) != 0)
                return -1;
        free(place->settings);
        free(place);
        return 0;
}

static void test_defaults(void **state) {
        const Settings *s = ((Place *)*state)->settings;

        assert_true(s->act);
        assert_true(s->restore_on_stop);
        assert_string_equal(s->connect, "qemu:///system");
        assert_string_equal(s->runtime_dir, "/run/vas");
        assert_true(s->policy.range_affinity);
        assert_true(cpuset_is_empty(&s->policy.skip));
        assert_int_equal(s->policy.smt, SMT_AUTO);
        assert_int_equal(s->interval_ns, 5000000000);
        assert_int_equal(s->policy.burst_milli, 64000);
        assert_int_equal(s->policy.cool_down_ns, 30000000000);
        assert_int_equal(s->util_thresh, 85);
        assert_int_equal(s->policy.overcommit_layers, 6);
        assert_string_equal(s->source[SET_SMT], "default");
}

static void test_good_file(void **state) {
        Place *place = *state;
        Settings *s = place->settings;
        const VmWish none = {};
        VmPolicy policy;

        put(place->path, "# comment\n[daemon]\nmode = observe\n; another\n[placement]\nskip-cpuset = 0-1,4\n"
                         "sched-policy = affinity\n[defrag]\ncredits-per-event = 0.5\ncool-down = 2min\n"
                         "[vm web*]\nmanage = no\n[vm web1]\nmanage = yes\nlayout = spread\n");
        assert_int_equal(settings_read_file(s, place->path, place->why), 0);
        assert_false(s->act);
        assert_int_equal(cpuset_count(&s->policy.skip), 3);
        assert_int_equal(s->sched, SCHED_STATIC);
        assert_int_equal(s->policy.credits_per_event_milli, 500);
        assert_int_equal(s->policy.cool_down_ns, INT64_C(120000000000));
        assert_string_equal(s->source[SET_MODE], place->path);
        assert_string_equal(s->source[SET_SMT], "default");
        settings_vm_policy(s, "web2", &none, &policy);
        assert_int_equal(policy.manage, MANAGE_NO);
        settings_vm_policy(s, "web1", &none, &policy);
        assert_int_equal(policy.manage, MANAGE_YES);
        assert_int_equal(policy.layout, LAYOUT_SPREAD);
        settings_vm_policy(s, "db", &none, &policy);
        assert_int_equal(policy.manage, MANAGE_AUTO);
}

/* Each bad text is refused with its line number and a word on what is legal. */
static void test_bad_files(void **state) {
        static const struct {
                const char *text, *line, *says;
        } cases[] = {
                {"[daemon]\nmode = maybe\n", ":2: ", "act or observe"},
                {"[daemon]\nmood = act\n", ":2: ", "no such setting: [daemon] mood"},
                {"mode = act\n", ":1: ", "no such setting: [] mode"},
                {"[demon]\nmode = act\n", ":2: ", "[demon] mode"},
                {"[daemon]\n\nmode = act\nmode = observe\n", ":4: ", "given twice"},
                {"[daemon]\nmode = act\n  observe\n", ":3: ", "given twice"},
                {"[placement]\nsmt = maybe\n", ":2: ", "auto, true, false or own-cores"},
                {"[placement]\nskip-cpuset = 0-\n", ":2: ", "list of CPUs"},
                {"[placement]\nskip-cpuset = 5-4\n", ":2: ", "list of CPUs"},
                {"[placement]\nskip-cpuset = 4096\n", ":2: ", "list of CPUs"},
                {"[placement]\nsched-policy = sometimes\n", ":2: ", "or cluster"},
                {"[dynamic]\nutil-source = mine\n", ":2: ", "leave, cpu or taskgroup"},
                {"[dynamic]\nemulate = always\n", ":2: ", "auto or never"},
                {"[placement]\ncluster-level = package\n", ":2: ", "auto, cluster, l3 or numa"},
                {"[defrag]\ninterval = 5 parsecs\n", ":2: ", "a time"},
                {"[defrag]\ninterval = 1ms\n", ":2: ", "a time"},
                {"[defrag]\nburst = -1\n", ":2: ", "a number"},
                {"[defrag]\nburst = 100001\n", ":2: ", "a number"},
                {"[defrag]\nburst = 1e3\n", ":2: ", "a number"},
                {"[dynamic]\nutil-thresh = 101\n", ":2: ", "0 to 100"},
                {"[dynamic]\nutil-thresh = \n", ":2: ", "0 to 100"},
                {"[dynamic]\novercommit-layers = 0\n", ":2: ", "1 to 100"},
                {"[dynamic]\novercommit-layers = 101\n", ":2: ", "1 to 100"},
                {"[daemon]\nruntime-dir = run\n", ":2: ", "absolute path"},
                {"[daemon]\n\nmetrics-file = run/vas.prom\n", ":3: ", "absolute path"},
                {"[vm a]\nmanage = perhaps\n", ":2: ", "auto, yes, no or observe"},
                {"[vm a]\ncolour = blue\n", ":2: ", "legal: manage"},
                {"[vm a]\nsmt = true\nsmt = false\n", ":3: ", "twice"},
                {"[daemon\nmode = act\n", ":1: ", "[] mode"},
                {"[daemon]\nmode\n", ":2: ", "key = value"},
        };
        Place *place = *state;

        for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                settings_defaults(place->settings);
                put(place->path, cases[i].text);
                assert_true(settings_read_file(place->settings, place->path, place->why) < 0);
                if (!strstr(place->why, cases[i].line) || !strstr(place->why, cases[i].says))
                        fail_msg("case %u: '%s' lacks '%s' or '%s'", i, place->why, cases[i].line, cases[i].says);
                assert_null(strchr(place->why, '\n'));
                assert_memory_equal(place->why, place->path, strlen(place->path));
        }
}

static void test_long_line(void **state) {
        Place *place = *state;
        char text[600] = "[daemon]\nconnect = ";

        memset(text + strlen(text), 'x', 400);
        put(place->path, text);
        assert_true(settings_read_file(place->settings, place->path, place->why) < 0);
        assert_non_null(strstr(place->why, ":2: longer than"));
}

static void test_layers(void **state) {
        Place *place = *state;
        char drop_ins[128], a[160], b[160], persisted[160];

        snprintf(drop_ins, sizeof(drop_ins), "%s.d", place->path);
        assert_int_equal(mkdir(drop_ins, 0755), 0);
        snprintf(a, sizeof(a), "%s/10.conf", drop_ins);
        snprintf(b, sizeof(b), "%s/20.conf", drop_ins);
        snprintf(persisted, sizeof(persisted), "%s/persisted", place->directory);
        put(place->path, "[defrag]\nburst = 1\ncredits-per-event = 1\ninterval = 1s\n");
        put(a, "[defrag]\nburst = 2\ncredits-per-event = 2\n");
        put(b, "[defrag]\nburst = 3\n");
        assert_int_equal(settings_read_all(place->settings, place->path, persisted, place->why), 0);
        assert_int_equal(place->settings->policy.burst_milli, 3000);
        assert_int_equal(place->settings->policy.credits_per_event_milli, 2000);
        assert_int_equal(place->settings->interval_ns, 1000000000);
        assert_string_equal(place->settings->source[SET_BURST], b);
        put(persisted, "[defrag]\nburst = 4\n");
        settings_defaults(place->settings);
        assert_int_equal(settings_read_all(place->settings, place->path, persisted, place->why), 0);
        assert_int_equal(place->settings->policy.burst_milli, 4000);
        put(b, "[defrag]\nburst = x\n");
        assert_true(settings_read_all(place->settings, place->path, persisted, place->why) < 0);
        assert_memory_equal(place->why, b, strlen(b));
}

static void test_missing_file(void **state) {
        Place *place = *state;

        assert_int_equal(settings_read_file(place->settings, "/nowhere/at/all.conf", place->why), 1);
}

/* What a VM's metadata may ask for, by what the host says of it. */
static void test_wishes(void **state) {
        static const struct {
                const char *vm;
                VmWish wish;
                WishFault fault;
                Manage manage;
                SchedPolicy sched;
        } cases[] = {
                {"plain", {.has_manage = true, .manage = MANAGE_NO}, WISH_FINE, MANAGE_NO, SCHED_STATIC},
                {"plain", {.has_manage = true, .manage = MANAGE_OBSERVE}, WISH_FINE, MANAGE_OBSERVE, SCHED_STATIC},
                {"plain", {.has_manage = true, .manage = MANAGE_YES}, WISH_WIDENS, MANAGE_AUTO, SCHED_STATIC},
                {"quiet", {.has_manage = true, .manage = MANAGE_AUTO}, WISH_WIDENS, MANAGE_NO, SCHED_STATIC},
                {"quiet", {.has_manage = true, .manage = MANAGE_OBSERVE}, WISH_WIDENS, MANAGE_NO, SCHED_STATIC},
                {"taken", {.has_manage = true, .manage = MANAGE_YES}, WISH_FINE, MANAGE_YES, SCHED_STATIC},
                {"plain", {.has_sched = true, .sched = SCHED_CLUSTER}, WISH_SCHED, MANAGE_AUTO, SCHED_STATIC},
                {"plain", {.has_sched = true, .sched = SCHED_STATIC}, WISH_FINE, MANAGE_AUTO, SCHED_STATIC},
                {"free1", {.has_sched = true, .sched = SCHED_CLUSTER}, WISH_FINE, MANAGE_AUTO, SCHED_CLUSTER},
                {"free2", {.has_sched = true, .sched = SCHED_CLUSTER}, WISH_SCHED, MANAGE_AUTO, SCHED_STATIC},
                {"plain", {.fault = WISH_SMT}, WISH_SMT, MANAGE_AUTO, SCHED_STATIC},
        };
        Place *place = *state;
        VmPolicy policy;

        put(place->path, "[vm quiet]\nmanage = no\n[vm taken]\nmanage = yes\n[vm free*]\nmetadata-sched-policy = yes\n"
                         "[vm free2]\nmetadata-sched-policy = no\n[vm plain]\nlayout = pack\n");
        assert_int_equal(settings_read_file(place->settings, place->path, place->why), 0);
        for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                WishFault fault = settings_vm_policy(place->settings, cases[i].vm, &cases[i].wish, &policy);
                if (fault != cases[i].fault || policy.manage != cases[i].manage || policy.sched != cases[i].sched)
                        fail_msg("case %u: fault %d, manage %d, sched %d", i, fault, policy.manage, policy.sched);
        }
        const VmWish spread = {.has_layout = true, .layout = LAYOUT_SPREAD};
        assert_int_equal(settings_vm_policy(place->settings, "plain", &spread, &policy), WISH_FINE);
        assert_int_equal(policy.layout, LAYOUT_SPREAD);
}

/* What get shows is what set reads, and the other way round. */
static void test_texts(void **state) {
        static const struct {
                SettingKey key;
                const char *given, *shown;
        } cases[] = {
                {SET_INTERVAL, "90", "90s"},
                {SET_INTERVAL, "500ms", "500ms"},
                {SET_INTERVAL, "3600s", "1h"},
                {SET_COOL_DOWN, "0", "0s"},
                {SET_COOL_DOWN, "120", "2min"},
                {SET_CREDITS_PER_EVENT, "0.50", "0.5"},
                {SET_CREDITS_PER_EVENT, "0", "0"},
                {SET_CREDITS_PER_10S, "100", "100"},
                {SET_BURST, "10.005", "10.005"},
                {SET_SKIP_CPUSET, "0,1,2, 7", "0-2,7"},
                {SET_SCHED_POLICY, "dynamicAffinity", "dynamic"},
                {SET_ADMIN_GROUP, "", ""},
                {SET_LOG_LEVEL, "warning", "warning"},
                {SET_UTIL_SOURCE, "taskgroup", "taskgroup"},
                {SET_OVERCOMMIT_LAYERS, "100", "100"},
        };
        Place *place = *state;

        for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                assert_int_equal(settings_set(place->settings, cases[i].key, cases[i].given, "here", place->why), 0);
                char *text = setting_text(place->settings, cases[i].key);
                assert_string_equal(text, cases[i].shown);
                free(text);
        }
        for (SettingKey key = 0; key < SETTING_KEYS; key++) {
                char *text = setting_text(place->settings, key);
                assert_int_equal(settings_set(place->settings, key, text, "again", place->why), 0);
                free(text);
        }
}

static void test_together(void **state) {
        Place *place = *state;

        assert_int_equal(settings_check(place->settings, place->why), 0);
        assert_int_equal(settings_set(place->settings, SET_EMULATOR_THREADS, "housekeeping", "here", place->why), 0);
        assert_true(settings_check(place->settings, place->why) < 0);
        assert_non_null(strstr(place->why, "housekeeping (here)"));
        assert_non_null(strstr(place->why, "skip-cpuset, which is empty (default)"));
        assert_int_equal(settings_set(place->settings, SET_SKIP_CPUSET, "3", "there", place->why), 0);
        assert_int_equal(settings_check(place->settings, place->why), 0);
        assert_int_equal(settings_set(place->settings, SET_SKIP_CPUSET, "", "there", place->why), 0);
        assert_true(settings_check(place->settings, place->why) < 0);
        assert_int_equal(settings_set(place->settings, SET_EMULATOR_THREADS, "cluster", "here", place->why), 0);
        assert_int_equal(settings_check(place->settings, place->why), 0);
}

/* A newline would be another line of a file. */
static void test_control_characters(void **state) {
        Place *place = *state;

        assert_true(settings_set(place->settings, SET_CONNECT, "a\n[daemon]\nmode = act", "x", place->why) < 0);
        assert_true(settings_set(place->settings, SET_ADMIN_GROUP, "a\033", "x", place->why) < 0);
        assert_string_equal(place->settings->connect, "qemu:///system");
}

static void keep(Place *place, const char *path, SettingKey key, const char *value) {
        assert_int_equal(settings_set(place->settings, key, value, "run time", place->why), 0);
        if (settings_persist(place->settings, key, path, place->why) != 0)
                fail_msg("%s", place->why);
}

static void test_persist(void **state) {
        Place *place = *state;
        char directory[128], persisted[160], drop_in[160];

        snprintf(directory, sizeof(directory), "%s.d", place->path);
        snprintf(drop_in, sizeof(drop_in), "%s/10.conf", directory);
        snprintf(persisted, sizeof(persisted), "%s/kept.conf", place->directory);
        assert_int_equal(mkdir(directory, 0755), 0);
        put(place->path, "[placement]\nlayout = pack\n");
        put(drop_in, "[placement]\nsmt = false\n");
        keep(place, persisted, SET_SMT, "own-cores");
        keep(place, persisted, SET_BURST, "7.5");
        keep(place, persisted, SET_SMT, "true");
        settings_defaults(place->settings);
        assert_int_equal(settings_read_all(place->settings, place->path, persisted, place->why), 0);
        assert_int_equal(place->settings->policy.smt, SMT_TRUE);
        assert_int_equal(place->settings->policy.burst_milli, 7500);
        assert_int_equal(place->settings->policy.layout, LAYOUT_PACK);
        assert_string_equal(place->settings->source[SET_SMT], persisted);
        assert_string_equal(place->settings->source[SET_LAYOUT], place->path);
        assert_string_equal(place->settings->source[SET_MODE], "default");
}

/* What can not be kept leaves what was kept before. */
static void test_persist_refused(void **state) {
        Place *place = *state;
        char kept[160], text[SETTING_TEXT_MAX] = "qemu:///";

        snprintf(kept, sizeof(kept), "%s/kept.conf", place->directory);
        keep(place, kept, SET_SMT, "true");
        memset(text + strlen(text), 'x', 200);
        assert_int_equal(settings_set(place->settings, SET_CONNECT, text, "run time", place->why), 0);
        assert_true(settings_persist(place->settings, SET_CONNECT, kept, place->why) < 0);
        assert_non_null(strstr(place->why, "daemon.connect can not be kept"));
        assert_int_equal(settings_set(place->settings, SET_CONNECT, "a ;b", "run time", place->why), 0);
        assert_true(settings_persist(place->settings, SET_CONNECT, kept, place->why) < 0);
        assert_true(settings_persist(place->settings, SET_SMT, "/nowhere/at/all.conf", place->why) < 0);
        assert_string_equal(place->why, "/nowhere/at/all.conf: No such file or directory");
        settings_defaults(place->settings);
        assert_int_equal(settings_read_file(place->settings, kept, place->why), 0);
        assert_int_equal(place->settings->policy.smt, SMT_TRUE);
        put(kept, "[placement]\nsmt = maybe\n");
        assert_true(settings_persist(place->settings, SET_BURST, kept, place->why) < 0);
        assert_non_null(strstr(place->why, ":2: "));
        put(kept, "[vm a]\nmanage = no\n");
        assert_true(settings_persist(place->settings, SET_BURST, kept, place->why) < 0);
        assert_non_null(strstr(place->why, "[vm ...]"));
}

static void test_key_names(void **state) {
        (void)state;
        assert_int_equal(setting_by_name("placement.smt"), SET_SMT);
        assert_int_equal(setting_by_name("smt"), SET_SMT);
        assert_int_equal(setting_by_name("daemon.smt"), SETTING_KEYS);
        assert_int_equal(setting_by_name(""), SETTING_KEYS);
}

static int parse(Options *options, char why[SETTINGS_WHY_SIZE], unsigned n, char **words) {
        char *argv[16] = {"vas-daemon"};

        for (unsigned i = 0; i < n; i++)
                argv[i + 1] = words[i];
        why[0] = '\0';
        return options_parse((int)n + 1, argv, options, why);
}

#define PARSE(...) parse(&options, place->why, sizeof((char *[]){__VA_ARGS__}) / sizeof(char *), (char *[]){__VA_ARGS__})

static void test_vsched_options(void **state) {
        Place *place = *state;
        Options options;

        put(place->path, "[placement]\nsmt = false\n");
        assert_int_equal(PARSE("start", "server", "--config", place->path, "-smt", "true", "-sp", "affinity", "-daut=70",
                               "--skip-cluster-cpumask", "0-1", "--range-affinity=false"),
                         0);
        assert_int_equal(options.command, COMMAND_START);
        assert_int_equal(options_settings(&options, place->settings, place->why), 0);
        assert_int_equal(place->settings->policy.smt, SMT_TRUE);
        assert_string_equal(place->settings->source[SET_SMT], "option -smt");
        assert_int_equal(place->settings->util_thresh, 70);
        assert_int_equal(cpuset_count(&place->settings->policy.skip), 2);
        assert_false(place->settings->policy.range_affinity);
}

static void test_bad_options(void **state) {
        Place *place = *state;
        Options options;

        assert_true(PARSE("start") < 0);
        assert_true(PARSE("start", "sever") < 0);
        assert_true(PARSE("start", "server", "-smt") < 0);
        assert_non_null(strstr(place->why, "-smt needs a value"));
        assert_true(PARSE("start", "server", "--smtx=true") < 0);
        assert_non_null(strstr(place->why, "--smtx=true"));
        assert_true(PARSE("start", "server", "recover") < 0);
        assert_int_equal(PARSE("start", "server", "--config", "/dev/null", "-smt", "yes"), 0);
        assert_true(options_settings(&options, place->settings, place->why) < 0);
        assert_string_equal(place->why, "option -smt: bad value 'yes' for smt; legal: auto, true, false or own-cores");
        assert_int_equal(PARSE("start", "server", "--config", "/dev/null", "-daut", "101"), 0);
        assert_true(options_settings(&options, place->settings, place->why) < 0);
        assert_int_equal(PARSE("start", "server", "--config", "/nowhere.conf"), 0);
        assert_true(options_settings(&options, place->settings, place->why) < 0);
        assert_int_equal(place->settings->util_thresh, 85);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
                cmocka_unit_test_setup_teardown(test_good_file, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bad_files, setup, teardown),
                cmocka_unit_test_setup_teardown(test_long_line, setup, teardown),
                cmocka_unit_test_setup_teardown(test_layers, setup, teardown),
                cmocka_unit_test_setup_teardown(test_missing_file, setup, teardown),
                cmocka_unit_test_setup_teardown(test_wishes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_texts, setup, teardown),
                cmocka_unit_test_setup_teardown(test_together, setup, teardown),
                cmocka_unit_test_setup_teardown(test_control_characters, setup, teardown),
                cmocka_unit_test_setup_teardown(test_persist, setup, teardown),
                cmocka_unit_test_setup_teardown(test_persist_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_key_names, setup, teardown),
                cmocka_unit_test_setup_teardown(test_vsched_options, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bad_options, setup, teardown),
        };

        return cmocka_run_group_tests_name("daemon/settings", tests, NULL, NULL);
}
