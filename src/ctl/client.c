/* SPDX-License-Identifier: Apache-2.0 */

/* A call to the daemon: a connection, a question, an answer, or many. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"
#include "wire/names.h"
#include "wire/varlink.h"

enum {
        ANSWER_TIMEOUT_S = 120, /* a reassignment of a large host is done in seconds */
        READ_CHUNK = 65536,
};

static void answer_set(Answer *answer, int status, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
static void answer_set(Answer *answer, int status, const char *format, ...) {
        va_list args;

        *answer = (Answer){.status = status};
        va_start(args, format);
        if (vasprintf(&answer->why, format, args) < 0)
                answer->why = NULL;
        va_end(args);
}

void answer_done(Answer *answer) {
        free(answer->why);
        json_decref(answer->parameters);
        *answer = (Answer){};
}

static const char *socket_path(const Ctl *ctl) {
        return ctl->socket ? ctl->socket : ctl->default_socket;
}

/* A connected socket; or -1 and *ret says why. */
static int client_connect(const char *path, Answer *ret) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
        AUTO_CLOSE int fd = -1;

        if (strlen(path) >= sizeof(address.sun_path)) {
                answer_set(ret, EXIT_USAGE, "the socket's path is too long: %s", path);
                return -1;
        }
        strcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0) {
                answer_set(ret, EXIT_FAILED, "no socket: %s", strerror(errno));
                return -1;
        }
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                if (errno == EACCES || errno == EPERM)
                        answer_set(ret, EXIT_NOT_PERMITTED, "%s: %s", path, strerror(errno));
                else if (errno == EAGAIN)
                        answer_set(ret, EXIT_FAILED, "vas-daemon takes no connections at %s", path);
                else
                        answer_set(ret, EXIT_NO_DAEMON, "vas-daemon is not running: %s: %s", path,
                                   strerror(errno));
                return -1;
        }
        return steal_fd(&fd);
}

