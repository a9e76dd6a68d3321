/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The same bytes as a call and as a reply. What is taken must have the members
 * that the reader relies on, and must survive being packed and read again.
 */

#include "fuzz.h"

#include "wire/varlink.h"

static void try_call(const char *text, size_t length) {
        VarlinkCall call, again;
        size_t packed_length;
        char *packed;

        if (varlink_call_parse(text, length, &call) < 0)
                return;
        must(call.method && strrchr(call.method, '.') && json_is_object(call.parameters));
        packed = varlink_pack_call(call.method, json_incref(call.parameters), call.more, &packed_length);
        must(packed && strlen(packed) + 1 == packed_length);
        must(varlink_call_parse(packed, packed_length - 1, &again) == 0);
        must(strcmp(call.method, again.method) == 0 && json_equal(call.parameters, again.parameters));
        varlink_call_done(&again);
        varlink_call_done(&call);
        free(packed);
}

static void try_reply(const char *text, size_t length) {
        VarlinkReply reply, again;
        size_t packed_length;
        char *packed;

        if (varlink_reply_parse(text, length, &reply) < 0)
                return;
        must(json_is_object(reply.parameters));
        packed = reply.error
                         ? varlink_pack_error(reply.error, json_incref(reply.parameters), &packed_length)
                         : varlink_pack_reply(json_incref(reply.parameters), reply.continues, &packed_length);
        must(packed && varlink_reply_parse(packed, packed_length - 1, &again) == 0);
        must(!reply.error == !again.error && json_equal(reply.parameters, again.parameters));
        varlink_reply_done(&again);
        varlink_reply_done(&reply);
        free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        try_call((const char *)data, size);
        try_reply((const char *)data, size);
        return 0;
}
