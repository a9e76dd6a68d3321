/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the service's start and its running share. */

#include "daemon/server.h"

/* All that wakes the loop: the link, timers, signals. 0 or negative. */
int server_add_sources(Server *server);
/* Answers those who have waited too long, or all who wait. */
void server_fail_waiters(Server *server, bool all, const char *reason);
/* Logs a thread that was given the number of one of ours, if there was one. */
void server_tell_of_stranger(Server *server);
