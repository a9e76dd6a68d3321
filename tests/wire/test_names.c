/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/names.h"

static void every_verdict_has_its_own_name(void **state) {
        (void)state;
        for (unsigned i = 0; i < VERDICT_KINDS; i++)
                for (unsigned j = 0; j < i; j++)
                        assert_string_not_equal(verdict_name(i), verdict_name(j));
        assert_string_equal(verdict_name(VERDICT_PLACED), "PLACED");
        assert_string_equal(verdict_name(VERDICT_UNSEEN), "UNSEEN");
}

static void every_reason_has_a_name_and_a_sentence_end(void **state) {
        (void)state;
        assert_string_equal(reason_name(REASON_NONE), "");
        assert_string_equal(reason_text(REASON_NONE), "");
        for (unsigned i = 1; i < REASONS; i++) {
                size_t length = strlen(reason_text(i));

                assert_int_not_equal(strlen(reason_name(i)), 0);
                assert_true(length > 10);
                assert_int_not_equal(reason_text(i)[length - 1], '.');
                for (unsigned j = 0; j < i; j++)
                        assert_string_not_equal(reason_name(i), reason_name(j));
        }
}

static void every_move_has_a_name(void **state) {
        (void)state;
        for (unsigned i = 0; i < MOVE_KINDS; i++)
                assert_int_not_equal(strlen(move_kind_name(i)), 0);
        assert_string_equal(move_kind_name(MOVE_MAKE_ROOM), "make-room");
}

static void settings_are_parsed_back(void **state) {
        Manage manage;
        Smt smt;
        Layout layout;
        SchedPolicy sched;
        ClusterLevel level;

        (void)state;
        for (unsigned i = MANAGE_AUTO; i <= MANAGE_OBSERVE; i++) {
                assert_int_equal(manage_parse(manage_name(i), &manage), 0);
                assert_int_equal(manage, i);
        }
        for (unsigned i = SMT_AUTO; i <= SMT_OWN_CORES; i++) {
                assert_int_equal(smt_parse(smt_name(i), &smt), 0);
                assert_int_equal(smt, i);
        }
        for (unsigned i = LAYOUT_AUTO; i <= LAYOUT_SPREAD; i++) {
                assert_int_equal(layout_parse(layout_name(i), &layout), 0);
                assert_int_equal(layout, i);
        }
        for (unsigned i = SCHED_STATIC; i <= SCHED_CLUSTER; i++) {
                assert_int_equal(sched_parse(sched_name(i), &sched), 0);
                assert_int_equal(sched, i);
        }
        for (unsigned i = LEVEL_AUTO; i <= LEVEL_PACKAGE; i++) {
                assert_int_equal(level_parse(level_name(i), &level), 0);
                assert_int_equal(level, i);
        }
}

static void both_spellings_of_a_policy_are_understood(void **state) {
        SchedPolicy sched;

        (void)state;
        assert_int_equal(sched_parse("affinity", &sched), 0);
        assert_int_equal(sched, SCHED_STATIC);
        assert_int_equal(sched_parse("dynamicAffinity", &sched), 0);
        assert_int_equal(sched, SCHED_DYNAMIC);
}

static void unknown_words_leave_the_result_alone(void **state) {
        SchedPolicy sched = SCHED_CLUSTER;
        Smt smt = SMT_FALSE;

        (void)state;
        assert_int_equal(sched_parse("Static", &sched), -EINVAL);
        assert_int_equal(sched_parse("", &sched), -EINVAL);
        assert_int_equal(sched, SCHED_CLUSTER);
        assert_int_equal(smt_parse("yes", &smt), -EINVAL);
        assert_int_equal(smt, SMT_FALSE);
}

static void the_interface_is_at_hand(void **state) {
        (void)state;
        assert_non_null(strstr(vas_interface_text, "\ninterface " VAS_INTERFACE "\n"));
        assert_non_null(strstr(vas_interface_text, "\nmethod GetStatus("));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_verdict_has_its_own_name),
                cmocka_unit_test(every_reason_has_a_name_and_a_sentence_end),
                cmocka_unit_test(every_move_has_a_name),
                cmocka_unit_test(settings_are_parsed_back),
                cmocka_unit_test(both_spellings_of_a_policy_are_understood),
                cmocka_unit_test(the_interface_is_at_hand),
                cmocka_unit_test(unknown_words_leave_the_result_alone),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
