/* SPDX-License-Identifier: Apache-2.0 */

/*
 * All that vasctl prints goes through here. VM names come from whoever may
 * define a VM, and a terminal obeys what it is shown: control characters, bytes
 * that are no text in this locale, and the characters that reverse or hide text
 * are spelled out, as \xNN or \u{NNNN}.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"
#include "util/utf8.h"

enum { ESCAPE_MAX = 16 };

/* Writes one character of *text, and steps over it. */
static int clean_one(const char **text, size_t length, mbstate_t *state, char *ret) {
        wchar_t c;
        size_t n = mbrtowc(&c, *text, length, state);

        if (n == 0 || n == (size_t)-1 || n == (size_t)-2) {
                memset(state, 0, sizeof(*state));
                return snprintf(ret, ESCAPE_MAX, "\\x%02x", (unsigned)(unsigned char)*(*text)++);
        }
        if (c == L'\\')
                strcpy(ret, "\\\\");
        else if (c < 0x20 || c == 0x7f)
                snprintf(ret, ESCAPE_MAX, "\\x%02x", (unsigned)c);
        else if (!iswprint((wint_t)c) || wcwidth(c) < 0 || character_deceives((uint32_t)c))
                snprintf(ret, ESCAPE_MAX, "\\u{%04x}", (unsigned)c);
        else {
                memcpy(ret, *text, n);
                ret[n] = '\0';
        }
        *text += n;
        return (int)strlen(ret);
}

char *text_clean(const char *text) {
        size_t length = strlen(text);
        char *clean = malloc(length * ESCAPE_MAX + ESCAPE_MAX), *end = clean;
        const char *stop = text + length;
        mbstate_t state = {};

        if (!clean)
                return NULL;
        *end = '\0';
        while (text < stop)
                end += clean_one(&text, (size_t)(stop - text), &state, end);
        return clean;
}

/* The bytes of clean that fit in width columns; *ret_width: what they take. */
static size_t text_fit(const char *clean, unsigned width, unsigned *ret_width) {
        size_t length = strlen(clean), used = 0;
        unsigned columns = 0;
        mbstate_t state = {};

        while (used < length) {
                wchar_t c;
                size_t n = mbrtowc(&c, clean + used, length - used, &state);
                int w = n == 0 || n > length ? 1 : wcwidth(c);

                if (n == 0 || n > length) {
                        memset(&state, 0, sizeof(state));
                        n = 1;
                }
                if (columns + (unsigned)(w < 0 ? 1 : w) > width)
                        break;
                columns += (unsigned)(w < 0 ? 1 : w);
                used += n;
        }
        *ret_width = columns;
        return used;
}

unsigned text_width(const char *clean) {
        unsigned width;

        text_fit(clean, UINT32_MAX / 2, &width);
        return width;
}

void text_cut(char *clean, unsigned width) {
        unsigned columns;
        size_t used;

        if (width == 0 || text_width(clean) <= width)
                return;
        used = text_fit(clean, width - 1, &columns);
        strcpy(clean + used, "~");
}

void print_clean(const char *text) {
        AUTO_FREE char *clean = text_clean(text);

        fputs(clean ? clean : "?", stdout);
}

char *text_format(const char *format, va_list args) {
        AUTO_FREE char *text = NULL;

        if (vasprintf(&text, format, args) < 0) {
                text = NULL;
                return NULL;
        }
        return text_clean(text);
}

static __attribute__((format(printf, 1, 0))) void complain_of(const char *format, va_list args) {
        AUTO_FREE char *clean = text_format(format, args);

        fflush(stdout);
        fprintf(stderr, "vasctl: %s\n", clean ? clean : "out of memory");
}

void complain(const char *format, ...) {
        va_list args;

        va_start(args, format);
        complain_of(format, args);
        va_end(args);
}

int fail(const Ctl *ctl, int status, const char *format, ...) {
        va_list args;

        if (!ctl->json)
                puts("Failed to execute command.");
        va_start(args, format);
        complain_of(format, args);
        va_end(args);
        return status;
}

int fail_answer(const Ctl *ctl, const Answer *answer) {
        return fail(ctl, answer->status, "%s", answer->why ? answer->why : "out of memory");
}

bool daemon_ask(const Ctl *ctl, const char *method, json_t *parameters, Answer *ret, int *ret_status) {
        daemon_call(ctl, method, parameters, ret);
        if (ret->status != EXIT_DONE && !ret->no_vms)
                *ret_status = fail_answer(ctl, ret);
        return *ret_status == EXIT_DONE;
}

const char *colour_start(const Ctl *ctl, Colour colour) {
        static const char *const codes[] = {
                [COLOUR_NONE] = "",         [COLOUR_BOLD] = "\033[1m",  [COLOUR_DIM] = "\033[2m",
                [COLOUR_GOOD] = "\033[32m", [COLOUR_WARN] = "\033[33m", [COLOUR_BAD] = "\033[31m",
        };

        return ctl->colour ? codes[colour] : "";
}

const char *colour_end(const Ctl *ctl, Colour colour) {
        return ctl->colour && colour != COLOUR_NONE ? "\033[0m" : "";
}

Colour verdict_colour(const char *verdict) {
        static const char *const warn[] = {"SPREAD", "SHARED", "LAYERED", "FOREIGN", "UNSEEN"};
        static const char *const bad[] = {"UNPLACEABLE", "CONTESTED"};

        if (strcmp(verdict, "PLACED") == 0)
                return COLOUR_GOOD;
        for (size_t i = 0; i < sizeof(warn) / sizeof(warn[0]); i++)
                if (strcmp(verdict, warn[i]) == 0)
                        return COLOUR_WARN;
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
                if (strcmp(verdict, bad[i]) == 0)
                        return COLOUR_BAD;
        return COLOUR_NONE;
}

/* The one control character that jansson leaves as it is. Only a string has it. */
static int print_json_part(const char *text, size_t length, void *userdata) {
        (void)userdata;
        for (size_t i = 0; i < length; i++)
                if ((text[i] == '\x7f' ? fputs("\\u007f", stdout) : putchar(text[i])) == EOF)
                        return -1;
        return 0;
}

void print_json(const json_t *value, bool compact) {
        /* ASCII alone: a raw C1 control in a name would reach the terminal. */
        size_t flags = JSON_ENSURE_ASCII | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15) |
                       (compact ? JSON_COMPACT : JSON_INDENT(2));

        if (value)
                json_dump_callback(value, print_json_part, NULL, flags);
        putchar('\n');
}

void print_wrapped(const Ctl *ctl, const char *first, const char *clean) {
        unsigned indent = text_width(first), column = indent;

        fputs(first, stdout);
        for (const char *word = clean; *word;) {
                size_t length = strcspn(word, " ");
                AUTO_FREE char *copy = strndup(word, length);
                unsigned width = copy ? text_width(copy) : (unsigned)length;

                if (column > indent && column + 1 + width > ctl->width) {
                        printf("\n%*s", (int)indent, "");
                        column = indent;
                } else if (column > indent) {
                        putchar(' ');
                        column++;
                }
                fwrite(word, 1, length, stdout);
                column += width;
                word += length;
                word += strspn(word, " ");
        }
        putchar('\n');
}
