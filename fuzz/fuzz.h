/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the fuzz targets share. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An assertion that no build leaves out. */
static inline void must(bool is_true) {
        if (!is_true)
                abort();
}

/* The input as text; it may have NULs inside. To be freed. */
static inline char *fuzz_text(const uint8_t *data, size_t size) {
        char *text = malloc(size + 1);

        must(text != NULL);
        memcpy(text, data, size);
        text[size] = '\0';
        return text;
}

/* Something is said, within its buffer; whoever prints it disarms it. */
static inline void must_say_why(const char *why, size_t size) {
        must(*why && memchr(why, '\0', size));
}

static char fuzz_path[64];

static inline void fuzz_file_remove(void) {
        unlink(fuzz_path);
}

/* The input as the only file that the process writes; its path. */
static inline const char *fuzz_file(const uint8_t *data, size_t size) {
        FILE *file;

        if (!*fuzz_path) {
                snprintf(fuzz_path, sizeof(fuzz_path), "/tmp/vsched-fuzz-XXXXXX");
                int fd = mkstemp(fuzz_path);
                must(fd >= 0);
                close(fd);
                atexit(fuzz_file_remove);
        }
        file = fopen(fuzz_path, "we");
        must(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
        return fuzz_path;
}
