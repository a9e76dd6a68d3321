/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the shells offer at the tab key. Their completion files hold nothing but
 * a question, "vasctl --complete WORD...", the last word being the one to be
 * completed; the answer comes from the text that --help prints (verbs.c), so
 * the two can not disagree and a new verb needs no second place. Read of it:
 *
 *   VM|all               the words of a usage line, each a literal or, in
 *                        capitals, a kind of value
 *   [--dry-run] [-n N]   an option, with its value; a flag stands in brackets
 *   -s|--scope all|NAME  the same without brackets takes the next word as value
 *   "  -n, --last N   .."  a line of the details that starts with an option: it
 *                        ends at the first two blanks
 *
 * Each answer is a line, followed by a tab and a description where there is one.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"

enum { PATIENCE_S = 2 }; /* for the daemon, while somebody looks at a silent prompt */

/* A part of a longer text. */
typedef struct Span {
        const char *text;
        size_t length;
} Span;

typedef struct Completion {
        const Ctl *ctl;
        Span prefix; /* what the shell wants back in front of each answer, like "--scope=" */
        Span begun; /* what the answers start with */
        int status;
} Completion;

static Span span_of(const char *text) {
        return (Span){text, strlen(text)};
}

static bool span_is(Span span, const char *text) {
        return span.length == strlen(text) && memcmp(span.text, text, span.length) == 0;
}

static bool span_starts(Span span, char c) {
        return span.length > 0 && span.text[0] == c;
}

static Span span_behind(Span span, size_t n) {
        return (Span){span.text + n, span.length - n};
}

/* How many characters come before the first of these. */
static size_t span_until(Span span, const char *characters) {
        size_t n = 0;

        while (n < span.length && !strchr(characters, span.text[n]))
                n++;
        return n;
}

/* --- the help's text --- */

/* Takes the next name off an option's text; what is left in the end is its value. */
static bool option_next_name(Span *option, Span *ret) {
        if (!span_starts(*option, '-'))
                return false;
        *ret = (Span){option->text, span_until(*option, " ,|")};
        *option = span_behind(*option, ret->length);
        while (option->length > 0 && strchr(" ,|", option->text[0]))
                *option = span_behind(*option, 1);
        return true;
}

/* Whether the option has that name; if so, its value. */
static bool option_match(Span option, Span name, Span *ret_value) {
        bool found = false;
        Span one;

        while (option_next_name(&option, &one))
                found = found || (one.length == name.length && memcmp(one.text, name.text, one.length) == 0);
        if (found)
                *ret_value = option;
        return found;
}

/* Up to the bracket that closes the first one. */
static size_t bracket_length(Span span) {
        size_t n = 0;
        unsigned depth = 0;

        do
                depth += (span.text[n] == '[') - (span.text[n] == ']');
        while (++n < span.length && depth > 0);
        return n;
}

/* Takes the next item, an option with its value or another word, off a usage line. */
static bool usage_next(Span *usage, Span *ret) {
        size_t n;

        while (span_starts(*usage, ' '))
                *usage = span_behind(*usage, 1);
        if (usage->length == 0)
                return false;
        if (span_starts(*usage, '[')) {
                n = bracket_length(*usage);
                *ret = (Span){usage->text + 1, n >= 2 ? n - 2 : 0};
        } else {
                n = span_until(*usage, " ");
                if (span_starts(*usage, '-') && n < usage->length)
                        n += 1 + span_until(span_behind(*usage, n + 1), " ");
                *ret = (Span){usage->text, n};
        }
        *usage = span_behind(*usage, n);
        return true;
}

/* Takes lines off the details up to one that starts with an option. */
static bool details_next(Span *details, Span *ret) {
        while (details->length > 0) {
                Span line = {details->text, span_until(*details, "\n")};

                *details = span_behind(*details, line.length + (line.length < details->length));
                if (line.length < 4 || memcmp(line.text, "  -", 3) != 0)
                        continue;
                line = span_behind(line, 2);
                for (size_t i = 0; i + 1 < line.length; i++)
                        if (line.text[i] == ' ' && line.text[i + 1] == ' ')
                                line.length = i;
                *ret = line;
                return true;
        }
        return false;
}

/* --- the answers --- */

static void offer(const Completion *completion, Span word, const char *description) {
        const Span *begun = &completion->begun;

        if (word.length < begun->length || memcmp(word.text, begun->text, begun->length) != 0)
                return;
        printf("%.*s%.*s%s%s\n", (int)completion->prefix.length, completion->prefix.text, (int)word.length,
               word.text, description ? "\t" : "", description ? description : "");
}

