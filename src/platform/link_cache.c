/* SPDX-License-Identifier: Apache-2.0 */

#include "platform/link_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

static void cleanup_list(FactList **list) {
        fact_list_free(*list);
}

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
        CacheEntry key;

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

int cache_sync(LinkCache *cache, virDomainPtr *domain, unsigned n) {
        LinkCache next = { .generation = cache->generation, .serial = cache->serial, .probe = cache->probe };

        next.entry = calloc(n ? n : 1, sizeof(*next.entry));
        for (unsigned i = 0; i < n; i++) {
                CacheEntry entry = { .domain = domain[i], .dirty = true };

                /* A domain that stopped since it was listed has no id. */
                entry.id = (int)virDomainGetID(domain[i]);
                if (!next.entry || entry.id < 0 || virDomainGetUUID(domain[i], entry.uuid) < 0) {
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

void cache_update(LinkCache *cache, CacheEntry *entry, VmFact *fact) {
        bool same = entry->fact && vm_fact_equal(entry->fact, fact);

        fact->generation = same ? entry->fact->generation : ++cache->generation;
        vm_fact_free(entry->fact);
        entry->fact = fact;
        entry->stale = false;
        entry->dirty = fact->starting; /* look again next time, whether or not an event comes */
}

FactList *cache_list(LinkCache *cache, bool full, int64_t taken_at_ns) {
        CLEANUP(cleanup_list) FactList *list = calloc(1, sizeof(*list));

        if (!list)
                return NULL;
        list->vm = calloc(cache->n ? cache->n : 1, sizeof(*list->vm));
        if (!list->vm)
                return NULL;
        for (unsigned i = 0; i < cache->n; i++) {
                if (cache->entry[i].gone || !cache->entry[i].fact)
                        continue;
                list->vm[list->n] = vm_fact_copy(cache->entry[i].fact);
                if (!list->vm[list->n])
                        return NULL;
                list->n++;
        }
        list->serial = ++cache->serial;
        list->full = full;
        list->taken_at_ns = taken_at_ns;
        return STEAL_PTR(list);
}
