/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How busy vCPU threads and CPUs are, sampled a few times a second. The files
 * that are read again and again stay open: that is most of the cost.
 */

#include "core/dynamic.h"
#include "platform/host.h"

typedef struct Sampler Sampler;

/* root_fd is borrowed: the directory that stands for /. 0 or -errno. */
int sampler_new(int root_fd, Sampler **ret);
Sampler *sampler_free(Sampler *sampler);

/*
 * Follows exactly these threads from now on. One that can not be opened, or is
 * not that vCPU, gives no samples. Threads that were followed before keep
 * their windows. 0 or -ENOMEM.
 */
int sampler_follow(Sampler *sampler, const ThreadRef *thread, unsigned n);

/*
 * One pass: what happened since the last one. ret has one entry for each thread
 * followed, in that order; a thread's first pass, and a CPU's, begins a window
 * and has no shares yet. Fills busy_permille and sampled of *ret_cpus. 0 or
 * -errno when /proc/stat can not be read.
 */
int sampler_pass(Sampler *sampler, int64_t now_ns, ThreadSample *ret, DynamicCpus *ret_cpus);

/* Forgets all windows and closes all threads' files. */
void sampler_rest(Sampler *sampler);
