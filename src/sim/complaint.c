/* SPDX-License-Identifier: Apache-2.0 */

#include "sim/complaint.h"

#include <stdarg.h>
#include <stdio.h>

#include "util/utf8.h"

int complain(Complaint *ret, const char *format, ...) {
        va_list args;

        va_start(args, format);
        vsnprintf(ret->text, sizeof(ret->text), format, args);
        va_end(args);
        text_disarm(ret->text);
        return INPUT_BAD;
}
