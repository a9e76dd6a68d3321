/* SPDX-License-Identifier: Apache-2.0 */

/*
 * events: what happened, a line for each event where the output goes to a program
 * and lines that are filled word by word on a terminal. Followed, each line is out
 * before the next one is waited for.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"

enum { FOLLOW_LAST = 10 };

static Colour event_colour(const char *kind) {
        static const char *const bad[] = {"contested", "write_failed", "trouble"};
        static const char *const warn[] = {"paused", "recovered", "repaired"};

        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
                if (strcmp(kind, bad[i]) == 0)
                        return COLOUR_BAD;
        for (size_t i = 0; i < sizeof(warn) / sizeof(warn[0]); i++)
                if (strcmp(kind, warn[i]) == 0)
                        return COLOUR_WARN;
        return COLOUR_NONE;
}

static void print_event(const Ctl *ctl, const json_t *event) {
        Colour colour = event_colour(get_string(event, "kind"));
        const char *name = get_string(event, "name");
        AUTO_FREE char *who = text_clean(name), *what = text_clean(get_string(event, "text")), *line = NULL;
        char when[TIME_TEXT_SIZE];

        time_text(event_time(event), "%Y-%m-%d %H:%M:%S  ", when);
        if (!who || !what || asprintf(&line, "%s%s%s", who, *who ? ": " : "", what) < 0) {
                line = NULL;
                return;
        }
        fputs(colour_start(ctl, colour), stdout);
        if (ctl->terminal)
                print_wrapped(ctl, when, line);
        else
                printf("%s%s\n", when, line);
        fputs(colour_end(ctl, colour), stdout);
}

static void print_lost(const Ctl *ctl, long long lost) {
        if (lost > 0)
                printf("%s(lost %lld event%s)%s\n", colour_start(ctl, COLOUR_WARN), lost,
                       plural(lost), colour_end(ctl, COLOUR_WARN));
}

static void print_events(const Ctl *ctl, const json_t *reply) {
        const json_t *event;
        size_t i;

        print_lost(ctl, get_number(reply, "lost"));
        json_array_foreach (json_object_get(reply, "events"), i, event)
                print_event(ctl, event);
}

/* One object a line: an event, or {"lost": N}. */
static void print_event_lines(const json_t *reply) {
        json_t *lost = json_object_get(reply, "lost");
        const json_t *event;
        size_t i;

        if (json_integer_value(lost) > 0) {
                json_t *line = json_pack("{sO}", "lost", lost);

                print_json(line, true);
                json_decref(line);
        }
        json_array_foreach (json_object_get(reply, "events"), i, event)
                print_json(event, true);
}

static int follow(const Ctl *ctl, json_t *parameters) {
        Answer answer = {};
        Stream *stream = daemon_follow(ctl, "GetEvents", parameters, &answer);
        bool answered = false;
        int status;

        while (stream && (stream_next(stream, &answer), answer.status == EXIT_DONE)) {
                if (ctl->json)
                        print_event_lines(answer.parameters);
                else
                        print_events(ctl, answer.parameters);
                answer_done(&answer);
                answered = true;
                if (fflush(stdout) != 0 || ferror(stdout))
                        break; /* main says so */
        }
        status = answer.status;
        if (status != EXIT_DONE && answered)
                complain("%s", answer.why ? answer.why : "out of memory");
        else if (status != EXIT_DONE)
                fail_answer(ctl, &answer);
        answer_done(&answer);
        stream_close(stream);
        return status;
}

static int show(const Ctl *ctl, json_t *parameters) {
        Answer answer;
        int status;

        daemon_call(ctl, "GetEvents", parameters, &answer);
        status = answer.status;
        if (status != EXIT_DONE)
                fail_answer(ctl, &answer);
        else if (ctl->json)
                print_json(answer.parameters, false);
        else
                print_events(ctl, answer.parameters);
        answer_done(&answer);
        return status;
}

static bool take_last(const char *text, long *ret) {
        char *end;

        errno = 0;
        long n = strtol(text, &end, 10);
        if (*text < '0' || *text > '9' || *end || errno || n > 1000000)
                return false;
        *ret = n;
        return true;
}

int run_events(Ctl *ctl, int argc, char **argv) {
        const char *last = NULL;
        bool following = false;
        const Option options[] = {{"-f", "--follow", NULL, &following}, {"-n", "--last", &last, NULL}};
        json_t *parameters = json_object();
        long n = FOLLOW_LAST;
        size_t n_words;
        int status = options_parse(ctl, argc, argv, options, 2, NULL, 0, &n_words);

        if (status == EXIT_DONE && last && !take_last(last, &n))
                status = fail(ctl, EXIT_USAGE, "--last wants a number from 0 to 1000000, not '%s'", last);
        if (status != EXIT_DONE) {
                json_decref(parameters);
                return status;
        }
        if (last || following)
                json_object_set_new(parameters, "last", json_integer(n));
        return following ? follow(ctl, parameters) : show(ctl, parameters);
}
