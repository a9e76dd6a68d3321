/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The link against libvirt's mock hypervisor, which lives in this very process:
 * test:///FILE has the file's domains, test:///default is shared by all who
 * open it here, so that a test can make things happen behind the link's back.
 * What only a real libvirtd does (pin events, keep-alive) is tested elsewhere.
 */

#include "platform/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <libvirt/libvirt.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "platform/link_read.h"
#include "util/cleanup.h"

#define SECOND INT64_C(1000000000)

enum { MANY = 300, PATIENCE_MS = 20000, NEVER_BLOCKS_MS = 1000 };

typedef struct Bench {
        Link *link;
        int fd;
        int64_t worst_ns;    /* the longest that a call of the main thread took */
        virConnectPtr other; /* another user of the same hypervisor */
        unsigned n_lists;    /* taken so far */
} Bench;

/* What a link does to its connection. */
static atomic_uint n_opened, n_deregistered, n_closed;

virConnectPtr __real_virConnectOpenReadOnly(const char *uri);
virConnectPtr __wrap_virConnectOpenReadOnly(const char *uri) {
        n_opened++;
        return __real_virConnectOpenReadOnly(uri);
}

int __real_virConnectDomainEventDeregisterAny(virConnectPtr connection, int id);
int __wrap_virConnectDomainEventDeregisterAny(virConnectPtr connection, int id) {
        n_deregistered++;
        return __real_virConnectDomainEventDeregisterAny(connection, id);
}

int __real_virConnectClose(virConnectPtr connection);
int __wrap_virConnectClose(virConnectPtr connection) {
        n_closed++;
        return __real_virConnectClose(connection);
}

static int64_t now_ns(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * SECOND + now.tv_nsec;
}

static void note_cost(Bench *bench, int64_t since_ns) {
        int64_t cost_ns = now_ns() - since_ns;

        if (cost_ns > bench->worst_ns)
                bench->worst_ns = cost_ns;
}

static FactList *take(Bench *bench) {
        int64_t since_ns = now_ns();
        FactList *list = link_take(bench->link);

        note_cost(bench, since_ns);
        bench->n_lists += list != NULL;
        return list;
}

static LinkStatus status(Bench *bench) {
        int64_t since_ns = now_ns();
        LinkStatus found;

        link_status(bench->link, &found);
        note_cost(bench, since_ns);
        assert_null(strchr(found.error, '\n'));
        return found;
}

static void request(Bench *bench, bool full) {
        int64_t since_ns = now_ns();

        link_request(bench->link, full);
        note_cost(bench, since_ns);
}

static bool wait_notified(Bench *bench, int timeout_ms) {
        struct pollfd poller = { .fd = bench->fd, .events = POLLIN };
        eventfd_t value;

        return poll(&poller, 1, timeout_ms) == 1 && eventfd_read(bench->fd, &value) == 0;
}

static const VmFact *list_find(const FactList *list, const char *name) {
        for (unsigned i = 0; i < list->n; i++)
                if (strcmp(list->vm[i]->name, name) == 0)
                        return list->vm[i];
        return NULL;
}

typedef bool (*Condition)(const FactList *list, const void *wanted);

/* Takes lists until one is as wanted. Nothing but a notification leads to a look. */
static FactList *wait_list(Bench *bench, Condition condition, const void *wanted) {
        int64_t until_ns = now_ns() + PATIENCE_MS * INT64_C(1000000);

        while (now_ns() < until_ns) {
                FactList *list = take(bench);
                if (list && (!condition || condition(list, wanted)))
                        return list;
                if (!fact_list_free(list))
                        wait_notified(bench, 1000);
        }
        LinkStatus found = status(bench);
        fail_msg("no such list came; state %d, %s", found.state, found.error);
        return NULL;
}

static FactList *wait_any(Bench *bench) {
        return wait_list(bench, NULL, NULL);
}

static bool is_full(const FactList *list, const void *wanted) {
        (void)wanted;
        return list->full;
}

static bool has_vm(const FactList *list, const void *name) {
        return list_find(list, name);
}

static bool lacks_vm(const FactList *list, const void *name) {
        return !list_find(list, name);
}

/* How many threads of links there are, by their names. */
static unsigned count_threads(void) {
        AUTO_CLOSEDIR DIR *dir = opendir("/proc/self/task");
        unsigned n = 0;

        assert_non_null(dir);
        for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
                char path[300], name[16] = "";
                snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
                AUTO_FCLOSE FILE *file = fopen(path, "re");
                n += file && fgets(name, sizeof(name), file) && strncmp(name, "libvirt-", 8) == 0;
        }
        return n;
}

