/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The words that log, vasctl, metrics and tests share, and the method names. */

#include "core/plan.h"

#define VAS_INTERFACE "io.vsched.Daemon"
/* The text of data/io.vsched.Daemon.varlink. */
extern const char vas_interface_text[];

const char *wish_fault_text(WishFault fault); /* "its metadata ...", for people */
const char *verdict_name(VerdictKind kind);     /* "PLACED" */
const char *reason_name(VerdictReason reason);  /* "full" */
const char *reason_text(VerdictReason reason);  /* a sentence's end: "its range has fewer free CPUs than it has vCPUs" */
const char *move_kind_name(MoveKind kind);      /* "make-room" */
const char *move_kind_text(MoveKind kind);      /* why: "to let another VM in" */
const char *level_name(ClusterLevel level);     /* "l3" */
const char *manage_name(Manage manage);
const char *smt_name(Smt smt);
const char *layout_name(Layout layout);
const char *helpers_name(HelperPolicy helpers); /* "housekeeping" */
const char *sched_name(SchedPolicy sched);      /* "static" */

/* The reverse, for settings and requests; both of VSched's and our words for
 * sched. 0, or -EINVAL with *ret untouched. */
int manage_parse(const char *text, Manage *ret);
int smt_parse(const char *text, Smt *ret);
int layout_parse(const char *text, Layout *ret);
int sched_parse(const char *text, SchedPolicy *ret);
int helpers_parse(const char *text, HelperPolicy *ret);
int level_parse(const char *text, ClusterLevel *ret);
