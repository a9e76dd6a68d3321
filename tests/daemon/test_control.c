/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The control socket and clients of all manners, in one process: a client's
 * descriptors do not block, and the loop turns whenever a client waits.
 */

#include "../util/skip.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/control.h"

static const char interface_text[] = "# A test\ninterface t.x\nmethod Echo(a: int) -> (a: int)\n"
                                     "method Later() -> ()\nmethod Big(n: int) -> (text: string)\n"
                                     "method Refuse() -> ()\nmethod Count() -> ()\n";

typedef struct Bench {
        char dir[32], path[64];
        sd_event *event;
        Control *control;
        ControlCall *later[300];
        unsigned n_later, n_count;
        Peer peer;
} Bench;

static void on_call(void *userdata, ControlCall *call, const char *method, json_t *parameters,
                    const Peer *peer) {
        Bench *bench = userdata;

        bench->peer = *peer;
        if (strcmp(method, "t.x.Echo") == 0) {
                json_t *a = json_object_get(parameters, "a");

                if (json_is_integer(a))
                        control_reply(call, json_pack("{sO}", "a", a));
                else
                        control_error(call, "org.varlink.service.InvalidParameter",
                                      json_pack("{ss}", "parameter", "a"));
        } else if (strcmp(method, "t.x.Later") == 0) {
                assert_true(bench->n_later < 300);
                bench->later[bench->n_later++] = call;
        } else if (strcmp(method, "t.x.Big") == 0) {
                size_t n = (size_t)json_integer_value(json_object_get(parameters, "n"));
                char *text = malloc(n + 1);

                assert_non_null(text);
                memset(text, 'x', n);
                text[n] = '\0';
                control_reply(call, json_pack("{so}", "text", json_string_nocheck(text)));
                free(text);
        } else if (strcmp(method, "t.x.Count") == 0) {
                bench->n_count++;
                control_reply(call, NULL);
        } else
                control_error(call, "t.x.Refused", NULL);
}

static int setup(void **state) {
        Bench *bench = calloc(1, sizeof(*bench));

        assert_non_null(bench);
        strcpy(bench->dir, "/tmp/test-control-XXXXXX");
        assert_non_null(mkdtemp(bench->dir));
        snprintf(bench->path, sizeof(bench->path), "%s/s", bench->dir);
        assert_true(sd_event_new(&bench->event) >= 0);
        assert_int_equal(control_new(bench->event, bench->path, (gid_t)-1, interface_text, on_call, bench,
                                     &bench->control),
                         0);
        *state = bench;
        return 0;
}

static int teardown(void **state) {
        Bench *bench = *state;

        control_free(bench->control);
        for (unsigned i = 0; i < bench->n_later; i++)
                control_reply(bench->later[i], NULL);
        sd_event_unref(bench->event);
        unlink(bench->path);
        assert_int_equal(rmdir(bench->dir), 0);
        free(bench);
        return 0;
}

/* Lets the loop do all it can do now. */
static void turn(Bench *bench) {
        for (unsigned i = 0; i < 5000; i++)
                if (sd_event_run(bench->event, 0) == 0)
                        return;
        fail_msg("the loop never rests");
}

static int client(Bench *bench) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        strcpy(address.sun_path, bench->path);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        turn(bench);
        return fd;
}

static void say(Bench *bench, int fd, const char *text, size_t length) {
        while (length > 0) {
                ssize_t n = send(fd, text, length, MSG_NOSIGNAL);

                assert_true(n > 0 || errno == EAGAIN);
                if (n > 0) {
                        text += n;
                        length -= (size_t)n;
                }
                turn(bench);
        }
}

