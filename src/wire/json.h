/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON in and out, by the type tables. Decoding follows Go's encoding/json as the API server uses it
 * (sigs.k8s.io/json): names match exactly, null is absent, whole numbers of untyped data are INT, an integer
 * field takes no "1.0" and no "1e3", the last of duplicate fields wins. Two things are stricter: invalid
 * UTF-8 is an error, and nesting ends at 128 levels. The result is normal as value.h says: what a Go client
 * could not tell from absent is absent, members stand in declared order, maps are sorted, leaves are in
 * canonical form.
 */
#pragma once

#include "base/err.h"
#include "wire/schema.h"

/* What field validation (Strict, Warn) complains about. Collected, not fatal: the caller decides. */
struct json_report {
    struct str
        *problems; /* `unknown field "spec.foo"`, `duplicate field "spec.x"`, in the arena; each once */
    unsigned n;    /* at most JSON_REPORT_MAX are kept */
};

enum { JSON_REPORT_MAX = 100 };

/* Flags of decoding; none so far. */
enum json_decode_flags { JSON_DECODE_DEFAULT = 0 };

/* Takes the first of several JSON objects that follow each other, with or without space between them, off the text. It is not
 * checked; what does not end is the whole rest. */
struct str json_cut(struct str *text);
/* One JSON text. type NULL gives MAP, LIST and scalars (null gives VAL_NULL). report may be NULL. 0 or
 * -EINVAL with upstream's sentence in e. Text of 4 GiB and more is -E2BIG. */
int json_decode(struct arena *a, const struct type *type, struct str text, unsigned flags,
                struct json_report *report, struct val **ret, struct err *e);

/* The kind and apiVersion of an object, from its text alone; empty when it has none. They are copied to the
 * arena. */
int json_type_meta(struct arena *a, struct str text, struct str *ret_api_version, struct str *ret_kind,
                   struct err *e);

/* JSON text without the space between its parts, in the arena: the form of VAL_RAW. 0 or -EINVAL. */
int json_compact(struct arena *a, struct str text, struct str *ret, struct err *e);

enum json_encode_flags {
    JSON_PRETTY = 1 << 0,  /* 4 spaces a level, as kubectl -o json */
    JSON_NO_HTML = 1 << 1, /* write <, > and & as they are: Go with SetEscapeHTML(false) */
    JSON_PRETTY2 = 1 << 2, /* 2 spaces a level */
    JSON_SORTED = 1 << 3,  /* members by name, as Go writes what went through a map (kubectl) */
    JSON_NO_TYPE = 1 << 4, /* without the object's own kind and apiVersion: an item of a typed list */
};

/* Appends v as Go's encoder writes type: declared order, zero values of fields without omitempty, <, > and &
 * escaped, maps by key. type NULL writes OBJ members as they stand. */
void json_encode(struct buf *b, const struct type *type, const struct val *v, unsigned flags);
/* Appends s as a JSON string with its quotes. */
void json_encode_str(struct buf *b, struct str s, unsigned flags);
/* Appends a number as Go's encoder writes a float64 (NaN and infinities, which JSON has not, as null). */
void json_encode_float(struct buf *b, double f);
