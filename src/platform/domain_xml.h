/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reads what VSched needs of a running domain's libvirt XML. */

#include "platform/facts.h"

enum {
        DOMAIN_XML_MAX = 8 << 20, /* bytes of a whole description */
        DOMAIN_DEVICES_MAX = 256, /* PCI host devices */
        DOMAIN_WHY_SIZE = 160,
};

/*
 * Makes a fact of the text, which need not be trusted nor end in a NUL. The
 * pin ranges are not in it: n_ranges is 0, and vcpu[] holds the online vCPUs
 * by number. Past a limit the fact has over_limit.
 *
 * Returns 0; 1 when the text is no domain description, and then ret_why says
 * why in a few words; or -ENOMEM. *ret is untouched on failure.
 */
int domain_xml_parse(const char *text, size_t size, VmFact **ret, char ret_why[DOMAIN_WHY_SIZE]);
