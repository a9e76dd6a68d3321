/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A hierarchy is version 1 when its controller's name stands in the thread's
 * cgroup file, else version 2 (line "0::"). In version 2 a group has a
 * controller's files only where its parent passes the controller on, so one
 * walks up to the first group that has the file. For CPUs that may be the root
 * group: its set holds for all below. For memory the walk ends at the machine's
 * own group, since one above sums up other machines too.
 *
 * Memory counted is anonymous and shared: guest memory is one of the two, and
 * the page cache of its disks is neither. In version 1 "anon" holds the shared
 * pages already, and locked pages are counted apart as unevictable. Huge pages
 * are in no group's figures.
 */

#include "platform/cgroups.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/files.h"
#include "util/cleanup.h"
#include "util/cpulist.h"

enum { NUMA_STAT_SIZE = 128 * 1024 };

static int keep_mount(char **slot, const char *directory) {
        if (*slot)
                return 0;
        *slot = strdup(directory + strspn(directory, "/"));
        return *slot ? 0 : -ENOMEM;
}

static int take_mount(CgroupMounts *mounts, const struct mntent *entry) {
        int r = 0;

        if (strcmp(entry->mnt_type, "cgroup2") == 0)
                return keep_mount(&mounts->unified, entry->mnt_dir);
        if (strcmp(entry->mnt_type, "cgroup") != 0)
                return 0;
        if (hasmntopt(entry, "cpuset"))
                r = keep_mount(&mounts->cpuset, entry->mnt_dir);
        if (r == 0 && hasmntopt(entry, "memory"))
                r = keep_mount(&mounts->memory, entry->mnt_dir);
        return r;
}

int cgroup_mounts_read(int root_fd, CgroupMounts *ret) {
        int fd = openat(root_fd, "proc/self/mounts", O_RDONLY | O_CLOEXEC), r = 0;
        CgroupMounts mounts = {};
        char buffer[4096];
        struct mntent entry;

        if (fd < 0 && errno != ENOENT)
                return -errno;
        AUTO_FCLOSE FILE *file = fd < 0 ? NULL : fdopen(fd, "re");
        if (fd >= 0 && !file) {
                close(fd);
                return -ENOMEM;
        }
        while (file && r == 0 && getmntent_r(file, &entry, buffer, sizeof(buffer)))
                r = take_mount(&mounts, &entry);
        if (r < 0) {
                cgroup_mounts_done(&mounts);
                return r;
        }
        *ret = mounts;
        return 0;
}

void cgroup_mounts_done(CgroupMounts *mounts) {
        free(mounts->cpuset);
        free(mounts->memory);
        free(mounts->unified);
        *mounts = (CgroupMounts){};
}

/* Whether the list "cpu,cpuset" holds the name. */
static bool list_has(const char *list, size_t length, const char *name) {
        size_t name_length = strlen(name);

        for (const char *p = list, *end = list + length; p < end;) {
                size_t n = strcspn(p, ",:");

                if (n == name_length && strncmp(p, name, n) == 0)
                        return true;
                p += n + 1;
        }
        return false;
}

/*
 * The path in the line whose controllers hold the name, or for "" in the line
 * without controllers. False: there is no such line, or the path leads out of
 * what we see ("/..", another cgroup namespace).
 */
static bool membership_path(const char *text, const char *controller, char ret[PATH_MAX]) {
        for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
                const char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;

                if (!path)
                        return false;
                size_t list_length = (size_t)(path - list - 1), length = strcspn(path + 1, "\n");
                if (*controller ? !list_has(list + 1, list_length, controller) : list_length > 0)
                        continue;
                if (length >= PATH_MAX)
                        return false;
                memcpy(ret, path + 1, length);
                ret[length] = '\0';
                return strstr(ret, "/..") == NULL;
        }
        return false;
}

/* Whether the group at path is a machine's own, or lies in one; libvirt names
 * it machine-qemu-N-NAME.scope under systemd, else qemu-N-NAME.libvirt-qemu. */
static bool in_machine_group(const char *path) {
        return strstr(path, "/machine-qemu") || strstr(path, "/qemu-");
}

/* Reads the file of the group at path, or of the nearest group above that has
 * it; path is cut to that group. */
