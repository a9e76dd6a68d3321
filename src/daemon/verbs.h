/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The methods of data/io.vsched.Daemon.varlink: who may call them, what their
 * parameters must be, and what they do. */

#include "daemon/server.h"

/* ControlHandler; userdata is the Server. */
void verbs_handle(void *userdata, ControlCall *call, const char *method, json_t *parameters, const Peer *peer);

/* Answers Reassign from the plan of the round that carried it out (or tried it). */
void verbs_answer_reassign(Server *server, ControlCall *call, bool dry_run, const char *missing);

/* Answers Recover; r: what saving the state ended with. */
void verbs_answer_recover(ControlCall *call, int r, unsigned restored, unsigned failed);

/* Answers a call whose round did not come, and says what was done before it, if anything was. */
void verbs_no_round(ControlCall *call, const char *did, const char *reason);

/* One error with a reason: name is "Failed", "Refused" or "NotPermitted". */
void verbs_error(ControlCall *call, const char *name, const char *reason);
