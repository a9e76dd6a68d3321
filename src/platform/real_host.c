/* SPDX-License-Identifier: Apache-2.0 */

/* The real host behind the door: what it is made of, and the small answers. */

#include "platform/real_host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "platform/affinity.h"
#include "platform/files.h"
#include "platform/tidal.h"
#include "platform/topology_hwloc.h"
#include "util/cleanup.h"
#include "util/cpulist.h"
#include "util/monotonic.h"

enum {
        FDS_RESERVED = 512, /* for all else that the process does */
        FDS_HELD_MAX = 64 * 1024,
};

/* How many descriptors records may hold, once the soft limit is raised as far
 * as it goes. */
static unsigned claim_fds(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return 0;
        if (limit.rlim_cur < limit.rlim_max) {
                struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};

                if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
                        limit = raised;
        }
        if (limit.rlim_cur <= FDS_RESERVED)
                return 0;
        rlim_t spare = limit.rlim_cur - FDS_RESERVED;
        return spare > FDS_HELD_MAX ? FDS_HELD_MAX : (unsigned)spare;
}

/* The system's directory, and that of the session whose environment we have. */
static int set_pid_dirs(RealHost *host) {
        const char *runtime = getenv("XDG_RUNTIME_DIR");

        host->pid_dir[0] = strdup("run/libvirt/qemu");
        if (!host->pid_dir[0])
                return -ENOMEM;
        if (!runtime || *runtime != '/')
                return 0;
        if (asprintf(&host->pid_dir[1], "%s/libvirt/qemu/run", runtime + strspn(runtime, "/")) < 0) {
                host->pid_dir[1] = NULL;
                return -ENOMEM;
        }
        return 0;
}

/* With a description, its CPUs are the ones that are online. */
static int describe(RealHost *host, const char *description) {
        AUTO_FREE Topology *topology = malloc(sizeof(*topology));
        char why[256];
        int r;

        if (!description)
                return 0;
        host->description = strdup(description);
        if (!topology || !host->description)
                return -ENOMEM;
        r = topology_from_hwloc(description, host->root, LEVEL_AUTO, topology, why);
        if (r < 0)
                return r;
        host->described = topology->online;
        return 0;
}

static int set_up(RealHost *host, const char *root, const char *description) {
        int r;

        host->root = strdup(root);
        host->pool = malloc(sizeof(*host->pool));
        if (!host->root || !host->pool)
                return -ENOMEM;
        pool_clear(host->pool);
        host->is_fixture = *root != '\0';
        host->root_fd = open(*root ? root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (host->root_fd < 0)
                return -errno;
        r = set_pid_dirs(host);
        if (r == 0)
                r = describe(host, description);
        if (r == 0)
                r = cgroup_mounts_read(host->root_fd, &host->cgroups);
        return r;
}

int real_host_new(const char *root, const char *topology, RealHost **ret) {
        RealHost *host = calloc(1, sizeof(*host));
        int r;

        if (!host)
                return -ENOMEM;
        host->root_fd = -1;
        host->fds_spare = claim_fds();
        r = set_up(host, root, topology);
        if (r < 0) {
                real_host_free(host);
                return r;
        }
        *ret = host;
        return 0;
}

RealHost *real_host_free(RealHost *host) {
        if (!host)
                return NULL;
        sampler_free(host->sampler);
        vm_record_list_done(host);
        cgroup_mounts_done(&host->cgroups);
        cleanup_close(&host->root_fd);
        free(host->pid_dir[0]);
        free(host->pid_dir[1]);
        free(host->description);
        free(host->root);
        free(host->pool);
        free(host);
        return NULL;
}

bool real_host_take_stranger(RealHost *host, Stranger *ret) {
        if (!host->has_stranger)
                return false;
        host->has_stranger = false;
        *ret = host->stranger;
        return true;
}

static int door_read_topology(void *self, ClusterLevel level, Topology *ret, char ret_why[256]) {
        RealHost *host = self;

        return topology_from_hwloc(host->description, host->root, level, ret, ret_why);
}

static int door_read_online(void *self, CpuSet *ret) {
        RealHost *host = self;
        char text[CPULIST_SIZE];
        int r;

        if (host->description) {
                *ret = host->described;
                return 0;
        }
        r = file_read_at(host->root_fd, "sys/devices/system/cpu/online", text, sizeof(text));
        return r < 0 ? r : cpulist_parse(text, ret);
}

static int door_observe(void *self, const FactList *facts, const Topology *topology, Look look,
                        Snapshot *ret) {
        return real_host_observe(self, facts, topology, look, ret);
}

static WriteStatus door_write_mask(void *self, const ThreadRef *thread, const CpuSet *mask,
                                   CpuSet *ret_mask) {
        vm_record_written(self, thread->pid);
        return affinity_write_checked(self, thread, mask, ret_mask);
}

static int door_read_mask(void *self, const ThreadRef *thread, CpuSet *ret) {
        return affinity_read_checked(self, thread, ret);
}

static int64_t door_now_ns(void *self) {
        (void)self;
        return monotonic_ns();
}

static int door_follow(void *self, const ThreadRef *thread, unsigned n) {
        RealHost *host = self;
        int r;

        if (n == 0) {
                host->sampler = sampler_free(host->sampler);
                return 0;
        }
        r = host->sampler ? 0 : sampler_new(host->root_fd, &host->sampler);
        return r < 0 ? r : sampler_follow(host->sampler, thread, n);
}

static int door_sample(void *self, ThreadSample *ret, DynamicCpus *ret_cpus) {
        RealHost *host = self;

        return host->sampler ? sampler_pass(host->sampler, door_now_ns(self), ret, ret_cpus) : -ENODATA;
}

static WriteStatus door_bind(void *self, const ThreadRef *thread, TidalWay way, const CpuSet *allowed,
                             const CpuSet *preferred, CpuSet *ret_mask) {
        vm_record_written(self, thread->pid);
        return tidal_bind(self, thread, way, allowed, preferred, ret_mask);
}

static WriteStatus door_release(void *self, const ThreadRef *thread, TidalWay way) {
        return tidal_release(self, thread, way);
}

static int door_read_preferred(void *self, const ThreadRef *thread, TidalWay way, CpuSet *ret) {
        return tidal_preferred_read(self, thread, way, ret);
}

static void door_read_values(void *self, TidalValues *ret) {
        tidal_values_read(self, ret);
}

static int door_write_values(void *self, const TidalValues *wanted) {
        return tidal_values_write(self, wanted);
}

Host real_host_door(RealHost *host) {
        static const TidalOps tidal = {
                .bind = door_bind,
                .release = door_release,
                .read_preferred = door_read_preferred,
                .read_values = door_read_values,
                .write_values = door_write_values,
        };
        static const HostOps ops = {
                .read_topology = door_read_topology,
                .read_online = door_read_online,
                .observe = door_observe,
                .write_mask = door_write_mask,
                .read_mask = door_read_mask,
                .now_ns = door_now_ns,
                .follow = door_follow,
                .sample = door_sample,
                .tidal = &tidal,
        };
        Host door = {.ops = &ops, .self = host};

        return door;
}