/* There is one link in a process at a time: libvirt has but one event loop. */
static void wait_threads_end(void) {
        for (int ms = 0; count_threads() > 0 && ms < PATIENCE_MS; ms++)
                usleep(1000);
        assert_int_equal(count_threads(), 0);
}

static Bench bench_on(const char *uri) {
        Bench bench = { .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };

        assert_true(bench.fd >= 0);
        assert_int_equal(link_new(uri, bench.fd, &bench.link), 0);
        return bench;
}

static Bench bench_on_default(void) {
        Bench bench = bench_on("test:///default");

        fact_list_free(wait_any(&bench));
        bench.other = virConnectOpen("test:///default");
        assert_non_null(bench.other);
        return bench;
}

static void bench_abandon(Bench *bench) {
        int64_t since_ns = now_ns();

        link_abandon(bench->link);
        note_cost(bench, since_ns);
        if (bench->other)
                __real_virConnectClose(bench->other);
        assert_true(bench->worst_ns < NEVER_BLOCKS_MS * INT64_C(1000000));
        close(bench->fd);
}

static void bench_end(Bench *bench) {
        bench_abandon(bench);
        wait_threads_end();
        assert_true(n_opened > 0);
        assert_int_equal(n_deregistered + n_closed, 0); /* see link.c */
}

static virDomainPtr domain_start(Bench *bench, const char *name, unsigned vcpus, const char *more) {
        AUTO_FREE char *xml = NULL;
        virDomainPtr domain;

        assert_true(asprintf(&xml, "<domain type='test'><name>%s</name><memory>65536</memory><vcpu current='%u'>8</vcpu>"
                                   "<os><type>hvm</type></os>%s</domain>", name, vcpus, more) > 0);
        domain = virDomainCreateXML(bench->other, xml, 0);
        assert_non_null(domain);
        return domain;
}

static void domain_stop(virDomainPtr domain) {
        assert_int_equal(virDomainDestroy(domain), 0);
        virDomainFree(domain);
}

/* A host of many VMs, as a file; its name must be unlinked and freed. */
static char *many_domains(void) {
        char *path = strdup("/tmp/vas-test-link-XXXXXX");
        int fd = mkstemp(path);
        AUTO_FCLOSE FILE *file = fdopen(fd, "w");

        assert_non_null(file);
        fprintf(file, "<node>\n");
        for (unsigned i = 0; i < MANY; i++)
                fprintf(file, "<domain type='test'><name>vm%03u</name>"
                              "<uuid>00000000-0000-4000-8000-%012u</uuid><memory>65536</memory>"
                              "<vcpu cpuset='%u-%u'>%u</vcpu><os><type>hvm</type></os></domain>\n",
                        i, i * 7919 % 1000000, i % 8, i % 8 + 3, i % 4 + 1);
        fprintf(file, "</node>\n");
        return path;
}

static void check_many(const FactList *list) {
        assert_int_equal(list->n, MANY);
        for (unsigned i = 0; i < MANY; i++) {
                const VmFact *vm = list->vm[i];
                unsigned number = (unsigned)strtoul(vm->name + 2, NULL, 10);
                assert_int_equal(vm->n_vcpus, number % 4 + 1);
                assert_true(vm->range_named);
                assert_false(vm->starting || vm->over_limit);
                assert_int_equal(vm->n_ranges, 1);
                assert_int_equal(cpuset_next(&vm->range[0], 0), number % 8);
                assert_int_equal(cpuset_count(&vm->range[0]), 4);
                assert_true(vm->generation > 0);
        }
}

static void test_many(void **state) {
        AUTO_FREE char *path = many_domains(), *uri = NULL;
        FactList *first, *second;

        (void)state;
        assert_true(asprintf(&uri, "test://%s", path) > 0);
        Bench bench = bench_on(uri);
        first = wait_any(&bench);
        unlink(path);
        check_many(first);
        assert_true(first->full);
        assert_int_equal(status(&bench).state, LINK_UP);
        assert_string_equal(status(&bench).error, "");
        assert_string_equal(status(&bench).uri, uri);
        assert_int_equal(status(&bench).asked_at_ns, 0);
        assert_true(status(&bench).version > 0);

        for (int full = 0; full < 2; full++) {
                request(&bench, full);
                second = wait_list(&bench, full ? is_full : NULL, NULL);
                check_many(second);
                assert_true(second->serial > first->serial);
                assert_true(second->taken_at_ns > first->taken_at_ns);
                for (unsigned i = 0; i < MANY; i++)
                        assert_int_equal(first->vm[i]->generation, second->vm[i]->generation);
                fact_list_free(second);
        }
        fact_list_free(first);
        bench_end(&bench);
}