/* One member of each object of the answer's only array. What a terminal would
 * obey, or a line can not hold, is not offered. */
static void offer_of_daemon(const Completion *completion, const char *method, json_t *parameters,
                            const char *array, const char *member) {
        const json_t *object;
        Answer answer;
        size_t i;

        alarm(PATIENCE_S);
        daemon_call(completion->ctl, method, parameters, &answer);
        alarm(0);
        json_array_foreach (json_object_get(answer.parameters, array), i, object) {
                const char *text = get_string(object, member);
                AUTO_FREE char *clean = text_clean(text);

                if (*text && clean && strcmp(clean, text) == 0)
                        offer(completion, span_of(text), NULL);
        }
        answer_done(&answer);
}

static void offer_value(Completion *completion, Span kind) {
        if (span_is(kind, "VM") || span_is(kind, "NAME"))
                offer_of_daemon(completion, "ListVms", json_pack("{ss,sb}", "scope", "all", "detail", 0),
                                "vms", "name");
        else if (span_is(kind, "KEY"))
                offer_of_daemon(completion, "GetSettings", NULL, "settings", "key");
        else if (kind.length >= 4 && (memcmp(kind.text, "FILE", 4) == 0 || memcmp(kind.text, "PATH", 4) == 0))
                completion->status = COMPLETE_FILE;
        else if (span_is(kind, "POLICY")) {
                offer(completion, span_of("static"), NULL);
                offer(completion, span_of("dynamic"), NULL);
                offer(completion, span_of("cluster"), NULL);
        } else if (kind.length > 0 && kind.text[0] >= 'a' && kind.text[0] <= 'z')
                offer(completion, kind, NULL);
}

/* "VM|all" */
static void offer_values(Completion *completion, Span kinds) {
        while (kinds.length > 0) {
                size_t n = span_until(kinds, "|");

                offer_value(completion, (Span){kinds.text, n});
                kinds = span_behind(kinds, n + (n < kinds.length));
        }
}

/* --- a verb's words --- */

static Span common_options(const Verb *verb) {
        return span_of(verb->query ? "[--json] [--socket PATH] [-h|--help]" : "[--socket PATH] [-h|--help]");
}

/* Whether the details tell of the option of that name. */
static bool details_find(const Verb *verb, Span name, Span *ret_value) {
        Span details = span_of(verb->details ? verb->details : ""), item;

        while (details_next(&details, &item))
                if (option_match(item, name, ret_value))
                        return true;
        return false;
}

/* The value of the option of that name; empty: a flag, or unknown. */
static Span option_value(const Verb *verb, Span name) {
        Span usage = span_of(verb->arguments), common = common_options(verb), item, value = {};

        if (details_find(verb, name, &value))
                return value;
        while (usage_next(&usage, &item) || usage_next(&common, &item))
                if (option_match(item, name, &value))
                        return value;
        return value;
}

static void offer_options(const Completion *completion, const Verb *verb) {
        Span details = span_of(verb->details ? verb->details : ""), usage = span_of(verb->arguments);
        Span common = common_options(verb), item, name, value;

        while (details_next(&details, &item))
                while (option_next_name(&item, &name))
                        offer(completion, name, NULL);
        while (usage_next(&usage, &item) || usage_next(&common, &item))
                while (option_next_name(&item, &name))
                        if (!details_find(verb, name, &value))
                                offer(completion, name, NULL);
}

/* What the usage line says of its n-th word that is no option. */
static void offer_word(Completion *completion, const Verb *verb, size_t n) {
        Span usage = span_of(verb->arguments), item;

        while (usage_next(&usage, &item))
                if (!span_starts(item, '-') && n-- == 0)
                        offer_values(completion, item);
}

static void complete_verb(Completion *completion, const Verb *verb, const Span *words, size_t n_words) {
        bool only_words = false;
        size_t n_taken = 0;

        for (size_t i = 0; i < n_words; i++) {
                Span value = {};

                if (!only_words && span_is(words[i], "--"))
                        only_words = true;
                else if (only_words || !span_starts(words[i], '-'))
                        n_taken++;
                else
                        value = option_value(verb, words[i]);
                if (value.length > 0 && ++i == n_words) {
                        offer_values(completion, value);
                        return;
                }
        }
        if (only_words || !span_starts(completion->begun, '-'))
                offer_word(completion, verb, n_taken);
        if (!only_words && completion->status != COMPLETE_FILE)
                offer_options(completion, verb);
}

