/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The daemon's figures: GetMetrics' answer, and what metrics-file holds. */

#include "daemon/dynamic_loop.h"
#include "daemon/rounds.h"
#include "daemon/view.h"

typedef struct MetricsInput {
        const View *view; /* NULL: no look at the host has succeeded; nothing is then said of it */
        const RoundCounters *counters;
        const DynamicCounters *dynamic;
        const char *version;
        bool acting, paused, link_up;
        double uptime_s;
        int64_t credits_milli;
} MetricsInput;

/* []Metric of the interface; NULL when memory ran out. */
json_t *view_metrics(const MetricsInput *input);

/* The most vCPUs that a VM without a range of its own can have and still get a CPU
 * for each, as things are: all in one cluster, in one node, on the host. */
typedef struct Fit {
        unsigned cluster, node, host;
} Fit;

void view_fit(const View *view, Fit *ret);
