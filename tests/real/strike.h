/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which call of a preloaded program is the one, and what becomes of it: see strike.c. */

#include <stdbool.h>

#define FROM __builtin_return_address(0)

/* True: this call, which returns to there, is the one. It is to fail, or the
 * process is to end behind it. (If it is to end before, nothing is returned.) */
bool struck(const char *call, void *from);
bool fails(bool hit);
void after(bool hit);
