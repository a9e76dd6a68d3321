/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The runtime directory (lock, state, control socket) and who may change things. */

#include <sys/types.h>

typedef struct RuntimePaths {
        char *directory, *lock, *state, *socket;
} RuntimePaths;

int runtime_paths_init(RuntimePaths *paths, const char *directory); /* 0 or -ENOMEM */
void runtime_paths_done(RuntimePaths *paths);

/* Creates the directory (0755) where it is missing. 0 or -errno. */
int runtime_create(const RuntimePaths *paths);

/*
 * Takes the writer's lock, without waiting: one process at a time may write
 * affinities. Returns a descriptor that holds the lock until it is closed (the
 * kernel closes it when the process dies); -EWOULDBLOCK with *ret_holder (0:
 * not known) when another process has it; or another -errno.
 */
int runtime_lock(const RuntimePaths *paths, pid_t *ret_holder);
