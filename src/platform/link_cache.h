/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the link knows of each running domain, so that an event costs no more than
 * the reading of what it named. For the link's own thread.
 */

#include <libvirt/libvirt.h>

#include "platform/facts.h"

typedef struct CacheEntry {
        unsigned char uuid[VIR_UUID_BUFLEN];
        int id;
        virDomainPtr domain; /* NULL: of a connection that is closed */
        VmFact *fact;        /* NULL: not yet read */
        bool dirty;          /* must be read before the next list */
        bool stale;          /* must be read before the next full list */
        bool gone;           /* found to have stopped since the listing */
} CacheEntry;

typedef struct LinkCache {
        unsigned n;
        CacheEntry *entry;   /* by UUID */
        uint64_t generation; /* the last one given out */
        uint64_t serial;     /* of the last list */
} LinkCache;

void cache_clear(LinkCache *cache);

/* Makes the cache hold exactly the listed domains. Takes over the references
 * (not the array), also on failure. Returns 0 or -ENOMEM. */
int cache_sync(LinkCache *cache, virDomainPtr *domain, unsigned n);

/* Whether the cache holds exactly the domains of these ids (which are sorted then), and
 * their references. */
bool cache_is(const LinkCache *cache, int *id, unsigned n);

/* One domain that is known to run. Takes over the reference, also on failure.
 * NULL: out of memory. */
CacheEntry *cache_put(LinkCache *cache, virDomainPtr domain);

/* One domain that is known not to run. */
void cache_drop(LinkCache *cache, const unsigned char *uuid);

/* Gives back the references to libvirt's domains. */
void cache_release(LinkCache *cache);

void cache_mark(LinkCache *cache, const unsigned char *uuid); /* dirty, if it is there */
void cache_mark_all(LinkCache *cache);                        /* dirty */
void cache_mark_stale(LinkCache *cache);                      /* all stale */

/* Whether anything is left to be read for a full list. */
bool cache_has_stale(const LinkCache *cache);

/* Takes the fact over as what the entry's domain was found to be. renew: it counts as
 * changed, even if it is the same. */
void cache_update(LinkCache *cache, CacheEntry *entry, VmFact *fact, bool renew);

/* Everything that is known; NULL: out of memory. */
FactList *cache_list(LinkCache *cache, bool full, int64_t taken_at_ns);
