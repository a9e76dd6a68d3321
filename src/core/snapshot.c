/* SPDX-License-Identifier: Apache-2.0 */

#include "core/snapshot.h"

void snapshot_clear(Snapshot *snapshot) {
        snapshot->n_vms = 0;
        snapshot->n_vcpus = 0;
        snapshot->n_helpers = 0;
        snapshot->n_beyond_limits = 0;
        cpuset_clear(&snapshot->fresh);
        pool_clear(&snapshot->pool);
}
