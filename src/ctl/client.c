/* SPDX-License-Identifier: Apache-2.0 */

/* One call to the daemon: a connection, a question, an answer. */

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

/* Reads up to the NUL. Returns the message's length, or -errno. */
static ssize_t client_receive(int fd, char **ret) {
        AUTO_FREE char *text = NULL;
        size_t used = 0, size = 0;

        for (;;) {
                if (used == size) {
                        size = size ? 2 * size : READ_CHUNK;
                        char *larger = size > VARLINK_REPLY_MAX ? NULL : realloc(text, size);
                        if (!larger)
                                return size > VARLINK_REPLY_MAX ? -EMSGSIZE : -ENOMEM;
                        text = larger;
                }
                ssize_t n = recv(fd, text + used, size - used, 0);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n == 0 ? -ECONNRESET : -errno;
                char *end = memchr(text + used, '\0', (size_t)n);
                used += (size_t)n;
                if (end) {
                        *ret = STEAL_PTR(text);
                        return end - *ret;
                }
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

void daemon_call(const Ctl *ctl, const char *method, json_t *parameters, Answer *ret) {
        const char *path = ctl->socket ? ctl->socket : ctl->default_socket;
        AUTO_FREE char *call = NULL;
        AUTO_FREE char *text = NULL;
        AUTO_CLOSE int fd = -1;
        char name[128];
        size_t length = 0;
        ssize_t n;

        snprintf(name, sizeof(name), "%s.%s", VAS_INTERFACE, method);
        call = varlink_pack_call(name, parameters, false, &length);
        if (!call) {
                answer_set(ret, EXIT_USAGE, "a value is not valid UTF-8");
                return;
        }
        fd = client_connect(path, ret);
        if (fd < 0)
                return;
        n = client_send(fd, call, length);
        if (n >= 0 || n == -EPIPE)
                n = client_receive(fd, &text);
        if (n == -EAGAIN)
                answer_set(ret, EXIT_FAILED, "the daemon has not answered within %d s", ANSWER_TIMEOUT_S);
        else if (n == -ECONNRESET)
                answer_set(ret, EXIT_FAILED, "the daemon closed the connection without an answer");
        else if (n < 0)
                answer_set(ret, EXIT_FAILED, "%s: %s", path, strerror((int)-n));
        else
                answer_parse(text, (size_t)n, ret);
}
