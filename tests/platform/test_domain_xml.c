/* SPDX-License-Identifier: Apache-2.0 */

#include "platform/domain_xml.h"
#include "platform/domain_metadata.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

#define UUID "<uuid>11111111-2222-3333-4444-555555555555</uuid>"
#define HEAD "<domain type='kvm' id='5'><name>x</name>" UUID
#define TAIL "</domain>"

static char *file_read(const char *name, size_t *ret_size) {
        AUTO_FREE char *path = NULL;
        AUTO_FCLOSE FILE *file = NULL;
        char *text = malloc(1 << 16);

        assert_true(asprintf(&path, "%s/%s", FIXTURES, name) > 0);
        file = fopen(path, "re");
        assert_non_null(file);
        assert_non_null(text);
        *ret_size = fread(text, 1, 1 << 16, file);
        return text;
}

static VmFact *fixture_parse(const char *name) {
        char why[DOMAIN_WHY_SIZE] = "";
        VmFact *fact = NULL;
        size_t size;
        AUTO_FREE char *text = file_read(name, &size);
        int r = domain_xml_parse(text, size, &fact, why);

        if (r != 0)
                fail_msg("%s: %d %s", name, r, why);
        return fact;
}

/* Parses a copy of just that size, so that a read beyond it is found. */
static int bytes_parse(const char *text, size_t size, VmFact **ret, char why[DOMAIN_WHY_SIZE]) {
        AUTO_FREE char *copy = malloc(size ? size : 1);

        assert_non_null(copy);
        memcpy(copy, text, size);
        why[0] = '\0';
        return domain_xml_parse(copy, size, ret, why);
}

static VmFact *text_parse(const char *text) {
        char why[DOMAIN_WHY_SIZE];
        VmFact *fact = NULL;
        int r = bytes_parse(text, strlen(text), &fact, why);

        if (r != 0)
                fail_msg("%.200s: %d %s", text, r, why);
        return fact;
}

static void test_plain(void **state) {
        VmFact *fact = fixture_parse("plain.xml");

        (void)state;
        assert_string_equal(fact->name, "plain");
        assert_string_equal(fact->uuid, "50fa24f5-0ed9-42da-bbdb-2b25b1e8b609");
        assert_int_equal(fact->id, 1);
        assert_false(fact->range_named || fact->emulator_named || fact->over_limit || fact->numatune_named);
        assert_int_equal(fact->guest_threads, 1);
        assert_int_equal(fact->n_vcpus, 2);
        assert_int_equal(fact->vcpu[0].number, 0);
        assert_int_equal(fact->vcpu[1].number, 1);
        assert_int_equal(fact->n_devices, 0);
        assert_false(fact->wish.has_manage || fact->wish.has_layout || fact->wish.has_sched || fact->wish.fault);
        vm_fact_free(fact);
}

static void test_tuned(void **state) {
        static const uint16_t numbers[] = { 0, 1, 3, 4, 5, 7 }, cells[] = { 0, 0, 0, 1, 1, 1 };
        VmFact *fact = fixture_parse("tuned.xml");

        (void)state;
        assert_string_equal(fact->name, "db & cache");
        assert_int_equal(fact->id, 17);
        assert_true(fact->range_named);
        assert_true(fact->emulator_named);
        assert_int_equal(fact->guest_threads, 2);
        assert_int_equal(fact->n_vcpus, 6);
        for (unsigned i = 0; i < 6; i++) {
                assert_int_equal(fact->vcpu[i].number, numbers[i]);
                assert_int_equal(fact->vcpu[i].guest_cell, cells[i]);
        }
        assert_true(fact->numatune_named);
        assert_int_equal(cpuset_count(&fact->numatune), 3);
        assert_false(cpuset_has(&fact->numatune, 2));
        vm_fact_free(fact);
}

static void test_devices(void **state) {
        VmFact *fact = fixture_parse("tuned.xml");

        (void)state;
        assert_int_equal(fact->n_devices, 3);
        assert_string_equal(fact->device[0], "10000:e1:1f.7");
        assert_string_equal(fact->device[1], "0001:3a:02.5");
        assert_string_equal(fact->device[2], "0000:41:00.0");
        vm_fact_free(fact);
}