/* What the client can read now, NULs shown as newlines. "EOF" when closed. */
static const char *hear(Bench *bench, int fd) {
        static char text[65536];
        ssize_t n;

        turn(bench);
        n = recv(fd, text, sizeof(text) - 1, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
                return "EOF";
        if (n < 0)
                return "";
        text[n] = '\0';
        for (ssize_t i = 0; i < n; i++)
                if (text[i] == '\0')
                        text[i] = '\n';
        return text;
}

static void ask(Bench *bench, const char *question, const char *answer) {
        int fd = client(bench);

        say(bench, fd, question, strlen(question) + 1);
        assert_string_equal(hear(bench, fd), answer);
        close(fd);
        turn(bench);
}

static void the_socket_is_for_everybody(void **state) {
        Bench *bench = *state;
        struct stat st;

        assert_int_equal(stat(bench->path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0666);
}

static void calls_are_answered(void **state) {
        Bench *bench = *state;

        ask(bench, "{\"method\":\"t.x.Echo\",\"parameters\":{\"a\":7}}", "{\"parameters\":{\"a\":7}}\n");
        ask(bench, "{\"method\":\"t.x.Echo\",\"parameters\":{\"a\":7},\"more\":true}",
            "{\"parameters\":{\"a\":7}}\n");
        ask(bench, "{\"method\":\"t.x.Echo\"}",
            "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":\"a\"}}\n");
        ask(bench, "{\"method\":\"t.x.Refuse\"}", "{\"error\":\"t.x.Refused\",\"parameters\":{}}\n");
        assert_int_equal(bench->peer.pid, getpid());
        assert_int_equal(bench->peer.uid, getuid());
        assert_true(bench->peer.may_change);
}

static void the_service_describes_itself(void **state) {
        Bench *bench = *state;

        ask(bench, "{\"method\":\"org.varlink.service.GetInfo\"}",
            "{\"parameters\":{\"vendor\":\"VSched\",\"product\":\"vas-daemon\",\"version\":\"" VAS_VERSION
            "\",\"url\":\"\",\"interfaces\":[\"org.varlink.service\",\"t.x\"]}}\n");
        ask(bench,
            "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{\"interface\":\"no."
            "such\"}}",
            "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":\"no.such\"}}"
            "\n");
        ask(bench, "{\"method\":\"org.varlink.service.GetInterfaceDescription\"}",
            "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":\"interface\"}"
            "}\n");
        int fd = client(bench);
        const char *text = "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{"
                           "\"interface\":\"t.x\"}}";
        say(bench, fd, text, strlen(text) + 1);
        assert_non_null(strstr(hear(bench, fd), "{\"description\":\"# A test\\ninterface t.x\\nmethod Echo"));
        close(fd);
}

static void unknown_methods_and_interfaces(void **state) {
        Bench *bench = *state;

        ask(bench, "{\"method\":\"t.x.None\"}",
            "{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{\"method\":\"t.x.None\"}}\n");
        ask(bench, "{\"method\":\"t.x.Ech\"}",
            "{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{\"method\":\"t.x.Ech\"}}\n");
        ask(bench, "{\"method\":\"org.varlink.service.None\"}",
            "{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{\"method\":\"org.varlink."
            "service.None\"}}\n");
        ask(bench, "{\"method\":\"t.y.Echo\"}",
            "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":\"t.y\"}}\n");
        ask(bench, "{\"method\":\"t.x.y.Echo\"}",
            "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":\"t.x.y\"}}"
            "\n");
}

static void broken_messages_close_the_connection(void **state) {
        Bench *bench = *state;

        ask(bench, "", "EOF");
        ask(bench, "x", "EOF");
        ask(bench, "{}", "EOF");
        ask(bench, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "EOF");
}

static void a_message_may_come_in_pieces(void **state) {
        Bench *bench = *state;
        const char text[] = "{\"method\":\"t.x.Echo\",\"parameters\":{\"a\":7}}";
        int fd = client(bench);

        for (size_t i = 0; i < sizeof(text); i++) {
                assert_string_equal(hear(bench, fd), "");
                say(bench, fd, text + i, 1);
        }
        assert_string_equal(hear(bench, fd), "{\"parameters\":{\"a\":7}}\n");
        close(fd);
}

static void pipelined_calls_are_answered_in_order(void **state) {
        Bench *bench = *state;
        const char text[] = "{\"method\":\"t.x.Echo\",\"parameters\":{\"a\":1}}\0{\"method\":\"t.x.Later\"}\0"
                            "{\"method\":\"t.x.Echo\",\"parameters\":{\"a\":2}}";
        int fd = client(bench);

        say(bench, fd, text, sizeof(text));
        assert_string_equal(hear(bench, fd), "{\"parameters\":{\"a\":1}}\n");
        assert_int_equal(bench->n_later, 1);
        bench->n_later = 0;
        control_reply(bench->later[0], NULL);
        turn(bench);
        assert_string_equal(hear(bench, fd), "{\"parameters\":{}}\n{\"parameters\":{\"a\":2}}\n");
        close(fd);
}

static void oneway_calls_have_no_answer(void **state) {
        Bench *bench = *state;
        const char text[] =
                "{\"method\":\"t.x.Count\",\"oneway\":true}\0{\"method\":\"t.x.None\",\"oneway\":true}\0"
                "{\"method\":\"t.x.Echo\",\"parameters\":{\"a\":2}}";
        int fd = client(bench);

        say(bench, fd, text, sizeof(text));
        assert_string_equal(hear(bench, fd), "{\"parameters\":{\"a\":2}}\n");
        assert_int_equal(bench->n_count, 1);
        close(fd);
}

static void a_client_may_call_and_leave(void **state) {
        Bench *bench = *state;
        const char text[] =
                "{\"method\":\"t.x.Count\",\"oneway\":true}\0{\"method\":\"t.x.Count\",\"oneway\":true}";
        int fd = client(bench);

        assert_int_equal(send(fd, text, sizeof(text), 0), sizeof(text));
        close(fd);
        turn(bench);
        assert_int_equal(bench->n_count, 2);
}

static void a_client_may_close_its_half_and_listen(void **state) {
        Bench *bench = *state;
        const char text[] = "{\"method\":\"t.x.Count\"}\0{\"method\":\"t.x.Echo\",\"parameters\":{\"a\":2}}";
        int fd = client(bench);

        assert_int_equal(send(fd, text, sizeof(text), 0), sizeof(text));
        shutdown(fd, SHUT_WR);
        assert_string_equal(hear(bench, fd), "{\"parameters\":{}}\n{\"parameters\":{\"a\":2}}\n");
        assert_string_equal(hear(bench, fd), "EOF");
        close(fd);
}

static void a_call_outlives_its_client(void **state) {
        Bench *bench = *state;
        const char text[] = "{\"method\":\"t.x.Later\"}";
        int fd = client(bench);

        say(bench, fd, text, sizeof(text));
        close(fd);
        turn(bench);
        assert_int_equal(bench->n_later, 1);
        bench->n_later = 0;
        control_reply(bench->later[0], json_pack("{si}", "a", 1));
        turn(bench);
}

static void a_call_outlives_the_control(void **state) {
        Bench *bench = *state;
        const char text[] = "{\"method\":\"t.x.Later\"}";
        int fd = client(bench);

        say(bench, fd, text, sizeof(text));
        assert_int_equal(bench->n_later, 1);
        bench->control = control_free(bench->control);
        assert_string_equal(hear(bench, fd), "EOF");
        assert_int_not_equal(access(bench->path, F_OK), 0);
        close(fd);
}

static void a_message_has_a_longest_size(void **state) {
        Bench *bench = *state;
        char *text = calloc(1, VARLINK_CALL_MAX + 1);
        int fd = client(bench);

        assert_non_null(text);
        memset(text, ' ', VARLINK_CALL_MAX);
        memcpy(text, "{\"method\":\"t.x.Count\"}", 22);
        text[VARLINK_CALL_MAX - 1] = '\0';
        say(bench, fd, text, VARLINK_CALL_MAX);
        assert_string_equal(hear(bench, fd), "{\"parameters\":{}}\n");
        text[VARLINK_CALL_MAX - 1] = ' ';
        say(bench, fd, text, VARLINK_CALL_MAX);
        assert_string_equal(hear(bench, fd), "EOF");
        close(fd);
        free(text);
}

static void who_does_not_read_is_not_read(void **state) {
        Bench *bench = *state;
        const char big[] = "{\"method\":\"t.x.Big\",\"parameters\":{\"n\":4000000}}";
        const char count[] = "{\"method\":\"t.x.Count\"}";
        size_t n_heard = 0;
        int fd = client(bench);

        say(bench, fd, big, sizeof(big));
        say(bench, fd, count, sizeof(count));
        assert_int_equal(bench->n_count, 0);
        /* Others are served meanwhile. */
        ask(bench, "{\"method\":\"t.x.Echo\",\"parameters\":{\"a\":7}}", "{\"parameters\":{\"a\":7}}\n");
        while (bench->n_count == 0)
                n_heard += strlen(hear(bench, fd));
        while (*hear(bench, fd))
                ;
        assert_true(n_heard > 3900000);
        close(fd);
}

/* Nobody else's answers are large enough to give way: the asker is closed, and
 * its call, which ends with it, is not touched again. */
static void an_answer_past_the_limit_closes_the_asker(void **state) {
        Bench *bench = *state;
        char text[96];
        int fd = client(bench);

        snprintf(text, sizeof(text), "{\"method\":\"t.x.Big\",\"parameters\":{\"n\":%d}}", VARLINK_REPLY_MAX);
        say(bench, fd, text, strlen(text) + 1);
        assert_string_equal(hear(bench, fd), "EOF");
        ask(bench, "{\"method\":\"t.x.Echo\",\"parameters\":{\"a\":7}}", "{\"parameters\":{\"a\":7}}\n");
        close(fd);
}

/* Clients that sit there: the first one that idles gives way. */
static void when_full_the_oldest_idle_one_goes(void **state) {
        Bench *bench = *state;
        const char later[] = "{\"method\":\"t.x.Later\"}", count[] = "{\"method\":\"t.x.Count\"}";
        int fd[CONTROL_CONNECTIONS_MAX], extra;

        for (unsigned i = 0; i < CONTROL_CONNECTIONS_MAX; i++)
                fd[i] = client(bench);
        say(bench, fd[0], later, sizeof(later));
        say(bench, fd[1], count, sizeof(count));
        assert_string_equal(hear(bench, fd[1]), "{\"parameters\":{}}\n");
        extra = client(bench);
        assert_string_equal(hear(bench, fd[0]), "");
        assert_string_equal(hear(bench, fd[1]), "");
        assert_string_equal(hear(bench, fd[2]), "EOF");
        assert_string_equal(hear(bench, fd[3]), "");
        say(bench, extra, count, sizeof(count));
        assert_string_equal(hear(bench, extra), "{\"parameters\":{}}\n");
        for (unsigned i = 0; i < CONTROL_CONNECTIONS_MAX; i++)
                close(fd[i]);
        close(extra);
}

static void when_all_are_busy_a_new_one_is_turned_away(void **state) {
        Bench *bench = *state;
        const char later[] = "{\"method\":\"t.x.Later\"}";
        int fd[CONTROL_CONNECTIONS_MAX], extra;

        for (unsigned i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
                fd[i] = client(bench);
                say(bench, fd[i], later, sizeof(later));
        }
        extra = client(bench);
        assert_string_equal(hear(bench, extra), "EOF");
        close(extra);
        for (unsigned i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
                assert_string_equal(hear(bench, fd[i]), "");
                close(fd[i]);
        }
}

static void calls_that_wait_are_limited(void **state) {
        Bench *bench = *state;
        const char later[] = "{\"method\":\"t.x.Later\"}";

        for (unsigned i = 0; i < 256; i++) {
                int fd = client(bench);

                say(bench, fd, later, sizeof(later));
                close(fd);
                turn(bench);
        }
        assert_int_equal(bench->n_later, 256);
        ask(bench, later,
            "{\"error\":\"t.x.Failed\",\"parameters\":{\"reason\":\"too many requests wait for their "
            "answer\"}}\n");
        assert_int_equal(bench->n_later, 256);
}

static void a_second_listener_is_refused(void **state) {
        Bench *bench = *state;
        Control *second = NULL;
        struct stat before, after;

        assert_int_equal(stat(bench->path, &before), 0);
        assert_int_equal(
                control_new(bench->event, bench->path, (gid_t)-1, interface_text, on_call, bench, &second),
                -EADDRINUSE);
        assert_int_equal(stat(bench->path, &after), 0);
        assert_int_equal(before.st_ino, after.st_ino);
}

static void only_abandoned_sockets_are_replaced(void **state) {
        Bench *bench = *state;
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        Control *other = NULL;
        FILE *f;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        snprintf(address.sun_path, sizeof(address.sun_path), "%s/t", bench->dir);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        close(fd);
        assert_int_equal(control_new(bench->event, address.sun_path, (gid_t)-1, interface_text, on_call,
                                     bench, &other),
                         0);
        control_free(other);
        f = fopen(address.sun_path, "w");
        assert_non_null(f);
        fclose(f);
        assert_int_equal(control_new(bench->event, address.sun_path, (gid_t)-1, interface_text, on_call,
                                     bench, &other),
                         -EEXIST);
        assert_int_equal(unlink(address.sun_path), 0);
}

static void a_stranger_s_socket_is_not_removed(void **state) {
        Bench *bench = *state;
        FILE *f;

        unlink(bench->path);
        f = fopen(bench->path, "w");
        assert_non_null(f);
        fclose(f);
        bench->control = control_free(bench->control);
        assert_int_equal(access(bench->path, F_OK), 0);
}

/* A client of another user, in a child: what it hears goes to a pipe. */
static pid_t client_as(const Bench *bench, uid_t uid, gid_t gid, gid_t extra, const char *text) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        pid_t child = fork();
        char answer[4096];
        int fd;

        if (child != 0)
                return child;
        alarm(20);
        if (seteuid(0) < 0)
                _exit(1);
        strcpy(address.sun_path, bench->path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (setgroups(1, &extra) < 0 || setgid(gid) < 0 || setuid(uid) < 0 ||
            connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
            send(fd, text, strlen(text) + 1, MSG_NOSIGNAL) < 0 || recv(fd, answer, sizeof(answer), 0) < 0)
                _exit(1);
        _exit(0);
}

/* Whether a user with that group and that further group may change things; the
 * daemon runs as user 4240. */
static bool may_change(Bench *bench, gid_t admin, uid_t uid, gid_t gid, gid_t extra) {
        int status;
        pid_t child;

        bench->control = control_free(bench->control);
        assert_int_equal(control_new(bench->event, bench->path, admin, interface_text, on_call, bench,
                                     &bench->control),
                         0);
        bench->peer = (Peer){.pid = -1};
        assert_int_equal(seteuid(4240), 0);
        child = client_as(bench, uid, gid, extra, "{\"method\":\"t.x.Count\"}");
        assert_true(child > 0);
        while (waitpid(child, &status, WNOHANG) == 0)
                assert_true(sd_event_run(bench->event, 10000) >= 0);
        assert_int_equal(seteuid(0), 0);
        assert_int_equal(status, 0);
        assert_int_equal(bench->peer.pid, child);
        assert_int_equal(bench->peer.uid, uid);
        return bench->peer.may_change;
}

static void who_may_change_things(void **state) {
        Bench *bench = *state;

        if (geteuid() != 0)
                skip_because("it takes root");
        assert_int_equal(chmod(bench->dir, 0755), 0);
        assert_false(may_change(bench, (gid_t)-1, 4241, 4242, 4243));
        assert_false(may_change(bench, 4244, 4241, 4242, 4243));
        assert_true(may_change(bench, 4242, 4241, 4242, 4243));
        assert_true(may_change(bench, 4243, 4241, 4242, 4243));
        assert_true(may_change(bench, (gid_t)-1, 0, 4242, 4243));
        assert_true(may_change(bench, (gid_t)-1, 4240, 4242, 4243));
}

/* A child of another user that holds n connections until it is killed. */
static pid_t crowd_as(Bench *bench, uid_t uid, unsigned n) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        pid_t child;

        strcpy(address.sun_path, bench->path);
        child = fork();
        if (child == 0) {
                alarm(20);
                if (setuid(uid) < 0)
                        _exit(1);
                for (unsigned i = 0; i < n; i++) {
                        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
                        const char later[] = "{\"method\":\"t.x.Later\"}";

                        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
                            send(fd, later, sizeof(later), MSG_NOSIGNAL) < 0)
                                _exit(1);
                }
                pause();
                _exit(0);
        }
        return child;
}

