/* SPDX-License-Identifier: Apache-2.0 */

#include "util/utf8.h"

/* What the first byte says: how many bytes there are, and its own bits of the
 * character. 0: no character starts so. */
static size_t first_byte(unsigned char byte, uint32_t *ret_bits) {
        size_t length = byte < 0x80   ? 1
                        : byte < 0xc2 ? 0
                        : byte < 0xe0 ? 2
                        : byte < 0xf0 ? 3
                        : byte < 0xf5 ? 4
                                      : 0;
        static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};

        *ret_bits = byte & masks[length];
        return length;
}

size_t utf8_decode(const char *text, uint32_t *ret) {
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        uint32_t c;
        size_t length = first_byte((unsigned char)text[0], &c);

        /* The end of the text is no continuation, so this does not run past it. */
        for (size_t i = 1; i < length; i++) {
                if (((unsigned char)text[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | ((unsigned char)text[i] & 0x3f);
        }
        if (length == 0 || c < least[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
                return 0;
        *ret = c;
        return length;
}

bool character_deceives(uint32_t c) {
        return c == 0xad || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
               (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || c == 0x061c || (c >= 0xfff9 && c <= 0xfffb) ||
               (c >= 0xe0000 && c <= 0xe0fff);
}

bool character_commands(uint32_t c) {
        return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

void text_disarm(char *text) {
        while (*text) {
                uint32_t c;
                size_t length = utf8_decode(text, &c);
                bool harmless = length > 0 && !character_commands(c) && !character_deceives(c);

                for (size_t i = 0; i < (length ? length : 1); i++, text++)
                        if (!harmless)
                                *text = '?';
        }
}