#define OUR(inside) "<metadata>text<o:vm xmlns:o='other' manage='no'><a/></o:vm>" inside "</metadata>"
#define NS " xmlns:v='" DOMAIN_METADATA_URI "'"

static VmWish wish_of(const char *metadata) {
        char text[4096];

        snprintf(text, sizeof(text), HEAD "%s" TAIL, metadata);
        VmFact *fact = text_parse(text);
        VmWish wish = fact->wish;
        assert_false(fact->over_limit);
        vm_fact_free(fact);
        return wish;
}

static void test_metadata(void **state) {
        VmFact *fact = fixture_parse("tuned.xml");

        (void)state;
        assert_true(fact->wish.has_manage && !fact->wish.has_layout && !fact->wish.has_sched);
        assert_int_equal(fact->wish.manage, MANAGE_NO);
        vm_fact_free(fact);

        /* The namespace may be declared further out. */
        fact = text_parse("<domain xmlns:v='" DOMAIN_METADATA_URI "'><name>x</name>" UUID
                          "<metadata>text<v:vm layout='pack'/></metadata>" TAIL);
        assert_true(fact->wish.has_layout && fact->wish.layout == LAYOUT_PACK);
        assert_int_equal(fact->id, -1);
        assert_int_equal(fact->n_vcpus, 1);
        vm_fact_free(fact);

        VmWish wish = wish_of(OUR("<v:vm" NS " sched-policy='dynamicAffinity' layout='spread' manage='observe'>\n"
                                  "<!-- why --> </v:vm>"));
        assert_true(wish.has_manage && wish.has_layout && wish.has_sched);
        assert_int_equal(wish.fault, WISH_FINE);
        assert_int_equal(wish.manage, MANAGE_OBSERVE);
        assert_int_equal(wish.layout, LAYOUT_SPREAD);
        assert_int_equal(wish.sched, SCHED_DYNAMIC);
        /* smt is refused and the rest is taken, in either order. */
        wish = wish_of(OUR("<v:vm" NS " smt='true' layout='pack'/>"));
        assert_true(wish.fault == WISH_SMT && wish.has_layout);
        wish = wish_of(OUR("<v:vm" NS " layout='pack' smt='true'/>"));
        assert_true(wish.fault == WISH_SMT && wish.has_layout);
}

/* Nothing of it is taken, and the VM is described as if it had none. */
static void test_bad_metadata(void **state) {
        static const struct {
                const char *metadata;
                WishFault fault;
        } cases[] = {
                { OUR("<v:vm" NS " manage='no'/><v:vm" NS " manage='no'/>"), WISH_TWICE },
                { OUR("<v:policy" NS " manage='no'/>"), WISH_NOT_VM },
                { OUR("<v:vm" NS " manage='no'><v:layout>pack</v:layout></v:vm>"), WISH_CONTENT },
                { OUR("<v:vm" NS " manage='no'>pack</v:vm>"), WISH_CONTENT },
                { OUR("<v:vm" NS " manage='no'><![CDATA[x]]></v:vm>"), WISH_CONTENT },
                { OUR("<v:vm" NS " manage='no'><?pi x?></v:vm>"), WISH_CONTENT },
                { OUR("<v:vm" NS " manage='no' colour='blue'/>"), WISH_UNKNOWN },
                { OUR("<v:vm" NS " manage='no' v:manage='no'/>"), WISH_UNKNOWN },
                { OUR("<v:vm" NS " cross-node='yes' layout='pack'/>"), WISH_UNKNOWN },
                { OUR("<v:vm" NS " manage=''/>"), WISH_BAD_VALUE },
                { OUR("<v:vm" NS " layout='pack' manage='No'/>"), WISH_BAD_VALUE },
                { OUR("<v:vm" NS " layout='pack' sched-policy='fast'/>"), WISH_BAD_VALUE },
                { OUR("<v:vm" NS " smt='true' layout='tight'/>"), WISH_BAD_VALUE },
        };

        (void)state;
        for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                VmWish wish = wish_of(cases[i].metadata);
                if (wish.fault != cases[i].fault || wish.has_manage || wish.has_layout || wish.has_sched)
                        fail_msg("%s: fault %d", cases[i].metadata, wish.fault);
        }
}

