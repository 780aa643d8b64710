/* SPDX-License-Identifier: Apache-2.0 */
/* What protobuf's two walkers share. */
#pragma once

#include "wire/schema.h"

enum wire_type {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_GROUP = 3,
    WIRE_GROUP_END = 4,
    WIRE_FIXED32 = 5
};

/* How one value of a field stands on the wire. */
static inline enum wire_type wire_type_of(const struct field *f)
{
    switch (f->kind) {
    case K_BOOL:
    case K_INT32:
    case K_INT64:
    case K_UINT32:
    case K_UINT64:
    case K_ENUM:
        return WIRE_VARINT;
    case K_FLOAT64:
        return WIRE_FIXED64;
    default:
        return WIRE_BYTES;
    }
}
