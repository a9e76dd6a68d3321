/* SPDX-License-Identifier: Apache-2.0 */

/* Pieces of the lines that status and top have in common. */

#include "ctl/ctl.h"

enum { BAR_WIDTH = 20 };

void print_label(const Ctl *ctl, const char *text) {
        printf("%s%-*s%s", colour_start(ctl, COLOUR_BOLD), LABEL_WIDTH, text, colour_end(ctl, COLOUR_BOLD));
}

void print_bar(const Ctl *ctl, long long part, long long whole) {
        long long filled = whole > 0 ? (part * BAR_WIDTH + whole - 1) / whole : 0;

        printf("%s", colour_start(ctl, COLOUR_GOOD));
        for (long long i = 0; i < BAR_WIDTH; i++) {
                if (i == filled)
                        printf("%s%s", colour_end(ctl, COLOUR_GOOD), colour_start(ctl, COLOUR_DIM));
                putchar(i < filled ? '#' : '.');
        }
        printf("%s", colour_end(ctl, COLOUR_DIM));
}
