/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What control.c (the listener and who may stay) and connection.c (one client)
 * know of each other. */

#include "daemon/control.h"

enum {
        CONTROL_CALLS_MAX = 256,                      /* calls that wait for their answer, all clients together */
        CONTROL_OUTPUT_MAX = VARLINK_REPLY_MAX,       /* bytes that wait to be read, all clients together */
        CONTROL_STALL_S = 10,                         /* a client that reads nothing for so long is dropped */
        CONTROL_PRIORITY = SD_EVENT_PRIORITY_NORMAL + 50, /* rounds go first */
};

typedef struct Connection Connection;

struct Connection {
        Control *control;
        Connection *next;
        int fd;
        Peer peer;
        sd_event_source *io, *timer, *work;
        char *in;               /* what was read and is not taken yet */
        size_t in_used, in_size;
        char *out;              /* the answer that is being written; NULL: none */
        size_t out_done, out_length;
        ControlCall *call;      /* the call that is being answered; NULL: none */
        bool ended;             /* the client has said all it will say */
        uint64_t active;        /* when it was last heard or answered, in the control's own count */
};

struct ControlCall {
        Control *control;       /* NULL when it has gone */
        Connection *connection; /* NULL when the client has gone */
        ControlCall *next;
        sd_event_source *wake;  /* of a call that is followed; NULL: it has one answer */
        VarlinkCall message;
};

struct Control {
        sd_event *event;
        sd_event_source *io, *timer;
        int fd;
        char *path;
        uint64_t device, inode; /* of our socket file: another's is not removed */
        gid_t admin_gid;
        const char *interface_text;
        char *interface;        /* its name */
        ControlHandler handler;
        void *userdata;
        Connection *connections;
        ControlCall *calls;
        unsigned n_connections, n_calls;
        size_t output;          /* bytes that wait to be read */
        uint64_t count;         /* grows with everything that any client does */
};

/* Takes fd over, also on failure. 0 or -errno. */
int connection_new(Control *control, int fd, const Peer *peer);
Connection *connection_free(Connection *connection);

/* A call that may be answered: registered with its control. NULL: out of memory. */
ControlCall *control_call_new(Connection *connection, VarlinkCall *message);
/* Hands the call to org.varlink.service or to the handler. */
void control_dispatch(ControlCall *call, const Peer *peer);
/* After the connection's call has ended, or while it is followed: takes a packed
 * message over and starts to write it. The connection may be gone afterwards. */
void connection_answer(Connection *connection, char *text, size_t length);
void connection_no_answer(Connection *connection);
