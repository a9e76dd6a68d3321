/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A domain's XML comes from libvirtd, but its owner may have written much of
 * it (metadata in the first place), so it is read as a stranger's text: no
 * network, no document type (hence no entities that grow), libxml2's own
 * limits on depth and on the length of names and texts (XML_PARSE_HUGE lifts
 * them and is not given), a limit on the whole. A tree of what passes is built,
 * and only the few elements named below are looked at.
 *
 * libvirt's own elements have no namespace; an element of the same name in
 * somebody else's namespace is not meant.
 *
 * Whatever libvirt would not print is an error (1), whatever is past a limit of
 * ours makes a fact that says so. Nothing is guessed.
 */

#include "platform/domain_xml.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/domain_metadata.h"
#include "util/cleanup.h"
#include "util/cpulist.h"

enum { OK = 0, BAD = 1, OVER_LIMIT = 2 };

/* One text that is being read. */
typedef struct Reading {
        char *why;
        VmFact *fact;
} Reading;

static void cleanup_context(xmlParserCtxtPtr *context) {
        if (*context && (*context)->myDoc) {
                xmlFreeDoc((*context)->myDoc);
                (*context)->myDoc = NULL;
        }
        xmlFreeParserCtxt(*context);
}
static void cleanup_xml_text(xmlChar **text) {
        if (*text)
                xmlFree(*text);
}
static void cleanup_fact(VmFact **fact) {
        vm_fact_free(*fact);
}

static int bad(const Reading *reading, const char *what) {
        snprintf(reading->why, DOMAIN_WHY_SIZE, "%s", what);
        return BAD;
}

static bool node_is(const xmlNode *node, const char *name) {
        return node->type == XML_ELEMENT_NODE && !node->ns && strcmp((const char *)node->name, name) == 0;
}

/* The first element of that name, from node on. */
static const xmlNode *node_seek(const xmlNode *node, const char *name) {
        while (node && !node_is(node, name))
                node = node->next;
        return node;
}

static const xmlNode *node_child(const xmlNode *node, const char *name) {
        return node ? node_seek(node->children, name) : NULL;
}

#define CHILD_FOREACH(child, node, name)                                       \
        for (const xmlNode *child = node_child((node), (name)); child;         \
             child = node_seek(child->next, (name)))

/* An attribute's text; NULL: there is none. One that is not a single plain text
 * (none that we read needs more) reads as "". */
static const char *node_attr(const xmlNode *node, const char *name) {
        const xmlAttr *attr = xmlHasNsProp(node, (const xmlChar *)name, NULL);

        if (!attr)
                return NULL;
        if (!attr->children || attr->children->type != XML_TEXT_NODE || attr->children->next ||
            !attr->children->content)
                return "";
        return (const char *)attr->children->content;
}

static bool attr_is(const xmlNode *node, const char *name, const char *value) {
        const char *text = node_attr(node, name);

        return text && strcmp(text, value) == 0;
}

/* Decimal, or hexadecimal after 0x; nothing around it. */
static bool parse_number(const char *text, unsigned long max, unsigned long *ret) {
        int base = 10;
        char *end;

        if (strncmp(text, "0x", 2) == 0) {
                base = 16;
                text += 2;
        }
        if (*text == '\0' || strspn(text, "0123456789abcdefABCDEF") != strlen(text))
                return false;
        errno = 0;
        *ret = strtoul(text, &end, base);
        return errno == 0 && *end == '\0' && *ret <= max;
}

/* An attribute that must be a number if it is there. */
static int attr_number(const Reading *reading, const xmlNode *node, const char *name, unsigned long max,
                       unsigned long if_absent, unsigned long *ret) {
        const char *text = node_attr(node, name);

        if (!text) {
                *ret = if_absent;
                return OK;
        }
        if (!parse_number(text, max, ret)) {
                snprintf(reading->why, DOMAIN_WHY_SIZE, "<%.40s> has a bad %s", (const char *)node->name, name);
                return BAD;
        }
        return OK;
}

static int read_list(const Reading *reading, const char *text, CpuSet *ret) {
        int r = cpulist_parse(text, ret);

        if (r == -ERANGE)
                return OVER_LIMIT;
        return r < 0 ? bad(reading, "not a list of numbers") : OK;
}

