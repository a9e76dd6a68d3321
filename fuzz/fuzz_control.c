/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Any bytes on the control socket, in pieces: the first byte says how long these
 * are. The whole calls in it reach the handler one at a time and are answered,
 * the connection ends or rests, and the next client is served.
 */

#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/control.h"

static const char interface[] = "interface t.x\nmethod Echo(a: int) -> (a: int)\nmethod Refuse() -> ()\n";

static char directory[32], path[64];
static sd_event *event;
static Control *control;

static void on_call(void *userdata, ControlCall *call, const char *method, json_t *parameters, const Peer *peer) {
        (void)userdata;
        must(strncmp(method, "t.x.", 4) == 0 && json_is_object(parameters) && peer->uid == geteuid());
        if (strcmp(method, "t.x.Echo") == 0)
                control_reply(call, json_incref(parameters));
        else
                control_error(call, "t.x.Refused", NULL);
}

static void tidy(void) {
        control_free(control);
        sd_event_unref(event);
        rmdir(directory);
}

static void set_up(void) {
        strcpy(directory, "/tmp/vsched-fuzz-XXXXXX");
        must(mkdtemp(directory) != NULL);
        snprintf(path, sizeof(path), "%s/s", directory);
        must(sd_event_new(&event) >= 0);
        must(control_new(event, path, (gid_t)-1, interface, on_call, NULL, &control) == 0);
        atexit(tidy);
}

/* Lets the loop do all that it can do now. */
static void turn(void) {
        unsigned turns = 0;

        while (sd_event_run(event, 0) > 0)
                must(++turns < 100000);
}

static int client(void) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        strcpy(address.sun_path, path);
        must(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
        return fd;
}

/* Reads what is there; false: the other side has closed. */
static int drain(int fd) {
        char buffer[8192];
        ssize_t n;

        do
                n = read(fd, buffer, sizeof(buffer));
        while (n > 0);
        return n < 0 && errno == EAGAIN;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char question[] = "{\"method\":\"t.x.Echo\",\"parameters\":{\"a\":1}}";
        size_t piece = size > 0 ? *data + 1u : 1, at = 1;
        char answer[128];
        int fd, open = 1;

        if (!control)
                set_up();
        fd = client();
        while (open && at < size) {
                size_t n = size - at < piece ? size - at : piece;
                ssize_t sent = send(fd, data + at, n, MSG_NOSIGNAL);

                open = sent > 0;
                at += open ? (size_t)sent : 0;
                turn();
                open = open && drain(fd);
        }
        close(fd);
        turn();

        fd = client();
        must(send(fd, question, sizeof(question), MSG_NOSIGNAL) == sizeof(question));
        turn();
        ssize_t n = read(fd, answer, sizeof(answer));
        must(n > 0 && answer[n - 1] == '\0' && strcmp(answer, "{\"parameters\":{\"a\":1}}") == 0);
        close(fd);
        turn();
        return 0;
}
