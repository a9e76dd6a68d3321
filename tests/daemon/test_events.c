/* SPDX-License-Identifier: Apache-2.0 */

/* The ring of events, and clients that follow it: quick, slow, gone. */

#include "daemon/followers.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static const char interface_text[] = "interface t.x\nmethod Follow(since: int) -> ()\nmethod Ping() -> ()\n";

typedef struct Bench {
        char dir[32], path[64];
        sd_event *event;
        Control *control;
        Events *events;
        Followers *followers;
} Bench;

static void on_call(void *userdata, ControlCall *call, const char *method, json_t *parameters,
                    const Peer *peer) {
        Bench *bench = userdata;
        uint64_t since = (uint64_t)json_integer_value(json_object_get(parameters, "since"));

        (void)peer;
        if (strcmp(method, "t.x.Ping") == 0)
                control_reply(call, NULL);
        else if (!control_wants_more(call) || !followers_add(bench->followers, call, since))
                control_error(call, "t.x.Refused", NULL);
}

static int setup(void **state) {
        Bench *bench = calloc(1, sizeof(*bench));

        assert_non_null(bench);
        strcpy(bench->dir, "/tmp/test-events-XXXXXX");
        assert_non_null(mkdtemp(bench->dir));
        snprintf(bench->path, sizeof(bench->path), "%s/s", bench->dir);
        assert_true(sd_event_new(&bench->event) >= 0);
        assert_int_equal(events_new(&bench->events), 0);
        assert_int_equal(followers_new(bench->event, bench->events, &bench->followers), 0);
        assert_int_equal(control_new(bench->event, bench->path, (gid_t)-1, interface_text, on_call, bench,
                                     &bench->control),
                         0);
        *state = bench;
        return 0;
}

static int teardown(void **state) {
        Bench *bench = *state;

        control_free(bench->control);
        followers_free(bench->followers);
        events_free(bench->events);
        sd_event_unref(bench->event);
        assert_int_equal(rmdir(bench->dir), 0);
        free(bench);
        return 0;
}

/* Lets the loop do all it can do now. */
static void turn(Bench *bench) {
        for (unsigned i = 0; i < 20000; i++)
                if (sd_event_run(bench->event, 0) == 0)
                        return;
        fail_msg("the loop never rests");
}

static void happen(Bench *bench, unsigned n) {
        while (n-- > 0)
                events_add(bench->events, EVENT_RESUMED, 0, NULL, "number %llu",
                           (unsigned long long)bench->events->next);
}

static int ask(Bench *bench, const char *message) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        strcpy(address.sun_path, bench->path);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(send(fd, message, strlen(message) + 1, 0), strlen(message) + 1);
        turn(bench);
        return fd;
}

static int follow(Bench *bench, unsigned since) {
        char message[128];

        snprintf(message, sizeof(message),
                 "{\"method\":\"t.x.Follow\",\"parameters\":{\"since\":%u},\"more\":true}", since);
        return ask(bench, message);
}

/* One reply; NULL: there is none. */
static json_t *next_reply(Bench *bench, int fd) {
        static char text[1 << 20];
        VarlinkReply reply;
        ssize_t n;

        for (char *end = NULL; !end; turn(bench)) { /* the rest is written when there is room */
                n = recv(fd, text, sizeof(text), MSG_PEEK);
                if (n <= 0)
                        return NULL;
                end = memchr(text, '\0', (size_t)n);
                n = recv(fd, text, end ? (size_t)(end - text) + 1 : 0, 0);
        }
        assert_int_equal(varlink_reply_parse(text, (size_t)n - 1, &reply), 0);
        assert_null(reply.error);
        assert_true(reply.continues);
        json_t *parameters = json_incref(reply.parameters);
        varlink_reply_done(&reply);
        return parameters;
}

typedef struct Got {
        uint64_t events, lost, first, last, gaps, replies;
} Got;

/* Reads all that is there, and what comes when there is room again. */
static Got read_all(Bench *bench, int fd) {
        Got got = {};
        json_t *reply, *event;
        size_t i;

        while ((reply = next_reply(bench, fd))) {
                got.replies++;
                got.lost += (uint64_t)json_integer_value(json_object_get(reply, "lost"));
                json_array_foreach (json_object_get(reply, "events"), i, event) {
                        uint64_t sequence = (uint64_t)json_integer_value(json_object_get(event, "sequence"));

                        got.first = got.events ? got.first : sequence;
                        if (got.events && sequence != got.last + 1)
                                got.gaps++;
                        got.last = sequence;
                        got.events++;
                }
                json_decref(reply);
                turn(bench);
        }
        return got;
}

static void the_ring_forgets_the_oldest(void **state) {
        Bench *bench = *state;
        uint64_t lost = 77;

        assert_int_equal(events_from(bench->events, 1, &lost), 1);
        assert_int_equal(lost, 0);
        happen(bench, EVENTS_MAX);
        assert_int_equal(events_from(bench->events, 1, &lost), 1);
        assert_int_equal(lost, 0);
        happen(bench, 10);
        assert_int_equal(events_from(bench->events, 1, &lost), 11);
        assert_int_equal(lost, 10);
        assert_int_equal(events_from(bench->events, 12, &lost), 12);
        assert_int_equal(lost, 0);
        assert_int_equal(events_from(bench->events, EVENTS_MAX + 11, &lost), EVENTS_MAX + 11);
        assert_int_equal(lost, 0);
        /* Of a daemon before this one. */
        assert_int_equal(events_from(bench->events, EVENTS_MAX + 12, &lost), 11);
        assert_int_equal(lost, 10);

        json_t *reply = view_events(bench->events, 11, 2, 10), *list = json_object_get(reply, "events");
        assert_int_equal(json_array_size(list), 2);
        assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "text")), "number 12");
        assert_int_equal(json_integer_value(json_object_get(reply, "lost")), 10);
        json_decref(reply);
}

