/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A test that cannot be tried here, and why: "ok 3 - name # SKIP why" in TAP. cmocka's own
 * skip() says "not ok" in some versions, and never why. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Ends the test. why: one line, valid until the program ends. */
_Noreturn void skip_because(const char *why);