/* An element's text, without blanks around it, newly allocated. */
static int read_text(const xmlNode *node, char **ret) {
        CLEANUP(cleanup_xml_text) xmlChar *content = xmlNodeGetContent(node);

        if (!content)
                return -ENOMEM;
        const char *first = (const char *)content + strspn((const char *)content, " \t\r\n");
        size_t length = strlen(first);
        while (length > 0 && strchr(" \t\r\n", first[length - 1]))
                length--;
        *ret = strndup(first, length);
        return *ret ? OK : -ENOMEM;
}

static bool uuid_is_valid(const char *text) {
        if (strlen(text) != VM_UUID_SIZE - 1)
                return false;
        for (unsigned i = 0; i < VM_UUID_SIZE - 1; i++) {
                bool dash = i == 8 || i == 13 || i == 18 || i == 23;
                if (dash ? text[i] != '-' : !strchr("0123456789abcdef", text[i]))
                        return false;
        }
        return true;
}

static int read_identity(Reading *reading, const xmlNode *root) {
        const xmlNode *name = node_child(root, "name"), *uuid = node_child(root, "uuid");
        AUTO_FREE char *uuid_text = NULL;
        unsigned long id;
        int r;

        if (!name || !uuid)
                return bad(reading, "it has no name or no uuid");
        r = read_text(uuid, &uuid_text);
        if (r != OK)
                return r;
        if (!uuid_is_valid(uuid_text))
                return bad(reading, "its uuid is not one");
        memcpy(reading->fact->uuid, uuid_text, VM_UUID_SIZE);
        r = read_text(name, &reading->fact->name);
        if (r != OK)
                return r;
        if (reading->fact->name[0] == '\0')
                return bad(reading, "its name is empty");
        r = attr_number(reading, root, "id", INT_MAX, ULONG_MAX, &id);
        if (r != OK)
                return r;
        reading->fact->id = id == ULONG_MAX ? -1 : (int)id;
        return OK;
}

/* <vcpus>: each vCPU by its number, online or not. */
static int read_online_listed(const Reading *reading, const xmlNode *vcpus, CpuSet *ret) {
        CpuSet seen = {};
        unsigned long number;
        int r;

        CHILD_FOREACH(vcpu, vcpus, "vcpu") {
                r = attr_number(reading, vcpu, "id", UINT16_MAX, ULONG_MAX, &number);
                if (r != OK)
                        return r;
                if (number == ULONG_MAX || cpuset_has(&seen, (unsigned)number))
                        return bad(reading, "<vcpus> names a vCPU twice, or one without a number");
                if (number >= CPUS_MAX)
                        return OVER_LIMIT;
                cpuset_add(&seen, (unsigned)number);
                if (attr_is(vcpu, "enabled", "yes"))
                        cpuset_add(ret, (unsigned)number);
        }
        return OK;
}

/* The numbers of the online vCPUs. */
static int read_online(const Reading *reading, const xmlNode *root, CpuSet *ret) {
        const xmlNode *vcpu = node_child(root, "vcpu"), *vcpus = node_child(root, "vcpus");
        unsigned long max = 1, current = 1;
        int r;

        if (vcpus)
                return read_online_listed(reading, vcpus, ret);
        if (vcpu) {
                AUTO_FREE char *text = NULL;
                r = read_text(vcpu, &text);
                if (r != OK)
                        return r;
                if (!parse_number(text, UINT16_MAX, &max) || max == 0)
                        return bad(reading, "<vcpu> is not a number");
                r = attr_number(reading, vcpu, "current", max, max, &current);
                if (r != OK)
                        return r;
        }
        if (current == 0)
                return bad(reading, "no vCPU is online");
        if (current > VM_VCPUS_MAX)
                return OVER_LIMIT;
        cpuset_add_range(ret, 0, (unsigned)current - 1);
        return OK;
}

