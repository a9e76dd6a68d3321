/* SPDX-License-Identifier: Apache-2.0 */

/* Text from outside, and the log lines that it ends up in. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/log.h"
#include "util/utf8.h"

/* Every character, by another way than the decoder's. */
static size_t encode(uint32_t c, char ret[5]) {
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};

        for (size_t i = n; i-- > 1; c >>= 6)
                ret[i] = (char)(0x80 | (c & 0x3f));
        ret[0] = (char)(first[n] | c);
        ret[n] = '\0';
        return n;
}

static void every_character_is_read_back(void **state) {
        char text[5];

        (void)state;
        for (uint32_t c = 0; c < 0x110000; c++) {
                uint32_t found = UINT32_MAX;
                size_t length = encode(c, text);

                if (c >= 0xd800 && c < 0xe000)
                        length = 0;
                if (utf8_decode(text, &found) != length || found != (length ? c : UINT32_MAX))
                        fail_msg("U+%04X", c);
        }
}

static void bytes_that_are_no_text(void **state) {
        static const char *const wrong[] = {"\x80",
                                            "\xbf",
                                            "\xc0\x80",
                                            "\xc1\xbf",
                                            "\xc3",
                                            "\xc3(",
                                            "\xe0\x9f\xbf",
                                            "\xe2\x80",
                                            "\xe2(\xa0",
                                            "\xed\xa0\x80",
                                            "\xf0\x80\x80\x80",
                                            "\xf4\x90\x80\x80",
                                            "\xf5\x80\x80\x80",
                                            "\xff"};
        uint32_t found = 7;

        (void)state;
        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                assert_int_equal(utf8_decode(wrong[i], &found), 0);
        assert_int_equal(found, 7);
}

static void commands_and_deceit_are_known(void **state) {
        (void)state;
        assert_true(character_commands(0x1b) && character_commands('\n') && character_commands(0x7f) &&
                    character_commands(0x9b) && character_commands(0));
        assert_false(character_commands(' ') || character_commands(0xa0) || character_commands(0x4e2d));
        assert_true(character_deceives(0x202e) && character_deceives(0x2066) && character_deceives(0xfeff));
        assert_false(character_deceives('a') || character_deceives(0x2014) || character_deceives(0x1f4bb));
}

static void assert_disarmed(const char *text, const char *wanted) {
        char copy[256];

        snprintf(copy, sizeof(copy), "%s", text);
        text_disarm(copy);
        assert_string_equal(copy, wanted);
}

static void text_is_disarmed(void **state) {
        (void)state;
        assert_disarmed("", "");
        assert_disarmed("plain \xe4\xb8\xad\xf0\x9f\x92\xbb", "plain \xe4\xb8\xad\xf0\x9f\x92\xbb");
        assert_disarmed("a\033[2J\r\n\tb\x7f", "a?[2J???b?");
        assert_disarmed("a\xc2\x9b"
                        "2J",
                        "a??2J");
        assert_disarmed("a\x9b"
                        "2J\xff",
                        "a?2J?");
        assert_disarmed("a\xe2\x80\xae"
                        "b\xe2\x80",
                        "a???b??");
}

/* What a log line of that name writes to stderr. */
static void logged(const char *name, char *ret, size_t size) {
        FILE *file = tmpfile();
        int before = dup(STDERR_FILENO);
        size_t n;

        assert_true(file && before >= 0);
        fflush(stderr);
        dup2(fileno(file), STDERR_FILENO);
        log_error("VM %s: PLACED", name);
        fflush(stderr);
        dup2(before, STDERR_FILENO);
        close(before);
        rewind(file);
        n = fread(ret, 1, size - 1, file);
        ret[n] = '\0';
        fclose(file);
}

static void a_line_stays_one_line(void **state) {
        char line[8192], longest[6000];

        (void)state;
        unsetenv("JOURNAL_STREAM");
        log_set_program("test");
        logged("a\nvas-daemon: b\033[2J\xc2\x9d", line, sizeof(line));
        assert_string_equal(line, "test: VM a?vas-daemon: b?[2J??: PLACED\n");
        for (size_t i = 0; i + 1 < sizeof(longest); i++)
                longest[i] = "\xe2\x80\xae"[i % 3];
        longest[sizeof(longest) - 1] = '\0';
        logged(longest, line, sizeof(line));
        assert_true(strlen(line) < sizeof(longest));
        for (const char *c = line; *c; c++)
                assert_true((*c >= ' ' && *c < 0x7f) || (*c == '\n' && !c[1]));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_character_is_read_back),  cmocka_unit_test(bytes_that_are_no_text),
                cmocka_unit_test(commands_and_deceit_are_known), cmocka_unit_test(text_is_disarmed),
                cmocka_unit_test(a_line_stays_one_line),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