static int client_send(int fd, const char *text, size_t length) {
        while (length > 0) {
                ssize_t n = send(fd, text, length, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                text += n;
                length -= (size_t)n;
        }
        return 0;
}

/* What is read from the daemon, message by message. */
struct Stream {
        int fd;
        char *text;
        size_t used, size;
        size_t taken; /* length of the message in front, with its NUL; 0: none was taken */
};

Stream *stream_close(Stream *stream) {
        if (!stream)
                return NULL;
        if (stream->fd >= 0)
                close(stream->fd);
        free(stream->text);
        free(stream);
        return NULL;
}

static int stream_grow(Stream *stream) {
        size_t size = stream->size ? 2 * stream->size : READ_CHUNK;
        char *larger;

        if (stream->used < stream->size)
                return 0;
        if (size > VARLINK_REPLY_MAX)
                return -EMSGSIZE;
        larger = realloc(stream->text, size);
        if (!larger)
                return -ENOMEM;
        stream->text = larger;
        stream->size = size;
        return 0;
}

/* Reads up to a NUL. Returns the message's length, which is then in front, or -errno. */
static ssize_t stream_receive(Stream *stream) {
        size_t looked = 0;

        stream->used -= stream->taken;
        if (stream->taken)
                memmove(stream->text, stream->text + stream->taken, stream->used);
        stream->taken = 0;
        for (;;) {
                char *end = stream->used > looked ? memchr(stream->text + looked, '\0', stream->used - looked) : NULL;
                ssize_t n;
                int r;

                if (end) {
                        stream->taken = (size_t)(end - stream->text) + 1;
                        return end - stream->text;
                }
                looked = stream->used;
                r = stream_grow(stream);
                if (r < 0)
                        return r;
                n = recv(stream->fd, stream->text + stream->used, stream->size - stream->used, 0);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n == 0 ? -ECONNRESET : -errno;
                stream->used += (size_t)n;
        }
}

/* The part of an error's name behind the interface; NULL: not that interface. */
static const char *error_of(const char *error, const char *interface) {
        size_t length = strlen(interface);

        return strncmp(error, interface, length) == 0 && error[length] == '.' ? error + length + 1 : NULL;
}

static void answer_vas_error(const char *name, const json_t *parameters, Answer *ret) {
        const char *reason = get_string(parameters, "reason"), *vm = get_string(parameters, "vm");

        if (strcmp(name, "NoSuchVm") == 0 && *vm)
                answer_set(ret, EXIT_NO_VM, "no running VM has the name or UUID '%s'", vm);
        else if (strcmp(name, "NoSuchVm") == 0)
                answer_set(ret, EXIT_NO_VM, "no running VM has that name or UUID");
        else if (strcmp(name, "NoVms") == 0) {
                answer_set(ret, EXIT_FAILED, "there is no VM");
                ret->no_vms = true;
        } else if (strcmp(name, "NotPermitted") == 0)
                answer_set(ret, EXIT_NOT_PERMITTED, "%s", *reason ? reason : "not permitted");
        else
                answer_set(ret, EXIT_FAILED, "%s", *reason ? reason : name);
}

static void answer_error(const VarlinkReply *reply, Answer *ret) {
        const char *service = error_of(reply->error, "org.varlink.service");
        const char *vas = error_of(reply->error, VAS_INTERFACE);

        if (vas)
                answer_vas_error(vas, reply->parameters, ret);
        else if (service && strcmp(service, "InvalidParameter") == 0)
                answer_set(ret, EXIT_USAGE, "the daemon does not accept the value of '%s'",
                           get_string(reply->parameters, "parameter"));
        else if (service && strcmp(service, "MethodNotFound") == 0)
                answer_set(ret, EXIT_FAILED, "the daemon is of another version: it does not know %s",
                           get_string(reply->parameters, "method"));
        else
                answer_set(ret, EXIT_FAILED, "%s", reply->error);
}

static void answer_parse(const char *text, size_t length, Answer *ret) {
        VarlinkReply reply;
        int r = varlink_reply_parse(text, length, &reply);

        if (r < 0) {
                answer_set(ret, EXIT_FAILED, "the daemon's answer is broken");
                return;
        }
        if (reply.error)
                answer_error(&reply, ret);
        else
                *ret = (Answer){.parameters = json_incref(reply.parameters)};
        varlink_reply_done(&reply);
}

/* Connects and asks. NULL: *ret says why. */
static Stream *stream_new(const Ctl *ctl, const char *method, json_t *parameters, bool more, Answer *ret) {
        AUTO_FREE char *call = NULL;
        char name[128];
        size_t length = 0;
        Stream *stream;
        int r;

        snprintf(name, sizeof(name), "%s.%s", VAS_INTERFACE, method);
        call = varlink_pack_call(name, parameters, more, &length);
        if (!call) {
                answer_set(ret, EXIT_USAGE, "a value is not valid UTF-8");
                return NULL;
        }
        stream = calloc(1, sizeof(*stream));
        if (!stream) {
                answer_set(ret, EXIT_FAILED, "out of memory");
                return NULL;
        }
        stream->fd = client_connect(socket_path(ctl), ret);
        if (stream->fd < 0)
                return stream_close(stream);
        r = client_send(stream->fd, call, length);
        if (r < 0 && r != -EPIPE) {
                answer_set(ret, EXIT_FAILED, "%s: %s", socket_path(ctl), strerror(-r));
                return stream_close(stream);
        }
        return stream;
}

void daemon_call(const Ctl *ctl, const char *method, json_t *parameters, Answer *ret) {
        Stream *stream = stream_new(ctl, method, parameters, false, ret);
        ssize_t n;

        if (!stream)
                return;
        n = stream_receive(stream);
        if (n == -EAGAIN)
                answer_set(ret, EXIT_FAILED, "the daemon has not answered within %d s", ANSWER_TIMEOUT_S);
        else if (n == -ECONNRESET)
                answer_set(ret, EXIT_FAILED, "the daemon closed the connection without an answer");
        else if (n < 0)
                answer_set(ret, EXIT_FAILED, "%s: %s", socket_path(ctl), strerror((int)-n));
        else
                answer_parse(stream->text, (size_t)n, ret);
        stream_close(stream);
}

Stream *daemon_follow(const Ctl *ctl, const char *method, json_t *parameters, Answer *ret) {
        return stream_new(ctl, method, parameters, true, ret);
}

void stream_next(Stream *stream, Answer *ret) {
        ssize_t n;

        do
                n = stream_receive(stream);
        while (n == -EAGAIN); /* nothing happens for a long time */
        if (n == -ECONNRESET)
                answer_set(ret, EXIT_FAILED, "the daemon has ended");
        else if (n < 0)
                answer_set(ret, EXIT_FAILED, "the daemon can not be read from: %s", strerror((int)-n));
        else
                answer_parse(stream->text, (size_t)n, ret);
}
