/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the methods share: taking parameters, answering. */

#include "daemon/verbs.h"
#include "daemon/view.h"

typedef struct Request {
        Server *server;
        ControlCall *call;
        json_t *parameters;
} Request;

/* Answers the call; parameters is stolen, NULL: memory ran out. */
void request_reply(const Request *request, json_t *parameters);
/* The same with one member of that name. */
void request_reply_named(const Request *request, const char *name, json_t *value);
void request_invalid(const Request *request, const char *parameter);
void request_no_such_vm(const Request *request, const char *vm);

/* A string parameter; NULL, and the call is answered, when it is not one. */
const char *request_string(const Request *request, const char *name);
/* An optional boolean; false, and the call is answered, when it is something else. */
bool request_bool(const Request *request, const char *name, bool *ret);
/* Fills *ret; false, and the call is answered, when there is no view. */
bool request_view(const Request *request, View *ret);

void verb_get_status(const Request *request); /* verb_status.c */
void verb_plan(const Request *request); /* verb_plan.c */
void verb_check(const Request *request); /* verb_check.c */
void verb_capture(const Request *request); /* verb_capture.c */
void verb_get_events(const Request *request); /* verb_events.c */
