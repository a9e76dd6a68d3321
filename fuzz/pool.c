/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Memory for what is made anew for each input and is megabytes large, of which little
 * is ever touched (a Snapshot, a Plan): AddressSanitizer would spend most of the time
 * on marking it. The linker puts this in place of malloc(), calloc() and free() in
 * our objects. Blocks are kept for the next input, empty again, and end at a page
 * that nobody may touch.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BLOCKS_MAX = 64, LARGE = 256 * 1024 };

static struct {
        char *at, *map;
        size_t bytes, usable; /* asked for; mapped, without the page at the end */
        int used;
} block[BLOCKS_MAX];

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void __real_free(void *p);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void __wrap_free(void *p);

/* Empty; NULL: there is no place for one more. */
static void *block_take(size_t bytes) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        size_t rounded = (bytes + 15) / 16 * 16, usable = (rounded + page - 1) / page * page;
        unsigned i = 0;

        while (i < BLOCKS_MAX && block[i].map && (block[i].used || block[i].bytes != bytes))
                i++;
        if (i == BLOCKS_MAX)
                return NULL;
        if (!block[i].map) {
                char *map = mmap(NULL, usable + page, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

                if (map == MAP_FAILED || mprotect(map + usable, page, PROT_NONE) < 0)
                        abort();
                block[i].map = map;
                block[i].usable = usable;
                block[i].bytes = bytes;
                block[i].at = map + usable - rounded;
        }
        block[i].used = 1;
        return block[i].at;
}

void *__wrap_malloc(size_t bytes) {
        void *p = bytes >= LARGE ? block_take(bytes) : NULL;

        return p ? p : __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t bytes) {
        void *p = n && bytes <= SIZE_MAX / n && n * bytes >= LARGE ? block_take(n * bytes) : NULL;

        return p ? p : __real_calloc(n, bytes);
}

void __wrap_free(void *p) {
        for (unsigned i = 0; p && i < BLOCKS_MAX && block[i].map; i++)
                if (block[i].at == p) {
                        if (!block[i].used ||
                            madvise(block[i].map, block[i].usable, MADV_DONTNEED) < 0)
                                abort();
                        block[i].used = 0;
                        return;
                }
        __real_free(p);
}
