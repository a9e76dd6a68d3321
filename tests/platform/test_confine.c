/* SPDX-License-Identifier: Apache-2.0 */

/* What a confined process can not do, and what it still can. */

#include "../util/skip.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/confine.h"

/* Deeds that would change the machine are aimed at what is not there: where they
 * are not denied they fail too, with another error. */
#define NOWHERE "/nonexistent-vas-test"

static int run_program(void) {
        char *const argv[] = {"true", NULL};

        return execv("/bin/true", argv);
}

static int run_descriptor(void) {
        char *const argv[] = {"true", NULL};
        int fd = open("/bin/true", O_PATH | O_CLOEXEC);

        return fexecve(fd, argv, argv);
}

static int open_inet(void) {
        return socket(AF_INET, SOCK_STREAM, 0);
}

static int open_inet6(void) {
        return socket(AF_INET6, SOCK_DGRAM, 0);
}

static int open_netlink(void) {
        return socket(AF_NETLINK, SOCK_RAW, 0);
}

static int open_packet(void) {
        return socket(AF_PACKET, SOCK_RAW, 0);
}

static int open_ring(void) {
        char parameters[120] = {0};

        return (int)syscall(SYS_io_uring_setup, 4, parameters);
}

static int be_realtime(void) {
        struct sched_param parameter = {.sched_priority = 1};

        return sched_setscheduler(0, SCHED_FIFO, &parameter);
}

static int be_important(void) {
        return setpriority(PRIO_PROCESS, 0, -1);
}

static int enter_namespace(void) {
        return unshare(CLONE_NEWUSER);
}

static int clone_into_namespace(void) {
        pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUTS | SIGCHLD, NULL, NULL, NULL, NULL);

        if (pid == 0)
                _exit(0);
        return pid < 0 || waitpid(pid, NULL, 0) != pid ? -1 : 0;
}

/* What it asks for lies in memory, where no filter sees it. */
static int clone_unseen(void) {
        return (int)syscall(SYS_clone3, NULL, 0);
}

static int mount_something(void) {
        return mount("none", NOWHERE, "tmpfs", 0, NULL);
}

static int change_root(void) {
        return chroot(NOWHERE);
}

static int make_device(void) {
        return mknod(NOWHERE "/device", S_IFCHR | 0600, 0);
}

