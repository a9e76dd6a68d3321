/* SPDX-License-Identifier: Apache-2.0 */

/* Feeds the files named as arguments, or in the directories named, to a fuzz
 * target: the corpus as a test, without libFuzzer. */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "util/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path, unsigned *n) {
        AUTO_FCLOSE FILE *file = fopen(path, "re");
        AUTO_FREE uint8_t *data = NULL;
        struct stat st;

        if (!file || fstat(fileno(file), &st) < 0) {
                perror(path);
                return 1;
        }
        data = malloc(st.st_size > 0 ? (size_t)st.st_size : 1);
        if (!data || fread(data, 1, (size_t)st.st_size, file) != (size_t)st.st_size) {
                fprintf(stderr, "%s: can not be read\n", path);
                return 1;
        }
        LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
        (*n)++;
        return 0;
}

static int replay_path(const char *path, unsigned *n) {
        AUTO_CLOSEDIR DIR *dir = opendir(path);
        int failures = 0;

        if (!dir)
                return replay_file(path, n);
        for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
                AUTO_FREE char *inside = NULL;
                if (entry->d_name[0] == '.')
                        continue;
                if (asprintf(&inside, "%s/%s", path, entry->d_name) < 0) {
                        inside = NULL;
                        return failures + 1;
                }
                failures += replay_file(inside, n);
        }
        return failures;
}

int main(int argc, char **argv) {
        unsigned n = 0;
        int failures = 0;

        for (int i = 1; i < argc; i++)
                failures += replay_path(argv[i], &n);
        printf("TAP version 13\n1..1\n%s 1 - %u files replayed\n", failures || !n ? "not ok" : "ok", n);
        return failures || !n;
}
