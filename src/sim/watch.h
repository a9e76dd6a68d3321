/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Two maps of one host side by side in the terminal: without and with VSched. */

#include "sim/replay.h"

/* Shows a trace's first day, or all of a shorter trace, in about 15 seconds and
 * ends. Without a terminal it prints a summary every two hours of the trace. 0
 * or -errno. */
int watch_run(const Trace *trace, const Topology *topology, const Options *options);
