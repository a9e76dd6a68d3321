/* SPDX-License-Identifier: Apache-2.0 */

/*
 * hwloc trusts the XML that it reads: a CPU without its set ends the process. But
 * XML comes with captures, from whoever sends one, so it is read here first, by
 * libxml2, and only what was understood is handed on: the tree of objects and
 * their sets, kinds of CPUs, distances between NUMA nodes. Devices, and whatever
 * else is of no use to a Topology, are left out.
 *
 * An object's sets must lie in those of the object around it. Nothing is mended:
 * what is not as hwloc writes it is refused.
 */

#include "platform/topology_xml.h"

#include <errno.h>
#include <hwloc.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

enum {
        WHY_SIZE = 256,
        SET_TEXT_MAX = 4096,   /* 4,096 CPUs take 1,408 characters */
        NODES_READ_MAX = 1024, /* between which distances are read */
};

/* The sets that an object's must lie in. */
enum { CPUS, ALL_CPUS, NODES, ALL_NODES, SETS };
static const char *const set_names[SETS] = {"cpuset", "complete_cpuset", "nodeset", "complete_nodeset"};

typedef struct ObjectSets {
        hwloc_bitmap_t set[SETS];
} ObjectSets;

typedef struct Reading {
        FILE *to;
        char *why;
} Reading;

static void cleanup_document(xmlDoc **document) {
        xmlFreeDoc(*document);
}

static void cleanup_parser(xmlParserCtxtPtr *parser) {
        xmlFreeParserCtxt(*parser);
}

static void cleanup_sets(ObjectSets *sets) {
        for (unsigned i = 0; i < SETS; i++)
                hwloc_bitmap_free(sets->set[i]);
}

static int bad(const Reading *reading, const xmlNode *node, const char *what) {
        snprintf(reading->why, WHY_SIZE, "line %ld: %s", node ? xmlGetLineNo(node) : 1L, what);
        return -EINVAL;
}

static bool is_element(const xmlNode *node, const char *name) {
        return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0;
}

/* The attribute's own text; "" where it is missing or is more than plain text. */
static const char *attribute(const xmlNode *node, const char *name) {
        const xmlAttr *found = xmlHasNsProp(node, (const xmlChar *)name, NULL);

        if (!found || found->type != XML_ATTRIBUTE_NODE || !found->children || found->children->next ||
            found->children->type != XML_TEXT_NODE || !found->children->content)
                return "";
        return (const char *)found->children->content;
}

static bool consists_of(const char *text, const char *characters) {
        return *text && text[strspn(text, characters)] == '\0';
}

static bool is_number(const char *text) {
        return consists_of(text, "0123456789") && strlen(text) < 20;
}

/* Copies the attributes of these names that are numbers. */
static void copy_numbers(const Reading *reading, const xmlNode *node, const char *const *names) {
        for (; *names; names++)
                if (is_number(attribute(node, *names)))
                        fprintf(reading->to, " %s=\"%s\"", *names, attribute(node, *names));
}

/* Words of 32 bits, the highest first, after what stands for all words above:
 * "0xf...f,0x00000001,,0x000000ff", where a word that is 0 may be left out. */
static bool is_set(const char *text) {
        if (strncmp(text, "0xf...f", 7) == 0 && (text[7] == ',' || text[7] == '\0'))
                text += text[7] ? 8 : 7;
        if (strncmp(text, "0x", 2) != 0)
                return *text == '\0';
        for (;; text++) {
                size_t digits = strncmp(text, "0x", 2) == 0 ? strspn(text + 2, "0123456789abcdef") : 0;
                if (digits > 8)
                        return false;
                text += digits ? digits + 2 : 0;
                if (*text != ',')
                        return *text == '\0' && digits;
        }
}

static int read_set(const Reading *reading, const xmlNode *node, const char *name, hwloc_bitmap_t ret) {
        const char *text = attribute(node, name);

        if (!*text || !is_set(text) || strlen(text) > SET_TEXT_MAX || hwloc_bitmap_sscanf(ret, text) < 0)
                return bad(reading, node, "an object without a set that it must have");
        fprintf(reading->to, " %s=\"%s\"", name, text);
        return 0;
}

static int read_sets(const Reading *reading, const xmlNode *node, const ObjectSets *around, ObjectSets *ret) {
        for (unsigned i = 0; i < SETS; i++) {
                int r = (ret->set[i] = hwloc_bitmap_alloc()) ? read_set(reading, node, set_names[i], ret->set[i])
                                                             : -ENOMEM;
                if (r < 0)
                        return r;
                if (around && !hwloc_bitmap_isincluded(ret->set[i], around->set[i]))
                        return bad(reading, node, "an object with more CPUs or nodes than the one around it");
        }
        if (!hwloc_bitmap_isincluded(ret->set[CPUS], ret->set[ALL_CPUS]) ||
            !hwloc_bitmap_isincluded(ret->set[NODES], ret->set[ALL_NODES]))
                return bad(reading, node, "an object with more CPUs or nodes than it has in all");
        return 0;
}

