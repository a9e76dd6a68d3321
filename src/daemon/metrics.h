/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The running service's metrics: as an answer, and in metrics-file. */

#include "daemon/server.h"

/* A new reference; NULL: no memory. */
json_t *server_metrics(const Server *server);

/*
 * Replaces metrics-file, where one is configured. A failure is logged once, kept
 * in server->metrics_trouble for the status, and tried again the next time.
 */
void server_write_metrics(Server *server);

/* Takes away what was written: figures of a daemon that has gone are no figures. */
void server_remove_metrics(Server *server);
