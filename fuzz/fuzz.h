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

/* The input as the only file that the process writes; its path. */
static inline const char *fuzz_file(const uint8_t *data, size_t size) {
        static char path[64];
        FILE *file;

        if (!*path) {
                snprintf(path, sizeof(path), "/tmp/vsched-fuzz-XXXXXX");
                int fd = mkstemp(path);
                must(fd >= 0);
                close(fd);
        }
        file = fopen(path, "we");
        must(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
        return path;
}
