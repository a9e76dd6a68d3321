/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A vCPU thread dies while it is being bound, and its number goes to a stranger
 * at that very moment: before each of the system calls of a checked write, one
 * after the other. In a PID namespace of the test's own, where clone3() gives out
 * numbers on demand; the machine's numbers are left alone.
 *
 * No stranger may keep a mask of ours. Between the last check and the write one
 * can be hit (no call sets an affinity by descriptor): he must get his mask back,
 * and be told of. How long that window is, is measured.
 */

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UUID "abcdabcd-0000-4000-8000-000000000001"

enum { FREE_NUMBER = 300, VCPUS = 64, WINDOWS = 20000 };

static Qemu qemu;
static RealHost *host;
static Host door;
static CpuSet usable;
static const char *cannot_recycle; /* NULL: in a namespace of its own, with the right to choose numbers */

/* What the wrapped calls do. at: before which of them the number is recycled; 0: never. */
static struct {
        bool armed;
        unsigned calls, at, number, hits;
        pid_t tid, stranger;
        int64_t checked_ns, window_ns;
} stage;

static int64_t now_ns(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void step(void) {
        char line[32];

        if (!stage.armed || ++stage.calls != stage.at)
                return;
        stage.armed = false;
        snprintf(line, sizeof(line), "stop %u", stage.number);
        qemu_say(&qemu, line);
        stage.stranger = process_with_number(stage.tid);
        stage.armed = true;
}

int __real_openat64(int fd, const char *path, int flags, ...);
int __wrap_openat64(int fd, const char *path, int flags, ...) {
        step();
        return __real_openat64(fd, path, flags, 0);
}

ssize_t __real_pread64(int fd, void *to, size_t size, off64_t at);
ssize_t __wrap_pread64(int fd, void *to, size_t size, off64_t at) {
        step();
        return __real_pread64(fd, to, size, at);
}

int __real_faccessat(int fd, const char *path, int mode, int flags);
int __wrap_faccessat(int fd, const char *path, int mode, int flags) {
        step();
        int r = __real_faccessat(fd, path, mode, flags);
        stage.checked_ns = now_ns();
        return r;
}

int __real_sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *mask);
int __wrap_sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *mask) {
        if (stage.armed && stage.checked_ns) {
                stage.window_ns = now_ns() - stage.checked_ns;
                stage.checked_ns = 0;
        }
        step();
        stage.hits += stage.armed && tid == stage.stranger;
        return __real_sched_setaffinity(tid, size, mask);
}

int __real_sched_getaffinity(pid_t tid, size_t size, cpu_set_t *mask);
int __wrap_sched_getaffinity(pid_t tid, size_t size, cpu_set_t *mask) {
        step();
        return __real_sched_getaffinity(tid, size, mask);
}

static CpuSet mask_of(pid_t tid) {
        CpuSet set = {};

        assert_true(sched_getaffinity(tid, sizeof(set), (cpu_set_t *)&set) == 0);
        return set;
}

static CpuSet first_cpu(void) {
        CpuSet set = {};

        cpuset_add(&set, (unsigned)cpuset_next(&usable, 0));
        return set;
}

static int set_up(void **state) {
        (void)state;
        usable = mask_of(0);
        stage.armed = false;
        assert_int_equal(real_host_new("", NULL, &host), 0);
        door = real_host_door(host);
        qemu = qemu_start(UUID, VCPUS, NULL);
        return 0;
}

static int tear_down(void **state) {
        (void)state;
        stage.armed = false;
        qemu_stop(&qemu);
        real_host_free(host);
        return 0;
}

/* One write, amid which the number is recycled before call number at. */
static WriteStatus write_amid(unsigned vcpu, unsigned at, CpuSet *ret) {
        ThreadRef ref = thread_ref(qemu.pid, UUID, vcpu);
        CpuSet one = first_cpu();

        memset(&stage, 0, sizeof(stage));
        stage.at = at;
        stage.number = vcpu;
        stage.tid = ref.tid;
        stage.armed = true;
        WriteStatus status = door.ops->write_mask(door.self, &ref, &one, ret);
        stage.armed = false;
        return status;
}

