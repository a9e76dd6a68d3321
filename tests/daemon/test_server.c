/* SPDX-License-Identifier: Apache-2.0 */

/*
 * When the running service looks again, and what it asks libvirt for: over a
 * modelled host (model_service.h), with its real event loop, in real time. Each
 * test is what happens between the service's start and its end.
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
#include <unistd.h>

#include <cmocka.h>

#include "daemon/server.h"
#include "model_service.h"

enum { NEVER_S = 3600, PATIENCE_MS = 20000 };

static void (*script)(sd_event *event);
static char directory[32];

int __wrap_sd_event_loop(sd_event *event);

/* In place of the loop of the running service. */
int __wrap_sd_event_loop(sd_event *event) {
        script(event);
        return 0;
}

static int64_t now_ms(void) {
        return server_now(NULL) / 1000000;
}

/* Lets the service run for so long, or until that many lists were asked for in full. Returns how long that was. */
static int64_t run(sd_event *event, int64_t ms, unsigned until_n_full) {
        int64_t start = now_ms();

        while (now_ms() - start < ms && the_link.n_asked_full < until_n_full)
                assert_true(sd_event_run(event, 10000) >= 0);
        return now_ms() - start;
}

static void serve(void (*what_happens)(sd_event *event)) {
        char config[64], left[64];
        static const char *const leaves[] = {"state.json", "lock", "vas.sock"};
        Options options = {.command = COMMAND_START, .config = config, .persisted = config};
        static Settings settings;

        strcpy(directory, "/tmp/vsched-server-XXXXXX");
        assert_non_null(mkdtemp(directory));
        snprintf(config, sizeof(config), "%s/vas.conf", directory);
        settings_defaults(&settings);
        settings.act = true;
        settings.interval_ns = NEVER_S * INT64_C(1000000000);
        strcpy(settings.runtime_dir, directory);
        model_init(&the_model, 4, 4);
        model_start(&the_model, "web1", 4, 0, 15);
        script = what_happens;
        assert_int_equal(server_run(&options, &settings), EXIT_SUCCESS);
        close(the_link.notify_fd);
        for (unsigned i = 0; i < sizeof(leaves) / sizeof(*leaves); i++) {
                snprintf(left, sizeof(left), "%s/%s", directory, leaves[i]);
                assert_true(unlink(left) == 0 || errno == ENOENT);
        }
        assert_int_equal(rmdir(directory), 0);
}

static void settle(sd_event *event) {
        run(event, 200, UINT32_MAX);
        the_link.n_asked_full = 0;
}

static void a_round_fails(sd_event *event) {
        int64_t ms;

        settle(event);
        assert_true(model_cpu(&the_model.vm[0], 0) >= 0);
        model_start(&the_model, "web2", 2, 0, 15);
        the_model.observe_fails = true;
        model_event();
        run(event, 100, UINT32_MAX);
        assert_int_equal(model_cpu(&the_model.vm[1], 0), -1);
        the_model.observe_fails = false;
        ms = run(event, PATIENCE_MS, 1);
        assert_in_range(ms, RETRY_MS / 2, PATIENCE_MS - 1);
        run(event, 100, UINT32_MAX);
        assert_true(model_cpu(&the_model.vm[1], 0) >= 0);
}

static void test_failed_round_is_tried_again(void **state) {
        (void)state;
        serve(a_round_fails);
}

/* Rounds fail at each event, many times until one is tried again. */
static void fail_amid_events(sd_event *event) {
        int64_t start = now_ms();

        the_link.n_asked_full = 0;
        the_model.observe_fails = true;
        while (the_link.n_asked_full == 0 && now_ms() - start < PATIENCE_MS) {
                model_event();
                run(event, 20, 1);
        }
        assert_int_equal(the_link.n_asked_full, 1);
        run(event, 20, UINT32_MAX);
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
        model_event();
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
        assert_true(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
        assert_int_equal(send(fd, text, (size_t)n + 1, MSG_NOSIGNAL), n + 1);
        return fd;
}

/* What was answered until now. */
static void assert_answer(int fd, const char *expected) {
        char text[1024] = "";

        assert_true(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT) > 0);
        assert_string_equal(text, expected);
        close(fd);
}

static void resume_amid_recover(sd_event *event) {
        int recover, resume;

        settle(event);
        the_link.silent = true;
        recover = ask("Recover");
        run(event, 100, UINT32_MAX);
        assert_true(model_cpu(&the_model.vm[0], 0) >= 0); /* it waits for libvirt */
        resume = ask("Resume");
        run(event, 100, UINT32_MAX);
        assert_int_equal(model_cpu(&the_model.vm[0], 0), -1);
        assert_answer(recover, "{\"parameters\":{\"restored\":4,\"failed\":0}}");
        the_link.silent = false;
        model_event();
        run(event, 200, UINT32_MAX);
        assert_answer(resume, "{\"parameters\":{}}");
        assert_true(model_cpu(&the_model.vm[0], 0) >= 0);
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
