/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Small files of /proc and /sys, read whole into a buffer of the caller's. */

#include <stddef.h>

/*
 * Reads the file at path, below the directory dir_fd, and ends the text with a
 * NUL. Returns the text's length; -EFBIG when it does not fit; or -errno.
 */
int file_read_at(int dir_fd, const char *path, char *ret, size_t size);

/*
 * Writes the text, which must not be empty, to the file in one go: the kernel's
 * files take a value by the write. 0 or -errno.
 */
int file_write_at(int dir_fd, const char *path, const char *text);

/* The same as file_read_at() for an open file, from its beginning; the file's offset stays. */
int fd_read(int fd, char *ret, size_t size);
