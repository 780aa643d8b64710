/* SPDX-License-Identifier: Apache-2.0 */
/* Admission of what connects to something (exec, port-forward, proxy): its options come in the query. */
#include "apiserver/admit.h"
#include "net/url.h"
#include "names.h"

static void put(struct arena *a, struct val *v, const struct field *f, struct str text)
{
    struct val item = val_of_str(arena_str(a, text));
    int64_t n = 0;
    if (f->kind == K_BOOL)
        item = val_of_bool(!str_is(text, "0") && !str_is(text, "false"));
    else if (f->kind == K_INT32 || f->kind == K_INT64)
        item = str_to_i64(text, &n) ? val_of_int(0) : val_of_int(n);
    if (f->card == CARD_LIST)
        val_add(a, val_sub_list(a, v, f->name), item);
    else if (f->card == CARD_ONE && !val_get(v, f->name))
        val_set(a, v, f->name, item);
}

/* A proxy's path is in the path. */
static void put_path(struct request *r, struct val *v, const struct type *t)
{
    for (unsigned i = 0; i < t->n_fields && r->info.rest.n; i++)
        if (str_is(name_str(t->fields[i].name), "path"))
            put(r->arena, v, &t->fields[i], str_starts(r->info.rest, STR("/")) ? str_from(r->info.rest, 1) : r->info.rest);
}

int admit_connect(struct request *r)
{
    struct admit_body body = {r->sub->type, r->sub->group, r->sub->version, r->sub->kind};
    const struct type *t = body.type;
    struct str rest = r->query, k, text;
    struct val *v = val_new(r->arena, VAL_OBJ);
    val_set_str(r->arena, v, N_kind, str_of(body.kind));
    val_set_str(r->arena, v, N_apiVersion, str_of(body.version));
    put_path(r, v, t);
    while (query_next(r->arena, &rest, &k, &text))
        for (unsigned i = 0; i < t->n_fields; i++)
            if (str_eq(name_str(t->fields[i].name), k))
                put(r->arena, v, &t->fields[i], text);
    return admit_subresource(r, ADMIT_CONNECT, &body, v);
}