static void test_start_and_stop(void **state) {
        Bench bench = bench_on_default();
        virDomainPtr domain = domain_start(&bench, "start", 2, "");
        FactList *list = wait_list(&bench, has_vm, "start");
        const VmFact *vm = list_find(list, "start");
        int id = vm->id;
        uint64_t generation = vm->generation;

        (void)state;
        assert_int_equal(vm->n_vcpus, 2);
        assert_false(vm->range_named);
        assert_true(link_poked(bench.link));
        assert_false(link_poked(bench.link));
        fact_list_free(list);
        domain_stop(domain);
        fact_list_free(wait_list(&bench, lacks_vm, "start"));

        domain = domain_start(&bench, "start", 2, "");
        list = wait_list(&bench, has_vm, "start");
        assert_true(list_find(list, "start")->id != id);
        assert_true(list_find(list, "start")->generation > generation);
        fact_list_free(list);
        domain_stop(domain);
        bench_end(&bench);
}

static bool is_of_events(const FactList *list, const void *wanted) {
        (void)wanted;
        return list->only_events;
}

/* Of two lists of which only the second is taken, the first may have been the one
 * that was listed: the other says so. */
static void test_only_events(void **state) {
        Bench bench = bench_on_default();
        virDomainPtr domain, other;
        bool there = false, listed = false;

        (void)state;
        request(&bench, true);
        fact_list_free(wait_list(&bench, is_full, NULL));
        domain = domain_start(&bench, "a", 1, "");
        fact_list_free(wait_list(&bench, is_of_events, NULL));
        request(&bench, false);
        usleep(100000);
        other = domain_start(&bench, "b", 1, "");
        usleep(100000);
        while (!there) {
                FactList *list = wait_any(&bench);

                there = list_find(list, "b");
                listed |= !list->only_events;
                fact_list_free(list);
        }
        assert_true(listed);
        domain_stop(domain);
        domain_stop(other);
        bench_end(&bench);
}

typedef struct Run {
        int id;
        unsigned vcpus;
} Run;

static bool is_other_run(const FactList *list, const void *wanted) {
        const VmFact *vm = list_find(list, "again");
        const Run *before = wanted;

        return vm && vm->id != before->id && vm->n_vcpus != before->vcpus;
}

/* A VM that ends and starts anew between two looks is read anew. */
static void test_restart(void **state) {
        const char *uuid = "<uuid>00000000-0000-4000-8000-00000000cafe</uuid>";
        Bench bench = bench_on_default();
        virDomainPtr domain = domain_start(&bench, "again", 1, uuid);
        FactList *list = wait_list(&bench, has_vm, "again");
        Run run = { .id = list_find(list, "again")->id, .vcpus = 1 };

        (void)state;
        for (unsigned i = 0; i < 20; i++) {
                fact_list_free(list);
                domain_stop(domain);
                domain = domain_start(&bench, "again", i % 2 + 2, uuid);
                list = wait_list(&bench, is_other_run, &run);
                run = (Run){ .id = list_find(list, "again")->id, .vcpus = i % 2 + 2 };
                assert_int_equal(run.id, virDomainGetID(domain));
        }
        fact_list_free(list);
        domain_stop(domain);
        bench_end(&bench);
}

static bool is_pinned(const FactList *list, const void *name) {
        const VmFact *vm = list_find(list, name);

        return vm && vm->n_ranges == 2 && vm->vcpu[0].range != vm->vcpu[1].range &&
               cpuset_single(&vm->range[vm->vcpu[1].range]) == 3;
}

/* No event tells of a pin here: only a full list finds it. */
static void test_full_finds_pins(void **state) {
        Bench bench = bench_on_default();
        virDomainPtr domain = domain_start(&bench, "pins", 2, "");
        unsigned char map[2] = { 1 << 3, 0 };
        FactList *list = wait_list(&bench, has_vm, "pins");
        uint64_t generation = list_find(list, "pins")->generation, other = list_find(list, "test")->generation;

        (void)state;
        fact_list_free(list);
        assert_int_equal(virDomainPinVcpu(domain, 1, map, sizeof(map)), 0);
        request(&bench, true);
        list = wait_list(&bench, is_pinned, "pins");
        assert_true(list_find(list, "pins")->generation > generation);
        assert_true(list_find(list, "pins")->range_named);
        assert_int_equal(list_find(list, "test")->generation, other);
        fact_list_free(list);
        domain_stop(domain);
        bench_end(&bench);
}

