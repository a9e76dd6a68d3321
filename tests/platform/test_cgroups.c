/* SPDX-License-Identifier: Apache-2.0 */

#include "support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "platform/cgroups.h"

static const char V1[] = "tmpfs /sys/fs/cgroup tmpfs ro 0 0\n"
                         "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
                         "cgroup /sys/fs/cgroup/cpuset cgroup rw,nosuid,cpuset 0 0\n"
                         "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n";
static const char V2[] = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
static const char UNIFIED[] = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";

static char *tree;
static int root_fd;
static CgroupMounts mounts;

static void mount_all(const char *a, const char *b) {
        tree = tree_new();
        tree_write(tree, "proc/self/mounts", "proc /proc proc rw 0 0\n%s%s", a, b);
        root_fd = open(tree, O_PATH | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(cgroup_mounts_read(root_fd, &mounts), 0);
}

static void unmount_all(void) {
        cgroup_mounts_done(&mounts);
        close(root_fd);
        tree_free(tree);
}

static void assert_effective(const char *membership, const char *list) {
        CpuSet set;

        assert_int_equal(cgroup_effective_cpus(&mounts, root_fd, membership, &set), 0);
        assert_cpus(&set, list);
}

static int effective(const char *membership) {
        CpuSet set;

        return cgroup_effective_cpus(&mounts, root_fd, membership, &set);
}

static void version_1(void **state) {
        (void)state;
        mount_all(V1, "");
        tree_write(tree, "sys/fs/cgroup/cpuset/machine/qemu-1-a.libvirt-qemu/vcpu0/cpuset.effective_cpus",
                   "2-3\n");
        assert_effective(
                "4:memory:/machine\n7:cpuset:/machine/qemu-1-a.libvirt-qemu/vcpu0\n1:cpu,cpuacct:/x\n",
                "2-3");
        assert_int_equal(effective("4:memory:/machine\n"), 1);
        tree_write(tree, "sys/fs/cgroup/elsewhere/cpuset.effective_cpus", "6\n");
        assert_int_equal(effective("7:cpuset,x:/../elsewhere\n"), 1);
        assert_int_equal(effective(""), 1);
        unmount_all();
}

/* libvirt gives each vCPU a group, but the controller may end above it. */
static void version_2(void **state) {
        (void)state;
        mount_all(V2, "");
        tree_write(tree, "sys/fs/cgroup/machine.slice/m.scope/libvirt/vcpu0/cpuset.cpus.effective", "5\n");
        tree_write(tree, "sys/fs/cgroup/machine.slice/cpuset.cpus.effective", "0-6\n");
        tree_write(tree, "sys/fs/cgroup/cpuset.cpus.effective", "0-7\n");
        assert_effective("0::/machine.slice/m.scope/libvirt/vcpu0\n", "5");
        assert_effective("0::/machine.slice/m.scope/libvirt/vcpu1\n", "0-6");
        assert_effective("0::/user.slice\n", "0-7");
        assert_effective("0::/\n", "0-7");
        tree_remove(tree, "sys/fs/cgroup/cpuset.cpus.effective");
        assert_int_equal(effective("0::/user.slice\n"), 1);
        unmount_all();
}

static void both_versions(void **state) {
        (void)state;
        mount_all(V1, UNIFIED);
        tree_write(tree, "sys/fs/cgroup/cpuset/a/cpuset.effective_cpus", "1\n");
        tree_write(tree, "sys/fs/cgroup/unified/b/cpuset.cpus.effective", "2\n");
        assert_effective("7:cpuset:/a\n0::/b\n", "1");
        assert_effective("7:memory:/a\n0::/b\n", "2");
        assert_string_equal(mounts.unified, "sys/fs/cgroup/unified");
        unmount_all();
}

static void none_at_all(void **state) {
        (void)state;
        mount_all("", "");
        assert_int_equal(effective("7:cpuset:/a\n0::/b\n"), 1);
        unmount_all();
        tree = tree_new();
        root_fd = open(tree, O_PATH | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(cgroup_mounts_read(root_fd, &mounts), 0);
        unmount_all();
}

static void memory_version_1(void **state) {
        uint64_t bytes[NODES_MAX], page = (uint64_t)sysconf(_SC_PAGESIZE);

        (void)state;
        mount_all(V1, "");
        tree_write(tree, "sys/fs/cgroup/memory/machine/qemu-1-a.libvirt-qemu/memory.numa_stat",
                   "total=900 N0=400 N1=500\nfile=99 N0=99 N1=0\nanon=1 N0=1 N1=0\nunevictable=0 N0=0 N1=0\n"
                   "hierarchical_total=900 N0=400 N1=500\nhierarchical_file=99 N0=99 N1=0\n"
                   "hierarchical_anon=30 N0=10 N1=20\nhierarchical_unevictable=5 N0=0 N1=5\n");
        assert_int_equal(cgroup_memory_by_node(&mounts, root_fd,
                                               "4:memory:/machine/qemu-1-a.libvirt-qemu/emulator\n", bytes),
                         0);
        assert_int_equal(bytes[0], 10 * page);
        assert_int_equal(bytes[1], 25 * page);
        assert_int_equal(bytes[2], 0);
        unmount_all();
}

static void memory_version_2(void **state) {
        uint64_t bytes[NODES_MAX];

        (void)state;
        mount_all(V2, "");
        tree_write(tree, "sys/fs/cgroup/machine.slice/memory.numa_stat", "anon N0=7000000 N1=7000000\n");
        tree_write(tree, "sys/fs/cgroup/machine.slice/machine-qemu\\x2d1\\x2da.scope/memory.numa_stat",
                   "anon N0=4096 N3=8192\nfile N0=99999 N3=0\nanon_thp N0=5 N3=5\nshmem N0=0 N3=1\n");
        assert_int_equal(
                cgroup_memory_by_node(&mounts, root_fd,
                                      "0::/machine.slice/machine-qemu\\x2d1\\x2da.scope/libvirt/emulator\n",
                                      bytes),
                0);
        assert_int_equal(bytes[0], 4096);
        assert_int_equal(bytes[3], 8193);
        /* What lies above sums up other machines. */
        assert_int_equal(cgroup_memory_by_node(&mounts, root_fd,
                                               "0::/machine.slice/machine-qemu\\x2d2\\x2db.scope/libvirt\n",
                                               bytes),
                         1);
        unmount_all();
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(version_1),        cmocka_unit_test(version_2),
                cmocka_unit_test(both_versions),    cmocka_unit_test(none_at_all),
                cmocka_unit_test(memory_version_1), cmocka_unit_test(memory_version_2),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
