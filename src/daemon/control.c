/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The listener: who may connect, who must leave when there are too many, which
 * calls reach the handler.
 *
 * Every local user may ask, so every local user may be an enemy of the others.
 * When all places are taken, the user who holds most of them gives one up: its
 * oldest idle connection, else the one that reads most slowly. So nobody can
 * keep root from the socket by filling it. Calls that wait for an answer are
 * counted over all clients, because they outlive their connections.
 *
 * A peer's groups come from the kernel with the connection, never from the name
 * service: that may be slow, remote, or run on this very host's VMs.
 */

#include "daemon/control.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "daemon/control_internal.h"
#include "util/cleanup.h"

#define SERVICE "org.varlink.service"

static const char service_text[] =
        "# What every Varlink service answers.\n"
        "interface org.varlink.service\n"
        "\n"
        "method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: "
        "[]string)\n"
        "\n"
        "method GetInterfaceDescription(interface: string) -> (description: string)\n"
        "\n"
        "error InterfaceNotFound (interface: string)\n"
        "\n"
        "error MethodNotFound (method: string)\n"
        "\n"
        "error MethodNotImplemented (method: string)\n"
        "\n"
        "error InvalidParameter (parameter: string)\n"
        "\n"
        "error PermissionDenied ()\n"
        "\n"
        "error ExpectedMore ()\n";

ControlCall *control_call_new(Connection *connection, VarlinkCall *message) {
        Control *control = connection->control;
        ControlCall *call = calloc(1, sizeof(*call));

        if (!call)
                return NULL;
        call->control = control;
        call->connection = connection;
        call->message = *message;
        call->next = control->calls;
        control->calls = call;
        control->n_calls++;
        connection->call = call;
        return call;
}

static void call_forget(Control *control, ControlCall *call) {
        ControlCall **link = &control->calls;

        while (*link != call)
                link = &(*link)->next;
        *link = call->next;
        control->n_calls--;
}

/* Makes room for length bytes of output: who holds most must go. False: that
 * would be the caller itself. */
static bool control_make_room(Control *control, size_t length) {
        while (control->output + length > CONTROL_OUTPUT_MAX) {
                Connection *largest = NULL;

                for (Connection *c = control->connections; c; c = c->next)
                        if (c->out && (!largest || c->out_length > largest->out_length))
                                largest = c;
                if (!largest || largest->out_length < length)
                        return false;
                connection_free(largest);
        }
        return true;
}

/* Ends a call with a packed message, which is stolen. NULL: out of memory. */
static void call_end(ControlCall *call, char *text, size_t length) {
        Connection *connection = call->connection;
        bool oneway = call->message.oneway;

        if (call->control)
                call_forget(call->control, call);
        if (connection)
                connection->call = NULL;
        varlink_call_done(&call->message);
        free(call);
        if (connection && oneway)
                connection_no_answer(connection);
        else if (connection && text && control_make_room(connection->control, length)) {
                connection_answer(connection, text, length);
                return;
        } else if (connection)
                connection_free(connection);
        free(text);
}

bool control_wants_more(const ControlCall *call) {
        return call->message.more && !call->message.oneway;
}

void control_follow(ControlCall *call, sd_event_source *wake) {
        call->wake = wake;
}

ControlPulse control_pulse(const ControlCall *call) {
        if (!call->connection)
                return PULSE_GONE;
        return call->connection->out ? PULSE_BUSY : PULSE_READY;
}

void control_continue(ControlCall *call, json_t *parameters) {
        Connection *connection = call->connection;
        size_t length = 0;
        char *text = parameters ? varlink_pack_reply(parameters, true, &length) : NULL;

        if (text && control_make_room(connection->control, length)) {
                connection_answer(connection, text, length);
                return;
        }
        connection_free(connection);
        free(text);
}

static bool call_wants_answer(const ControlCall *call) {
        return call->connection && !call->message.oneway;
}

void control_reply(ControlCall *call, json_t *parameters) {
        size_t length = 0;
        char *text = NULL;

        if (call_wants_answer(call))
                text = varlink_pack_reply(parameters, false, &length);
        else
                json_decref(parameters);
        call_end(call, text, length);
}

void control_error(ControlCall *call, const char *error, json_t *parameters) {
        size_t length = 0;
        char *text = NULL;

        if (call_wants_answer(call))
                text = varlink_pack_error(error, parameters, &length);
        else
                json_decref(parameters);
        call_end(call, text, length);
}

static void answer_info(const Control *control, ControlCall *call) {
        control_reply(call,
                      json_pack("{sssssssss[ss]}", "vendor", "VSched", "product", "vas-daemon", "version",
                                VAS_VERSION, "url", "", "interfaces", SERVICE, control->interface));
}

static void answer_description(const Control *control, ControlCall *call) {
        const char *name = json_string_value(json_object_get(call->message.parameters, "interface"));

        if (!name)
                control_error(call, SERVICE ".InvalidParameter", json_pack("{ss}", "parameter", "interface"));
        else if (strcmp(name, SERVICE) == 0)
                control_reply(call, json_pack("{ss}", "description", service_text));
        else if (strcmp(name, control->interface) == 0)
                control_reply(call, json_pack("{ss}", "description", control->interface_text));
        else
                control_error(call, SERVICE ".InterfaceNotFound", json_pack("{ss}", "interface", name));
}

