/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/select.h"

#include "apiserver/conversion.h"
#include "apiserver/custom.h"
#include "base/base64.h"
#include "names.h"
#include "type/meta.h"
#include "wire/json.h"

/* ---- continue tokens --------------------------------------------------------------------------------- */

/* As upstream's: base64url of {"v":"meta.k8s.io/v1","rv":12,"start":"key\u0000"}. */
struct str continue_make(struct request *r, int64_t rev, struct str key)
{
    CLEANUP_BUF struct buf json = BUF_INIT;
    CLEANUP_BUF struct buf token = BUF_INIT;
    buf_printf(&json, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%lld,\"start\":", (long long)rev);
    json_encode_str(&json, arena_printf(r->arena, "%.*s", STR_ARG(key)), 0);
    json.n--; /* the closing quote */
    buf_puts(&json, "\\u0000\"}");
    base64url_put(&token, buf_str(&json));
    return arena_str(r->arena, buf_str(&token));
}

static int bad_token(struct request *r)
{
    return status_bad_request(&r->status, "continue key is not valid");
}

static int continue_parse(struct request *r, struct selection *s)
{
    CLEANUP_BUF struct buf json = BUF_INIT;
    struct val *v = NULL;
    if (base64url_take(&json, r->opt.continue_token) < 0 ||
        json_decode(r->arena, NULL, buf_str(&json), 0, NULL, &v, NULL) < 0)
        return bad_token(r);
    struct str start = val_str(val_key(v, STR("start")));
    int64_t rv = val_int(val_key(v, STR("rv")), 0);
    if (!str_is(val_str(val_key(v, STR("v"))), "meta.k8s.io/v1") || !start.n || rv == 0)
        return bad_token(r);
    s->start = start;
    s->continue_revision = rv;
    return 0;
}

/* ---- options ----------------------------------------------------------------------------------------- */

static bool known_match(struct str m)
{
    return str_is(m, "Exact") || str_is(m, "NotOlderThan");
}

static void not_supported_match(struct request *r, const char *const *values)
{
    struct val bad = val_of_str(arena_str(r->arena, r->opt.resource_version_match));
    cause_not_supported(&r->status, STR("resourceVersionMatch"), &bad, values);
}

