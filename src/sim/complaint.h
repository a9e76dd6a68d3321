/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is wrong with somebody's input, as one line for people. A function that
 * fills one returns INPUT_BAD, and the caller hands both on to main.
 */

enum { INPUT_BAD = 1 };

typedef struct Complaint {
        char text[512];
} Complaint;

/* Writes the line; returns INPUT_BAD. */
__attribute__((format(printf, 2, 3))) int complain(Complaint *ret, const char *format, ...);
