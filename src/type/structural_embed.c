/* SPDX-License-Identifier: Apache-2.0 */
/* Resources within custom resources (x-kubernetes-embedded-resource): their metadata is ObjectMeta, as that of any object. */
#include <ctype.h>

#include "base/err.h"
#include "type/structural.h"
#include "type/text.h"
#include "type/validate-internal.h"
#include "type/validate_custom.h"

static struct str json_text(struct arena *a, const struct type *t, const struct val *v)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, t, v, 0);
    return arena_str(a, buf_str(&b));
}

/* ---- what is kept -------------------------------------------------------------------------------------- */

struct embed {
    struct arena *a;
    struct buf path;
    struct json_report *problems;
    struct err *e;
};

/* `unknown field "x"`, seen from the root. */
static void tell_problems(struct embed *m, const struct json_report *found)
{
    struct json_report *rep = m->problems;
    struct str head, tail;
    for (unsigned i = 0; rep && i < found->n && rep->n < JSON_REPORT_MAX; i++) {
        if (!rep->problems)
            rep->problems = ARENA_ARRAY(m->a, struct str, JSON_REPORT_MAX);
        if (str_cut(found->problems[i], '"', &head, &tail))
            rep->problems[rep->n++] = arena_printf(m->a, STR_FMT "\"" STR_FMT "." STR_FMT, STR_ARG(head), STR_ARG(buf_str(&m->path)),
                                                   STR_ARG(tail));
    }
}

static int refuse(struct embed *m, const struct val *v, const char *detail)
{
    struct str text = v->kind == VAL_STR ? text_quote(m->a, val_str(v)) : json_text(m->a, NULL, v);
    return err_set(m->e, -EINVAL, STR_FMT ": Invalid value: " STR_FMT ": %s", STR_ARG(buf_str(&m->path)), STR_ARG(text), detail);
}

static int settle_meta(struct embed *m, struct val *v)
{
    const struct type *type = &types[T_meta_v1_ObjectMeta];
    struct json_report found = {0};
    struct val *typed = NULL, *plain = NULL;
    struct err e = {0};
    int r = json_decode(m->a, type, json_text(m->a, NULL, v), 0, &found, &typed, &e);
    if (r == 0 && val_is(typed, VAL_OBJ))
        r = json_decode(m->a, NULL, json_text(m->a, type, typed), 0, NULL, &plain, &e);
    if (r < 0)
        return refuse(m, v, e.text);
    tell_problems(m, &found);
    if (plain)
        *v = *plain;
    return 0;
}

static int settle(struct embed *m, const struct structural *s, struct val *v);

static int settle_member(struct embed *m, const struct structural *s, struct str name, struct val *v)
{
    const struct structural *below = structural_member(s, name);
    size_t at = m->path.n;
    int r = 0;
    buf_printf(&m->path, "%s" STR_FMT, at ? "." : "", STR_ARG(name));
    if (s->embedded && (str_is(name, "apiVersion") || str_is(name, "kind")) && v->kind != VAL_STR)
        r = refuse(m, v, "must be a string");
    else if (s->embedded && str_is(name, "metadata"))
        r = settle_meta(m, v);
    if (r == 0 && below && below->embeds)
        r = settle(m, below, v);
    m->path.n = at;
    return r;
}

static int settle(struct embed *m, const struct structural *s, struct val *v)
{
    int r = 0;
    for (size_t i = 0; r == 0 && v->kind == VAL_MAP && i < v->n; i++)
        r = settle_member(m, s, val_str(&v->items[2 * i]), &v->items[2 * i + 1]);
    for (size_t i = 0; r == 0 && v->kind == VAL_LIST && s->items && s->items->embeds && i < v->n; i++) {
        size_t at = m->path.n;
        buf_printf(&m->path, "[%zu]", i);
        r = settle(m, s->items, &v->items[i]);
        m->path.n = at;
    }
    return r;
}

int structural_embed(struct arena *a, const struct structural *s, struct val *v, struct json_report *problems, struct err *e)
{
    struct embed m = {.a = a, .path = BUF_INIT, .problems = problems, .e = e};
    int r = s->embeds ? settle(&m, s, v) : 0;
    buf_done(&m.path);
    return r;
}

/* ---- what it may be ------------------------------------------------------------------------------------ */

static void check_api_version(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct str s = val_str(v), group, version, rest;
    if (!v)
        say_required(x, p, NULL);
    else if (!s.n)
        say_invalid_str(x, p, s, "must not be empty");
    else if (str_cut(s, '/', &group, &version) && str_cut(version, '/', &version, &rest))
        say_invalid_str(x, p, s, arena_printf(x->s->arena, "unexpected GroupVersion string: " STR_FMT, STR_ARG(s)).p);
}

static void check_kind(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct check c = {.n = 0};
    char *lower = arena_cstr(x->s->arena, val_str(v));
    for (char *at = lower; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    check_label_of_dns1035(&c, str_of(lower));
    if (!v)
        say_required(x, p, NULL);
    else if (!*lower)
        say_invalid_str(x, p, val_str(v), "must not be empty");
    else if (c.n)
        say_invalid_str(x, p, val_str(v), arena_printf(x->s->arena, "may have mixed case, but should otherwise match: %s", c.texts[0]).p);
}

/* Was read as ObjectMeta before; a name is not asked for. */
static void check_meta(struct validation *x, const struct vpath *p, const struct val *v)
{
    struct val *meta = NULL;
    struct arena *a = x->s->arena;
    if (!v || json_decode(a, &types[T_meta_v1_ObjectMeta], json_text(a, NULL, v), 0, NULL, &meta, NULL) < 0 || !val_is(meta, VAL_OBJ))
        return;
    if (!val_getstr(meta, N_name).n)
        val_set_str(a, meta, N_name, STR("unnamed"));
    check_object_meta(x, p, meta, val_getstr(meta, N_namespace).n > 0, check_path_segment);
}

static void check(struct validation *x, const struct vpath *p, const struct structural *s, const struct val *v)
{
    int32_t i = 0;
    if (s->embedded && v->kind == VAL_MAP) {
        check_api_version(x, AT(p, N_apiVersion), val_key(v, STR("apiVersion")));
        check_kind(x, AT(p, N_kind), val_key(v, STR("kind")));
        check_meta(x, AT(p, N_metadata), val_key(v, STR("metadata")));
    }
    VAL_EACH_ENTRY (v, k, m) {
        const struct structural *own = structural_property(s, val_str(k)), *below = own ? own : s->additional;
        if (below && below->embeds)
            check(x, own ? AT_TEXT(p, val_cstr(k)) : KEY(p, val_str(k)), below, m);
    }
    VAL_EACH (v, item) {
        if (s->items && s->items->embeds)
            check(x, ITEM(p, i), s->items, item);
        i++;
    }
}

void custom_validate_embedded(const struct resource *res, const struct structural *schema, const struct val *v, struct status *s)
{
    static const struct vpath root = {0};
    struct validation x = {.s = s, .res = res, .obj = v};
    if (schema->embeds)
        check(&x, &root, schema, v);
}
