/* SPDX-License-Identifier: Apache-2.0 */

/* Clients that wait the control socket's patience out: half a minute. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/control.h"

static const char interface_text[] = "interface t.x\nmethod Big() -> (text: string)\nmethod Later() -> ()\n";

static ControlCall *later;

static void on_call(void *userdata, ControlCall *call, const char *method, json_t *parameters,
                    const Peer *peer) {
        enum { SIZE = 8000000 };
        char *text;

        (void)userdata;
        (void)parameters;
        (void)peer;
        if (strcmp(method, "t.x.Later") == 0) {
                later = call;
                return;
        }
        text = malloc(SIZE + 1);
        assert_non_null(text);
        memset(text, 'x', SIZE);
        text[SIZE] = '\0';
        control_reply(call, json_pack("{so}", "text", json_string_nocheck(text)));
        free(text);
}

static int client(const char *path, const char *text) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        strcpy(address.sun_path, path);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        if (text)
                assert_true(send(fd, text, strlen(text) + 1, 0) > 0);
        return fd;
}

static double now_s(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run_until(sd_event *event, double end) {
        while (now_s() < end)
                assert_true(sd_event_run(event, 100000) >= 0);
}

/* Whether the daemon has closed this connection. What is there to be read is
 * left where it is. */
static bool is_closed(int fd) {
        char byte;

        errno = 0;
        return send(fd, "", 0, MSG_NOSIGNAL) < 0 || (recv(fd, &byte, 1, MSG_PEEK) == 0) || errno == EPIPE ||
               errno == ECONNRESET;
}

static void silence_and_deafness_end(void **state) {
        char directory[] = "/tmp/test-control-XXXXXX", path[64];
        int silent, deaf, waiting;
        Control *control = NULL;
        sd_event *event = NULL;
        double start;

        (void)state;
        assert_non_null(mkdtemp(directory));
        strcpy(path, directory);
        strcat(path, "/s");
        assert_true(sd_event_new(&event) >= 0);
        assert_int_equal(control_new(event, path, (gid_t)-1, interface_text, on_call, NULL, &control), 0);
        silent = client(path, NULL);
        deaf = client(path, "{\"method\":\"t.x.Big\"}");
        waiting = client(path, "{\"method\":\"t.x.Later\"}");
        start = now_s();
        run_until(event, start + 8);
        assert_false(is_closed(silent));
        assert_int_equal(send(deaf, "x", 1, MSG_NOSIGNAL), 1);
        run_until(event, start + 13);
        assert_int_equal(send(deaf, "x", 1, MSG_NOSIGNAL), -1);
        assert_false(is_closed(silent));
        run_until(event, start + CONTROL_IDLE_S + 3);
        assert_true(is_closed(silent));
        assert_false(is_closed(waiting));
        assert_non_null(later);
        control_reply(later, NULL);
        run_until(event, now_s() + 0.5);
        assert_false(is_closed(waiting));
        control_free(control);
        sd_event_unref(event);
        close(silent);
        close(deaf);
        close(waiting);
        assert_int_equal(rmdir(directory), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(silence_and_deafness_end)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
