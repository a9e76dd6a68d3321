/* SPDX-License-Identifier: Apache-2.0 */

/* The sampler on a host made of files, and on real threads. */

#include <fcntl.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "platform/real_host.h"
#include "support.h"

#define MS INT64_C(1000000)
#define UUID "11111111-2222-3333-4444-555555555555"

enum { WINDOWS = 20 };

static void stat_write(const char *tree, unsigned busy0, unsigned idle0, unsigned busy1, unsigned idle1) {
        tree_write(tree, "proc/stat",
                   "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 %u 0 0 %u 0 0 0 0 0 0\ncpu7 0 0 %u 0 %u 0 0 0 0 0\nintr 12 3\n",
                   busy0, idle0, busy1, idle1);
}

static ThreadRef fixture_thread(const char *tree, int tid, unsigned number) {
        char comm[32];
        ThreadRef ref = {.uuid = UUID, .pid = 100, .tid = tid, .number = (uint16_t)number,
                         .process_start_ticks = 1000, .thread_start_ticks = 2000};
        FakeTask task = {.pid = 100, .tid = tid, .comm = comm, .cpus = "0-7", .cgroup = "", .start_ticks = 2000};

        snprintf(comm, sizeof(comm), "CPU %u/KVM", number);
        fake_thread(tree, &task);
        return ref;
}

static void schedstat_write(const char *tree, int tid, int64_t run_ns, int64_t wait_ns) {
        char path[64];

        snprintf(path, sizeof(path), "proc/100/task/%d/schedstat", tid);
        tree_write(tree, path, "%lld %lld 17\n", (long long)run_ns, (long long)wait_ns);
}

static void assert_sample(const ThreadSample *sample, unsigned run, unsigned wait) {
        assert_true(sample->valid);
        assert_int_equal(sample->run_permille, run);
        assert_int_equal(sample->wait_permille, wait);
}

