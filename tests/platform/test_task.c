/* SPDX-License-Identifier: Apache-2.0 */

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "platform/task.h"

static void stat_lines(void **state) {
        TaskStat stat;

        (void)state;
        assert_int_equal(
                task_stat_parse(
                        "7 (CPU 0/KVM) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21 22 23 "
                        "24 25 26 27 28 29 30 31 32 33 34 35 63 0 0\n",
                        &stat),
                0);
        assert_string_equal(stat.comm, "CPU 0/KVM");
        assert_int_equal(stat.state, 'S');
        assert_int_equal(stat.start_ticks, 4242);
        assert_int_equal(stat.last_ran, 63);
        /* A name that tries to look like the rest of the line. */
        assert_int_equal(
                task_stat_parse("7 (a) R (b 1 2) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99\n", &stat),
                0);
        assert_string_equal(stat.comm, "a) R (b 1 2");
        assert_int_equal(stat.state, 'Z');
        assert_int_equal(stat.start_ticks, 99);
        assert_int_equal(stat.last_ran, -1);
}

static void broken_stat_lines(void **state) {
        static const char *const lines[] = {"", "7", "7 (a", "7 (a)", "7 a) S 1", ")(", "7 (a) S 1 2 3"};
        TaskStat stat = {.start_ticks = 5};

        (void)state;
        for (unsigned i = 0; i < sizeof(lines) / sizeof(*lines); i++)
                assert_int_equal(task_stat_parse(lines[i], &stat), -EBADMSG);
        assert_int_equal(stat.start_ticks, 5);
}

static void thread_names(void **state) {
        static const struct {
                const char *comm;
                int number;
        } cases[] = {
                {"CPU 0/KVM", 0},     {"CPU 511/KVM", 511}, {"CPU 3/TCG", 3},      {"CPU 0/KVMx", -1},
                {"CPU /KVM", -1},     {"CPU -1/KVM", -1},   {"CPU  1/KVM", -1},    {"cpu 1/KVM", -1},
                {"ALL CPUs/TCG", -1}, {"CPU 1", -1},        {"CPU 99999/KVM", -1}, {"IO iothread1", -1},
        };

        (void)state;
        for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                assert_int_equal(comm_vcpu_number(cases[i].comm), cases[i].number);
        assert_int_equal(comm_helper_kind("IO iothread12"), HELPER_IOTHREAD);
        assert_int_equal(comm_helper_kind("IO mon_iothread"), HELPER_OTHER);
        assert_int_equal(comm_helper_kind("vhost-1234"), HELPER_VHOST);
        assert_int_equal(comm_helper_kind("worker"), HELPER_OTHER);
}

static int has_uuid(const char *const *argv, const char *uuid) {
        char *tree = tree_new(), path[64];
        FILE *file;

        tree_write(tree, "cmdline", "%s", "");
        snprintf(path, sizeof(path), "%s/cmdline", tree);
        file = fopen(path, "we");
        assert_non_null(file);
        for (; *argv; argv++)
                fwrite(*argv, 1, strlen(*argv) + 1, file);
        fclose(file);
        int fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = process_has_uuid(fd, uuid);
        close(fd);
        tree_free(tree);
        return r;
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void uuid_argument(void **state) {
        const char *mine = "11111111-2222-3333-4444-55555555aaaa",
                   *other = "99999999-2222-3333-4444-555555555555";

        (void)state;
        assert_int_equal(has_uuid(ARGS("qemu", "-S", "-uuid", mine, "-smp", "2"), mine), 1);
        assert_int_equal(has_uuid(ARGS("qemu", "-uuid", "11111111-2222-3333-4444-55555555AAAA"), mine), 1);
        assert_int_equal(has_uuid(ARGS("qemu", "-uuid", other), mine), 0);
        /* Inside another argument, or after libvirt's own: not the VM's. */
        char inside[64];
        snprintf(inside, sizeof(inside), "guest=-uuid %s", mine);
        assert_int_equal(has_uuid(ARGS("qemu", "-name", inside, "-uuid", other), mine), 0);
        assert_int_equal(has_uuid(ARGS("qemu", "-uuid", other, "-append", "-uuid", mine), mine), 0);
        assert_int_equal(has_uuid(ARGS("qemu", inside), mine), 0);
        assert_int_equal(has_uuid(ARGS("qemu", mine), mine), 0);
        assert_int_equal(has_uuid(ARGS("qemu", "-uuid"), mine), 0);
        assert_int_equal(has_uuid((const char *const[]){NULL}, mine), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(stat_lines),
                cmocka_unit_test(broken_stat_lines),
                cmocka_unit_test(thread_names),
                cmocka_unit_test(uuid_argument),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
