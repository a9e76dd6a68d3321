/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Figures as a table for people or as JSON for programs. */

#include "sim/replay.h"

/* Prints one replay's figures as a row; the first one with a heading. */
void report_row(Replay *replay, bool heading, FILE *file);
/* What else is to be said of a replay: violations, faults, latencies. */
void report_notes(Replay *replay, FILE *file);
/* All replays: one object, or an array if there are several. 0 or -ENOMEM. */
int report_json(Replay *const *replay, unsigned n, FILE *file);

/* Snapshots: a table row, or an element of the array. */
void report_snapshot_row(const SnapshotResult *result, bool heading, FILE *file);
int report_snapshots_json(const SnapshotResult *result, unsigned n, FILE *file);