/* Nor does it where one VM is asked for: as when somebody has changed its masks. */
static void test_doubt_finds_pins(void **state) {
        Bench bench = bench_on_default();
        virDomainPtr domain = domain_start(&bench, "pins", 2, "");
        unsigned char map[2] = {1 << 3, 0};
        FactList *list = wait_list(&bench, has_vm, "pins");
        char uuid[VM_UUID_SIZE];

        (void)state;
        snprintf(uuid, sizeof(uuid), "%s", list_find(list, "pins")->uuid);
        fact_list_free(list);
        assert_int_equal(virDomainPinVcpu(domain, 1, map, sizeof(map)), 0);
        request(&bench, false);
        list = wait_any(&bench);
        assert_false(is_pinned(list, "pins"));
        fact_list_free(list);
        link_doubt(bench.link, uuid);
        fact_list_free(wait_list(&bench, is_pinned, "pins"));
        domain_stop(domain);
        bench_end(&bench);
}

static bool has_five(const FactList *list, const void *name) {
        const VmFact *vm = list_find(list, name);

        return vm && vm->n_vcpus == 5;
}

/* No event tells of a vCPU that is plugged in: a full list has it. */
static void test_request_finds_vcpus(void **state) {
        Bench bench = bench_on_default();
        virDomainPtr domain = domain_start(&bench, "plug", 2, "");

        (void)state;
        fact_list_free(wait_list(&bench, has_vm, "plug"));
        assert_int_equal(virDomainSetVcpusFlags(domain, 5, VIR_DOMAIN_AFFECT_LIVE), 0);
        request(&bench, true);
        fact_list_free(wait_list(&bench, has_five, "plug"));
        domain_stop(domain);
        bench_end(&bench);
}

static bool has_layout(const FactList *list, const void *layout) {
        const VmFact *vm = list_find(list, "meta");

        return vm && vm->wish.has_layout && vm->wish.layout == *(const Layout *)layout;
}

static void set_metadata(virDomainPtr domain, const char *value) {
        char text[64];

        snprintf(text, sizeof(text), "<vm layout='%s'/>", value);
        assert_int_equal(virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, text, "vsched",
                                              "https://vsched.io/xmlns/vsched/1", VIR_DOMAIN_AFFECT_LIVE), 0);
}

/* A storm of events ends with the last word, in fewer lists than events. */
static void test_storm(void **state) {
        Bench bench = bench_on_default();
        virDomainPtr domain = domain_start(&bench, "meta", 1, "");
        const Layout last = LAYOUT_SPREAD;

        (void)state;
        for (unsigned i = 0; i < 2000; i++) {
                set_metadata(domain, i == 1999 ? "spread" : i % 2 ? "pack" : "auto");
                if (i % 16 == 0)
                        fact_list_free(take(&bench));
        }
        fact_list_free(wait_list(&bench, has_layout, &last));
        assert_true(bench.n_lists < 1000);
        domain_stop(domain);
        bench_end(&bench);
}

enum { BURST = 40 };

static bool has_burst(const FactList *list, const void *wanted) {
        unsigned n = 0;

        for (unsigned i = 0; i < list->n; i++)
                n += strncmp(list->vm[i]->name, "burst", 5) == 0;
        return n == *(const unsigned *)wanted;
}

/* Many VMs come and go at once, in the middle of full lists. */
static void test_burst(void **state) {
        static const unsigned all = BURST, none = 0;
        Bench bench = bench_on_default();
        virDomainPtr domain[BURST];
        char name[16];
        FactList *list;

        (void)state;
        for (unsigned i = 0; i < BURST; i++) {
                snprintf(name, sizeof(name), "burst%u", i);
                if (i % 8 == 0)
                        request(&bench, i % 16 == 0);
                domain[i] = domain_start(&bench, name, i % 4 + 1, "");
        }
        list = wait_list(&bench, has_burst, &all);
        for (unsigned i = 0; i < BURST; i++) {
                snprintf(name, sizeof(name), "burst%u", i);
                assert_int_equal(list_find(list, name)->n_vcpus, i % 4 + 1);
        }
        fact_list_free(list);
        request(&bench, true);
        for (unsigned i = 0; i < BURST; i++)
                domain_stop(domain[i]);
        fact_list_free(wait_list(&bench, has_burst, &none));
        bench_end(&bench);
}