/* Whether text has a line that starts with "keyword name" and one of the
 * characters that may follow a name. */
static bool text_declares(const char *text, const char *keyword, const char *name) {
        size_t n_keyword = strlen(keyword), n_name = strlen(name);

        for (const char *line = text; line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (strncmp(line, keyword, n_keyword) == 0 && strncmp(line + n_keyword, name, n_name) == 0 &&
                    strchr("( \n", line[n_keyword + n_name]))
                        return true;
        }
        return false;
}

/* Whether method is "interface." and one more name; that name then. */
static const char *method_of(const char *method, const char *interface) {
        const char *dot = strrchr(method, '.');
        size_t length = strlen(interface);

        if ((size_t)(dot - method) != length || strncmp(method, interface, length) != 0)
                return NULL;
        return dot + 1;
}

static void answer_unknown(const Control *control, ControlCall *call) {
        const char *method = call->message.method;
        size_t length = (size_t)(strrchr(method, '.') - method);

        if (method_of(method, SERVICE) || method_of(method, control->interface))
                control_error(call, SERVICE ".MethodNotFound", json_pack("{ss}", "method", method));
        else
                control_error(call, SERVICE ".InterfaceNotFound",
                              json_pack("{ss%}", "interface", method, length));
}

void control_dispatch(ControlCall *call, const Peer *peer) {
        Control *control = call->control;
        const char *method = call->message.method;
        const char *name = method_of(method, control->interface);
        char error[256];

        if (strcmp(method, SERVICE ".GetInfo") == 0)
                answer_info(control, call);
        else if (strcmp(method, SERVICE ".GetInterfaceDescription") == 0)
                answer_description(control, call);
        else if (!name || !text_declares(control->interface_text, "method ", name))
                answer_unknown(control, call);
        else if (control->n_calls > CONTROL_CALLS_MAX) {
                snprintf(error, sizeof(error), "%s.Failed", control->interface);
                control_error(call, error,
                              json_pack("{ss}", "reason", "too many requests wait for their answer"));
        } else
                control->handler(control->userdata, call, method, call->message.parameters, peer);
}

/* Whether the peer's supplementary groups name that one. Groups that can not be
 * read give no right. */
static bool peer_in_group(int fd, gid_t group) {
        AUTO_FREE gid_t *groups = NULL;
        socklen_t size = 64 * sizeof(gid_t), room;

        do {
                gid_t *larger = realloc(groups, size);
                if (!larger)
                        return false;
                groups = larger;
                room = size;
                if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) >= 0) {
                        for (size_t i = 0; i < size / sizeof(gid_t); i++)
                                if (groups[i] == group)
                                        return true;
                        return false;
                }
        } while (errno == ERANGE && size > room);
        return false;
}

static int peer_read(int fd, gid_t admin_gid, Peer *ret) {
        struct ucred cred;
        socklen_t size = sizeof(cred);
        bool admin;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
                return -errno;
        admin = cred.uid == 0 || cred.uid == geteuid();
        if (!admin && admin_gid != (gid_t)-1)
                admin = cred.gid == admin_gid || peer_in_group(fd, admin_gid);
        *ret = (Peer){.pid = cred.pid, .uid = cred.uid, .may_change = admin};
        return 0;
}

static unsigned connections_of(const Control *control, uid_t uid) {
        unsigned n = 0;

        for (const Connection *c = control->connections; c; c = c->next)
                n += c->peer.uid == uid;
        return n;
}

/* It waits for an answer, which is more than to follow what happens. */
static bool connection_waits(const Connection *connection) {
        return connection->call && !connection->call->wake;
}

/* Less is closed sooner: idle, then writing or following, then waiting. */
static int connection_worth(const Connection *connection) {
        return connection_waits(connection) ? 2 : connection->out || connection->call ? 1 : 0;
}

/* The connection that must go for a new one of that user; NULL: the new one. */
static Connection *control_victim(const Control *control, uid_t newcomer) {
        unsigned most = connections_of(control, newcomer) + 1;
        uid_t greedy = newcomer;
        Connection *victim = NULL;

        for (const Connection *c = control->connections; c; c = c->next)
                if (connections_of(control, c->peer.uid) > most) {
                        greedy = c->peer.uid;
                        most = connections_of(control, greedy);
                }
        for (Connection *c = control->connections; c; c = c->next) {
                if (c->peer.uid != greedy || (greedy == newcomer && connection_waits(c)))
                        continue;
                if (!victim || connection_worth(c) < connection_worth(victim) ||
                    (connection_worth(c) == connection_worth(victim) && c->active < victim->active))
                        victim = c;
        }
        return victim;
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata) {
        Control *control = userdata;

        (void)source;
        (void)usec;
        return sd_event_source_set_enabled(control->io, SD_EVENT_ON);
}