static void one_user_can_not_keep_the_others_out(void **state) {
        Bench *bench = *state;
        pid_t crowd;

        if (geteuid() != 0)
                skip_because("it takes root");
        assert_int_equal(chmod(bench->dir, 0755), 0);
        crowd = crowd_as(bench, 4241, CONTROL_CONNECTIONS_MAX);
        assert_true(crowd > 0);
        while (bench->n_later < CONTROL_CONNECTIONS_MAX)
                assert_true(sd_event_run(bench->event, 1000000) > 0);
        /* All places are taken by calls that wait; root gets in all the same. */
        ask(bench, "{\"method\":\"t.x.Echo\",\"parameters\":{\"a\":7}}", "{\"parameters\":{\"a\":7}}\n");
        kill(crowd, SIGKILL);
        waitpid(crowd, NULL, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(the_socket_is_for_everybody),
                TEST(calls_are_answered),
                TEST(the_service_describes_itself),
                TEST(unknown_methods_and_interfaces),
                TEST(broken_messages_close_the_connection),
                TEST(a_message_may_come_in_pieces),
                TEST(pipelined_calls_are_answered_in_order),
                TEST(oneway_calls_have_no_answer),
                TEST(a_client_may_call_and_leave),
                TEST(a_client_may_close_its_half_and_listen),
                TEST(a_call_outlives_its_client),
                TEST(a_call_outlives_the_control),
                TEST(a_message_has_a_longest_size),
                TEST(who_does_not_read_is_not_read),
                TEST(an_answer_past_the_limit_closes_the_asker),
                TEST(when_full_the_oldest_idle_one_goes),
                TEST(when_all_are_busy_a_new_one_is_turned_away),
                TEST(calls_that_wait_are_limited),
                TEST(a_second_listener_is_refused),
                TEST(only_abandoned_sockets_are_replaced),
                TEST(who_may_change_things),
                TEST(one_user_can_not_keep_the_others_out),
                TEST(a_stranger_s_socket_is_not_removed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
