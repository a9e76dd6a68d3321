/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Resources that give themselves back at the end of their scope. */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(f) __attribute__((cleanup(f)))

static inline void cleanup_free(void *p) {
        free(*(void **)p);
}
static inline void cleanup_close(int *fd) {
        if (*fd >= 0)
                close(*fd);
}
static inline void cleanup_fclose(FILE **f) {
        if (*f)
                fclose(*f);
}
static inline void cleanup_closedir(DIR **d) {
        if (*d)
                closedir(*d);
}

#define AUTO_FREE CLEANUP(cleanup_free)
#define AUTO_CLOSE CLEANUP(cleanup_close)
#define AUTO_FCLOSE CLEANUP(cleanup_fclose)
#define AUTO_CLOSEDIR CLEANUP(cleanup_closedir)

/* Takes a pointer or descriptor out of its variable, which no longer owns it. */
#define STEAL_PTR(p)                                                           \
        ({                                                                     \
                __typeof__(p) _stolen = (p);                                   \
                (p) = NULL;                                                    \
                _stolen;                                                       \
        })
static inline int steal_fd(int *fd) {
        int stolen = *fd;
        *fd = -1;
        return stolen;
}
