/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Text from outside: which bytes are characters, and which characters may be
 * shown as they are. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes of the character at text, at most 4; *ret: which one. 0, with *ret
 * untouched: these bytes are no UTF-8. The NUL is a character of one byte. */
size_t utf8_decode(const char *text, uint32_t *ret);

/* Whether it is invisible or changes how the text around it looks, so that what
 * is read is not what is there. */
bool character_deceives(uint32_t c);

/* Whether a terminal takes it as a command, in its 7-bit or its 8-bit form. */
bool character_commands(uint32_t c);

/* Replaces what commands or deceives, and bytes that are no UTF-8, by '?': no text
 * can forge a second line or drive a terminal. */
void text_disarm(char *text);
