/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Everything here may have been written by an enemy. A message is taken only
 * when it is exactly what Varlink describes: one JSON object, no member twice,
 * no member that Varlink does not know, every member of its type, nesting
 * within VARLINK_DEPTH_MAX. Nesting is measured before the JSON parser sees the
 * text, because that one recurses. All else is -EBADMSG, and the reader then
 * closes the connection: after a broken message nothing on it can be trusted.
 */

#include "wire/varlink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

enum { METHOD_NAME_MAX = 255 };

/* Whether brackets outside of strings are nested no deeper than allowed. */
static bool depth_is_legal(const char *text, size_t length) {
        unsigned depth = 0;
        bool in_string = false;

        for (size_t i = 0; i < length; i++) {
                if (in_string) {
                        if (text[i] == '\\')
                                i++;
                        else if (text[i] == '"')
                                in_string = false;
                } else if (text[i] == '"')
                        in_string = true;
                else if (text[i] == '{' || text[i] == '[') {
                        if (++depth > VARLINK_DEPTH_MAX)
                                return false;
                } else if ((text[i] == '}' || text[i] == ']') && depth > 0)
                        depth--;
        }
        return true;
}

static int object_parse(const char *text, size_t length, json_t **ret) {
        json_error_t error;
        json_t *root;

        if (!depth_is_legal(text, length))
                return -EBADMSG;
        root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
        if (!root)
                return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EBADMSG;
        if (!json_is_object(root)) {
                json_decref(root);
                return -EBADMSG;
        }
        *ret = root;
        return 0;
}

/* "org.example.Interface.Method": letters, digits, '-', '_' and dots between. */
static bool name_is_legal(const char *name) {
        size_t length = strlen(name);
        bool dotted = false, after_dot = true;

        if (length > METHOD_NAME_MAX)
                return false;
        for (const char *p = name; *p; p++) {
                bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                              (*p >= '0' && *p <= '9') || *p == '-' || *p == '_';

                if (*p == '.') {
                        if (after_dot)
                                return false;
                        dotted = true;
                } else if (!letter)
                        return false;
                after_dot = *p == '.';
        }
        return dotted && !after_dot;
}

static int take_flag(json_t *value, bool *ret) {
        if (!json_is_boolean(value))
                return -EBADMSG;
        *ret = json_is_true(value);
        return 0;
}

static int take_name(json_t *value, const char **ret) {
        if (!json_is_string(value) || !name_is_legal(json_string_value(value)))
                return -EBADMSG;
        *ret = json_string_value(value);
        return 0;
}

/* Absent and null parameters become an empty object, which root then owns. */
static int complete_parameters(json_t *root, json_t **ret) {
        json_t *parameters = json_object_get(root, "parameters");

        if (!parameters || json_is_null(parameters)) {
                parameters = json_object();
                if (!parameters || json_object_set_new(root, "parameters", parameters) < 0)
                        return -ENOMEM;
        }
        if (!json_is_object(parameters))
                return -EBADMSG;
        *ret = parameters;
        return 0;
}

typedef enum MessageKind { CALL = 1, REPLY = 2 } MessageKind;

/* What a call or a reply may say; what belongs to the other one stays unset. */
typedef struct Message {
        const char *name; /* the method, or the error */
        bool more, oneway, upgrade, continues;
        json_t *parameters, *root;
} Message;

static int message_member(const char *key, json_t *value, MessageKind kind, Message *message) {
        const struct {
                const char *key;
                unsigned kinds;
                const char **name;
                bool *flag;
        } members[] = {
                {"method", CALL, .name = &message->name},
                {"error", REPLY, .name = &message->name},
                {"more", CALL, .flag = &message->more},
                {"oneway", CALL, .flag = &message->oneway},
                {"upgrade", CALL, .flag = &message->upgrade},
                {"continues", REPLY, .flag = &message->continues},
                {"parameters", CALL | REPLY},
        };

        for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
                if (!(members[i].kinds & kind) || strcmp(key, members[i].key) != 0)
                        continue;
                if (members[i].name)
                        return take_name(value, members[i].name);
                return members[i].flag ? take_flag(value, members[i].flag) : 0;
        }
        return -EBADMSG;
}

/* Whether the members go together. We upgrade no connection. */
static bool message_is_legal(MessageKind kind, const Message *message) {
        if (kind == CALL)
                return message->name && !message->upgrade && !(message->more && message->oneway);
        return !(message->name && message->continues);
}

static int message_parse(const char *text, size_t length, MessageKind kind, Message *ret) {
        Message message = {};
        json_auto_t *root = NULL;
        const char *key;
        json_t *value;
        int r;

        r = object_parse(text, length, &root);
        if (r < 0)
                return r;
        json_object_foreach (root, key, value) {
                r = message_member(key, value, kind, &message);
                if (r < 0)
                        return r;
        }
        if (!message_is_legal(kind, &message))
                return -EBADMSG;
        r = complete_parameters(root, &message.parameters);
        if (r < 0)
                return r;
        message.root = STEAL_PTR(root);
        *ret = message;
        return 0;
}

int varlink_call_parse(const char *text, size_t length, VarlinkCall *ret) {
        Message message;
        int r = message_parse(text, length, CALL, &message);

        if (r == 0)
                *ret = (VarlinkCall){.method = message.name,
                                     .parameters = message.parameters,
                                     .more = message.more,
                                     .oneway = message.oneway,
                                     .root = message.root};
        return r;
}

void varlink_call_done(VarlinkCall *call) {
        json_decref(call->root);
        *call = (VarlinkCall){};
}

int varlink_reply_parse(const char *text, size_t length, VarlinkReply *ret) {
        Message message;
        int r = message_parse(text, length, REPLY, &message);

        if (r == 0)
                *ret = (VarlinkReply){.error = message.name,
                                      .parameters = message.parameters,
                                      .continues = message.continues,
                                      .root = message.root};
        return r;
}

void varlink_reply_done(VarlinkReply *reply) {
        json_decref(reply->root);
        *reply = (VarlinkReply){};
}

/* {KEY: name, "parameters": parameters, FLAG: true}; key and flag may be NULL.
 * Steals parameters. */
static char *message_pack(const char *key, const char *name, json_t *parameters, const char *flag,
                          size_t *ret_length) {
        json_auto_t *owned = parameters ? parameters : json_object();
        json_auto_t *root = json_object();
        char *text;

        if (!owned || !root || (key && json_object_set_new(root, key, json_string(name)) < 0) ||
            json_object_set(root, "parameters", owned) < 0 ||
            (flag && json_object_set_new(root, flag, json_true()) < 0))
                return NULL;
        text = json_dumps(root, JSON_COMPACT);
        if (text)
                *ret_length = strlen(text) + 1;
        return text;
}

char *varlink_pack_call(const char *method, json_t *parameters, bool more, size_t *ret_length) {
        return message_pack("method", method, parameters, more ? "more" : NULL, ret_length);
}

char *varlink_pack_reply(json_t *parameters, bool continues, size_t *ret_length) {
        return message_pack(NULL, NULL, parameters, continues ? "continues" : NULL, ret_length);
}

char *varlink_pack_error(const char *error, json_t *parameters, size_t *ret_length) {
        return message_pack("error", error, parameters, NULL, ret_length);
}