/* The stranger has all that he had before, and who was hit was told of. */
static void assert_unharmed(unsigned at) {
        Stranger told;

        if (stage.stranger <= 0)
                fail_msg("before call %u: no number: %s", at, strerror(-stage.stranger));
        CpuSet has = mask_of(stage.stranger);
        bool was_told = real_host_take_stranger(host, &told);

        if (!cpuset_equal(&has, &usable))
                fail_msg("before call %u: the stranger is bound", at);
        if ((stage.hits > 0) != was_told)
                fail_msg("before call %u: written %u times, told of: %d", at, stage.hits, was_told);
        assert_true(!was_told || (told.tid == stage.stranger && told.widened));
        kill(stage.stranger, SIGKILL);
        waitpid(stage.stranger, NULL, 0);
}

static void before_every_call(void **state) {
        CpuSet found = {}, one = first_cpu();
        unsigned calls, hit_at = 0, n_hit = 0;

        (void)state;
        if (cannot_recycle)
                skip_because(cannot_recycle);
        if (cpuset_count(&usable) < 2)
                skip_because("it takes two CPUs");
        assert_int_equal(write_amid(0, 0, &found), WRITE_OK);
        assert_true(cpuset_equal(&found, &one));
        calls = stage.calls;
        assert_true(calls >= 8 && calls < VCPUS);
        for (unsigned at = 1; at <= calls; at++) {
                found = (CpuSet){};
                WriteStatus status = write_amid(at, at, &found);
                /* The last one finds the end of a file whose text has been read: it comes too late. */
                if (at < calls && (status != WRITE_STALE || !cpuset_is_empty(&found)))
                        fail_msg("before call %u: status %d", at, status);
                if (stage.hits > 0) {
                        hit_at = at;
                        n_hit++;
                }
                assert_unharmed(at);
        }
        print_message("# %u calls in a checked write; a stranger can be hit before %u of them (call %u)\n",
                      calls, n_hit, hit_at);
        assert_int_equal(n_hit, 1);
}

static int by_size(const void *a, const void *b) {
        int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

        return (x > y) - (x < y);
}

/* From the return of the last check to the write's system call, clock included. */
static void how_long_the_window_is(void **state) {
        static int64_t window[WINDOWS];
        CpuSet found;

        (void)state;
        for (unsigned i = 0; i < WINDOWS; i++) {
                assert_int_equal(write_amid(0, 0, &found), WRITE_OK);
                window[i] = stage.window_ns;
        }
        qsort(window, WINDOWS, sizeof(*window), by_size);
        print_message(
                "# from the last check to the write: median %lld ns, p99 %lld ns, maximum %lld ns of %d\n",
                (long long)window[WINDOWS / 2], (long long)window[WINDOWS * 99 / 100],
                (long long)window[WINDOWS - 1], WINDOWS);
        assert_true(window[WINDOWS / 2] < 10000);
}

/* Own numbers, and a /proc that shows them. Returns why not; NULL: it is so. */
static const char *enter_namespace(void) {
        if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0)
                return "no namespaces of its own: it takes root";
        pid_t child = fork();

        if (child < 0)
                return "no process can be started in a namespace";
        if (child > 0) {
                int status;

                waitpid(child, &status, 0);
                _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1); /* LeakSanitizer could start no thread */
        }
        /* Of /proc alone: in a chroot, / need not be a mount point. */
        if (mount(NULL, "/proc", NULL, MS_PRIVATE, NULL) < 0 || mount("proc", "/proc", "proc", 0, NULL) < 0)
                return "no /proc of its own can be mounted";
        pid_t chosen = process_with_number(FREE_NUMBER);
        if (chosen != FREE_NUMBER)
                return "clone3() lets nobody choose a number here";
        kill(chosen, SIGKILL);
        waitpid(chosen, NULL, 0);
        return NULL;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(before_every_call, set_up, tear_down),
                cmocka_unit_test_setup_teardown(how_long_the_window_is, set_up, tear_down),
        };

        cannot_recycle = enter_namespace();
        return cmocka_run_group_tests_name("platform/recycled", tests, NULL, NULL);
}
