/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An object: the immutable, reference-counted form in which everybody shares what is stored (D2). One block
 * of memory holds the header and the whole value tree; readers in any thread need no lock.
 */
#pragma once

#include "type/resource.h"
#include "wire/value.h"

struct object {
    _Atomic uint32_t refs;
    uint32_t size;                    /* of the block, bytes */
    uint32_t n_shared;                /* texts that other objects have as well (shared.h) */
    const char **shared;              /* in the block */
    const struct resource *res;       /* what it is stored as */
    int64_t revision;                 /* metadata.resourceVersion as a number; 0 before it was stamped */
    const struct val *val;            /* the root: an OBJ of res->type */
    const struct val *meta;           /* its metadata; never NULL */
    struct str name, namespace_, uid; /* into the tree */
    _Atomic(struct encoding *) encodings[2]; /* made at most once each: see object_encoded */
    char revision_text[24];                  /* what metadata.resourceVersion points to once stamped */
};

enum encoding_kind { ENC_JSON, ENC_PROTO };

/* Copies the tree into one block, but for field sets of managers, which objects share. Members are put into declared order. One reference, the caller's. The tree
 * gets a resourceVersion slot that object_stamp fills. kind and apiVersion are set from res. */
struct object *object_new(const struct resource *res, const struct val *v);
/* Sets metadata.resourceVersion: once, before the object is shared. */
void object_stamp(struct object *o, int64_t revision);
struct object *object_ref(const struct object *o);
struct object *object_unref(struct object *o); /* NULL is fine; returns NULL */
static inline void object_unrefp(struct object **o)
{
    object_unref(*o);
}
#define CLEANUP_OBJECT CLEANUP(object_unrefp)

/* The object in an encoding (ENC_PROTO with the k8s envelope), made at the first call and kept while the
 * object lives or until object_drop_encodings. */
struct str object_encoded(const struct object *o, enum encoding_kind kind);
/* Appends the object in an encoding: the kept one where there is one, else made for this once. */
void object_encode(const struct object *o, enum encoding_kind kind, struct buf *b);
void object_drop_encodings(struct object *o);

/* From stored bytes (protobuf envelope for compiled-in types, JSON for custom ones) and its revision. */
struct err;
int object_decode(const struct resource *res, struct str bytes, int64_t revision, struct object **ret,
                  struct err *e);
/* The stored bytes of a value; resourceVersion (and managedFields' time etc.) untouched, resourceVersion left
 * out. */
void object_store_bytes(const struct resource *res, const struct val *v, struct buf *ret);
