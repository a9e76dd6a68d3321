/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

typedef struct RealHost RealHost;

/*
 * The process number in libvirt's pid file of the VM with that name. The file
 * must belong to root or to our own user: anybody else could name any process.
 * 0, or -errno; -EBADMSG: not a pid file.
 */
int pid_file_read(const RealHost *host, const char *vm_name, int32_t *ret);
