/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Metrics as text. The list is GetMetrics' (see the interface file); vas-daemon
 * writes its metrics-file with this, vasctl prints an answer with it.
 */

#include <jansson.h>

/*
 * Two forms that differ in what they call a counter: PROMETHEUS is the text
 * format (0.0.4) that node_exporter's textfile collector and promtool read,
 * OPENMETRICS is OpenMetrics 1.0, with units and an end.
 */
typedef enum ExpositionForm { EXPOSITION_PROMETHEUS, EXPOSITION_OPENMETRICS } ExpositionForm;

/*
 * Newly allocated text in *ret. 0; -ENOMEM; or -EBADMSG for a list that is none
 * of metrics: names and labels that the form forbids, members that are missing.
 */
int exposition_new(const json_t *metrics, ExpositionForm form, char **ret);
