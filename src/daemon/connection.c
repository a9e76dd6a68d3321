/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One client of the control socket.
 *
 * A connection does one thing at a time: it reads until a whole message is
 * there, has it answered, writes the answer, and only then looks for the next
 * message. So answers come in order, a client can not make us hold more than
 * one answer for it, and one that does not read what it asked for is not read
 * from either. The messages of one client are taken one per turn of the event
 * loop: a thousand of them in one packet delay nobody else.
 *
 * A client that has gone while its call is under way is forgotten at once; the
 * call goes on and its answer falls to the floor.
 */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "daemon/control_internal.h"
#include "util/cleanup.h"

enum { READ_CHUNK = 4096 };

static const uint64_t usec_per_sec = 1000000;

/* Who follows is told that something has become of it. */
static void connection_wake(const Connection *connection) {
        if (connection->call && connection->call->wake)
                sd_event_source_set_enabled(connection->call->wake, SD_EVENT_ONESHOT);
}

Connection *connection_free(Connection *connection) {
        Connection **link;

        if (!connection)
                return NULL;
        for (link = &connection->control->connections; *link && *link != connection;)
                link = &(*link)->next;
        if (*link) {
                *link = connection->next;
                connection->control->n_connections--;
        }
        connection_wake(connection);
        if (connection->call)
                connection->call->connection = NULL;
        connection->control->output -= connection->out_length - connection->out_done;
        sd_event_source_disable_unref(connection->io);
        sd_event_source_disable_unref(connection->timer);
        sd_event_source_disable_unref(connection->work);
        if (connection->fd >= 0)
                close(connection->fd);
        free(connection->in);
        free(connection->out);
        free(connection);
        return NULL;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        (void)source;
        (void)usec;
        connection_free(userdata);
        return 0;
}

/* What to wait for, and how long, follows from what is under way. */
static int connection_arm(Connection *connection) {
        bool writing = connection->out, waiting = connection->call;
        uint32_t events = writing ? EPOLLOUT : waiting || connection->ended ? 0 : EPOLLIN;
        int r;

        connection->active = ++connection->control->count;
        r = sd_event_source_set_io_events(connection->io, events);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(connection->io,
                                        connection->ended && !writing ? SD_EVENT_OFF : SD_EVENT_ON);
        if (r < 0)
                return r;
        if (waiting)
                return sd_event_source_set_enabled(connection->timer, SD_EVENT_OFF);
        r = sd_event_source_set_time_relative(connection->timer,
                                              (writing ? CONTROL_STALL_S : CONTROL_IDLE_S) * usec_per_sec);
        return r < 0 ? r : sd_event_source_set_enabled(connection->timer, SD_EVENT_ONESHOT);
}