static void test_named(void **state) {
        static const struct {
                const char *inside;
                bool range, emulator;
        } cases[] = {
                { "<vcpu placement='static'>2</vcpu>", false, false },
                { "<vcpu placement='static' cpuset='1-2'>2</vcpu>", true, false },
                { "<vcpu placement='auto'>2</vcpu>", true, false },
                { "<vcpu>2</vcpu><cputune><vcpupin vcpu='1' cpuset='3'/></cputune>", true, false },
                { "<vcpu>2</vcpu><cputune><emulatorpin cpuset='3'/></cputune>", false, true },
                { "<vcpu>2</vcpu><cputune><iothreadpin iothread='1' cpuset='3'/></cputune>", false, true },
                { "<vcpu>2</vcpu><cputune><shares>9</shares></cputune>", false, false },
                { "<vcpu>2</vcpu><cputune xmlns='other'><vcpupin vcpu='1' cpuset='3'/></cputune>", false, false },
        };

        (void)state;
        for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                AUTO_FREE char *text = NULL;
                assert_true(asprintf(&text, HEAD "%s" TAIL, cases[i].inside) > 0);
                VmFact *fact = text_parse(text);
                assert_int_equal(fact->range_named, cases[i].range);
                assert_int_equal(fact->emulator_named, cases[i].emulator);
                vm_fact_free(fact);
        }
}

static void test_auto_and_stopped(void **state) {
        VmFact *fact = fixture_parse("auto.xml");

        (void)state;
        assert_true(fact->range_named && fact->emulator_named);
        assert_false(fact->numatune_named);
        assert_true(cpuset_is_empty(&fact->numatune));
        vm_fact_free(fact);

        fact = fixture_parse("stopped.xml");
        assert_int_equal(fact->id, -1);
        assert_int_equal(fact->n_vcpus, 3);
        vm_fact_free(fact);
}

static void test_limits(void **state) {
        static const struct {
                const char *inside;
                bool over;
        } cases[] = {
                { "<vcpu>512</vcpu>", false },
                { "<vcpu current='512'>1024</vcpu>", false },
                { "<vcpu>513</vcpu>", true },
                { "<vcpu>65535</vcpu>", true },
                { "<vcpu>1</vcpu><vcpus><vcpu id='4095' enabled='yes'/></vcpus>", false },
                { "<vcpu>1</vcpu><vcpus><vcpu id='4096' enabled='yes'/></vcpus>", true },
                { "<vcpu>1</vcpu><cpu><numa><cell id='0' cpus='0-5000'/></numa></cpu>", true },
                { "<vcpu>1</vcpu><numatune><memory mode='strict' nodeset='4096'/></numatune>", true },
        };

        (void)state;
        for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                AUTO_FREE char *text = NULL;
                assert_true(asprintf(&text, HEAD "%s" TAIL, cases[i].inside) > 0);
                VmFact *fact = text_parse(text);
                assert_int_equal(fact->over_limit, cases[i].over);
                assert_int_equal(fact->n_vcpus == 0, cases[i].over);
                assert_string_equal(fact->name, "x");
                assert_int_equal(fact->id, 5);
                vm_fact_free(fact);
        }
}

/* n times what, between head and tail. */
static char *repeat(const char *head, const char *what, size_t n, const char *tail) {
        size_t size = strlen(head) + n * strlen(what) + strlen(tail) + 1;
        char *text = malloc(size), *at = text;

        assert_non_null(text);
        at = stpcpy(at, head);
        for (size_t i = 0; i < n; i++)
                at = stpcpy(at, what);
        stpcpy(at, tail);
        return text;
}

static void check_over_limit(const char *text, bool over) {
        VmFact *fact = text_parse(text);

        assert_int_equal(fact->over_limit, over);
        vm_fact_free(fact);
}

static void test_large(void **state) {
        const char *device = "<hostdev type='pci'><source><address domain='0' bus='1' slot='2' function='3'/>"
                             "</source></hostdev>";
        char *text = repeat(HEAD "<devices>", device, DOMAIN_DEVICES_MAX, "</devices>" TAIL);

        (void)state;
        check_over_limit(text, false);
        free(text);
        text = repeat(HEAD "<devices>", device, DOMAIN_DEVICES_MAX + 1, "</devices>" TAIL);
        check_over_limit(text, true);
        free(text);
        /* Metadata may be large, ours (it is not taken then) and others'. */
        text = repeat(HEAD "<metadata><v:vm xmlns:v='" DOMAIN_METADATA_URI "'>", "0123456789abcdef", 100000,
                      "</v:vm></metadata>" TAIL);
        check_over_limit(text, false);
        free(text);
        text = repeat(HEAD "<metadata><v:vm xmlns:v='other'>", "0123456789abcdef", 100000, "</v:vm></metadata>" TAIL);
        check_over_limit(text, false);
        free(text);
}

