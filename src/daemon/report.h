/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a round is worth saying in the log: one line when it moved something or
 * a VM's verdict changed; nothing otherwise. */

#include "daemon/rounds.h"

typedef struct Report Report;

int report_new(Report **ret); /* 0 or -ENOMEM */
Report *report_free(Report *report);

/* Logs the round that has just ended. */
void report_round(Report *report, const Rounds *rounds);
