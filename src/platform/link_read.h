/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reads one running domain through libvirt. Blocks; for the link's own thread. */

#include <libvirt/libvirt.h>

#include "platform/facts.h"

enum { LINK_WHY_SIZE = 256 };

/* The last error of libvirt in this thread, as one line. */
void virt_error_line(char *ret, size_t size);

/* Says what failed, with that error. -EIO. */
int virt_failure(const char *what, char ret_why[LINK_WHY_SIZE]);

/*
 * Reads a domain. known: what was read of this run before, or NULL; what can
 * not change within a run is not asked for again. Returns 0; 1 when it runs no
 * more (or already runs anew); -ENOMEM; or another -errno and *ret_why says why.
 * A domain whose description can not be understood becomes a fact with over_limit.
 */
int domain_read(virDomainPtr domain, const VmFact *known, VmFact **ret, char ret_why[LINK_WHY_SIZE]);
