/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Type tables: what gen/ makes of api/ (const data, one table for all types), and what a CustomResourceDefinition's
 * schema becomes at run time. One walker a job reads them: JSON, protobuf, defaults, validation, patch, OpenAPI ...
 */
#pragma once

#include "wire/value.h"

enum field_kind {
    K_BOOL = 1,
    K_INT32,
    K_INT64,
    K_UINT32,
    K_UINT64,
    K_FLOAT64,
    K_STRING,
    K_BYTES,       /* JSON: base64 */
    K_ENUM,        /* protobuf enum: VAL_INT; only in gRPC messages */
    K_MESSAGE,     /* another struct type: field.type */
    K_STRINGS,     /* list of strings that is one in JSON, but in protobuf a message { repeated string = 1 }: the values of
                      a map[string][]string (CARD_MAP), and metav1.Verbs (CARD_ONE) */
    K_QUANTITY,    /* resource.Quantity: VAL_STR canonical; protobuf message { string = 1 } */
    K_TIME,        /* metav1.Time: VAL_STR; protobuf message { int64 seconds = 1; int32 nanos = 2 } */
    K_MICROTIME,   /* metav1.MicroTime: the same with microseconds in JSON (protobuf nanos) */
    K_DURATION,    /* metav1.Duration: VAL_STR as Go prints; protobuf message { int64 nanoseconds = 1 } */
    K_INTORSTRING, /* VAL_INT or VAL_STR; protobuf message { int64 type = 1; int32 intVal = 2; string strVal = 3 } */
    K_RAW,         /* runtime.RawExtension, apiextensions JSON, FieldsV1: VAL_RAW; protobuf message { bytes raw = 1 };
                      field.type tells which of them (a TYPE_LEAF without fields), for OpenAPI only */
    K_JSON_OR,     /* one of several forms without a tag (apiextensions JSONSchemaPropsOrBool, ...OrArray,
                      ...OrStringArray); field.type is a TYPE_OR. In memory and in JSON: the value itself, as VAL_BOOL,
                      VAL_OBJ (of the K_MESSAGE alternative) or VAL_LIST. In protobuf: a message with one field an
                      alternative, found in the type's proto_fields (fields is empty): a bool goes to the K_BOOL one, an
                      OBJ to the K_MESSAGE CARD_ONE one, a LIST to the CARD_LIST one. A K_BOOL alternative is always
                      written: its own value, or true beside an OBJ. Decoding prefers the message, then a list that is
                      not empty, then the bool; a message with none of them is absent. */
    K_ANY,         /* untyped: whatever JSON holds, as MAP, LIST and scalars; no protobuf */
};

enum field_card { CARD_ONE, CARD_LIST, CARD_MAP /* string keys */ };

enum field_flags {
    FIELD_PTR = 1 << 0,       /* Go pointer: absent and zero differ */
    FIELD_OMITEMPTY = 1 << 1, /* JSON leaves the zero value out; without it the zero value is written */
    FIELD_REQUIRED = 1 << 2,  /* OpenAPI `required` */
    FIELD_INLINE = 1 << 3,    /* in proto_fields only: a message whose fields are inlined in JSON (and in memory) */
    FIELD_PROTO3 = 1 << 4,    /* gRPC messages: zero scalars are not written, repeated scalars are packed */
    FIELD_ONEOF = 1 << 5,     /* gRPC: member of a oneof (written even when zero) */
    FIELD_NOPROTO = 1 << 6,   /* no protobuf number (TypeMeta inside objects, configuration types) */
    FIELD_DEPRECATED = 1 << 7,
    FIELD_IMMUTABLE = 1 << 8,
    FIELD_ATOMIC = 1 << 9,    /* list or map or struct that apply replaces whole */
    FIELD_LISTMAP = 1 << 10,  /* associative list: merge keys in field.extra */
    FIELD_LISTSET = 1 << 11,
    FIELD_PATCH_MERGE = 1 << 12, /* strategic merge patch: merge (by the patch merge key, or as a set of scalars) */
    FIELD_PATCH_RETAINKEYS = 1 << 13,
    FIELD_GRANULAR = 1 << 14, /* a struct that is merged field by field here although its type is atomic */
    FIELD_NONEMPTY = 1 << 15, /* validation refuses it when absent or empty ("Required value") */
};

