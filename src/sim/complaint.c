/* SPDX-License-Identifier: Apache-2.0 */

#include "sim/complaint.h"

#include <stdarg.h>
#include <stdio.h>

int complain(Complaint *ret, const char *format, ...) {
        va_list args;

        va_start(args, format);
        vsnprintf(ret->text, sizeof(ret->text), format, args);
        va_end(args);
        return INPUT_BAD;
}