static void check_refused(const char *text, size_t size, const char *expected) {
        char why[DOMAIN_WHY_SIZE];
        VmFact *fact = NULL;
        int r = bytes_parse(text, size, &fact, why);

        if (r != 1 || fact || !strstr(why, expected) || strchr(why, '\n'))
                fail_msg("%.200s: %d '%s', not '%s'", text, r, why, expected);
}

static void test_hostile(void **state) {
        static const struct {
                const char *text, *why;
        } cases[] = {
                { "", "empty" },
                { " ", "not well-formed" },
                { "domain", "not well-formed" },
                { "<domain>", "not well-formed" },
                { "<domain></domain><domain/>", "not well-formed" },
                { "<network><name>x</name></network>", "not a <domain>" },
                { "<domain xmlns='other'><name>x</name>" UUID TAIL, "not a <domain>" },
                { "<domain/>", "no name" },
                { "<domain><name>x</name>" TAIL, "no uuid" },
                { "<domain><name> </name>" UUID TAIL, "name is empty" },
                { "<domain><name>x</name><uuid>11111111-2222-3333-4444-55555555555</uuid>" TAIL, "uuid" },
                { "<domain><name>x</name><uuid>../../../../etc/passwd/0123456789abcde</uuid>" TAIL, "uuid" },
                { "<domain id='-1'><name>x</name>" UUID TAIL, "bad id" },
                { "<domain id='99999999999999999999'><name>x</name>" UUID TAIL, "bad id" },
                { "<domain id=''><name>x</name>" UUID TAIL, "bad id" },
                { HEAD "<vcpu>0</vcpu>" TAIL, "not a number" },
                { HEAD "<vcpu>-1</vcpu>" TAIL, "not a number" },
                { HEAD "<vcpu>65536</vcpu>" TAIL, "not a number" },
                { HEAD "<vcpu>two</vcpu>" TAIL, "not a number" },
                { HEAD "<vcpu/>" TAIL, "not a number" },
                { HEAD "<vcpu current='3'>2</vcpu>" TAIL, "bad current" },
                { HEAD "<vcpu current='0'>2</vcpu>" TAIL, "no vCPU" },
                { HEAD "<vcpu current='0x'>2</vcpu>" TAIL, "bad current" },
                { HEAD "<vcpus/>" TAIL, "no vCPU" },
                { HEAD "<vcpus><vcpu enabled='yes'/></vcpus>" TAIL, "without a number" },
                { HEAD "<vcpus><vcpu id='1' enabled='no'/></vcpus>" TAIL, "no vCPU" },
                { HEAD "<vcpus><vcpu id='1' enabled='yes'/><vcpu id='1'/></vcpus>" TAIL, "twice" },
                { HEAD "<cpu><topology threads='0'/></cpu>" TAIL, "bad threads" },
                { HEAD "<cpu><topology threads='x'/></cpu>" TAIL, "bad threads" },
                { HEAD "<cpu><numa><cell cpus='3-1'/></numa></cpu>" TAIL, "list" },
                { HEAD "<cpu><numa><cell id='65536' cpus='1'/></numa></cpu>" TAIL, "bad id" },
                { HEAD "<numatune><memory nodeset='a'/></numatune>" TAIL, "list" },
                { HEAD "<numatune><memnode nodeset='0-'/></numatune>" TAIL, "list" },
                { HEAD "<devices><hostdev type='pci'><source><address domain='0' bus='0x100' slot='0'/></source>"
                       "</hostdev></devices>" TAIL, "bad bus" },
                { HEAD "<devices><hostdev type='pci'><source><address domain='0x1000000' slot='0'/></source>"
                       "</hostdev></devices>" TAIL, "bad domain" },
                { HEAD "<devices><hostdev type='pci'><source><address slot='../../x'/></source></hostdev></devices>"
                       TAIL, "bad slot" },
                { "<!DOCTYPE domain>" HEAD TAIL, "document type" },
                { "<!DOCTYPE domain SYSTEM 'file:///etc/passwd'>" HEAD TAIL, "document type" },
                { "<!DOCTYPE d [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'>]><domain><name>&b;</name>" UUID TAIL,
                  "document type" },
                { "<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><domain><name>&a;</name>" UUID TAIL,
                  "document type" },
                { "<domain><name>&undeclared;</name>" UUID TAIL, "not well-formed" },
                { "<domain><name>\xff\xfe</name>" UUID TAIL, "not well-formed" },
                { "<domain><name>&#0;</name>" UUID TAIL, "not well-formed" },
                { "<?xml version='1.0' encoding='nonsense'?><domain>" TAIL, "not well-formed" },
        };

        (void)state;
        for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                check_refused(cases[i].text, strlen(cases[i].text), cases[i].why);
        check_refused(HEAD "\0" TAIL, sizeof(HEAD "\0" TAIL) - 1, "not well-formed");
}

