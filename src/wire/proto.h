/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf in and out, by the type tables. API types follow what gogo makes of upstream's proto2 files:
 * scalars that are no pointers are always written, fields stand in the order of their numbers, maps in the
 * order of their keys, so that equal objects have equal bytes. gRPC messages follow proto3. Unknown fields
 * are skipped; groups are refused.
 */
#pragma once

#include "base/err.h"
#include "wire/schema.h"

/* One message. The result is normal as json.h says; strings are copied to the arena. 0, -EINVAL or -E2BIG. */
int proto_decode(struct arena *a, const struct type *type, struct str data, struct val **ret, struct err *e);
/* Appends v as a message of that type. v may be NULL: an empty message. */
void proto_encode(struct buf *b, const struct type *type, const struct val *v);

/* runtime.Unknown behind the four bytes "k8s\0": how objects travel and how they are stored. Slices of the
 * data. */
struct proto_envelope {
    struct str api_version, kind, raw, content_encoding, content_type;
};

bool proto_is_envelope(struct str data);
int proto_open(struct str data, struct proto_envelope *ret, struct err *e);
/* An object in its envelope; kind and apiVersion are set from it. */
int proto_decode_object(struct arena *a, const struct type *type, struct str data, struct val **ret,
                        struct err *e);
/* Appends v in an envelope with its own kind and apiVersion, or those of its type. */
void proto_encode_object(struct buf *b, const struct type *type, const struct val *v);
/* Appends an envelope around a message that is encoded already. */
void proto_encode_envelope(struct buf *b, struct str api_version, struct str kind, struct str raw);