/* --- up to the verb --- */

static void offer_verbs(const Completion *completion) {
        const char *const options[] = {"-h", "--help", "--version", "--socket"};
        const char *group = "";

        for (size_t i = 0; i < n_verbs; i++)
                if (!verbs[i].group)
                        offer(completion, span_of(verbs[i].name), verbs[i].summary);
        for (size_t i = 0; i < n_verbs; i++)
                if (verbs[i].group && strcmp(verbs[i].group, group) != 0) {
                        group = verbs[i].group;
                        if (strcmp(group, "set") != 0) /* a verb of our own as well */
                                offer(completion, span_of(group), "as VSched documents it");
                }
        for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
                offer(completion, span_of(options[i]), NULL);
}

static const Verb *verb_of(const char *group, Span name) {
        for (size_t i = 0; i < n_verbs; i++)
                if (span_is(name, verbs[i].name) &&
                    (group ? verbs[i].group && strcmp(verbs[i].group, group) == 0 : !verbs[i].group))
                        return &verbs[i];
        return NULL;
}

/* The verbs of a group, where the first word is one. */
static const char *group_of(const Completion *completion, Span word, bool tell) {
        const char *group = NULL;

        for (size_t i = 0; i < n_verbs; i++)
                if (verbs[i].group && span_is(word, verbs[i].group)) {
                        group = verbs[i].group;
                        if (tell)
                                offer(completion, span_of(verbs[i].name), verbs[i].summary);
                }
        return group;
}

static void complete_words(Completion *completion, const Span *words, size_t n_words) {
        const char *group;
        const Verb *verb;

        if (n_words == 0) {
                offer_verbs(completion);
                return;
        }
        group = group_of(completion, words[0], n_words == 1);
        verb = group && n_words > 1 ? verb_of(group, words[1]) : NULL;
        if (verb)
                complete_verb(completion, verb, words + 2, n_words - 2);
        else if ((verb = verb_of(NULL, words[0])) != NULL)
                complete_verb(completion, verb, words + 1, n_words - 1);
}

/* Options in front of the verb. */
static void complete(Completion *completion, const Span *words, size_t n_words) {
        size_t i = 0;

        while (i < n_words && span_starts(words[i], '-')) {
                if (!span_is(words[i++], "--socket"))
                        continue;
                if (i == n_words) {
                        completion->status = COMPLETE_FILE;
                        return;
                }
                i++;
        }
        complete_words(completion, words + i, n_words - i);
}

/* The socket that the line names: the last one. */
static void take_socket(Ctl *ctl, const Span *words, size_t n_words) {
        for (size_t i = 0; i + 1 < n_words; i++)
                if (span_is(words[i], "--socket"))
                        ctl->socket = words[i + 1].text;
}

/*
 * "--opt=value" is one word for zsh and three for bash ("--opt", "=", "value"):
 * both become two. What is begun comes last; there is always such a word.
 */
static size_t words_split(int argc, char **argv, Completion *completion, Span *words) {
        size_t n = 0;

        for (int i = 0; i < argc; i++) {
                Span word = span_of(argv[i]);
                size_t name = span_until(word, "=");
                bool option = span_starts(word, '-'), after_option = n > 0 && span_starts(words[n - 1], '-');

                if (span_is(word, "=") && after_option) {
                        if (i + 1 == argc)
                                words[n++] = span_behind(word, 1);
                } else if (option && name < word.length) {
                        words[n++] = (Span){word.text, name};
                        words[n++] = span_behind(word, name + 1);
                        if (i + 1 == argc)
                                completion->prefix = (Span){word.text, name + 1};
                } else
                        words[n++] = word;
        }
        return n;
}

int complete_line(Ctl *ctl, int argc, char **argv) {
        Completion completion = {.ctl = ctl, .prefix = {"", 0}, .begun = {"", 0}, .status = EXIT_DONE};
        AUTO_FREE Span *words = calloc(2 * (size_t)argc + 1, sizeof(*words));
        size_t n;

        if (!words)
                return EXIT_DONE; /* nothing to offer, and no place to say so */
        n = words_split(argc, argv, &completion, words);
        if (n > 0)
                completion.begun = words[--n];
        take_socket(ctl, words, n);
        complete(&completion, words, n);
        return completion.status;
}
