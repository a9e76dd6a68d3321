/* SPDX-License-Identifier: Apache-2.0 */

#include "sim/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { ARGS_MAX = 16 };

/* Splits a line at its blanks and parses it. */
static int parse(const char *line, char *buffer, size_t size, Options *ret, Complaint *ret_why) {
        char *argv[ARGS_MAX + 2] = {(char[]){"vas-sim"}}, *rest = NULL;
        int argc = 1;

        snprintf(buffer, size, "%s", line);
        for (char *word = strtok_r(buffer, " ", &rest); word && argc <= ARGS_MAX; word = strtok_r(NULL, " ", &rest))
                argv[argc++] = word;
        return options_parse(argc, argv, ret, ret_why);
}

static void takes_good_ones(void **state) {
        char buffer[512];
        Options o;
        Complaint why;

        (void)state;
        assert_int_equal(parse("--trace -", buffer, sizeof(buffer), &o, &why), 0);
        assert_int_equal(o.mode, MODE_TRACE);
        assert_int_equal(o.budget_milli, 1000);
        assert_int_equal(o.policy[0], POLICY_PLANNER);
        assert_int_equal(parse("--trace x --budget=0.5 --smt own-cores --layout=spread --memory first-touch "
                               "--policy nova,planner --faults writes=5,deaths=0.1 --ticks --json",
                               buffer, sizeof(buffer), &o, &why), 0);
        assert_int_equal(o.budget_milli, 500);
        assert_int_equal(o.smt, SMT_OWN_CORES);
        assert_int_equal(o.layout, LAYOUT_SPREAD);
        assert_true(o.first_touch && o.ticks && o.json);
        assert_int_equal(o.n_policies, 2);
        assert_int_equal(o.policy[0], POLICY_NOVA);
        assert_int_equal(o.faults.writes, 50000);
        assert_int_equal(o.faults.deaths, 1000);
        assert_int_equal(parse("--trace x --policy all", buffer, sizeof(buffer), &o, &why), 0);
        assert_int_equal(o.n_policies, POLICY_KINDS);
        assert_int_equal(parse("--trace x --sched-policy cluster --overcommit-layers 3", buffer, sizeof(buffer), &o,
                               &why), 0);
        assert_int_equal(o.sched, SCHED_CLUSTER);
        assert_int_equal(o.overcommit_layers, 3);
        assert_int_equal(parse("--generate swing --topology x --occupancy 50 --seed 9 --events 100", buffer,
                               sizeof(buffer), &o, &why), 0);
        assert_int_equal(o.mix, MIX_SWING);
        assert_int_equal(o.seed, 9);
        assert_int_equal(parse("--nonsense --help", buffer, sizeof(buffer), &o, &why), INPUT_BAD);
        assert_int_equal(parse("--help --nonsense", buffer, sizeof(buffer), &o, &why), 0);
        assert_int_equal(o.mode, MODE_HELP);
        assert_int_equal(parse("-V", buffer, sizeof(buffer), &o, &why), 0);
        assert_int_equal(o.mode, MODE_VERSION);
}

static void refuses_bad_ones(void **state) {
        static const char *const cases[][2] = {
                {"", "nothing to do"},
                {"--trace", "--trace needs a value"},
                {"--trace x y", "\"y\" is no option"},
                {"--tracer x", "unknown option --tracer"},
                {"--trace x --budget -1", "--budget: \"-1\" is not a number from 0"},
                {"--trace x --budget 1x", "--budget: \"1x\" is not"},
                {"--trace x --budget nan", "--budget: \"nan\" is not"},
                {"--trace x --smt yes", "--smt: \"yes\" is not auto, true, false or own-cores"},
                {"--trace x --layout tidy", "--layout: \"tidy\" is not auto, pack or spread"},
                {"--trace x --sched-policy fair", "--sched-policy: \"fair\" is not static, dynamic or cluster"},
                {"--trace x --overcommit-layers 0", "--overcommit-layers: \"0\" is not a number from 1 to 100"},
                {"--generate odd --topology x --occupancy 601", "--occupancy: \"601\" is not"},
                {"--trace x --memory some", "--memory: \"some\" is not none or first-touch"},
                {"--trace x --policy best", "--policy: \"best\" is not planner,"},
                {"--trace x --policy ,", "--policy needs a policy"},
                {"--trace x --faults writes", "--faults: \"writes\" is not"},
                {"--trace x --faults storms=1", "--faults: \"storms\" is not"},
                {"--trace x --faults writes=101", "--faults: \"101\" is not a number from 0 to 100"},
                {"--trace x --cluster-level l4", "--cluster-level: \"l4\" is not"},
                {"--trace x --snapshot y", "--trace, --snapshot, --capture and --generate exclude each other"},
                {"--generate big --topology x", "--generate: \"big\" is not azure"},
                {"--generate odd", "--generate needs --topology"},
                {"--snapshot x --svg y", "--svg and --watch need --trace"},
                {"--trace x --watch --json", "--watch and --json exclude each other"},
        };
        char buffer[512];

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                Options options;
                Complaint why = {};
                assert_int_equal(parse(cases[i][0], buffer, sizeof(buffer), &options, &why), INPUT_BAD);
                if (strncmp(why.text, cases[i][1], strlen(cases[i][1])) != 0)
                        fail_msg("%s: said \"%s\"", cases[i][0], why.text);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(takes_good_ones),
                cmocka_unit_test(refuses_bad_ones),
        };

        return cmocka_run_group_tests_name("sim/options", tests, NULL, NULL);
}
