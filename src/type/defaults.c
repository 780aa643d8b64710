/* SPDX-License-Identifier: Apache-2.0 */
#include "type/defaults.h"
#include "type/structural.h"

#include <pthread.h>

#include "type/defaults-internal.h"
#include "wire/json.h"
#include "wire/quantity.h"
#include "wire/schema-internal.h"

/* ---- what each type has to do with defaults, worked out once ------------------------------------------- */

enum reach {
    REACH_ANY = 1 << 0, /* something in the type or below it may be defaulted */
    REACH_ABSENT =
        1 << 1, /* even when the whole of it is absent: Go's non-pointer structs are always there */
};

static uint8_t *reach;
static default_fn **rules;
static pthread_once_t reach_once = PTHREAD_ONCE_INIT;

static bool is_quantities(const struct field *f)
{
    return f->kind == K_QUANTITY && f->card == CARD_MAP;
}

static uint8_t field_reach(const struct field *f)
{
    const struct field_extra *x = field_extra(f);
    if (x && x->default_json)
        return REACH_ANY | REACH_ABSENT;
    if (is_quantities(f))
        return REACH_ANY;
    if (f->kind != K_MESSAGE)
        return 0;
    bool always_there = f->card == CARD_ONE && !(f->flags & FIELD_PTR);
    return always_there ? reach[f->type] : reach[f->type] & REACH_ANY;
}

static bool reach_grow(const struct type *t)
{
    uint8_t old = reach[t->index];
    for (unsigned i = 0; i < t->n_fields; i++)
        reach[t->index] |= field_reach(&t->fields[i]);
    return reach[t->index] != old;
}

static void add_rules(const struct default_rule *r)
{
    for (; r->type; r++) {
        rules[r->type] = r->fn;
        reach[r->type] = REACH_ANY | REACH_ABSENT;
    }
}

/* Lives as long as the process. */
static void reach_make(void)
{
    reach = xcalloc(n_types, sizeof(*reach));
    rules = xcalloc(n_types, sizeof(*rules));
    add_rules(defaults_core);
    add_rules(defaults_other);
    for (bool grown = true; grown;) {
        grown = false;
        for (unsigned i = 1; i < n_types; i++)
            grown |= reach_grow(&types[i]);
    }
}

/* Types made at run time (custom resources) are not in the table: they may have defaults anywhere. */
static uint8_t type_reach(const struct type *t)
{
    bool compiled_in = t >= types && t < types + n_types;
    return compiled_in ? reach[t->index] : REACH_ANY;
}

static default_fn *type_rule(const struct type *t)
{
    return t >= types && t < types + n_types ? rules[t->index] : NULL;
}

/* ---- the walk ------------------------------------------------------------------------------------------ */

static void apply(struct arena *a, const struct type *t, struct val *v);

static void set_constant(struct arena *a, const struct field *f, struct val *v)
{
    const struct type *t = f->kind == K_MESSAGE && f->card == CARD_ONE ? field_type(f) : NULL;
    struct val *c = NULL;
    if (json_decode(a, t, str_of(field_extra(f)->default_json), JSON_DECODE_DEFAULT, NULL, &c, NULL) != 0)
        return; /* gen/ has checked the text */
    if (f->kind == K_FLOAT64 && c->kind == VAL_INT)
        *c = val_of_float((double)c->i);
    val_set(a, v, f->name, *c);
}

/* Amounts finer than a thousandth are rounded up. */
static void round_quantities(struct arena *a, struct val *map)
{
    for (uint32_t i = 0; map->kind == VAL_MAP && i < map->n; i++) {
        struct val *amount = &map->items[2 * (size_t)i + 1];
        struct quantity q = quantity_or_zero(val_str(amount));
        __int128 rest = q.nano % 1000000;
        if (rest == 0)
            continue;
        char text[QUANTITY_TEXT_MAX];
        q.nano += q.nano > 0 ? 1000000 - rest : -1000000 - rest;
        *amount = val_of_str(arena_str(a, str_of(quantity_text(q, text))));
    }
}

static void apply_children(struct arena *a, const struct field *f, struct val *v)
{
    const struct type *t = field_object_type(f);
    if (is_quantities(f)) {
        round_quantities(a, v);
    } else if (t && v->kind == VAL_OBJ) {
        apply(a, t, v);
    } else if (t && v->kind == VAL_LIST) {
        for (uint32_t i = 0; i < v->n; i++)
            if (v->items[i].kind == VAL_OBJ)
                apply(a, t, &v->items[i]);
    } else if (t && v->kind == VAL_MAP && f->card == CARD_MAP) {
        for (uint32_t i = 0; i < v->n; i++)
            if (v->items[2 * (size_t)i + 1].kind == VAL_OBJ)
                apply(a, t, &v->items[2 * (size_t)i + 1]);
    }
}

/* A struct that Go always has: kept only if something in it was defaulted. */
static void apply_absent(struct arena *a, const struct field *f, struct val *v)
{
    struct val *sub = val_new(a, VAL_OBJ);
    apply(a, field_type(f), sub);
    if (sub->n)
        val_set(a, v, f->name, *sub);
}

static void apply_field(struct arena *a, const struct field *f, struct val *v)
{
    struct val *m = val_mut(v, f->name);
    if (m)
        apply_children(a, f, m);
    else if (f->kind == K_MESSAGE && f->card == CARD_ONE && !(f->flags & FIELD_PTR) &&
             type_reach(field_type(f)) & REACH_ABSENT)
        apply_absent(a, f, v);
}

static void apply(struct arena *a, const struct type *t, struct val *v)
{
    if (!(type_reach(t) & REACH_ANY))
        return;
    for (unsigned i = 0; i < t->n_fields; i++) {
        const struct field_extra *x = field_extra(&t->fields[i]);
        if (x && x->default_json && !val_get(v, t->fields[i].name))
            set_constant(a, &t->fields[i], v);
    }
    if (type_rule(t))
        type_rule(t)(a, v);
    for (unsigned i = 0; i < t->n_fields; i++)
        apply_field(a, &t->fields[i], v);
}

void defaults_apply(struct arena *a, const struct type *t, struct val *v)
{
    pthread_once(&reach_once, reach_make);
    if (type_schema(t) && val_is(v, VAL_MAP))
        structural_default(a, type_schema(t), v);
    else if (t && val_is(v, VAL_OBJ))
        apply(a, t, v);
}