/* Writes what the client takes now. False: the connection is no good any more. */
static bool connection_flush(Connection *connection) {
        while (connection->out) {
                ssize_t n = send(connection->fd, connection->out + connection->out_done,
                                 connection->out_length - connection->out_done, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == EAGAIN;
                connection->out_done += (size_t)n;
                connection->control->output -= (size_t)n;
                if (connection->out_done == connection->out_length) {
                        free(STEAL_PTR(connection->out));
                        connection->out_done = connection->out_length = 0;
                        connection_wake(connection);
                }
        }
        return true;
}

/* Looks for the next message in a later turn of the loop. */
static bool connection_continue(Connection *connection) {
        return connection_arm(connection) >= 0 &&
               (connection->call || connection->out ||
                sd_event_source_set_enabled(connection->work, SD_EVENT_ONESHOT) >= 0);
}

void connection_answer(Connection *connection, char *text, size_t length) {
        assert(!connection->out && (!connection->call || connection->call->wake));
        connection->out = text;
        connection->out_length = length;
        connection->control->output += length;
        if (!connection_flush(connection) || !connection_continue(connection))
                connection_free(connection);
}

void connection_no_answer(Connection *connection) {
        if (!connection_continue(connection))
                connection_free(connection);
}

/* Takes the first message out of the input. 1; 0: no whole one is there; or
 * -errno. */
static int connection_take(Connection *connection, VarlinkCall *ret) {
        char *end = memchr(connection->in, '\0', connection->in_used);
        size_t length;
        int r;

        if (!end)
                return connection->in_used == VARLINK_CALL_MAX ? -EMSGSIZE : 0;
        length = (size_t)(end - connection->in);
        r = varlink_call_parse(connection->in, length, ret);
        if (r < 0)
                return r;
        connection->in_used -= length + 1;
        memmove(connection->in, end + 1, connection->in_used);
        return 1;
}

static int on_work(sd_event_source *source, void *userdata) {
        Connection *connection = userdata;
        VarlinkCall message;
        ControlCall *call;
        Peer peer = connection->peer;
        int r;

        (void)source;
        if (connection->call || connection->out)
                return 0;
        r = connection_take(connection, &message);
        if (r == 0 && !connection->ended)
                return 0;
        if (r <= 0) {
                connection_free(connection);
                return 0;
        }
        call = control_call_new(connection, &message);
        if (!call) {
                varlink_call_done(&message);
                connection_free(connection);
                return 0;
        }
        if (!connection_continue(connection))
                connection_free(connection);
        control_dispatch(call, &peer);
        return 0;
}

static int connection_grow(Connection *connection) {
        size_t size = connection->in_size ? 2 * connection->in_size : READ_CHUNK;
        char *in;

        if (connection->in_used < connection->in_size)
                return 0;
        in = realloc(connection->in, size);
        if (!in)
                return -ENOMEM;
        connection->in = in;
        connection->in_size = size;
        return 0;
}

/* Reads what is there, once. 0 or -errno. */
static int connection_read(Connection *connection) {
        size_t limit;
        ssize_t n;
        int r;

        r = connection_grow(connection);
        if (r < 0)
                return r;
        limit = connection->in_size < VARLINK_CALL_MAX ? connection->in_size : VARLINK_CALL_MAX;
        if (connection->in_used == limit)
                return 0;
        n = recv(connection->fd, connection->in + connection->in_used, limit - connection->in_used,
                 MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        connection->in_used += (size_t)n;
        connection->ended = n == 0;
        return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Connection *connection = userdata;
        bool good = true;

        (void)source;
        (void)fd;
        if (connection->out)
                good = connection_flush(connection);
        else if (connection->call)
                good = !(revents & (EPOLLHUP | EPOLLERR));
        else
                good = connection_read(connection) >= 0;
        if (!good || !connection_continue(connection))
                connection_free(connection);
        return 0;
}

static int connection_watch(Connection *connection) {
        sd_event *event = connection->control->event;
        int r;

        r = sd_event_add_io(event, &connection->io, connection->fd, EPOLLIN, on_io, connection);
        if (r < 0)
                return r;
        r = sd_event_add_time_relative(event, &connection->timer, CLOCK_MONOTONIC,
                                       CONTROL_IDLE_S * usec_per_sec, 0, on_timeout, connection);
        if (r < 0)
                return r;
        r = sd_event_add_defer(event, &connection->work, on_work, connection);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(connection->work, SD_EVENT_OFF);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(connection->io, CONTROL_PRIORITY);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(connection->timer, CONTROL_PRIORITY);
        return r < 0 ? r : sd_event_source_set_priority(connection->work, CONTROL_PRIORITY);
}

int connection_new(Control *control, int fd, const Peer *peer) {
        Connection *connection = calloc(1, sizeof(*connection));
        int r;

        if (!connection) {
                close(fd);
                return -ENOMEM;
        }
        connection->control = control;
        connection->fd = fd;
        connection->peer = *peer;
        connection->active = ++control->count;
        connection->next = control->connections;
        control->connections = connection;
        control->n_connections++;
        r = connection_watch(connection);
        if (r < 0)
                connection_free(connection);
        return r;
}
