/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Writing: a Snapshot and what belongs to it as JSON. Where memory runs out, a
 * member is missing, and whoever reads it refuses it.
 */

#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/cpulist.h"
#include "util/utf8.h"
#include "wire/capture_internal.h"
#include "wire/names.h"

static int64_t field_get(const Field *field, const void *object) {
        const char *at = (const char *)object + field->offset;

        switch (field->type) {
        case FIELD_BOOL:
                return *(const bool *)at;
        case FIELD_U8:
                return *(const uint8_t *)at;
        case FIELD_U16:
                return *(const uint16_t *)at;
        case FIELD_I16:
                return *(const int16_t *)at;
        case FIELD_I32:
        case FIELD_SET:
                return *(const int32_t *)at;
        case FIELD_I64:
        default:
                return *(const int64_t *)at;
        }
}

static json_t *pack_fields(const FieldList *fields, const void *object) {
        json_t *json = json_object();

        for (size_t i = 0; json && i < fields->n; i++) {
                const Field *field = &fields->field[i];
                int64_t value = field_get(field, object);

                json_object_set_new(json, field->name,
                                    field->type == FIELD_BOOL ? json_boolean(value) : json_integer(value));
        }
        return json;
}

static json_t *pack_set(const CpuSet *set) {
        AUTO_FREE char *text = cpulist_new(set);

        return text ? json_string(text) : NULL;
}

/* The pool's sets in order: a set's number is its place here, from 1 on. */
static json_t *pack_sets(const CpuSetPool *pool) {
        json_t *sets = json_array();

        for (SetId id = 1; sets && id <= pool->n; id++)
                json_array_append_new(sets, pack_set(pool_get(pool, id)));
        return sets;
}

static json_t *pack_nodes(const Vm *vm, bool devices) {
        json_t *nodes = json_array();

        for (unsigned i = 0; nodes && i < (devices ? vm->n_device_nodes : vm->n_mem); i++)
                json_array_append_new(nodes,
                                      devices ? json_integer(vm->device_node[i])
                                              : json_pack("[i,i]", vm->mem[i].node, vm->mem[i].permille));
        return nodes;
}

static json_t *pack_name(const char *name) {
        char clean[VM_NAME_SIZE];

        memcpy(clean, name, sizeof(clean));
        text_disarm(clean);
        return json_string(clean);
}

static json_t *pack_vm(const Snapshot *snapshot, const Vm *vm) {
        json_t *json = pack_fields(&vm_fields, vm), *vcpus = json_array();

        for (uint32_t i = vm->first_vcpu; vcpus && i < vm->first_vcpu + vm->n_vcpus; i++)
                json_array_append_new(vcpus, pack_fields(&vcpu_fields, &snapshot->vcpu[i]));
        json_object_set_new(json, "name", pack_name(vm->name));
        json_object_set_new(json, "uuid", json_string(vm->uuid));
        json_object_set_new(json, "memory", pack_nodes(vm, false));
        json_object_set_new(json, "device_nodes", pack_nodes(vm, true));
        json_object_set_new(json, "vcpus", vcpus);
        return json;
}

static json_t *pack_snapshot(const Snapshot *snapshot) {
        json_t *vms = json_array();

        for (uint32_t v = 0; vms && v < snapshot->n_vms; v++)
                json_array_append_new(vms, pack_vm(snapshot, &snapshot->vm[v]));
        return json_pack("{s:o, s:o, s:o}", "sets", pack_sets(&snapshot->pool), "fresh",
                         pack_set(&snapshot->fresh), "vms", vms);
}

static json_t *pack_history(const History *history) {
        json_t *json = pack_fields(&history_fields, history), *vms = json_array(), *nodes = json_array();

        for (uint32_t i = 0; vms && i < history->n_vms; i++) {
                json_t *vm = pack_fields(&vm_history_fields, &history->vm[i]);

                json_object_set_new(vm, "uuid", json_string(history->vm[i].uuid));
                json_array_append_new(vms, vm);
        }
        for (unsigned node = 0; nodes && node < NODES_MAX; node++)
                if (history->threads_regime[node])
                        json_array_append_new(nodes, json_integer(node));
        json_object_set_new(json, "vms", vms);
        json_object_set_new(json, "threads_regime_nodes", nodes);
        return json;
}

