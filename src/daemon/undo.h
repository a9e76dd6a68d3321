/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How `recover` and a stop undo all bindings. An operator may have changed a
 * range a moment ago, so libvirt is asked once more; where it does not answer
 * at once, the ranges that were last seen count.
 */

#include "daemon/server.h"

/* Pauses, and undoes everything as soon as libvirt's list is there. Answers the
 * call then. */
void undo_ask(Server *server, ControlCall *call);

/* Undoes at once what was asked for and still waits for libvirt, if anything does. */
void undo_now(Server *server);

/* The newest list is there: undoes what was asked for, where it can serve. */
void undo_take_list(Server *server);

/* Undoes everything at the end, and answers who asked for it. The only place
 * where the daemon waits for libvirt, for UNDO_WAIT_MS at most. */
void undo_at_stop(Server *server, unsigned *ret_restored, unsigned *ret_failed);
