/* SPDX-License-Identifier: Apache-2.0 */

/*
 * capture: the daemon tells, and who asked writes the file, with their own rights
 * and for their eyes alone. Whoever reads it finds a whole capture or none.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"

/* Writes the capture and takes the descriptor over. 0 or -errno. */
static int dump(int fd, const json_t *capture) {
        AUTO_FCLOSE FILE *file = fdopen(fd, "w");

        if (!file) {
                close(fd);
                return -errno;
        }
        errno = 0;
        if (json_dumpf(capture, file, JSON_ENSURE_ASCII | JSON_COMPACT) < 0 || fputc('\n', file) == EOF ||
            fflush(file) != 0 || fsync(fd) < 0)
                return errno ? -errno : -EIO;
        return 0;
}

/* 0 or -errno; what is there stays as it is then. */
static int write_file(const char *path, const json_t *capture) {
        AUTO_FREE char *temporary = NULL;
        struct stat st;
        int fd, r;

        if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
                return -EEXIST;
        if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
                temporary = NULL;
                return -ENOMEM;
        }
        fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
        if (fd < 0)
                return -errno;
        r = dump(fd, capture);
        if (r == 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0)
                unlink(temporary);
        return r;
}

static int save(const Ctl *ctl, const char *path, const json_t *capture) {
        const json_t *vms = json_object_get(json_object_get(capture, "snapshot"), "vms");
        size_t n = json_array_size(vms);
        int r;

        if (!json_is_array(vms))
                return fail(ctl, EXIT_FAILED, "the daemon's answer is no capture");
        r = write_file(path, capture);
        if (r == -EEXIST)
                return fail(ctl, EXIT_FAILED, "%s is there and is no plain file", path);
        if (r < 0)
                return fail(ctl, EXIT_FAILED, "%s can not be written: %s", path, strerror(-r));
        printf("Captured %zu VM%s. To plan from it: vas-sim --capture ", n, plural((long long)n));
        print_clean(path);
        putchar('\n');
        return EXIT_DONE;
}

int run_capture(Ctl *ctl, int argc, char **argv) {
        const char *path = NULL;
        bool hash_names = false;
        const Option options[] = {{NULL, "--hash-names", NULL, &hash_names}};
        Answer answer;
        size_t n_words;
        int status = options_parse(ctl, argc, argv, options, 1, &path, 1, &n_words);

        if (status != EXIT_DONE)
                return status;
        if (n_words == 0 || !*path)
                return fail(ctl, EXIT_USAGE, "the file to write is missing");
        daemon_call(ctl, "Capture", json_pack("{sb}", "hash_names", hash_names), &answer);
        status = answer.status;
        if (status != EXIT_DONE)
                fail_answer(ctl, &answer);
        else
                status = save(ctl, path, json_object_get(answer.parameters, "capture"));
        answer_done(&answer);
        return status;
}