static void test_hostile_size(void **state) {
        char *deep = repeat(HEAD "<metadata>", "<a>", 100000, "");
        char *deep_closed = repeat(HEAD "<metadata><v:v xmlns:v='" DOMAIN_METADATA_URI "'>", "<a>", 300, "");
        char *long_text = repeat(HEAD "<metadata><a>", "0123456789abcdef", DOMAIN_XML_MAX / 16, "</a></metadata>" TAIL);
        char *long_name = repeat("<domain><", "0123456789abcdef", 8000, "/>" TAIL);

        (void)state;
        check_refused(deep, strlen(deep), "not well-formed");
        check_refused(deep_closed, strlen(deep_closed), "not well-formed");
        check_refused(long_text, strlen(long_text), "too long");
        check_refused(long_name, strlen(long_name), "not well-formed");
        free(deep);
        free(deep_closed);
        free(long_text);
        free(long_name);
}

/* Every beginning of a good description is refused, none crashes. */
static void test_cut_off(void **state) {
        size_t size;
        AUTO_FREE char *text = file_read("tuned.xml", &size);

        (void)state;
        while (size > 0 && text[size - 1] != '>')
                size--;
        for (size_t n = 0; n < size; n++)
                check_refused(text, n, n ? "not well-formed" : "empty");
}

static void test_equal(void **state) {
        VmFact *fact = fixture_parse("tuned.xml"), *copy = fixture_parse("tuned.xml");

        (void)state;
        assert_non_null(copy);
        assert_true(vm_fact_equal(fact, copy));
        copy->generation++;
        assert_true(vm_fact_equal(fact, copy));
        copy->vcpu[5].guest_cell++;
        assert_false(vm_fact_equal(fact, copy));
        copy->vcpu[5].guest_cell--;
        copy->device[2][0] = '1';
        assert_false(vm_fact_equal(fact, copy));
        copy->device[2][0] = '0';
        cpuset_add(&copy->numatune, 2);
        assert_false(vm_fact_equal(fact, copy));
        cpuset_remove(&copy->numatune, 2);
        copy->wish.manage = MANAGE_OBSERVE;
        assert_false(vm_fact_equal(fact, copy));
        vm_fact_free(fact);
        vm_fact_free(copy);
        fact = fixture_parse("tuned.xml");
        assert_ptr_equal(vm_fact_share(fact), fact);
        vm_fact_free(fact);
        assert_int_equal(fact->n_vcpus, 6); /* the other owner's */
        vm_fact_free(fact);
        assert_null(vm_fact_free(NULL));
        assert_null(fact_list_free(NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_plain),    cmocka_unit_test(test_tuned),
                cmocka_unit_test(test_devices),  cmocka_unit_test(test_metadata),
                cmocka_unit_test(test_bad_metadata),
                cmocka_unit_test(test_named),    cmocka_unit_test(test_auto_and_stopped),
                cmocka_unit_test(test_limits),   cmocka_unit_test(test_large),
                cmocka_unit_test(test_hostile),  cmocka_unit_test(test_hostile_size),
                cmocka_unit_test(test_cut_off),  cmocka_unit_test(test_equal),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
