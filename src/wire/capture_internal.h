/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The form of a capture as tables, which writer and reader share. */

#include "wire/capture.h"

typedef enum FieldType {
        FIELD_BOOL,
        FIELD_U8,
        FIELD_U16,
        FIELD_I16,
        FIELD_I32, /* enumerations, too */
        FIELD_I64,
        FIELD_SET, /* a SetId: in the capture the set's number in "sets", 0 for none */
} FieldType;

/* A number (or boolean) of a struct. */
typedef struct Field {
        const char *name;
        FieldType type;
        size_t offset;
        int64_t least, most; /* legal; not for booleans and sets */
} Field;

typedef struct FieldList {
        const Field *field;
        size_t n;
} FieldList;

extern const FieldList vm_fields, vcpu_fields, history_fields, vm_history_fields, policy_fields;
