/* SPDX-License-Identifier: Apache-2.0 */

/*
 * When the running service looks again, and what it asks libvirt for: over a
 * modelled host (model_service.h), with its real event loop, in real time. Each
 * test is what happens between the service's start and its end, in a process of
 * its own. Nothing is judged by how quick this machine is.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/server.h"
#include "model_service.h"

enum { NEVER_S = 3600, PATIENCE_MS = 20000, TURN_MS = 10 };

typedef void (*Script)(sd_event *event);

static Script script;
static char directory[32];

int __wrap_sd_event_loop(sd_event *event);

/* In place of the loop of the running service. */
int __wrap_sd_event_loop(sd_event *event) {
        script(event);
        return 0;
}

/* cmocka's own would leave the service by a jump. */
#define must(condition)                                                                                      \
        do {                                                                                                 \
                if (!(condition)) {                                                                          \
                        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);              \
                        _exit(1);                                                                            \
                }                                                                                            \
        } while (0)

static int64_t now_ms(void) {
        return server_now(NULL) / 1000000;
}

static void turn(sd_event *event) {
        must(sd_event_run(event, TURN_MS * UINT64_C(1000)) >= 0);
}

/* Lets the service run until it is so. */
#define wait_for(event, condition)                                                                           \
        do {                                                                                                 \
                int64_t until_ms = now_ms() + PATIENCE_MS;                                                   \
                while (!(condition)) {                                                                       \
                        must(now_ms() < until_ms && #condition);                                             \
                        turn(event);                                                                         \
                }                                                                                            \
        } while (0)

static void run_service(void) {
        static Settings settings;
        char config[64];
        Options options = {.command = COMMAND_START, .config = config, .persisted = config};

        snprintf(config, sizeof(config), "%s/vas.conf", directory);
        settings_defaults(&settings);
        settings.act = true;
        settings.interval_ns = NEVER_S * INT64_C(1000000000);
        strcpy(settings.runtime_dir, directory);
        model_init(&the_model, 4, 4);
        model_start(&the_model, "web1", 4, 0, 15);
        must(server_run(&options, &settings) == EXIT_SUCCESS);
}

static void serve(Script what_happens) {
        static const char *const leaves[] = {"state.json", "lock", "vas.sock"};
        char left[64];
        int status;
        pid_t pid;

        strcpy(directory, "/tmp/vsched-server-XXXXXX");
        assert_non_null(mkdtemp(directory));
        script = what_happens;
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                run_service();
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        for (unsigned i = 0; i < sizeof(leaves) / sizeof(*leaves); i++) {
                snprintf(left, sizeof(left), "%s/%s", directory, leaves[i]);
                assert_true(unlink(left) == 0 || errno == ENOENT);
        }
        assert_int_equal(rmdir(directory), 0);
        assert_int_equal(status, 0);
}

/* Its first round is over, and what it asked for then has been answered. */
static void settle(sd_event *event) {
        wait_for(event, model_cpu(&the_model.vm[0], 0) >= 0);
        for (int64_t until_ms = now_ms() + 10 * TURN_MS; now_ms() < until_ms;)
                turn(event);
        the_link.n_asked_full = 0;
}

/* An event of libvirt's, and the round that it makes. */
static void event_and_round(sd_event *event) {
        uint64_t before = the_link.serial;

        model_event();
        wait_for(event, the_link.serial > before);
}

static void a_round_fails(sd_event *event) {
        int64_t start_ms;

        settle(event);
        model_start(&the_model, "web2", 2, 0, 15);
        the_model.observe_fails = true;
        start_ms = now_ms();
        event_and_round(event);
        must(model_cpu(&the_model.vm[1], 0) < 0);
        the_model.observe_fails = false;
        wait_for(event, the_link.n_asked_full > 0);
        must(now_ms() - start_ms >= RETRY_MS - 1);
        wait_for(event, model_cpu(&the_model.vm[1], 0) >= 0);
}

static void test_failed_round_is_tried_again(void **state) {
        (void)state;
        serve(a_round_fails);
}

/* Rounds fail at each event, many times until one is tried again. */
static void fail_amid_events(sd_event *event) {
        int64_t until_ms = now_ms() + PATIENCE_MS;

        the_link.n_asked_full = 0;
        the_model.observe_fails = true;
        while (the_link.n_asked_full == 0) {
                must(now_ms() < until_ms);
                event_and_round(event);
                turn(event);
        }
        event_and_round(event); /* that one fails, too */
        the_model.observe_fails = false;
}

static void rounds_fail_amid_events(sd_event *event) {
        settle(event);
        fail_amid_events(event);
}

static void test_events_do_not_put_off_the_next_try(void **state) {
        (void)state;
        serve(rounds_fail_amid_events);
}

/* The next try is half a minute away when all is well again, and then not. */
static void rounds_fail_again(sd_event *event) {
        settle(event);
        fail_amid_events(event);
        event_and_round(event);
        settle(event);
        fail_amid_events(event);
}

static void test_next_try_is_brought_forward(void **state) {
        (void)state;
        serve(rounds_fail_again);
}

/* Sends a call of ours that has no parameters. Returns the connection. */
static int ask(const char *method) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char text[128];
        int n = snprintf(text, sizeof(text), "{\"method\":\"io.vsched.Daemon.%s\"}", method);

        snprintf(address.sun_path, sizeof(address.sun_path), "%s/vas.sock", directory);
        must(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
        must(send(fd, text, (size_t)n + 1, MSG_NOSIGNAL) == n + 1);
        return fd;
}

enum { ANSWER_SIZE = 16384 };

static void take_answer(sd_event *event, int fd, char ret[ANSWER_SIZE]) {
        ssize_t n;

        wait_for(event, (n = recv(fd, ret, ANSWER_SIZE - 1, MSG_DONTWAIT)) > 0);
        ret[n] = '\0';
        close(fd);
}

static void must_be_answered(sd_event *event, int fd, const char *expected) {
        char text[ANSWER_SIZE];

        take_answer(event, fd, text);
        must(strcmp(text, expected) == 0);
}

static void must_have_happened(sd_event *event, const char *first, const char *then) {
        char text[ANSWER_SIZE];

        take_answer(event, ask("GetEvents"), text);
        must(strstr(text, first) && strstr(strstr(text, first), then));
}

static void resume_amid_recover(sd_event *event) {
        int recover, resume;

        settle(event);
        the_link.silent = true;
        recover = ask("Recover");
        wait_for(event, the_link.n_asked_full > 0);
        resume = ask("Resume"); /* before libvirt has answered, or a second has passed */
        must_be_answered(event, recover, "{\"parameters\":{\"restored\":4,\"failed\":0}}");
        must(model_cpu(&the_model.vm[0], 0) < 0);
        the_link.silent = false;
        model_event();
        must_be_answered(event, resume, "{\"parameters\":{}}");
        must_have_happened(event, "recovered: 4 threads", "resumed");
        wait_for(event, model_cpu(&the_model.vm[0], 0) >= 0);
}

static void test_who_resumes_amid_a_recover_has_the_last_word(void **state) {
        (void)state;
        serve(resume_amid_recover);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_failed_round_is_tried_again),
                cmocka_unit_test(test_events_do_not_put_off_the_next_try),
                cmocka_unit_test(test_next_try_is_brought_forward),
                cmocka_unit_test(test_who_resumes_amid_a_recover_has_the_last_word),
        };
        sigset_t taken;

        sigemptyset(&taken);
        sigaddset(&taken, SIGTERM);
        sigaddset(&taken, SIGINT);
        sigaddset(&taken, SIGHUP);
        sigprocmask(SIG_BLOCK, &taken, NULL);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
