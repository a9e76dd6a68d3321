/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The control socket: accepts connections, frames Varlink messages, limits
 * what a client may cost, and hands whole calls to one handler. It knows no
 * method but those of org.varlink.service.
 */

#include <jansson.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "wire/varlink.h"

enum {
        CONTROL_CONNECTIONS_MAX = 64,
        CONTROL_IDLE_S = 30, /* a connection that says nothing for so long is closed */
};

typedef struct Control Control;

/* A call that is not answered yet. It stays valid until it is answered, also
 * when its client has gone. */
typedef struct ControlCall ControlCall;

typedef struct Peer {
        pid_t pid;
        uid_t uid;
        bool may_change; /* root, the daemon's own user, or a member of the admin group */
} Peer;

/*
 * Must answer the call, now or later, exactly once. method is the full name of
 * one that interface_text declares ("io.vsched.Daemon.GetStatus"); method and
 * parameters are valid until the call is answered. Calls of one connection come
 * one at a time: the next when this one was answered and the answer was read.
 */
typedef void (*ControlHandler)(void *userdata, ControlCall *call, const char *method,
                               json_t *parameters, const Peer *peer);

/*
 * Listens on path (mode 0666, an abandoned socket there is replaced).
 * admin_gid: (gid_t)-1 for none. interface_text: the text of an .varlink file,
 * which must live as long as the control; methods it does not declare never
 * reach the handler. Returns 0 or -errno: -EADDRINUSE when somebody listens
 * there, -EEXIST when path is no socket, -ENAMETOOLONG, -EINVAL (no interface).
 */
int control_new(sd_event *event, const char *path, gid_t admin_gid, const char *interface_text,
                ControlHandler handler, void *userdata, Control **ret);
/* Removes the socket and closes all connections. Calls that are not answered yet
 * stay valid and must still be answered. */
Control *control_free(Control *control);

/* Answers a call and ends it; parameters is stolen and may be NULL (none). */
void control_reply(ControlCall *call, json_t *parameters);
/* error: a full error name, as "io.vsched.Daemon.NoSuchVm". */
void control_error(ControlCall *call, const char *error, json_t *parameters);

/*
 * A call whose client asked for more is answered by any number of replies:
 * follow it first, then continue it whenever it is ready. wake (borrowed) is
 * enabled, once, when its client has taken a reply or has gone. It ends like any
 * other call; while a client takes its replies slowly, nothing is done to it.
 */
typedef enum ControlPulse { PULSE_READY, PULSE_BUSY, PULSE_GONE } ControlPulse;

bool control_wants_more(const ControlCall *call);
void control_follow(ControlCall *call, sd_event_source *wake);
ControlPulse control_pulse(const ControlCall *call);
/* parameters is stolen, NULL: memory ran out, and the client is dropped. */
void control_continue(ControlCall *call, json_t *parameters);
