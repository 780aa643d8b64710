/* SPDX-License-Identifier: Apache-2.0 */
/* Which objects a list, watch or deletecollection is about, and the checks of its options. */
#pragma once

#include "apiserver/request.h"
#include "type/selector.h"

struct selection {
    const struct resource *res;
    struct str ns, name; /* name: when the field selector or the path demands one */
    struct selector labels, fields;
    int64_t revision;    /* of the query; 0 for none or "0" */
    bool any;            /* resourceVersion=0: whatever is there */
    bool exact;
    bool by_version;     /* fields are those of a version that a webhook makes: ask for it ahead (conversion.h) */
    /* of the continue token */
    int64_t continue_revision; /* 0: none; -1: inconsistent, from now */
    struct str start;
};

/* From r->opt: 0, or 400, 410, 422. */
int selection_parse(struct request *r, struct selection *ret);
bool selection_matches(const struct selection *s, const struct object *o);
/* What selection_matches will have to look at of a tree: 0, or 500. Waits. */
int selection_ahead(struct request *r, const struct selection *s, const struct tree *t);
static inline bool selection_narrows(const struct selection *s)
{
    return s->labels.n || s->fields.n || s->labels.nothing;
}
/* The token to go on after the key. */
struct str continue_make(struct request *r, int64_t revision, struct str key);

/* fields.c: is that a field one may select by, and its value (STR_NULL: none). text: room for a number. */
bool field_selectable(const struct resource *res, struct str path);
struct str field_value(const struct resource *res, const struct val *v, struct str path,
                       char text[static 32]);

/* 0 when the revision text is a number, else 400. */
int revision_parse(struct request *r, struct str text, int64_t *ret);