static int open_local(void) {
        return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int bind_thread(void) {
        cpu_set_t set;

        return sched_getaffinity(0, sizeof(set), &set) == 0 ? sched_setaffinity(0, sizeof(set), &set) : -1;
}

static int write_file(void) {
        FILE *file = tmpfile();

        return file && fputs("text", file) >= 0 ? fclose(file) : -1;
}

static void *nothing(void *data) {
        return data;
}

static int start_thread(void) {
        pthread_t thread;

        return pthread_create(&thread, NULL, nothing, NULL) == 0 ? pthread_join(thread, NULL) : -1;
}

static int fork_once(void) {
        pid_t pid = fork();

        if (pid == 0)
                _exit(0);
        return pid > 0 && waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

static void *open_inet_there(void *data) {
        *(int *)data = open_inet() < 0 ? errno : 0;
        return NULL;
}

/* Threads that start later are confined like the first. */
static int open_inet_in_thread(void) {
        pthread_t thread;
        int error = 0;

        if (pthread_create(&thread, NULL, open_inet_there, &error) != 0 || pthread_join(thread, NULL) != 0)
                return 0;
        errno = error;
        return error ? -1 : 0;
}

static const struct Deed {
        const char *what;
        int (*run)(void);
        int error; /* 0: it can be done */
} deeds[] = {
        {"run a program", run_program, EPERM},
        {"run a program by descriptor", run_descriptor, EPERM},
        {"open an internet socket", open_inet, EAFNOSUPPORT},
        {"open an IPv6 socket", open_inet6, EAFNOSUPPORT},
        {"open a netlink socket", open_netlink, EAFNOSUPPORT},
        {"open a packet socket", open_packet, EAFNOSUPPORT},
        {"open an internet socket in a thread", open_inet_in_thread, EAFNOSUPPORT},
        {"set up io_uring", open_ring, EPERM},
        {"become a real-time thread", be_realtime, EPERM},
        {"raise a priority", be_important, EPERM},
        {"enter a namespace", enter_namespace, EPERM},
        {"fork into a namespace", clone_into_namespace, EPERM},
        {"fork by clone3", clone_unseen, ENOSYS},
        {"mount", mount_something, EPERM},
        {"change the root", change_root, EPERM},
        {"make a device", make_device, EPERM},
        {"open a local socket", open_local, 0},
        {"bind a thread", bind_thread, 0},
        {"write a file", write_file, 0},
        {"start a thread", start_thread, 0},
        {"fork", fork_once, 0},
};

/* Each call that is denied whatever it is asked for, by number. */
#define CALL(name)                                                                                           \
        { #name, SYS_##name }
static const struct Call {
        const char *name;
        long number;
} calls[] = {CALL(execve),
             CALL(execveat),
             CALL(sched_setscheduler),
             CALL(sched_setparam),
             CALL(sched_setattr),
             CALL(setpriority),
             CALL(ioprio_set),
             CALL(process_vm_readv),
             CALL(process_vm_writev),
             CALL(move_pages),
             CALL(migrate_pages),
             CALL(kcmp),
             CALL(io_uring_setup),
             CALL(bpf),
             CALL(perf_event_open),
             CALL(userfaultfd),
             CALL(open_by_handle_at),
             CALL(unshare),
             CALL(setns),
             CALL(mount),
             CALL(umount2),
             CALL(open_tree),
             CALL(move_mount),
             CALL(fsopen),
             CALL(fsconfig),
             CALL(fsmount),
             CALL(fspick),
             CALL(mount_setattr),
             CALL(pivot_root),
             CALL(chroot),
             CALL(init_module),
             CALL(finit_module),
             CALL(delete_module),
             CALL(kexec_load),
             CALL(kexec_file_load),
             CALL(reboot),
             CALL(settimeofday),
             CALL(clock_settime),
             CALL(adjtimex),
             CALL(clock_adjtime),
             CALL(add_key),
             CALL(request_key),
             CALL(keyctl),
             CALL(mknodat),
             CALL(swapon),
             CALL(swapoff),
             CALL(acct),
             OLD_CALLS};
#define N_CALLS (sizeof(calls) / sizeof(*calls))

/* With arguments that make no sense to any of them: where it is not denied it does nothing either. */
static int result_of_call(long number, int confined) {
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                if (confined && confine() < 0)
                        _exit(100);
                _exit(syscall(number, -1L, -1L, -1L, -1L, -1L, -1L) < 0 ? errno : 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

/* A kernel with filters looks for ours where NULL points to. */
static void need_filter(void) {
        if (!VAS_HAS_FILTER)
                skip_because("no filter is known for this kind of machine");
        assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL), -1);
        if (errno != EFAULT)
                skip_because("this kernel, or its emulator, has no seccomp filters");
}

static void each_denied_call(void **state) {
        unsigned n_free = 0;

        (void)state;
        need_filter();
        for (unsigned i = 0; i < N_CALLS; i++) {
                int r = result_of_call(calls[i].number, 1);

                if (r != EPERM)
                        fail_msg("%s: %d instead of EPERM", calls[i].name, r);
                n_free += result_of_call(calls[i].number, 0) != EPERM;
        }
        /* Without the filter root is refused next to nothing, others little; within somebody
         * else's filter (a container's) nothing is proved. */
        print_message("# %u of %u calls are denied by nothing else\n", n_free, (unsigned)N_CALLS);
        if (n_free <= N_CALLS / 2)
                skip_because("another filter denies most calls already");
}

/* In a process of its own. Exits with 100 where it could not be confined. */
static int result_of(const struct Deed *deed, int confined) {
        int status;

        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                if (confined && confine() < 0)
                        _exit(100);
                int r = deed->run();
                _exit(r < 0 ? errno : 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void can_not_do_what_it_should_not(void **state) {
        (void)state;
        need_filter();
        for (unsigned i = 0; i < sizeof(deeds) / sizeof(*deeds); i++) {
                int r = result_of(&deeds[i], 1);

                if (r != deeds[i].error)
                        fail_msg("%s: %d instead of %d", deeds[i].what, r, deeds[i].error);
        }
}

/* Else the test above proves nothing: these can be done by everybody. */
static void could_before(void **state) {
        (void)state;
        assert_int_equal(result_of(&deeds[0], 0), 0);
        assert_int_equal(result_of(&deeds[1], 0), 0);
        assert_int_equal(result_of(&deeds[2], 0), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(can_not_do_what_it_should_not),
                cmocka_unit_test(each_denied_call),
                cmocka_unit_test(could_before),
        };

        return cmocka_run_group_tests_name("platform/confine", tests, NULL, NULL);
}
