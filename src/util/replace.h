/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/*
 * Replaces a file, or makes it: whoever reads it finds the old text or the new
 * one. Written next to it as PATH.new first. durable: it outlives a power cut.
 * 0 or -errno, the file then untouched.
 */
int file_replace(const char *path, const char *text, bool durable);
