/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/schema.h"

#include "wire/schema-internal.h"
#include "wire/value-internal.h"

#include <pthread.h>

/* ---- names: text to id ------------------------------------------------------------------------------------ */

static uint16_t *name_index; /* open addressing; 0 is free */
static uint32_t name_mask;
static pthread_once_t name_once = PTHREAD_ONCE_INIT;

static uint32_t name_hash(struct str s)
{
    uint64_t h = s.n * UINT64_C(0x9e3779b97f4a7c15), x = 0;
    for (; s.n >= 8; s.p += 8, s.n -= 8) {
        memcpy(&x, s.p, 8);
        h = (h ^ x) * UINT64_C(0x9fb21c651e98df25);
        h ^= h >> 32;
    }
    x = 0;
    for (size_t i = 0; i < s.n; i++)
        x = x << 8 | (unsigned char)s.p[i];
    h = (h ^ x) * UINT64_C(0x9fb21c651e98df25);
    return (uint32_t)(h >> 32);
}

/* Lives as long as the process. */
static void name_index_make(void)
{
    uint32_t slots = 64;
    while (slots < 3 * n_names)
        slots *= 2;
    name_index = xcalloc(slots, sizeof(*name_index));
    name_mask = slots - 1;
    for (unsigned id = 1; id < n_names; id++) {
        uint32_t i = name_hash(name_table[id]) & name_mask;
        while (name_index[i])
            i = (i + 1) & name_mask;
        name_index[i] = (uint16_t)id;
    }
}

struct str name_str(name_id id)
{
    return id < n_names ? name_table[id] : STR_NULL;
}

name_id name_find(struct str s)
{
    pthread_once(&name_once, name_index_make);
    for (uint32_t i = name_hash(s) & name_mask; name_index[i]; i = (i + 1) & name_mask)
        if (str_eq(name_table[name_index[i]], s))
            return name_index[i];
    return 0;
}

/* ---- types ------------------------------------------------------------------------------------------------ */

const struct type *type_find(struct str name)
{
    unsigned lo = 1, hi = n_types;
    while (lo < hi) {
        unsigned mid = lo + (hi - lo) / 2;
        int c = str_cmp(name, str_of(types[mid].name));
        if (c == 0)
            return &types[mid];
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

const struct field *type_field(const struct type *t, name_id name, unsigned *hint)
{
    unsigned at = hint && *hint < t->n_fields ? *hint : 0;
    for (unsigned i = 0; name && i < t->n_fields; i++) {
        if (t->fields[at].name == name) {
            if (hint)
                *hint = at + 1;
            return &t->fields[at];
        }
        if (++at == t->n_fields)
            at = 0;
    }
    return NULL;
}

const struct field *type_field_str(const struct type *t, struct str name, unsigned *hint)
{
    unsigned at = hint ? *hint : 0;
    /* Writers keep the declared order and leave out what is empty: the field is often one of the next few. */
    for (unsigned i = at; i < t->n_fields && i < at + 4; i++) {
        if (str_eq(name_table[t->fields[i].name], name)) {
            if (hint)
                *hint = i + 1;
            return &t->fields[i];
        }
    }
    return type_field(t, name_find(name), hint);
}

/* ---- fields ----------------------------------------------------------------------------------------------- */

bool field_is_zero(const struct field *f, const struct val *v)
{
    if (f->flags & (FIELD_PTR | FIELD_ONEOF) || f->kind == K_ANY)
        return false;
    switch ((enum val_kind)v->kind) {
    case VAL_NULL:
        return true;
    case VAL_BOOL:
        return !v->b;
    case VAL_INT:
        return v->i == 0;
    case VAL_FLOAT:
        return v->f == 0;
    case VAL_STR:
        if (f->kind == K_QUANTITY)
            return str_is(val_text(v), "0");
        if (f->kind == K_DURATION)
            return str_is(val_text(v), "0s");
        return v->n == 0 && f->kind != K_INTORSTRING;
    case VAL_OBJ: /* messages of proto3 have presence */
        return v->n == 0 && !(f->flags & FIELD_PROTO3);
    case VAL_BYTES:
    case VAL_RAW:
    case VAL_LIST:
    case VAL_MAP:
        return v->n == 0;
    }
    return false;
}

const struct field *field_alternative(const struct field *f, enum field_card card)
{
    const struct type *t = field_type(f);
    for (unsigned i = 0; t && i < t->n_proto_fields; i++)
        if (t->proto_fields[i].card == card && t->proto_fields[i].kind != K_BOOL)
            return &t->proto_fields[i];
    return NULL;
}

const struct type *field_object_type(const struct field *f)
{
    if (!f)
        return NULL;
    return field_type(f->kind == K_JSON_OR ? field_alternative(f, CARD_ONE) : f);
}