/* What few fields have. Texts are NULL when there is none. */
struct field_extra {
    const char *default_json;    /* constant default as JSON text; set at decode of a new object */
    const char *const *enums;    /* NULL-terminated permitted values of a string (or of each item) */
    const char *patch_key;       /* strategic merge key */
    const char *const *list_keys; /* NULL-terminated keys of an associative list (apply) */
    const char *format;          /* name of a validator: dns-label, dns-subdomain, qualified-name, ip, cidr, port ... */
    int64_t min, max;            /* inclusive; INT64_MIN / INT64_MAX for none; string length or list size: see below */
    uint32_t min_len, max_len;   /* of a string or list; 0 for none */
};

struct field {
    name_id name;    /* 0 for an inline entry in proto_fields */
    uint16_t number; /* protobuf; 0 for none */
    uint8_t kind;    /* enum field_kind */
    uint8_t card;    /* enum field_card */
    uint16_t flags;
    uint16_t type;   /* index of the type for K_MESSAGE and K_JSON_OR, else 0 */
    uint16_t extra;  /* index into type_extras, 0 for none */
    const char *doc; /* one line in our words; NULL for none yet */
};

struct type {
    const char *name; /* upstream's Go name without prefix: "core.v1.PodSpec", "runtime.v1.PodSandbox" (CRI) */
    const char *openapi; /* OpenAPI definition name "io.k8s.api.core.v1.PodSpec", NULL for none */
    const char *doc;
    const char *api_version; /* of a TYPE_ROOT: "apps/v1"; its kind is the last part of name. NULL for others */
    const struct field *fields;       /* JSON view, flattened, in Go declaration order = member order in memory */
    const struct field *proto_fields; /* protobuf view, by number; inlined messages as one FIELD_INLINE entry */
    uint16_t n_fields, n_proto_fields;
    uint16_t index; /* own index */
    uint16_t flags; /* enum type_flags */
};

enum type_flags {
    TYPE_ROOT = 1 << 0,   /* has kind and apiVersion (fields[0], fields[1]) */
    TYPE_PROTO3 = 1 << 1, /* gRPC message */
    TYPE_UNION = 1 << 2,
    TYPE_ATOMIC = 1 << 3, /* x-kubernetes-map-type: atomic */
    TYPE_LIST = 1 << 4,   /* XxxList: ListMeta and items */
    TYPE_OR = 1 << 5,     /* see K_JSON_OR */
    TYPE_OPEN = 1 << 7,   /* the root of a custom resource: a VAL_MAP with whatever it has; members that are fields are
                             of their fields' types (metadata) */
    TYPE_VERSIONS = 1 << 8, /* beside TYPE_OPEN: objects may be of another version than the type, as their apiVersion says */
    TYPE_LEAF = 1 << 6,   /* no struct: name, openapi and doc of a leaf such as Quantity or RawExtension */
};

/* All compiled-in types. Index 0 is unused. T_xxx indices are in types.h (made by gen/). */
extern const struct type types[];
extern const unsigned n_types; /* with the unused 0 */
extern const struct field_extra type_extras[];
/* All names of members, by name_id; 0 is the empty name. Each stands there once. */
extern const struct str name_table[];
extern const unsigned n_names; /* with the unused 0 */

static inline const struct type *type_at(unsigned index)
{
    return index ? &types[index] : NULL;
}
static inline const struct type *field_type(const struct field *f)
{
    return f ? type_at(f->type) : NULL;
}
static inline const struct field_extra *field_extra(const struct field *f)
{
    return f->extra ? &type_extras[f->extra] : NULL;
}
/* The type with that name ("core.v1.Pod"), NULL when there is none. Binary search. */
const struct type *type_find(struct str name);
/* The JSON field with that name. hint (may be NULL): index to try first, moved on for the next call. */
const struct field *type_field(const struct type *t, name_id name, unsigned *hint);
const struct field *type_field_str(const struct type *t, struct str name, unsigned *hint);

/* ---- gRPC services (api/grpc/): G_xxx indices are in grpc.h (made by gen/), index 0 is unused ---------- */

struct grpc_method {
    const char *path; /* "/runtime.v1.RuntimeService/Version" */
    const struct type *request, *response;
    bool client_stream, server_stream;
};

extern const struct grpc_method grpc_methods[];
extern const unsigned n_grpc_methods;
