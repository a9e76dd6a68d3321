/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A capture of a real host (vasctl capture), planned from again. */

#include <jansson.h>
#include <stdio.h>

#include "sim/complaint.h"
#include "sim/options.h"

/* Prints the plan, and whether the daemon came to the same. 0; INPUT_BAD and
 * *ret_why; or -errno. */
int capture_run(const Options *options, FILE *out, Complaint *ret_why);

/*
 * The same as an object: "vms", "vcpus", "plan" (as capture_plan() has it), "same"
 * (null where the capture has no plan to compare with). *ret is owned by the caller.
 */
int capture_replan(const char *path, const char *reassign, json_t **ret, Complaint *ret_why);
