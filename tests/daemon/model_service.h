/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The whole service over a modelled host: a link to libvirt that is always quick,
 * in place of link.c, and a door to the modelled host in place of the real one
 * (--wrap=real_host_door). Whoever drives it replaces sd_event_loop() as well.
 */

#include "model_host.h"
#include "platform/link.h"

struct Link {
        int notify_fd;
        bool up, asked;
        bool silent; /* it has no list yet */
        unsigned n_asked_full;
        uint64_t serial;
};

extern Link the_link;
extern ModelHost the_model;

/* What an event of libvirt's does: the service takes a new list and looks. */
void model_event(void);