static int read_upwards(int root_fd, const char *mount, char *path, bool in_machine, const char *name,
                        char *ret, size_t size) {
        for (;;) {
                char file[2 * PATH_MAX];

                if (in_machine && !in_machine_group(path))
                        return -ENOENT;
                int n = snprintf(file, sizeof(file), "%s%s/%s", mount, strcmp(path, "/") == 0 ? "" : path,
                                 name);
                if (n < 0 || (size_t)n >= sizeof(file))
                        return -ENAMETOOLONG;
                int r = file_read_at(root_fd, file, ret, size);
                if (r != -ENOENT)
                        return r;
                char *slash = strrchr(path, '/');
                if (!slash || !*path)
                        return -ENOENT;
                *slash = '\0';
        }
}

int cgroup_effective_cpus(const CgroupMounts *mounts, int root_fd, const char *membership, CpuSet *ret) {
        const char *mount = mounts->cpuset, *name = "cpuset.effective_cpus";
        char path[PATH_MAX], text[CPULIST_SIZE];
        bool found = membership_path(membership, "cpuset", path);
        int r;

        if (!found) {
                found = membership_path(membership, "", path);
                mount = mounts->unified;
                name = "cpuset.cpus.effective";
        }
        if (!found || !mount)
                return 1;
        r = read_upwards(root_fd, mount, path, false, name, text, sizeof(text));
        if (r == -ENOENT || r == -ENODEV)
                return 1;
        return r < 0 ? r : cpulist_parse(text, ret);
}

int cgroup_cpuset_path(const CgroupMounts *mounts, const char *membership, char *ret, size_t size) {
        const char *mount = mounts->cpuset;
        char path[PATH_MAX];

        if (!membership_path(membership, "cpuset", path)) {
                if (!membership_path(membership, "", path))
                        return 1;
                mount = mounts->unified;
        }
        if (!mount)
                return 1;
        int n = snprintf(ret, size, "%s%s", mount, path);
        return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int cgroup_cpu_group(const char *membership, char *ret, size_t size) {
        char path[PATH_MAX];

        if (!membership_path(membership, "cpu", path) && !membership_path(membership, "", path))
                return 1;
        int n = snprintf(ret, size, "%s", path);
        return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* Adds the " N0=12 N1=7" of a line, in units of so many bytes. */
static void add_nodes(const char *line, uint64_t unit, uint64_t bytes[NODES_MAX]) {
        size_t length = strcspn(line, "\n");

        for (const char *p = line; p && p < line + length; p = strchr(p + 1, ' ')) {
                char *end;

                if (p[0] != ' ' || p[1] != 'N' || !isdigit((unsigned char)p[2]))
                        continue;
                unsigned long node = strtoul(p + 2, &end, 10);
                if (node < NODES_MAX && *end == '=')
                        bytes[node] += strtoull(end + 1, NULL, 10) * unit;
        }
}

static bool line_is(const char *line, const char *key) {
        size_t n = strlen(key);

        return strncmp(line, key, n) == 0 && (line[n] == '=' || line[n] == ' ');
}

static void sum_numa_stat(const char *text, const char *const keys[2], uint64_t unit,
                          uint64_t bytes[NODES_MAX]) {
        for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
                if (line_is(line, keys[0]) || line_is(line, keys[1]))
                        add_nodes(line, unit, bytes);
}

int cgroup_memory_by_node(const CgroupMounts *mounts, int root_fd, const char *membership,
                          uint64_t ret[NODES_MAX]) {
        static const char *const keys_v1[2] = {"hierarchical_anon", "hierarchical_unevictable"};
        static const char *const keys_v2[2] = {"anon", "shmem"};
        char path[PATH_MAX];
        bool v1 = membership_path(membership, "memory", path);
        const char *mount = v1 ? mounts->memory : mounts->unified;
        int r;

        if (!mount || (!v1 && !membership_path(membership, "", path)))
                return 1;
        AUTO_FREE char *text = malloc(NUMA_STAT_SIZE);
        if (!text)
                return -ENOMEM;
        r = read_upwards(root_fd, mount, path, true, "memory.numa_stat", text, NUMA_STAT_SIZE);
        if (r == -ENOENT || r == -ENODEV || r == -EACCES)
                return 1;
        if (r < 0)
                return r;
        memset(ret, 0, NODES_MAX * sizeof(ret[0]));
        sum_numa_stat(text, v1 ? keys_v1 : keys_v2, v1 ? (uint64_t)sysconf(_SC_PAGESIZE) : 1, ret);
        return 0;
}
