/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reading: a capture may have been written by anybody. Each number is checked
 * against what the planner may be given, each set of CPUs is one that was defined,
 * and nothing is past a limit; what is missing is an error, not a zero.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/cpulist.h"
#include "wire/capture_internal.h"

typedef struct Reader {
        Capture *capture;
        char *why;
        uint32_t n_sets;
        SetId set[POOL_SETS_MAX + 1]; /* by the capture's numbers */
} Reader;

__attribute__((format(printf, 2, 3))) static bool refuse(const Reader *reader, const char *format, ...) {
        va_list args;

        va_start(args, format);
        vsnprintf(reader->why, CAPTURE_WHY_SIZE, format, args);
        va_end(args);
        return false;
}

static bool take_number(const Reader *reader, const json_t *value, const char *name, int64_t least,
                        int64_t most, int64_t *ret) {
        if (!json_is_integer(value) || json_integer_value(value) < least || json_integer_value(value) > most)
                return refuse(reader, "%s is not a number from %lld to %lld", name, (long long)least,
                              (long long)most);
        *ret = json_integer_value(value);
        return true;
}

static void field_set(const Field *field, void *object, int64_t value) {
        char *at = (char *)object + field->offset;

        switch (field->type) {
        case FIELD_BOOL:
                *(bool *)at = value;
                break;
        case FIELD_U8:
                *(uint8_t *)at = (uint8_t)value;
                break;
        case FIELD_U16:
                *(uint16_t *)at = (uint16_t)value;
                break;
        case FIELD_I16:
                *(int16_t *)at = (int16_t)value;
                break;
        case FIELD_I32:
        case FIELD_SET:
                *(int32_t *)at = (int32_t)value;
                break;
        case FIELD_I64:
                *(int64_t *)at = value;
                break;
        }
}

static bool take_field(const Reader *reader, const json_t *json, const Field *field, void *object) {
        const json_t *value = json_object_get(json, field->name);
        int64_t number = 0;

        if (field->type == FIELD_BOOL) {
                if (!json_is_boolean(value))
                        return refuse(reader, "%s is not true or false", field->name);
                number = json_is_true(value);
        } else if (field->type == FIELD_SET) {
                if (!take_number(reader, value, field->name, 0, reader->n_sets, &number))
                        return false;
                number = reader->set[number];
        } else if (!take_number(reader, value, field->name, field->least, field->most, &number))
                return false;
        field_set(field, object, number);
        return true;
}

static bool take_fields(const Reader *reader, const json_t *json, const FieldList *fields, void *object) {
        for (size_t i = 0; i < fields->n; i++)
                if (!take_field(reader, json, &fields->field[i], object))
                        return false;
        return true;
}

static bool take_string(const Reader *reader, const json_t *json, const char *name, char *ret, size_t size) {
        const char *text = json_string_value(json_object_get(json, name));

        if (!text || strlen(text) >= size)
                return refuse(reader, "%s is not a text of less than %zu bytes", name, size);
        strcpy(ret, text);
        return true;
}

static bool take_list(const Reader *reader, const json_t *json, const char *name, size_t most,
                      const json_t **ret) {
        const json_t *list = json_object_get(json, name);

        if (!json_is_array(list) || json_array_size(list) > most)
                return refuse(reader, "%s is not a list of at most %zu", name, most);
        *ret = list;
        return true;
}

static bool take_cpus(const Reader *reader, const json_t *value, const char *name, CpuSet *ret) {
        const char *text = json_string_value(value);

        if (!text || cpulist_parse(text, ret) < 0)
                return refuse(reader, "%s is not a list of CPUs below %d", name, CPUS_MAX);
        return true;
}

static bool take_sets(Reader *reader, const json_t *json) {
        const json_t *list = NULL, *value;
        size_t i;

        if (!take_list(reader, json, "sets", POOL_SETS_MAX, &list))
                return false;
        json_array_foreach (list, i, value) {
                CpuSet set;

                if (!take_cpus(reader, value, "one of sets", &set))
                        return false;
                reader->set[i + 1] = pool_intern(&reader->capture->snapshot.pool, &set);
        }
        reader->n_sets = (uint32_t)json_array_size(list);
        return true;
}

static bool take_memory(const Reader *reader, const json_t *json, Vm *vm) {
        const json_t *memory = NULL, *devices = NULL, *value;
        int64_t node = 0, permille = 0;
        size_t i;

        if (!take_list(reader, json, "memory", MEM_SHARES_MAX, &memory) ||
            !take_list(reader, json, "device_nodes", MEM_SHARES_MAX, &devices))
                return false;
        json_array_foreach (memory, i, value) {
                if (!take_number(reader, json_array_get(value, 0), "a memory node", 0, UINT16_MAX, &node) ||
                    !take_number(reader, json_array_get(value, 1), "a share of memory", 0, 1000, &permille))
                        return false;
                vm->mem[vm->n_mem++] = (MemShare){.node = (uint16_t)node, .permille = (uint16_t)permille};
        }
        json_array_foreach (devices, i, value) {
                if (!take_number(reader, value, "a device's node", 0, UINT16_MAX, &node))
                        return false;
                vm->device_node[vm->n_device_nodes++] = (uint16_t)node;
        }
        return true;
}

