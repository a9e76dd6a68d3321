/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a round is worth saying: in the log one line when it moved something or a
 * VM's verdict changed, nothing otherwise; and all that happened to VMs as events. */

#include "daemon/events.h"
#include "daemon/rounds.h"

typedef struct Report Report;

/* events are borrowed. */
int report_new(Events *events, Report **ret); /* 0 or -ENOMEM */
Report *report_free(Report *report);

/* Logs, and puts into the events, the round that has just ended. */
void report_round(Report *report, const Rounds *rounds);
