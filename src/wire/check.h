/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The list that "vasctl check" shows: []Check of the interface. */

#include <jansson.h>

#include "util/outside.h"

typedef enum CheckState { CHECK_OK, CHECK_WARNING, CHECK_PROBLEM } CheckState;

/* Adds one; what is not UTF-8 in it becomes '?'. remedy: what mends it, "" for nothing. */
void check_add(json_t *checks, CheckState state, const char *name, const char *remedy, const char *format,
               ...) __attribute__((format(printf, 5, 6)));

/* Adds what is known of the host without a daemon. */
void check_outside(json_t *checks, const Outside *outside, const char *admin_group);