static int read_vcpus(Reading *reading, const xmlNode *root) {
        VmFact *fact = reading->fact;
        CpuSet online = {};
        unsigned n;
        int r = read_online(reading, root, &online);

        if (r != OK)
                return r;
        n = cpuset_count(&online);
        if (n == 0)
                return bad(reading, "no vCPU is online");
        if (n > VM_VCPUS_MAX)
                return OVER_LIMIT;
        fact->vcpu = calloc(n, sizeof(*fact->vcpu));
        if (!fact->vcpu)
                return -ENOMEM;
        CPUSET_FOREACH(number, &online)
                fact->vcpu[fact->n_vcpus++].number = (uint16_t)number;
        return OK;
}

/* <cpu>: guest SMT, and the guest's NUMA cells. */
static int read_guest_cpu(Reading *reading, const xmlNode *root) {
        const xmlNode *cpu = node_child(root, "cpu"), *topology = node_child(cpu, "topology");
        unsigned long threads = 1, id, position = 0;
        int r;

        if (topology) {
                r = attr_number(reading, topology, "threads", UINT16_MAX, 1, &threads);
                if (r != OK)
                        return r;
                if (threads == 0)
                        return bad(reading, "<topology> has a bad threads");
        }
        reading->fact->guest_threads = (uint16_t)threads;

        CHILD_FOREACH(cell, node_child(cpu, "numa"), "cell") {
                const char *cpus = node_attr(cell, "cpus");
                CpuSet numbers = {};

                r = attr_number(reading, cell, "id", UINT16_MAX, position++, &id);
                if (r == OK && cpus)
                        r = read_list(reading, cpus, &numbers);
                if (r != OK)
                        return r;
                for (unsigned i = 0; i < reading->fact->n_vcpus; i++)
                        if (cpuset_has(&numbers, reading->fact->vcpu[i].number))
                                reading->fact->vcpu[i].guest_cell = (uint16_t)id;
        }
        return OK;
}

static void read_names(Reading *reading, const xmlNode *root) {
        const xmlNode *vcpu = node_child(root, "vcpu"), *tune = node_child(root, "cputune");

        reading->fact->range_named = node_child(tune, "vcpupin") ||
                                     (vcpu && (node_attr(vcpu, "cpuset") || attr_is(vcpu, "placement", "auto")));
        reading->fact->emulator_named = node_child(tune, "emulatorpin") || node_child(tune, "iothreadpin");
}

static int read_nodeset(Reading *reading, const xmlNode *node) {
        const char *text = node_attr(node, "nodeset");
        CpuSet nodes = {};
        int r;

        if (!text)
                return OK;
        r = read_list(reading, text, &nodes);
        if (r != OK)
                return r;
        cpuset_or(&reading->fact->numatune, &nodes);
        reading->fact->numatune_named = true;
        return OK;
}

static int read_numatune(Reading *reading, const xmlNode *root) {
        const xmlNode *tune = node_child(root, "numatune");
        int r;

        CHILD_FOREACH(memory, tune, "memory") {
                r = read_nodeset(reading, memory);
                if (r != OK)
                        return r;
        }
        CHILD_FOREACH(memnode, tune, "memnode") {
                r = read_nodeset(reading, memnode);
                if (r != OK)
                        return r;
        }
        return OK;
}

static int add_device(Reading *reading, const xmlNode *address) {
        VmFact *fact = reading->fact;
        unsigned long domain, bus, slot, function;
        int r;

        r = attr_number(reading, address, "domain", 0xffffff, 0, &domain);
        if (r == OK)
                r = attr_number(reading, address, "bus", 0xff, 0, &bus);
        if (r == OK)
                r = attr_number(reading, address, "slot", 0x1f, 0, &slot);
        if (r == OK)
                r = attr_number(reading, address, "function", 0x7, 0, &function);
        if (r != OK)
                return r;
        if (fact->n_devices == DOMAIN_DEVICES_MAX)
                return OVER_LIMIT;
        if (!fact->device) {
                fact->device = calloc(DOMAIN_DEVICES_MAX, sizeof(*fact->device));
                if (!fact->device)
                        return -ENOMEM;
        }
        snprintf(fact->device[fact->n_devices++], sizeof(*fact->device), "%04lx:%02lx:%02lx.%lx",
                 domain & 0xffffff, bus & 0xff, slot & 0x1f, function & 0x7);
        return OK;
}

