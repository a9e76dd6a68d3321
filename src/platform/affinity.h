/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reading and writing the affinity mask of exactly the thread that is meant. */

#include "platform/host.h"

/* The mask of a thread by number; task_fd is its directory in /proc, and is
 * what a fixture is read from. 0 or -errno. */
int affinity_read(const RealHost *host, int32_t tid, int task_fd, CpuSet *ret);

WriteStatus affinity_write_checked(RealHost *host, const ThreadRef *thread, const CpuSet *mask, CpuSet *ret_mask);
int affinity_read_checked(RealHost *host, const ThreadRef *thread, CpuSet *ret);

/*
 * For the thread that has the number of one that died while we wrote a mask: if
 * it carries that mask, it is given its process's mask instead (every CPU, if
 * it is the process's main thread). True: it was, and *ret says who it is.
 */
bool affinity_widen_stranger(int32_t tid, const CpuSet *written, Stranger *ret);