json_t *capture_pack(const Snapshot *snapshot, const History *history, const Policy *policy, int64_t now_ns) {
        json_t *json_policy = pack_fields(&policy_fields, policy);

        json_object_set_new(json_policy, "skip", pack_set(&policy->skip));
        return json_pack("{s:o, s:o, s:o, s:I}", "snapshot", pack_snapshot(snapshot), "history",
                         pack_history(history), "policy", json_policy, "now_ns", (json_int_t)now_ns);
}

static json_t *pack_score(const Score *score) {
        return json_pack("{s:i, s:i, s:i, s:i}", "unplaced", (int)score->unplaced, "excess_nodes",
                         (int)score->excess_nodes, "excess_clusters", (int)score->excess_clusters,
                         "shared_cores", (int)score->shared_cores);
}

static json_t *pack_verdict(const Vm *vm, const Verdict *verdict) {
        return json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i}", "vm", vm->uuid, "verdict",
                         verdict_name(verdict->kind), "reason", reason_name(verdict->reason), "clusters",
                         verdict->clusters, "min_clusters", verdict->min_clusters, "nodes", verdict->nodes,
                         "exclusive", verdict->n_exclusive);
}

json_t *capture_plan(const Snapshot *snapshot, const Plan *plan) {
        json_t *moves = json_array(), *verdicts = json_array();

        for (uint32_t m = 0; moves && m < plan->n_moves; m++) {
                const Move *move = &plan->move[m];
                const Vcpu *vcpu = &snapshot->vcpu[move->vcpu];

                if (move->kind != MOVE_HOLD)
                        json_array_append_new(moves,
                                              json_pack("{s:s, s:i, s:s, s:i, s:i}", "vm",
                                                        snapshot->vm[vcpu->vm].uuid, "vcpu", vcpu->number,
                                                        "kind", move_kind_name(move->kind), "from",
                                                        move->from, "to", move->to));
        }
        for (uint32_t v = 0; verdicts && v < snapshot->n_vms; v++)
                json_array_append_new(verdicts, pack_verdict(&snapshot->vm[v], &plan->verdict[v]));
        return json_pack("{s:o, s:o, s:o, s:o}", "moves", moves, "verdicts", verdicts, "before",
                         pack_score(&plan->before), "after", pack_score(&plan->after));
}

static uint64_t rotate(uint64_t x, unsigned bits) {
        return x << bits | x >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], unsigned n) {
        while (n-- > 0) {
                v[0] += v[1];
                v[2] += v[3];
                v[1] = rotate(v[1], 13) ^ v[0];
                v[3] = rotate(v[3], 16) ^ v[2];
                v[0] = rotate(v[0], 32) + v[3];
                v[2] += v[1];
                v[3] = rotate(v[3], 21) ^ v[0];
                v[1] = rotate(v[1], 17) ^ v[2];
                v[2] = rotate(v[2], 32);
        }
}

static void sip_word(uint64_t v[4], uint64_t word) {
        v[3] ^= word;
        sip_rounds(v, 2);
        v[0] ^= word;
}

uint64_t capture_hash(const uint64_t key[2], const void *data, size_t length) {
        uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                         key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
        const unsigned char *byte = data;
        uint64_t word = 0;

        for (size_t i = 0; i < length; i++) {
                word |= (uint64_t)byte[i] << i % 8 * 8;
                if (i % 8 == 7) {
                        sip_word(v, word);
                        word = 0;
                }
        }
        sip_word(v, word | (uint64_t)length << 56);
        v[2] ^= 0xff;
        sip_rounds(v, 4);
        return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void hash_uuid(char uuid[VM_UUID_SIZE], const uint64_t key[2]) {
        uint64_t hash = capture_hash(key, uuid, strlen(uuid));

        snprintf(uuid, VM_UUID_SIZE, "%08x-%04x-8000-8000-%012llx", (unsigned)(hash >> 32),
                 (unsigned)(hash >> 16 & 0xffff), (unsigned long long)(hash & UINT64_C(0xffffffffffff)));
}

void capture_hash_names(Snapshot *snapshot, History *history, const uint64_t key[2]) {
        for (uint32_t v = 0; v < snapshot->n_vms; v++) {
                Vm *vm = &snapshot->vm[v];

                snprintf(vm->name, sizeof(vm->name), "vm-%016llx",
                         (unsigned long long)capture_hash(key, vm->name, strlen(vm->name)));
                hash_uuid(vm->uuid, key);
        }
        for (uint32_t v = 0; v < history->n_vms; v++)
                hash_uuid(history->vm[v].uuid, key);
}