/* Devices of the host that were given to the guest: <hostdev type='pci'>, and
 * what libvirt prints as an interface or a disk although it is one of those. */
static int read_devices(Reading *reading, const xmlNode *root) {
        static const struct {
                const char *element, *type;
        } kinds[] = { { "hostdev", "pci" }, { "interface", "hostdev" }, { "disk", "nvme" } };
        const xmlNode *devices = node_child(root, "devices");
        int r;

        for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
                CHILD_FOREACH(device, devices, kinds[i].element) {
                        const xmlNode *address = node_child(node_child(device, "source"), "address");

                        if (!address || !attr_is(device, "type", kinds[i].type) || !node_attr(address, "slot"))
                                continue;
                        r = add_device(reading, address);
                        if (r != OK)
                                return r;
                }
        return OK;
}

static int read_metadata(Reading *reading, const xmlNode *root) {
        const xmlNode *metadata = node_child(root, "metadata");

        if (metadata)
                domain_metadata_read(metadata, &reading->fact->wish);
        return OK;
}

/* What is known of a domain past a limit. */
static void keep_identity_only(VmFact *fact) {
        VmFact kept = { .name = STEAL_PTR(fact->name), .id = fact->id, .over_limit = true, .guest_threads = 1 };

        memcpy(kept.uuid, fact->uuid, sizeof(kept.uuid));
        free(fact->vcpu);
        free(fact->device);
        *fact = kept;
}

static int read_domain(Reading *reading, const xmlNode *root) {
        static int (*const parts[])(Reading *, const xmlNode *) = {
                read_vcpus, read_guest_cpu, read_numatune, read_devices, read_metadata,
        };
        int r;

        if (!root || !node_is(root, "domain"))
                return bad(reading, "it is not a <domain>");
        r = read_identity(reading, root);
        if (r != OK)
                return r == OVER_LIMIT ? BAD : r;
        read_names(reading, root);
        for (unsigned i = 0; i < sizeof(parts) / sizeof(*parts) && r == OK; i++)
                r = parts[i](reading, root);
        if (r != OVER_LIMIT)
                return r;
        keep_identity_only(reading->fact);
        return OK;
}

/* Called where a document type begins: the text ends there. */
static void refuse_doctype(void *data, const xmlChar *name, const xmlChar *external, const xmlChar *system) {
        xmlParserCtxtPtr context = data;

        (void)name;
        (void)external;
        (void)system;
        context->_private = context;
        xmlStopParser(context);
}

static int parse_tree(xmlParserCtxtPtr context, const char *text, size_t size, const Reading *reading) {
        const int options = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOCDATA;
        const xmlError *error;

        if (size == 0 || size > DOMAIN_XML_MAX)
                return bad(reading, size ? "it is too long" : "it is empty");
        context->sax->internalSubset = refuse_doctype;
        context->myDoc = xmlCtxtReadMemory(context, text, (int)size, "domain", NULL, options);
        if (context->_private)
                return bad(reading, "it has a document type");
        if (context->myDoc)
                return OK;
        error = xmlCtxtGetLastError(context);
        if (error && error->code == XML_ERR_NO_MEMORY)
                return -ENOMEM;
        snprintf(reading->why, DOMAIN_WHY_SIZE, "it is not well-formed (libxml2's error %d, line %d)",
                 error ? error->code : 0, error ? error->line : 0);
        return BAD;
}

int domain_xml_parse(const char *text, size_t size, VmFact **ret, char ret_why[DOMAIN_WHY_SIZE]) {
        CLEANUP(cleanup_fact) VmFact *fact = calloc(1, sizeof(*fact));
        CLEANUP(cleanup_context) xmlParserCtxtPtr context = xmlNewParserCtxt();
        Reading reading = { .why = ret_why, .fact = fact };
        int r;

        if (!fact || !context)
                return -ENOMEM;
        r = parse_tree(context, text, size, &reading);
        if (r == OK)
                r = read_domain(&reading, xmlDocGetRootElement(context->myDoc));
        if (r != OK)
                return r;
        *ret = STEAL_PTR(fact);
        return 0;
}