static void check_list(struct request *r)
{
    static const char *const matches[] = {"Exact", "NotOlderThan", "", NULL};
    const struct request_options *o = &r->opt;
    if (o->resource_version_match.n) {
        if (!o->resource_version.n)
            cause_forbidden(&r->status, STR("resourceVersionMatch"),
                            "resourceVersionMatch is forbidden unless resourceVersion is provided");
        if (o->continue_token.n)
            cause_forbidden(&r->status, STR("resourceVersionMatch"),
                            "resourceVersionMatch is forbidden when continue is provided");
        if (!known_match(o->resource_version_match))
            not_supported_match(r, matches);
        if (str_is(o->resource_version_match, "Exact") && str_is(o->resource_version, "0"))
            cause_forbidden(&r->status, STR("resourceVersionMatch"),
                            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    if (o->send_initial >= 0)
        cause_forbidden(&r->status, STR("sendInitialEvents"), "sendInitialEvents is forbidden for list");
}

/* KEP-3157 */
static void check_watch(struct request *r)
{
    static const char *const matches[] = {"NotOlderThan", NULL};
    const struct request_options *o = &r->opt;
    struct str match = o->resource_version_match;
    if (o->send_initial >= 0 && !match.n)
        cause_forbidden(&r->status, STR("resourceVersionMatch"),
                        "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    if (match.n) {
        if (o->send_initial < 0)
            cause_forbidden(
                &r->status, STR("resourceVersionMatch"),
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
        if (!str_is(match, "NotOlderThan"))
            not_supported_match(r, matches);
        if (o->continue_token.n)
            cause_forbidden(&r->status, STR("resourceVersionMatch"),
                            "resourceVersionMatch is forbidden when continue is provided");
    }
}

int revision_parse(struct request *r, struct str text, int64_t *ret)
{
    uint64_t n;
    if (str_to_u64(text, &n) || n > INT64_MAX)
        return status_bad_request(&r->status, "Invalid value: \"%.*s\": the resource version is not a number",
                                  STR_ARG(text));
    *ret = (int64_t)n;
    return 0;
}

static int parse_revision(struct request *r, struct selection *s)
{
    const struct request_options *o = &r->opt;
    if (!o->resource_version.n)
        return 0;
    int e = revision_parse(r, o->resource_version, &s->revision);
    if (e)
        return e;
    s->any = s->revision == 0;
    s->exact = str_is(o->resource_version_match, "Exact") ||
               (!o->resource_version_match.n && o->limit > 0 && s->revision > 0);
    return 0;
}

static int parse_selectors(struct request *r, struct selection *s)
{
    struct err e = {0};
    if (selector_parse(r->arena, r->opt.label_selector, &s->labels, &e) < 0)
        return status_bad_request(&r->status, "unable to parse requirement: %s", err_text(&e, -EINVAL));
    if (field_selector_parse(r->arena, r->opt.field_selector, &s->fields, &e) < 0)
        return status_bad_request(&r->status, "%s", err_text(&e, -EINVAL));
    for (size_t i = 0; i < s->fields.n; i++) {
        const struct requirement *q = &s->fields.reqs[i];
        if (!field_selectable(r->res, q->key))
            return status_bad_request(&r->status, "field label not supported: %.*s", STR_ARG(q->key));
        if (q->op == SEL_EQ && q->n_values == 1 && str_is(q->key, "metadata.name"))
            s->name = q->values[0];
        s->by_version |= custom_selectable(r->res, q->key) && conversion_by_webhook(r->res);
    }
    if (r->info.name.n) /* /watch/.../name: no more than was authorised */
        s->name = r->info.name;
    return 0;
}

int selection_parse(struct request *r, struct selection *ret)
{
    struct selection s = {.res = r->res, .ns = r->ns};
    if (r->opt.watch)
        check_watch(r);
    else
        check_list(r);
    int e = status_invalid(&r->status, STR("meta.k8s.io"), STR("ListOptions"), STR(""));
    if (!e)
        e = parse_selectors(r, &s);
    if (!e)
        e = parse_revision(r, &s);
    if (!e && r->opt.continue_token.n && !r->opt.watch)
        e = continue_parse(r, &s);
    if (!e)
        *ret = s;
    return e;
}

/* ---- matching ---------------------------------------------------------------------------------------- */

struct lookup {
    const struct selection *s;
    const struct val *v;
    char text[32];
};

static struct str look_up(void *ctx, struct str path)
{
    struct lookup *l = ctx;
    return field_value(l->s->res, l->v, path, l->text);
}

static bool fields_match(const struct selection *s, const struct object *o)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct lookup l = {.s = s, .v = o->val};
    if (s->by_version && conversion_needed(s->res, o->val))
        l.v = convert_from_stored(&a, s->res, o->val);
    return selector_matches_fields(&s->fields, look_up, &l);
}

static bool matches_but_fields(const struct selection *s, const struct object *o)
{
    if ((s->ns.n && !str_eq(s->ns, o->namespace_)) || (s->name.n && !str_eq(s->name, o->name)))
        return false;
    return !(s->labels.n || s->labels.nothing) || selector_matches(&s->labels, obj_labels(o->val));
}

bool selection_matches(const struct selection *s, const struct object *o)
{
    return matches_but_fields(s, o) && (!s->fields.n || fields_match(s, o));
}

int selection_ahead(struct request *r, const struct selection *s, const struct tree *t)
{
    if (!s->by_version)
        return 0;
    const struct val **v = ARENA_ARRAY(r->arena, const struct val *, tree_count(t));
    size_t n = 0;
    TREE_EACH (t, s->ns, it)
        if (matches_but_fields(s, it.object))
            v[n++] = it.object->val;
    return conversion_ahead(r, s->res, v, n);
}
