/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Any bytes as the state file: it is refused with a reason, belongs to another
 * boot, or is the same when it is saved and loaded again.
 */

#include "fuzz.h"

#include <errno.h>

#include "daemon/state.h"

#define BOOT "6a2f1e3c-0f00-4c52-9f0e-1b2c3d4e5f60"

static void save_and_load(const State *state, const char *path) {
        State *again;
        char why[256];

        must(state_new(&again) == 0);
        must(state_save(state, path) == 0);
        must(state_load(again, path, BOOT, why) == 0);
        must(again->n_threads == state->n_threads && again->paused == state->paused);
        must(cpuset_equal(&again->cpus_seen, &state->cpus_seen));
        for (unsigned i = 0; i < state->n_threads; i++) {
                const ThreadState *a = &state->thread[i], *b = &again->thread[i];

                must(a->thread.tid == b->thread.tid && a->home == b->home && a->held == b->held);
                must(i == 0 || state->thread[i - 1].thread.tid <= a->thread.tid);
                must((a->before == SET_NONE) == (b->before == SET_NONE));
                must(a->before == SET_NONE || cpuset_equal(pool_get(state->pool, a->before),
                                                           pool_get(again->pool, b->before)));
        }
        state_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *path = fuzz_file(data, size);
        State *state;
        char why[256];
        int r;

        must(state_new(&state) == 0);
        r = state_load(state, path, BOOT, why);
        if (r == 0)
                save_and_load(state, path);
        else {
                must(state->n_threads == 0);
                if (r == -EBADMSG)
                        must_say_why(why, sizeof(why));
        }
        state_free(state);
        return 0;
}