static void long_texts_say_that_they_are_cut(void **state) {
        Bench *bench = *state;

        events_add(bench->events, EVENT_TROUBLE, 3, NULL, "%0300d", 1);
        assert_int_equal(strlen(bench->events->event[1].text), EVENT_TEXT_SIZE - 1);
        assert_string_equal(bench->events->event[1].text + EVENT_TEXT_SIZE - 5, "0...");
        for (EventKind kind = 0; kind < EVENT_KINDS; kind++)
                assert_non_null(event_kind_name(kind));
}

static void a_follower_gets_what_was_and_what_comes(void **state) {
        Bench *bench = *state;

        happen(bench, 150);
        int fd = follow(bench, 21);
        Got got = read_all(bench, fd);
        assert_int_equal(got.first, 21);
        assert_int_equal(got.last, 150);
        assert_int_equal(got.events, 130);
        assert_int_equal(got.replies, 3);
        happen(bench, 2);
        turn(bench);
        got = read_all(bench, fd);
        assert_int_equal(got.first, 151);
        assert_int_equal(got.events, 2);
        assert_int_equal(got.replies, 1);
        assert_int_equal(got.lost, 0);
        close(fd);
}

static void a_follower_of_nothing_is_greeted(void **state) {
        Bench *bench = *state;
        int fd = follow(bench, 1);
        Got got = read_all(bench, fd);

        assert_int_equal(got.replies, 1);
        assert_int_equal(got.events, 0);
        close(fd);
}

static void without_more_it_is_one_answer(void **state) {
        Bench *bench = *state;
        char text[128] = "";
        int fd = ask(bench, "{\"method\":\"t.x.Follow\",\"more\":true,\"oneway\":true}");

        assert_true(recv(fd, text, sizeof(text), 0) <= 0);
        close(fd);
        fd = ask(bench, "{\"method\":\"t.x.Follow\"}");
        assert_true(recv(fd, text, sizeof(text), 0) > 0);
        assert_non_null(strstr(text, "t.x.Refused"));
        close(fd);
}

static void a_slow_follower_loses_events_and_is_told(void **state) {
        enum { N = 10 * EVENTS_MAX };
        Bench *bench = *state;
        int slow = follow(bench, 1), quick = follow(bench, 1);
        Got at_once = {};

        for (unsigned i = 0; i < N; i += 64) {
                happen(bench, 64);
                turn(bench);
                at_once.events += read_all(bench, quick).events;
        }
        assert_int_equal(at_once.events, N);
        Got got = read_all(bench, slow);
        assert_true(got.lost > 0);
        assert_int_equal(got.events + got.lost, N);
        assert_int_equal(got.gaps, 1);
        assert_int_equal(got.last, N);
        close(slow);
        close(quick);
}

static void followers_that_have_gone_make_room(void **state) {
        Bench *bench = *state;

        for (unsigned i = 0; i < 3 * CONTROL_CONNECTIONS_MAX; i++) {
                int fd = follow(bench, 1);
                assert_int_equal(read_all(bench, fd).replies, 1);
                close(fd);
                happen(bench, i % 3 == 0);
        }
        turn(bench);
        int fd = ask(bench, "{\"method\":\"t.x.Ping\"}");
        char text[64];
        assert_true(recv(fd, text, sizeof(text), 0) > 0);
        close(fd);
}

/* All places are taken by those who only follow: a newcomer gets one of them. */
static void followers_give_way_to_questions(void **state) {
        int fd[CONTROL_CONNECTIONS_MAX];
        Bench *bench = *state;
        unsigned left = 0;
        char text[64];

        for (unsigned i = 0; i < CONTROL_CONNECTIONS_MAX; i++)
                fd[i] = follow(bench, 1);
        int asking = ask(bench, "{\"method\":\"t.x.Ping\"}");
        assert_true(recv(asking, text, sizeof(text), 0) > 0);
        close(asking);
        happen(bench, 1);
        turn(bench);
        for (unsigned i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
                left += read_all(bench, fd[i]).events == 1;
                close(fd[i]);
        }
        assert_int_equal(left, CONTROL_CONNECTIONS_MAX - 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(the_ring_forgets_the_oldest, setup, teardown),
                cmocka_unit_test_setup_teardown(long_texts_say_that_they_are_cut, setup, teardown),
                cmocka_unit_test_setup_teardown(a_follower_gets_what_was_and_what_comes, setup, teardown),
                cmocka_unit_test_setup_teardown(a_follower_of_nothing_is_greeted, setup, teardown),
                cmocka_unit_test_setup_teardown(without_more_it_is_one_answer, setup, teardown),
                cmocka_unit_test_setup_teardown(a_slow_follower_loses_events_and_is_told, setup, teardown),
                cmocka_unit_test_setup_teardown(followers_that_have_gone_make_room, setup, teardown),
                cmocka_unit_test_setup_teardown(followers_give_way_to_questions, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
