/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/varlink.h"

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

static void a_call_is_taken_apart(void **state) {
        const char *text = "{\"method\":\"a.b.C\",\"parameters\":{\"x\":1},\"more\":true}";
        VarlinkCall call;

        (void)state;
        assert_int_equal(varlink_call_parse(text, strlen(text), &call), 0);
        assert_string_equal(call.method, "a.b.C");
        assert_int_equal(json_integer_value(json_object_get(call.parameters, "x")), 1);
        assert_true(call.more);
        assert_false(call.oneway);
        varlink_call_done(&call);
}

static void parameters_may_be_absent(void **state) {
        const char *const texts[] = {"{\"method\":\"a.B\"}", "{\"method\":\"a.B\",\"parameters\":null}",
                                     "{\"method\":\"a.B\",\"oneway\":true,\"upgrade\":false}"};

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
                VarlinkCall call;

                assert_int_equal(varlink_call_parse(texts[i], strlen(texts[i]), &call), 0);
                assert_true(json_is_object(call.parameters));
                assert_int_equal(json_object_size(call.parameters), 0);
                varlink_call_done(&call);
        }
}

static void anything_else_is_no_call(void **state) {
        static const char *const texts[] = {
                "",
                " ",
                "null",
                "[]",
                "\"method\"",
                "{}",
                "{\"parameters\":{}}",
                "{\"method\":1}",
                "{\"method\":\"\"}",
                "{\"method\":\"NoInterface\"}",
                "{\"method\":\"a..B\"}",
                "{\"method\":\".a.B\"}",
                "{\"method\":\"a.B.\"}",
                "{\"method\":\"a b.C\"}",
                "{\"method\":\"a.B\\u001b\"}",
                "{\"method\":\"a.B\\u0000\"}",
                "{\"method\":\"a.B\",\"method\":\"a.B\"}",
                "{\"method\":\"a.B\",\"parameters\":{\"x\":1,\"x\":2}}",
                "{\"method\":\"a.B\",\"parameters\":[]}",
                "{\"method\":\"a.B\",\"parameters\":\"\"}",
                "{\"method\":\"a.B\",\"more\":1}",
                "{\"method\":\"a.B\",\"oneway\":\"true\"}",
                "{\"method\":\"a.B\",\"more\":true,\"oneway\":true}",
                "{\"method\":\"a.B\",\"upgrade\":true}",
                "{\"method\":\"a.B\",\"unknown\":true}",
                "{\"method\":\"a.B\",\"continues\":true}",
                "{\"method\":\"a.B\",\"error\":\"a.Bad\"}",
                "{\"method\":\"a.B\"}}",
                "{\"method\":\"a.B\"} x",
                "{\"method\":\"a.B\",\"parameters\":{\"x\":1e99999}}",
                "{\"method\":\"a.B\",\"parameters\":{\"x\":99999999999999999999}}",
                "{\"method\":\"a.B\",\"parameters\":{\"x\":\"\xff\xfe\"}}",
                "{\"method\":\"a.B\",\"parameters\":{\"x\":\"\xed\xa0\x80\"}}",
                "{\"method\":\"a.B\",\"parameters\":{\"x\":\"\n\"}}",
                "{\"method\":\"a.B\",",
                "{\"method\":\"a.B\\",
        };

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
                VarlinkCall call = {};
                VarlinkReply reply = {};

                if (varlink_call_parse(texts[i], strlen(texts[i]), &call) != -EBADMSG)
                        fail_msg("taken: %s", texts[i]);
                assert_null(call.root);
                /* A reply may be empty, but not broken. */
                if (varlink_reply_parse(texts[i], strlen(texts[i]), &reply) == 0)
                        varlink_reply_done(&reply);
        }
}

static void a_nul_inside_is_no_call(void **state) {
        const char text[] = "{\"method\":\"a.B\"}\0{}";
        VarlinkCall call;

        (void)state;
        assert_int_equal(varlink_call_parse(text, sizeof(text) - 1, &call), -EBADMSG);
}