static bool is_only(hwloc_const_bitmap_t set, const char *index) {
        return is_number(index) && hwloc_bitmap_weight(set) == 1 &&
               (unsigned long)hwloc_bitmap_first(set) == strtoul(index, NULL, 10);
}

/* What each type must be; the host itself is the one around all others. */
static int check_type(const Reading *reading, const xmlNode *node, hwloc_obj_type_t type, bool is_host,
                      const ObjectSets *sets) {
        const char *index = attribute(node, "os_index");

        if ((type == HWLOC_OBJ_MACHINE) != is_host)
                return bad(reading, node, "the machine must be around all other objects");
        if (type == HWLOC_OBJ_PU && !is_only(sets->set[ALL_CPUS], index))
                return bad(reading, node, "a CPU whose set is not its number");
        if (type == HWLOC_OBJ_NUMANODE && !is_only(sets->set[ALL_NODES], index))
                return bad(reading, node, "a NUMA node whose set is not its number");
        if (type != HWLOC_OBJ_NUMANODE && type != HWLOC_OBJ_MEMCACHE && hwloc_bitmap_iszero(sets->set[ALL_CPUS]))
                return bad(reading, node, "an object without a CPU");
        return 0;
}

static bool is_device(const xmlNode *node) {
        hwloc_obj_type_t type;

        return hwloc_type_sscanf(attribute(node, "type"), &type, NULL, 0) == 0 &&
               (hwloc_obj_type_is_io(type) || type == HWLOC_OBJ_MISC);
}

static int read_object(const Reading *reading, const xmlNode *node, const ObjectSets *around);