static void test_windows(void **context) {
        char *tree = tree_new();
        ThreadSample sample[2];
        DynamicCpus host;
        Sampler *sampler;

        (void)context;
        stat_write(tree, 100, 100, 100, 100);
        ThreadRef refs[2] = {fixture_thread(tree, 101, 0), fixture_thread(tree, 102, 1)};
        schedstat_write(tree, 101, 5000 * MS, 1000 * MS);
        schedstat_write(tree, 102, 0, 0);
        int root = open(tree, O_PATH | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(sampler_new(root, &sampler), 0);
        assert_int_equal(sampler_follow(sampler, refs, 2), 0);

        assert_int_equal(sampler_pass(sampler, 1000 * MS, sample, &host), 0);
        assert_false(sample[0].valid || sample[1].valid); /* windows begin */
        assert_true(cpuset_is_empty(&host.sampled));

        stat_write(tree, 120, 105, 100, 125);
        schedstat_write(tree, 101, 5100 * MS, 1050 * MS);
        schedstat_write(tree, 102, 300 * MS, 0);
        assert_int_equal(sampler_pass(sampler, 1250 * MS, sample, &host), 0);
        assert_sample(&sample[0], 400, 200);
        assert_sample(&sample[1], 1000, 0); /* a little more than the window: clocks differ */
        assert_cpus(&host.sampled, "0,7");
        assert_int_equal(host.busy_permille[0], 800);
        assert_int_equal(host.busy_permille[7], 0); /* waiting for a disk is idle */

        /* One less: the other keeps its window. */
        assert_int_equal(sampler_follow(sampler, &refs[1], 1), 0);
        schedstat_write(tree, 102, 325 * MS, 25 * MS);
        assert_int_equal(sampler_pass(sampler, 1500 * MS, sample, &host), 0);
        assert_sample(&sample[0], 100, 100);
        assert_true(cpuset_is_empty(&host.sampled)); /* no tick has passed */

        sampler_free(sampler);
        close(root);
        tree_free(tree);
}

static void test_strangers_give_no_samples(void **context) {
        char *tree = tree_new();
        ThreadSample sample[3];
        DynamicCpus host;
        Sampler *sampler;

        (void)context;
        stat_write(tree, 1, 1, 1, 1);
        ThreadRef refs[3] = {fixture_thread(tree, 101, 0), fixture_thread(tree, 102, 1), {.pid = 100, .tid = 999}};
        schedstat_write(tree, 101, 0, 0);
        schedstat_write(tree, 102, 0, 0);
        refs[0].thread_start_ticks++; /* the number has gone to another thread */
        refs[1].number = 3;           /* another vCPU */
        int root = open(tree, O_PATH | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(sampler_new(root, &sampler), 0);
        assert_int_equal(sampler_follow(sampler, refs, 3), 0);
        for (unsigned pass = 1; pass < 4; pass++) {
                assert_int_equal(sampler_pass(sampler, pass * 250 * MS, sample, &host), 0);
                for (unsigned i = 0; i < 3; i++)
                        assert_false(sample[i].valid);
        }
        sampler_free(sampler);
        close(root);
        tree_free(tree);
}

static int64_t now_ns(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000 * MS + now.tv_nsec;
}

/* Of two threads that spin on one CPU each waits for the other. */
static bool spins_and_waits(const ThreadSample *sample) {
        return sample->valid && sample->wait_permille >= 50 && sample->wait_permille <= 1000 &&
               sample->run_permille >= 1 && sample->run_permille <= 950;
}

static void test_real_threads(void **context) {
        Qemu busy = qemu_start(UUID, 2, (const char *const[]){"-spin", NULL});
        Qemu quiet = qemu_start("21111111-2222-3333-4444-555555555555", 1, NULL);
        ThreadRef refs[3] = {thread_ref(busy.pid, UUID, 0), thread_ref(busy.pid, UUID, 1),
                             thread_ref(quiet.pid, "21111111-2222-3333-4444-555555555555", 0)};
        ThreadSample sample[3];
        cpu_set_t first;
        DynamicCpus host;
        Sampler *sampler;

        (void)context;
        CPU_ZERO(&first);
        CPU_SET(0, &first);
        assert_int_equal(sched_setaffinity(refs[0].tid, sizeof(first), &first), 0);
        assert_int_equal(sched_setaffinity(refs[1].tid, sizeof(first), &first), 0);
        int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(sampler_new(root, &sampler), 0);
        assert_int_equal(sampler_follow(sampler, refs, 3), 0);
        assert_int_equal(sampler_pass(sampler, now_ns(), sample, &host), 0);
        /* On a machine that is busy with more important things, a window may pass without a turn. */
        for (unsigned window = 0; window < WINDOWS; window++) {
                usleep(600 * 1000);
                assert_int_equal(sampler_pass(sampler, now_ns(), sample, &host), 0);
                if (spins_and_waits(&sample[0]) && spins_and_waits(&sample[1]))
                        break;
        }
        assert_true(spins_and_waits(&sample[0]) && spins_and_waits(&sample[1]));
        assert_true(sample[2].valid);
        assert_true(sample[2].run_permille <= 50);
        assert_true(cpuset_has(&host.sampled, 0));
        assert_true(host.busy_permille[0] >= 900 && host.busy_permille[0] <= 1000);

        qemu_stop(&busy);
        assert_int_equal(sampler_pass(sampler, now_ns(), sample, &host), 0);
        assert_false(sample[0].valid || sample[1].valid);
        assert_true(sample[2].valid);
        sampler_free(sampler);
        close(root);
        qemu_stop(&quiet);
}

/* Through the door: who follows nobody holds nothing open. */
static void test_door(void **context) {
        Qemu quiet = qemu_start(UUID, 1, NULL);
        ThreadRef ref = thread_ref(quiet.pid, UUID, 0);
        static DynamicCpus host_cpus;
        ThreadSample sample;
        RealHost *real;

        (void)context;
        assert_int_equal(real_host_new("", NULL, &real), 0);
        Host host = real_host_door(real);
        assert_true(host.ops->sample(host.self, &sample, &host_cpus) < 0);
        assert_int_equal(host.ops->follow(host.self, &ref, 1), 0);
        assert_int_equal(host.ops->sample(host.self, &sample, &host_cpus), 0);
        assert_false(sample.valid);
        assert_int_equal(host.ops->sample(host.self, &sample, &host_cpus), 0);
        assert_true(sample.valid);
        assert_int_equal(host.ops->follow(host.self, NULL, 0), 0);
        assert_null(real->sampler);
        real_host_free(real);
        qemu_stop(&quiet);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_windows),
                cmocka_unit_test(test_strangers_give_no_samples),
                cmocka_unit_test(test_real_threads),
                cmocka_unit_test(test_door),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
