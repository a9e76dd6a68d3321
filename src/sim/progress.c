/* SPDX-License-Identifier: Apache-2.0 */

#include "sim/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_WIDTH = 40 };

void progress_begin(Progress *ret) {
        *ret = (Progress){.shown = isatty(STDERR_FILENO), .percent = 101};
}

void progress_show(Progress *progress, const char *what, uint32_t done, uint32_t all) {
        unsigned percent = all ? (unsigned)((uint64_t)done * 100 / all) : 100;
        char bar[BAR_WIDTH + 1];

        if (!progress->shown || percent == progress->percent)
                return;
        progress->percent = percent;
        memset(bar, ' ', BAR_WIDTH);
        memset(bar, '=', percent * BAR_WIDTH / 100);
        bar[BAR_WIDTH] = '\0';
        fprintf(stderr, "\r%-11s [%s] %3u %%", what, bar, percent);
}

void progress_end(Progress *progress) {
        if (progress->shown && progress->percent <= 100)
                fprintf(stderr, "\r\033[K");
}