/* A VM that stops while it is read is no failure. */
static void test_read_gone(void **state) {
        Bench bench = bench_on_default();
        virDomainPtr domain = domain_start(&bench, "gone", 2, "");
        char why[LINK_WHY_SIZE] = "";
        VmFact *fact = NULL;

        (void)state;
        assert_int_equal(domain_read(domain, NULL, &fact, why), 0);
        assert_int_equal(virDomainDestroy(domain), 0);
        assert_int_equal(domain_read(domain, fact, &fact, why), 1);
        assert_int_equal(domain_read(domain, NULL, &fact, why), 1);
        assert_string_equal(why, "");
        vm_fact_free(fact);
        virDomainFree(domain);
        bench_end(&bench);
}

static bool is_over(const FactList *list, const void *name) {
        const VmFact *vm = list_find(list, name);

        return vm && vm->over_limit;
}

/* One VM that is past a limit hides no other. */
static void test_over_limit(void **state) {
        Bench bench = bench_on_default();
        virDomainPtr domain = domain_start(&bench, "large", 1, "<numatune><memory mode='strict' nodeset='0,4096'/>"
                                                               "</numatune>");

        (void)state;
        FactList *list = wait_list(&bench, is_over, "large");
        assert_false(list_find(list, "test")->over_limit);
        fact_list_free(list);
        domain_stop(domain);
        bench_end(&bench);
}

static void wait_error(Bench *bench, LinkState state, const char *error) {
        int64_t until_ns = now_ns() + PATIENCE_MS * INT64_C(1000000);

        while (now_ns() < until_ns) {
                LinkStatus found = status(bench);
                if (found.state == state && strstr(found.error, error))
                        return;
                wait_notified(bench, 20);
        }
        fail_msg("state %d, %s; not '%s'", status(bench).state, status(bench).error, error);
}

static void test_nobody_there(void **state) {
        Bench bench = bench_on("qemu+unix:///system?socket=/nonexistent/libvirt-sock");

        (void)state;
        wait_error(&bench, LINK_CONNECTING, "no libvirtd answers at qemu+unix:///system");
        request(&bench, true);
        request(&bench, false);
        assert_null(take(&bench));
        assert_true(status(&bench).asked_at_ns > 0);
        bench_end(&bench);

        bench = bench_on("nonsense://");
        wait_error(&bench, LINK_CONNECTING, "nonsense");
        bench_end(&bench);
}

static void test_name_too_long(void **state) {
        char uri[300];
        Link *link = NULL;

        (void)state;
        memset(uri, 'x', sizeof(uri) - 1);
        uri[sizeof(uri) - 1] = '\0';
        assert_int_equal(link_new(uri, 0, &link), -ENAMETOOLONG);
        assert_null(link);
        link_abandon(NULL);
}

/* Somebody listens and never says a word. */
static void test_silent_server(void **state) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char directory[] = "/tmp/vas-test-link-XXXXXX";
        AUTO_FREE char *uri = NULL;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        (void)state;
        assert_non_null(mkdtemp(directory));
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", directory);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 8), 0);
        assert_true(asprintf(&uri, "qemu+unix:///system?socket=%s", address.sun_path) > 0);
        Bench bench = bench_on(uri);
        request(&bench, true);
        wait_error(&bench, LINK_CONNECTING, "hangs");
        assert_null(take(&bench));
        unlink(address.sun_path);
        rmdir(directory);
        bench_abandon(&bench);
        /* The socket stays open: the link's thread is to hang while this process ends. */
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_many),
                cmocka_unit_test(test_start_and_stop),
                cmocka_unit_test(test_only_events),
                cmocka_unit_test(test_restart),
                cmocka_unit_test(test_full_finds_pins),
                cmocka_unit_test(test_doubt_finds_pins),
                cmocka_unit_test(test_request_finds_vcpus),
                cmocka_unit_test(test_storm),
                cmocka_unit_test(test_burst),
                cmocka_unit_test(test_read_gone),
                cmocka_unit_test(test_over_limit),
                cmocka_unit_test(test_nobody_there),
                cmocka_unit_test(test_name_too_long),
                cmocka_unit_test(test_silent_server),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
