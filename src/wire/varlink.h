/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Varlink's wire form: JSON objects, each ended by a NUL byte. A call has
 * "method" and "parameters", a reply has "parameters" or "error".
 */

#include <jansson.h>
#include <stdbool.h>

enum {
        VARLINK_CALL_MAX = 64 * 1024,         /* bytes of a call that the daemon reads */
        VARLINK_REPLY_MAX = 64 * 1024 * 1024, /* bytes of a reply that a client reads */
        VARLINK_DEPTH_MAX = 16,
};

typedef struct VarlinkCall {
        const char *method;   /* borrowed from root */
        json_t *parameters;   /* borrowed from root; an empty object when absent */
        bool more, oneway;
        json_t *root;
} VarlinkCall;

/* Parses one message without its NUL. 0; -EBADMSG: not a call; -ENOMEM. */
int varlink_call_parse(const char *text, size_t length, VarlinkCall *ret);
void varlink_call_done(VarlinkCall *call);

/* Newly allocated messages with their NUL; *ret_length counts it. NULL: out of
 * memory. parameters is stolen and may be NULL (then: none). */
char *varlink_pack_call(const char *method, json_t *parameters, bool more, size_t *ret_length);
char *varlink_pack_reply(json_t *parameters, bool continues, size_t *ret_length);
char *varlink_pack_error(const char *error, json_t *parameters, size_t *ret_length);

typedef struct VarlinkReply {
        const char *error;   /* NULL on success; borrowed from root */
        json_t *parameters;  /* borrowed from root */
        bool continues;
        json_t *root;
} VarlinkReply;

int varlink_reply_parse(const char *text, size_t length, VarlinkReply *ret);
void varlink_reply_done(VarlinkReply *reply);
