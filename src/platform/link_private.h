/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the link's threads share. Only link*.c include this. */

#include <libvirt/libvirt.h>
#include <pthread.h>

#include "platform/link.h"
#include "platform/link_read.h"

/* The domains that events named. */
typedef struct LinkMarks {
        unsigned n;
        bool all; /* too many to name them */
        unsigned char uuid[VMS_MAX][VIR_UUID_BUFLEN];
} LinkMarks;

/* What there is to do for the caller thread. */
typedef struct LinkWork {
        bool quit;  /* the link was abandoned */
        bool lost;  /* the connection is */
        bool event; /* an event asks for a list */
        bool quick; /* the main thread does */
        bool full;  /* the main thread asks for a full one */
} LinkWork;

struct Link {
        char uri[256];   /* constant */
        int loop_fd;     /* eventfd: the loop thread is to end */
        int loop_watch;  /* libvirt's handle for it */

        pthread_mutex_t lock; /* of all below; never held during a call into libvirt */
        pthread_cond_t wake;  /* the caller thread has something to do */
        unsigned users;       /* the main thread and the link's two; the last frees it */
        int notify_fd;
        bool caller_ended;    /* nothing is called any more: the loop may end */
        virConnectPtr left_open; /* by the caller thread at its end; see link.c */
        Link *next_left;
        LinkWork work;
        LinkMarks *marks;
        char lost_why[64];
        bool poked;
        FactList *fresh;
        int64_t opening_since_ns; /* 0: no attempt to connect is under way */
        LinkStatus status;
};

/* The bodies of the two threads. They own one use of the link each. */
void *link_loop_main(void *link);
void *link_caller_main(void *link);

/* Libvirt's callbacks, in link_loop.c: they run in the loop thread. */
enum { LINK_CALLBACKS = 5 };
/* Registers for all events; false: libvirt refuses the lifecycle ones. */
bool link_events_register(Link *link, virConnectPtr connection, int ret_id[LINK_CALLBACKS]);
void link_events_deregister(virConnectPtr connection, const int id[LINK_CALLBACKS]);
void link_on_close(virConnectPtr connection, int reason, void *link);

/* With the lock held. */
void link_notify(Link *link);
/* There is something to do. */
void link_wake_caller(Link *link);
/* NULL: any of the VMs. */
void link_mark(Link *link, const unsigned char *uuid);
void link_set_state(Link *link, LinkState state, const char *error);
/* Gives one use of the link back. */
void link_leave(Link *link);