static bool take_vcpus(const Reader *reader, const json_t *json, Vm *vm) {
        Snapshot *snapshot = &reader->capture->snapshot;
        const json_t *list = NULL, *value;
        size_t i;

        if (!take_list(reader, json, "vcpus", VM_VCPUS_MAX, &list))
                return false;
        if (json_array_size(list) > VCPUS_MAX - snapshot->n_vcpus)
                return refuse(reader, "there are more than %d vCPUs", VCPUS_MAX);
        vm->first_vcpu = snapshot->n_vcpus;
        vm->n_vcpus = (uint16_t)json_array_size(list);
        json_array_foreach (list, i, value) {
                Vcpu *vcpu = &snapshot->vcpu[snapshot->n_vcpus++];

                *vcpu = (Vcpu){.vm = (uint16_t)snapshot->n_vms, .last_ran = -1};
                if (!take_fields(reader, value, &vcpu_fields, vcpu))
                        return false;
        }
        return true;
}

static bool take_snapshot(Reader *reader, const json_t *json) {
        Snapshot *snapshot = &reader->capture->snapshot;
        const json_t *list = NULL, *value;
        size_t i;

        snapshot_clear(snapshot);
        if (!take_sets(reader, json) ||
            !take_cpus(reader, json_object_get(json, "fresh"), "fresh", &snapshot->fresh) ||
            !take_list(reader, json, "vms", VMS_MAX, &list))
                return false;
        json_array_foreach (list, i, value) {
                Vm *vm = &snapshot->vm[i];

                *vm = (Vm){};
                if (!take_string(reader, value, "name", vm->name, sizeof(vm->name)) ||
                    !take_string(reader, value, "uuid", vm->uuid, sizeof(vm->uuid)) ||
                    !take_fields(reader, value, &vm_fields, vm) || !take_memory(reader, value, vm) ||
                    !take_vcpus(reader, value, vm))
                        return false;
                snapshot->n_vms++;
        }
        return true;
}

static bool take_history(const Reader *reader, const json_t *json) {
        History *history = &reader->capture->history;
        const json_t *list = NULL, *value;
        int64_t node = 0;
        size_t i;

        history_clear(history);
        if (!take_fields(reader, json, &history_fields, history) ||
            !take_list(reader, json, "vms", VMS_MAX, &list))
                return false;
        json_array_foreach (list, i, value) {
                VmHistory *vm = &history->vm[history->n_vms++];

                *vm = (VmHistory){};
                if (!take_string(reader, value, "uuid", vm->uuid, sizeof(vm->uuid)) ||
                    !take_fields(reader, value, &vm_history_fields, vm))
                        return false;
        }
        if (!take_list(reader, json, "threads_regime_nodes", NODES_MAX, &list))
                return false;
        json_array_foreach (list, i, value) {
                if (!take_number(reader, value, "one of threads_regime_nodes", 0, NODES_MAX - 1, &node))
                        return false;
                history->threads_regime[node] = 1;
        }
        return true;
}

static bool take_all(Reader *reader, const json_t *json) {
        const json_t *policy = json_object_get(json, "policy");
        Capture *capture = reader->capture;

        if (!json_is_integer(json_object_get(json, "vsched_capture")))
                return refuse(reader, "it is no capture: vsched_capture is missing");
        if (json_integer_value(json_object_get(json, "vsched_capture")) != CAPTURE_FORM)
                return refuse(reader, "it is a capture of another form than %d", CAPTURE_FORM);
        policy_defaults(&capture->policy);
        return take_fields(reader, policy, &policy_fields, &capture->policy) &&
               take_cpus(reader, json_object_get(policy, "skip"), "skip", &capture->policy.skip) &&
               take_number(reader, json_object_get(json, "now_ns"), "now_ns", 0, INT64_MAX / 4,
                           &capture->now_ns) &&
               take_snapshot(reader, json_object_get(json, "snapshot")) &&
               take_history(reader, json_object_get(json, "history"));
}

int capture_unpack(const json_t *json, Capture *ret, char ret_why[CAPTURE_WHY_SIZE]) {
        Reader reader = {.capture = ret, .why = ret_why};

        return take_all(&reader, json) ? 0 : -EINVAL;
}