/* No descriptor or memory for a new connection: an idle one gives its own up,
 * and the listener rests for a moment rather than spin. */
static int control_pause(Control *control) {
        Connection *victim = control_victim(control, (uid_t)-1);
        int r;

        if (victim && !connection_waits(victim))
                connection_free(victim);
        r = sd_event_source_set_time_relative(control->timer, 100000);
        if (r >= 0)
                r = sd_event_source_set_enabled(control->timer, SD_EVENT_ONESHOT);
        return r < 0 ? r : sd_event_source_set_enabled(control->io, SD_EVENT_OFF);
}

static void control_admit(Control *control, int fd) {
        Peer peer;

        if (peer_read(fd, control->admin_gid, &peer) < 0) {
                close(fd);
                return;
        }
        if (control->n_connections >= CONTROL_CONNECTIONS_MAX) {
                Connection *victim = control_victim(control, peer.uid);

                if (!victim) {
                        close(fd);
                        return;
                }
                connection_free(victim);
        }
        /* A client that could not be taken in has lost its connection; that is
         * all there is to tell it. */
        (void)connection_new(control, fd, &peer);
}

static int on_connect(sd_event_source *source, int listener, uint32_t revents, void *userdata) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        (void)source;
        (void)revents;
        if (fd >= 0)
                control_admit(userdata, fd);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                return control_pause(userdata);
        return 0;
}

/* Removes a socket file on which nobody listens. 0; -EADDRINUSE, -EEXIST or
 * another -errno. */
static int remove_abandoned(const struct sockaddr_un *address, socklen_t length) {
        AUTO_CLOSE int fd = -1;
        struct stat st;

        if (lstat(address->sun_path, &st) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (!S_ISSOCK(st.st_mode))
                return -EEXIST;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *)address, length) >= 0 || errno == EAGAIN)
                return -EADDRINUSE;
        if (errno != ECONNREFUSED)
                return errno == ENOENT ? 0 : -errno;
        return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int control_listen(Control *control, const char *path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
        struct stat st;
        int r;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        strcpy(address.sun_path, path);
        r = remove_abandoned(&address, length);
        if (r < 0)
                return r;
        control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (control->fd < 0 || bind(control->fd, (struct sockaddr *)&address, length) < 0)
                return -errno;
        control->path = strdup(path);
        if (!control->path)
                return -ENOMEM;
        if (stat(path, &st) < 0)
                return -errno;
        control->device = st.st_dev;
        control->inode = st.st_ino;
        if (chmod(path, 0666) < 0 || listen(control->fd, CONTROL_CONNECTIONS_MAX) < 0)
                return -errno;
        return 0;
}

static int control_watch(Control *control) {
        int r;

        r = sd_event_add_io(control->event, &control->io, control->fd, EPOLLIN, on_connect, control);
        if (r < 0)
                return r;
        r = sd_event_add_time_relative(control->event, &control->timer, CLOCK_MONOTONIC, 0, 0, on_pause_over,
                                       control);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(control->timer, SD_EVENT_OFF);
        return r < 0 ? r : sd_event_source_set_priority(control->io, CONTROL_PRIORITY);
}

/* The name in the line "interface NAME"; NULL: there is none, or no memory. */
static char *interface_name(const char *text) {
        static const char keyword[] = "interface ";
        const char *line = strncmp(text, keyword, strlen(keyword)) == 0 ? text : strstr(text, "\ninterface ");

        if (!line)
                return NULL;
        line += *line == '\n';
        line += strlen(keyword);
        return strndup(line, strcspn(line, " \t\n"));
}

int control_new(sd_event *event, const char *path, gid_t admin_gid, const char *interface_text,
                ControlHandler handler, void *userdata, Control **ret) {
        Control *control = calloc(1, sizeof(*control));
        int r;

        if (!control)
                return -ENOMEM;
        control->fd = -1;
        control->event = sd_event_ref(event);
        control->admin_gid = admin_gid;
        control->interface_text = interface_text;
        control->interface = interface_name(interface_text);
        control->handler = handler;
        control->userdata = userdata;
        r = control->interface ? control_listen(control, path) : -EINVAL;
        if (r >= 0)
                r = control_watch(control);
        if (r < 0) {
                control_free(control);
                return r;
        }
        *ret = control;
        return 0;
}

static void control_remove_socket(const Control *control) {
        struct stat st;

        if (control->path && lstat(control->path, &st) >= 0 && st.st_dev == control->device &&
            st.st_ino == control->inode)
                unlink(control->path);
}

Control *control_free(Control *control) {
        if (!control)
                return NULL;
        control_remove_socket(control);
        while (control->connections)
                connection_free(control->connections);
        for (ControlCall *call = control->calls; call; call = call->next)
                call->control = NULL;
        sd_event_source_disable_unref(control->io);
        sd_event_source_disable_unref(control->timer);
        if (control->fd >= 0)
                close(control->fd);
        free(control->path);
        free(control->interface);
        sd_event_unref(control->event);
        free(control);
        return NULL;
}