/* A call whose parameters nest so deep that depth brackets are open at once. */
static char *nested_call(unsigned depth) {
        char *text = calloc(1, 64 + 2 * (size_t)depth);

        assert_non_null(text);
        strcpy(text, "{\"method\":\"a.B\",\"parameters\":{\"x\":");
        for (unsigned i = 2; i < depth; i++)
                strcat(text, "[");
        strcat(text, "1");
        for (unsigned i = 2; i < depth; i++)
                strcat(text, "]");
        return strcat(text, "}}");
}

static void depth_is_limited(void **state) {
        VarlinkCall call;
        char *text;

        (void)state;
        text = nested_call(VARLINK_DEPTH_MAX);
        assert_int_equal(varlink_call_parse(text, strlen(text), &call), 0);
        varlink_call_done(&call);
        free(text);
        text = nested_call(VARLINK_DEPTH_MAX + 1);
        assert_int_equal(varlink_call_parse(text, strlen(text), &call), -EBADMSG);
        free(text);
}

static void brackets_in_strings_do_not_nest(void **state) {
        const char *text = "{\"method\":\"a.B\",\"parameters\":{\"x\":\"[[[\\\"[[[[[[[[[[[[[[[[[[[[[[[[[\"}}";
        VarlinkCall call;

        (void)state;
        assert_int_equal(varlink_call_parse(text, strlen(text), &call), 0);
        varlink_call_done(&call);
}

static void messages_are_packed(void **state) {
        size_t length;
        char *text;

        (void)state;
        text = varlink_pack_call("a.B", json_pack("{ss}", "scope", "all"), false, &length);
        assert_string_equal(text, "{\"method\":\"a.B\",\"parameters\":{\"scope\":\"all\"}}");
        assert_int_equal(length, strlen(text) + 1);
        free(text);
        text = varlink_pack_call("a.B", NULL, true, &length);
        assert_string_equal(text, "{\"method\":\"a.B\",\"parameters\":{},\"more\":true}");
        free(text);
        text = varlink_pack_reply(NULL, false, &length);
        assert_string_equal(text, "{\"parameters\":{}}");
        free(text);
        text = varlink_pack_reply(NULL, true, &length);
        assert_string_equal(text, "{\"parameters\":{},\"continues\":true}");
        free(text);
        text = varlink_pack_error("a.Bad", json_pack("{ss}", "vm", "x"), &length);
        assert_string_equal(text, "{\"error\":\"a.Bad\",\"parameters\":{\"vm\":\"x\"}}");
        free(text);
}

static void replies_are_taken_apart(void **state) {
        const char *good = "{\"parameters\":{\"n\":1},\"continues\":true}", *bad = "{\"error\":\"a.Bad\"}";
        static const char *const broken[] = {"{\"error\":1}", "{\"error\":\"a.Bad\",\"continues\":true}",
                                             "{\"method\":\"a.B\"}", "{\"more\":true}"};
        VarlinkReply reply;

        (void)state;
        assert_int_equal(varlink_reply_parse(good, strlen(good), &reply), 0);
        assert_null(reply.error);
        assert_true(reply.continues);
        varlink_reply_done(&reply);
        assert_int_equal(varlink_reply_parse(bad, strlen(bad), &reply), 0);
        assert_string_equal(reply.error, "a.Bad");
        assert_int_equal(json_object_size(reply.parameters), 0);
        varlink_reply_done(&reply);
        for (size_t i = 0; i < N_ELEMENTS(broken); i++)
                assert_int_equal(varlink_reply_parse(broken[i], strlen(broken[i]), &reply), -EBADMSG);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_call_is_taken_apart),    cmocka_unit_test(parameters_may_be_absent),
                cmocka_unit_test(anything_else_is_no_call), cmocka_unit_test(a_nul_inside_is_no_call),
                cmocka_unit_test(depth_is_limited),         cmocka_unit_test(brackets_in_strings_do_not_nest),
                cmocka_unit_test(messages_are_packed),      cmocka_unit_test(replies_are_taken_apart),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
