/* SPDX-License-Identifier: Apache-2.0 */

/* Where the numbers of system calls are not known to us. */

#include "platform/confine.h"

#include <errno.h>

int confine(void) {
        return -ENOSYS;
}
