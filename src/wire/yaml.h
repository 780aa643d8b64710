/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML in and out, as sigs.k8s.io/yaml (go-yaml v2 between YAML and JSON) does it: plain scalars resolve by
 * YAML 1.1 (yes, off, 0777, ~ ...), what looks like a time stays text, quoted is text; keys become text; the
 * last of equal keys wins. Output is block style with keys in go-yaml's order.
 *
 * Reading gives untyped values (MAP, LIST, scalars). A typed object is made by way of JSON: yaml_to_json,
 * json_decode.
 */
#pragma once

#include "wire/json.h"

enum { YAML_END = 1 };

/* The documents of a text, one by one. The text must outlive the stream. */
struct yaml_stream;
struct yaml_stream *yaml_open(struct str text);
struct yaml_stream *yaml_close(struct yaml_stream *s); /* accepts NULL; returns NULL */
/* 0 and a value (VAL_NULL for an empty document), YAML_END, or -EINVAL with "yaml: line 3: ...". After an
 * error the stream is at its end. A report (may be NULL) collects duplicate keys in upstream's words: one
 * problem a document. */
int yaml_next(struct yaml_stream *s, struct arena *a, struct json_report *report, struct val **ret,
              struct err *e);

/* The first document; VAL_NULL when there is none. */
int yaml_decode(struct arena *a, struct str text, struct json_report *report, struct val **ret,
                struct err *e);
/* The same as JSON text, in the arena. */
int yaml_to_json(struct arena *a, struct str text, struct json_report *report, struct str *ret,
                 struct err *e);

/* Appends v as kubectl -o yaml prints it; type as in json_encode. */
void yaml_encode(struct buf *b, const struct type *type, const struct val *v);

/* Whether a manifest is JSON rather than YAML: its first character that is no space is a brace. */
bool yaml_is_json(struct str text);