static int read_children(const Reading *reading, const xmlNode *node, hwloc_obj_type_t type,
                         const ObjectSets *sets) {
        for (const xmlNode *child = node->children; child; child = child->next) {
                if (!is_element(child, "object") || is_device(child))
                        continue;
                int r = type == HWLOC_OBJ_PU || type == HWLOC_OBJ_NUMANODE
                                ? bad(reading, child, "an object in a CPU or in a NUMA node")
                                : read_object(reading, child, sets);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* libxml2 lets nothing through that lies too deep. */
static int read_object(const Reading *reading, const xmlNode *node, const ObjectSets *around) {
        static const char *const numbers[] = {"os_index", "gp_index", "depth", "cache_size", "cache_linesize",
                                              "cache_type", "local_memory", "kind", "subkind", "dont_merge", NULL};
        CLEANUP(cleanup_sets) ObjectSets sets = {};
        hwloc_obj_type_t type;
        int r;

        if (hwloc_type_sscanf(attribute(node, "type"), &type, NULL, 0) < 0)
                return bad(reading, node, "an object of no type that hwloc knows");
        fprintf(reading->to, "<object type=\"%s\"", hwloc_obj_type_string(type));
        r = read_sets(reading, node, around, &sets);
        if (r == 0)
                r = check_type(reading, node, type, !around, &sets);
        if (r < 0)
                return r;
        copy_numbers(reading, node, numbers);
        if (strcmp(attribute(node, "subtype"), "Cluster") == 0)
                fputs(" subtype=\"Cluster\"", reading->to);
        fputs(">\n", reading->to);
        r = read_children(reading, node, type, &sets);
        fputs("</object>\n", reading->to);
        return r;
}

static bool is_word(const char *text) {
        return consists_of(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") &&
               strlen(text) < 64;
}

/* What it is told by: hwloc ranks kinds by that. */
static void copy_infos(const Reading *reading, const xmlNode *node) {
        for (const xmlNode *child = node->children; child; child = child->next)
                if (is_element(child, "info") && is_word(attribute(child, "name")) &&
                    is_word(attribute(child, "value")))
                        fprintf(reading->to, "<info name=\"%s\" value=\"%s\"/>\n", attribute(child, "name"),
                                attribute(child, "value"));
}

static int read_cpu_kind(const Reading *reading, const xmlNode *node) {
        static const char *const numbers[] = {"forced_efficiency", NULL};
        CLEANUP(cleanup_sets) ObjectSets sets = {.set[CPUS] = hwloc_bitmap_alloc()};

        if (!sets.set[CPUS])
                return -ENOMEM;
        fputs("<cpukind", reading->to);
        int r = read_set(reading, node, "cpuset", sets.set[CPUS]);
        copy_numbers(reading, node, numbers);
        fputs(">\n", reading->to);
        copy_infos(reading, node);
        fputs("</cpukind>\n", reading->to);
        return r;
}

/* How many numbers the element's text has; it is copied. -1: it has anything else. */
static long copy_list(const Reading *reading, const xmlNode *node) {
        const xmlNode *child = node->children;
        const char *text = child && child->type == XML_TEXT_NODE && !child->next ? (const char *)child->content : "";
        long n = 0;

        if (!consists_of(text, "0123456789 \n"))
                return -1;
        for (const char *at = text + strspn(text, " \n"); *at; at += strspn(at, " \n"), n++) {
                size_t digits = strspn(at, "0123456789");
                if (digits > 19)
                        return -1;
                at += digits;
        }
        fprintf(reading->to, "<%s length=\"%zu\">%s</%s>\n", node->name, strlen(text), text, node->name);
        return n;
}

/* Distances of anything but NUMA nodes by their numbers are left out. */
static int read_distances(const Reading *reading, const xmlNode *node) {
        static const char *const numbers[] = {"nbobjs", "kind", NULL};
        long n = is_number(attribute(node, "nbobjs")) ? strtol(attribute(node, "nbobjs"), NULL, 10) : 0;
        long indexes = 0, values = 0, added = 0;

        if (strcmp(attribute(node, "type"), "NUMANode") != 0 || strcmp(attribute(node, "indexing"), "os") != 0)
                return 0;
        if (n < 2 || n > NODES_READ_MAX || !is_number(attribute(node, "kind")))
                return bad(reading, node, "distances between no NUMA nodes");
        fputs("<distances2 type=\"NUMANode\" indexing=\"os\" name=\"NUMALatency\"", reading->to);
        copy_numbers(reading, node, numbers);
        fputs(">\n", reading->to);
        for (const xmlNode *child = node->children; child && added >= 0; child = child->next)
                if (is_element(child, "indexes"))
                        indexes += added = copy_list(reading, child);
                else if (is_element(child, "u64values"))
                        values += added = copy_list(reading, child);
        if (added < 0 || indexes != n || values != n * n)
                return bad(reading, node, "distances that are not one for each two NUMA nodes");
        fputs("</distances2>\n", reading->to);
        return 0;
}

static int read_topology(const Reading *reading, const xmlNode *root) {
        unsigned n_hosts = 0;
        int r = 0;

        if (!root || !is_element(root, "topology") || strncmp(attribute(root, "version"), "2.", 2) != 0)
                return bad(reading, root, "it is no XML of hwloc 2");
        fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n"
              "<topology version=\"2.0\">\n",
              reading->to);
        for (const xmlNode *child = root->children; child && r == 0; child = child->next)
                if (is_element(child, "object"))
                        r = n_hosts++ ? bad(reading, child, "a second machine") : read_object(reading, child, NULL);
                else if (is_element(child, "cpukind"))
                        r = read_cpu_kind(reading, child);
                else if (is_element(child, "distances2"))
                        r = read_distances(reading, child);
        fputs("</topology>\n", reading->to);
        return r < 0 || n_hosts ? r : bad(reading, root, "it has no machine");
}

/* These two are called where the document declares attributes or entities of its own, which
 * would be copied wherever they are used: the text ends there. */
static void refuse_attribute(void *parser, const xmlChar *element, const xmlChar *name, int type, int def,
                             const xmlChar *value, xmlEnumerationPtr tree) {
        (void)element;
        (void)name;
        (void)type;
        (void)def;
        (void)value;
        xmlFreeEnumeration(tree);
        xmlStopParser(parser);
}

static void refuse_entity(void *parser, const xmlChar *name, int type, const xmlChar *public_id,
                          const xmlChar *system_id, xmlChar *content) {
        (void)name;
        (void)type;
        (void)public_id;
        (void)system_id;
        (void)content;
        xmlStopParser(parser);
}

static int parse(const char *text, size_t size, xmlDoc **ret, char ret_why[WHY_SIZE]) {
        CLEANUP(cleanup_parser) xmlParserCtxtPtr parser = xmlNewParserCtxt();
        const xmlError *error;

        if (!parser)
                return -ENOMEM;
        if (size > INT_MAX) {
                snprintf(ret_why, WHY_SIZE, "it is too long");
                return -EINVAL;
        }
        parser->sax->attributeDecl = refuse_attribute;
        parser->sax->entityDecl = refuse_entity;
        *ret = xmlCtxtReadMemory(parser, text, (int)size, "topology", NULL,
                                 XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOCDATA);
        if (*ret)
                return 0;
        error = xmlCtxtGetLastError(parser);
        if (error && error->code == XML_ERR_NO_MEMORY)
                return -ENOMEM;
        snprintf(ret_why, WHY_SIZE, "line %d: it is not well-formed XML", error ? error->line : 1);
        return -EINVAL;
}

int topology_xml_clean(const char *text, size_t size, char **ret, char ret_why[WHY_SIZE]) {
        CLEANUP(cleanup_document) xmlDoc *document = NULL;
        AUTO_FREE char *clean = NULL;
        size_t clean_size;
        Reading reading = {.why = ret_why};
        int r = parse(text, size, &document, ret_why);

        if (r < 0)
                return r;
        reading.to = open_memstream(&clean, &clean_size);
        if (!reading.to)
                return -ENOMEM;
        r = read_topology(&reading, xmlDocGetRootElement(document));
        bool failed = ferror(reading.to);
        failed |= fclose(reading.to) != 0;
        if (failed && r == 0)
                r = -ENOMEM;
        if (r == 0)
                *ret = STEAL_PTR(clean);
        return r;
}
