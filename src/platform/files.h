/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Small files of /proc and /sys, read whole into a buffer of the caller's. */

#include <stddef.h>

/*
 * Reads the file at path, below the directory dir_fd, and ends the text with a
 * NUL. Returns the text's length; -EFBIG when it does not fit; or -errno.
 */
int file_read_at(int dir_fd, const char *path, char *ret, size_t size);

/* The same for an open file, from its beginning; the file's offset stays. */
int fd_read(int fd, char *ret, size_t size);
