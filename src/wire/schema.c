/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/schema.h"

#include "wire/schema-internal.h"
#include "wire/value-internal.h"

#include <pthread.h>

/* ---- names: text to id ---------------------------------------------------------------------------- */

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

/* ---- types ---------------------------------------------------------------------------------------- */

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

/* ---- fields of a type: by name -------------------------------------------------------------------- */

static uint32_t *field_index; /* open addressing: type's index << 16 | field's index + 1; 0 is free */
static uint32_t field_mask;
static pthread_once_t field_once = PTHREAD_ONCE_INIT;

static uint32_t field_hash(unsigned type, name_id name)
{
    return (uint32_t)((type << 16 | name) * UINT64_C(0x9e3779b97f4a7c15) >> 40);
}

/* Lives as long as the process. */
static void field_index_make(void)
{
    uint32_t fields = 0, slots = 64;
    for (unsigned t = 1; t < n_types; t++)
        fields += types[t].n_fields;
    while (slots < 2 * fields)
        slots *= 2;
    field_index = xcalloc(slots, sizeof(*field_index));
    field_mask = slots - 1;
    for (unsigned t = 1; t < n_types; t++) {
        for (unsigned f = 0; f < types[t].n_fields; f++) {
            uint32_t i = field_hash(t, types[t].fields[f].name) & field_mask;
            while (field_index[i])
                i = (i + 1) & field_mask;
            field_index[i] = t << 16 | (f + 1);
        }
    }
}

static const struct field *compiled_in_field(const struct type *t, name_id name)
{
    pthread_once(&field_once, field_index_make);
    for (uint32_t i = field_hash(t->index, name) & field_mask; field_index[i]; i = (i + 1) & field_mask) {
        const struct field *f = t->fields + (field_index[i] & 0xffff) - 1;
        if (field_index[i] >> 16 == t->index && f->name == name)
            return f;
    }
    return NULL;
}

static const struct field *scanned_field(const struct type *t, name_id name)
{
    for (unsigned i = 0; i < t->n_fields; i++)
        if (t->fields[i].name == name)
            return &t->fields[i];
    return NULL;
}

const struct field *type_field(const struct type *t, name_id name, unsigned *hint)
{
    const struct field *f = NULL;
    if (hint && *hint < t->n_fields && t->fields[*hint].name == name)
        f = &t->fields[*hint];
    else if (name)
        f = t >= types && t < types + n_types ? compiled_in_field(t, name) : scanned_field(t, name);
    if (f && hint)
        *hint = (unsigned)(f - t->fields) + 1;
    return f;
}

const struct field *type_field_str(const struct type *t, struct str name, unsigned *hint)
{
    /* Writers keep the declared order: the field is often the next one. */
    unsigned at = hint ? *hint : 0;
    if (at < t->n_fields && str_eq(name_table[t->fields[at].name], name)) {
        if (hint)
            *hint = at + 1;
        return &t->fields[at];
    }
    return type_field(t, name_find(name), hint);
}

/* ---- what may stand in a field
 * ----------------------------------------------------------------------------- */

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

static unsigned declared_index(const struct type *t, const struct val *member)
{
    return (unsigned)(type_field(t, member->name, NULL) - t->fields);
}

/* Insertion sort: members are few and mostly come in runs. */
void sort_declared(const struct type *t, struct val *m, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        struct val v = m[i];
        unsigned index = declared_index(t, &v);
        uint32_t j = i;
        for (; j && declared_index(t, &m[j - 1]) > index; j--)
            m[j] = m[j - 1];
        m[j] = v;
    }
}
