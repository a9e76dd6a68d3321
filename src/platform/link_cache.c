/* SPDX-License-Identifier: Apache-2.0 */

#include "platform/link_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

static void entry_release(CacheEntry *entry) {
        if (entry->domain)
                virDomainFree(entry->domain);
        entry->domain = NULL;
}

static void entry_deinit(CacheEntry *entry) {
        entry_release(entry);
        entry->fact = vm_fact_free(entry->fact);
}

void cache_release(LinkCache *cache) {
        for (unsigned i = 0; i < cache->n; i++)
                entry_release(&cache->entry[i]);
}

void cache_clear(LinkCache *cache) {
        for (unsigned i = 0; i < cache->n; i++)
                entry_deinit(&cache->entry[i]);
        free(cache->entry);
        cache->entry = NULL;
        cache->n = 0;
}

static int entry_compare(const void *a, const void *b) {
        return memcmp(((const CacheEntry *)a)->uuid, ((const CacheEntry *)b)->uuid, VIR_UUID_BUFLEN);
}

static CacheEntry *cache_find(LinkCache *cache, const unsigned char *uuid) {
        CacheEntry key = {};

        if (cache->n == 0)
                return NULL;
        memcpy(key.uuid, uuid, sizeof(key.uuid));
        return bsearch(&key, cache->entry, cache->n, sizeof(*cache->entry), entry_compare);
}

/* What was known of the domain moves over, if it is the same run of it. */
static void entry_inherit(CacheEntry *entry, CacheEntry *old) {
        if (!old || old->id != entry->id)
                return;
        entry->fact = STEAL_PTR(old->fact);
        entry->dirty = old->dirty || !entry->fact;
        entry->stale = old->stale;
}

/* An entry for the domain; false: it has stopped, and its reference is given back. */
static bool entry_init(CacheEntry *entry, virDomainPtr domain) {
        *entry = (CacheEntry){ .domain = domain, .id = (int)virDomainGetID(domain), .dirty = true };
        if (entry->id >= 0 && virDomainGetUUID(domain, entry->uuid) == 0)
                return true;
        entry_release(entry);
        return false;
}

int cache_sync(LinkCache *cache, virDomainPtr *domain, unsigned n) {
        LinkCache next = { .generation = cache->generation, .serial = cache->serial };

        next.entry = calloc(n ? n : 1, sizeof(*next.entry));
        for (unsigned i = 0; i < n; i++) {
                CacheEntry entry;

                if (!entry_init(&entry, domain[i]))
                        continue;
                if (!next.entry) {
                        entry_release(&entry);
                        continue;
                }
                entry_inherit(&entry, cache_find(cache, entry.uuid));
                next.entry[next.n++] = entry;
        }
        if (!next.entry)
                return -ENOMEM;
        qsort(next.entry, next.n, sizeof(*next.entry), entry_compare);
        cache_clear(cache);
        *cache = next;
        return 0;
}

static int id_compare(const void *a, const void *b) {
        return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
}

bool cache_is(const LinkCache *cache, int *id, unsigned n) {
        if (n != cache->n)
                return false;
        qsort(id, n, sizeof(*id), id_compare);
        for (unsigned i = 0; i < n; i++) {
                const CacheEntry *entry = &cache->entry[i];
                if (entry->gone || !entry->domain || !bsearch(&entry->id, id, n, sizeof(*id), id_compare))
                        return false;
        }
        return true;
}

/* Makes room for an entry where it belongs. */
static CacheEntry *cache_insert(LinkCache *cache, const CacheEntry *entry) {
        CacheEntry *grown = realloc(cache->entry, (cache->n + 1) * sizeof(*grown));
        unsigned at = 0;

        if (!grown)
                return NULL;
        cache->entry = grown;
        while (at < cache->n && entry_compare(&grown[at], entry) < 0)
                at++;
        memmove(grown + at + 1, grown + at, (cache->n - at) * sizeof(*grown));
        grown[at] = *entry;
        cache->n++;
        return &grown[at];
}

CacheEntry *cache_put(LinkCache *cache, virDomainPtr domain) {
        CacheEntry entry, *old, *new;

        if (!entry_init(&entry, domain))
                return NULL;
        old = cache_find(cache, entry.uuid);
        if (old) {
                entry_inherit(&entry, old);
                entry_deinit(old);
                *old = entry;
                return old;
        }
        new = cache_insert(cache, &entry);
        if (!new)
                entry_release(&entry);
        return new;
}

void cache_drop(LinkCache *cache, const unsigned char *uuid) {
        CacheEntry *entry = cache_find(cache, uuid);

        if (!entry)
                return;
        entry_deinit(entry);
        cache->n--;
        memmove(entry, entry + 1, (size_t)(cache->entry + cache->n - entry) * sizeof(*entry));
}

void cache_mark(LinkCache *cache, const unsigned char *uuid) {
        CacheEntry *entry = cache_find(cache, uuid);

        if (entry)
                entry->dirty = true;
}

void cache_mark_all(LinkCache *cache) {
        for (unsigned i = 0; i < cache->n; i++)
                cache->entry[i].dirty = true;
}

void cache_mark_stale(LinkCache *cache) {
        for (unsigned i = 0; i < cache->n; i++)
                cache->entry[i].stale = true;
}

bool cache_has_stale(const LinkCache *cache) {
        for (unsigned i = 0; i < cache->n; i++)
                if (cache->entry[i].stale && !cache->entry[i].gone)
                        return true;
        return false;
}

void cache_update(LinkCache *cache, CacheEntry *entry, VmFact *fact, bool renew) {
        bool same = !renew && entry->fact && vm_fact_equal(entry->fact, fact);

        fact->generation = same ? entry->fact->generation : ++cache->generation;
        vm_fact_free(entry->fact);
        entry->fact = fact;
        entry->stale = false;
        entry->dirty = fact->starting; /* look again next time, whether or not an event comes */
}

FactList *cache_list(LinkCache *cache, bool full, int64_t taken_at_ns) {
        AUTO_FREE FactList *list = calloc(1, sizeof(*list));

        if (!list)
                return NULL;
        list->vm = calloc(cache->n ? cache->n : 1, sizeof(*list->vm));
        if (!list->vm)
                return NULL;
        for (unsigned i = 0; i < cache->n; i++) {
                if (cache->entry[i].gone || !cache->entry[i].fact)
                        continue;
                list->vm[list->n++] = vm_fact_share(cache->entry[i].fact);
        }
        list->serial = ++cache->serial;
        list->full = full;
        list->taken_at_ns = taken_at_ns;
        return STEAL_PTR(list);
}
