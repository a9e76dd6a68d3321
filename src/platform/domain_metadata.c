/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Metadata is written by whoever owns the VM, not by whoever owns the host: what
 * it may ask for is for the settings to say, here it is only read. Attributes
 * and no content, because libvirt gives our namespace to the element that it is
 * handed (virsh metadata --set) and leaves its children without one. One word that
 * is not understood makes all of it void: half of somebody's wish is no wish.
 */

#include "platform/domain_metadata.h"

#include <string.h>

#include "wire/names.h"

static bool is_ours(const xmlNode *node) {
        return node->type == XML_ELEMENT_NODE && node->ns && node->ns->href &&
               strcmp((const char *)node->ns->href, DOMAIN_METADATA_URI) == 0;
}

/* Whether there is anything but blanks and comments inside. */
static bool has_content(const xmlNode *node) {
        for (const xmlNode *child = node->children; child; child = child->next)
                if (child->type != XML_COMMENT_NODE && !(child->type == XML_TEXT_NODE && xmlIsBlankNode(child)))
                        return true;
        return false;
}

/* Its text; "" unless that is one plain text. */
static const char *attr_text(const xmlAttr *attr) {
        const xmlNode *text = attr->children;

        return text && text->type == XML_TEXT_NODE && !text->next && text->content ? (const char *)text->content : "";
}

static WishFault wish_add(VmWish *wish, const xmlAttr *attr) {
        const char *name = (const char *)attr->name, *value = attr_text(attr);
        int r;

        if (attr->ns)
                return WISH_UNKNOWN;
        if (strcmp(name, "smt") == 0)
                return WISH_SMT;
        if (strcmp(name, "manage") == 0) {
                wish->has_manage = true;
                r = manage_parse(value, &wish->manage);
        } else if (strcmp(name, "layout") == 0) {
                wish->has_layout = true;
                r = layout_parse(value, &wish->layout);
        } else if (strcmp(name, "sched-policy") == 0) {
                wish->has_sched = true;
                r = sched_parse(value, &wish->sched);
        } else
                return WISH_UNKNOWN;
        return r < 0 ? WISH_BAD_VALUE : WISH_FINE;
}

static void wish_read(const xmlNode *node, VmWish *wish) {
        if (strcmp((const char *)node->name, "vm") != 0) {
                wish->fault = WISH_NOT_VM;
                return;
        }
        if (has_content(node)) {
                wish->fault = WISH_CONTENT;
                return;
        }
        for (const xmlAttr *attr = node->properties; attr && (!wish->fault || wish->fault > WISH_BAD_LAST);
             attr = attr->next) {
                WishFault fault = wish_add(wish, attr);
                if (fault)
                        wish->fault = fault;
        }
}

void domain_metadata_read(const xmlNode *metadata, VmWish *ret) {
        VmWish wish = {};
        bool found = false;

        for (const xmlNode *node = metadata->children; node; node = node->next) {
                if (!is_ours(node))
                        continue;
                if (found) {
                        wish.fault = WISH_TWICE;
                        break;
                }
                found = true;
                wish_read(node, &wish);
        }
        if (wish.fault && wish.fault <= WISH_BAD_LAST)
                wish = (VmWish){.fault = wish.fault};
        *ret = wish;
}
