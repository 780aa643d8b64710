/* SPDX-License-Identifier: Apache-2.0 */
/* The query parameters that verbs understand, checked as upstream checks its option types. */
#include "apiserver/request.h"

#include "net/url.h"

static int bad_number(struct request *r, const char *key, struct str v)
{
    return status_bad_request(&r->status, "strconv.ParseInt: parsing \"%.*s\": invalid syntax (parameter %s)",
                              STR_ARG(v), key);
}

static int number(struct request *r, const char *key, int64_t *ret)
{
    struct str v;
    if (!query_get(r->arena, r->query, key, &v) || !v.n)
        return 0;
    return str_to_i64(v, ret) ? bad_number(r, key, v) : 0;
}

static void text(struct request *r, const char *key, struct str *ret)
{
    if (!query_get(r->arena, r->query, key, ret))
        *ret = STR_NULL;
}

static signed char three_way(struct request *r, const char *key)
{
    struct str v;
    if (!query_get(r->arena, r->query, key, &v))
        return -1;
    return query_bool(r->arena, r->query, key, false);
}

static void invalid_option(struct request *r, const char *kind)
{
    status_invalid(&r->status, STR("meta.k8s.io"), str_of(kind), STR(""));
}

/* dryRun=All, and nothing else. */
static int parse_dry_run(struct request *r, const char *kind)
{
    struct str rest = r->query, k, v;
    while (query_next(r->arena, &rest, &k, &v)) {
        if (!str_is(k, "dryRun"))
            continue;
        if (str_is(v, "All")) {
            r->opt.dry_run = true;
            continue;
        }
        struct val bad = val_of_str(v);
        cause_not_supported(&r->status, STR("dryRun"), &bad, (const char *const[]){"All", NULL});
    }
    invalid_option(r, kind);
    return r->status.code;
}

static int check_field_validation(struct request *r, const char *kind)
{
    static const char *const known[] = {"", "Ignore", "Strict", "Warn", NULL};
    for (size_t i = 0; known[i]; i++)
        if (str_is(r->opt.field_validation, known[i]))
            return 0;
    struct val bad = val_of_str(arena_str(r->arena, r->opt.field_validation));
    cause_not_supported(&r->status, STR("fieldValidation"), &bad, known);
    invalid_option(r, kind);
    return r->status.code;
}

/* Who applies says who they are; only who applies may say force. */
static void check_apply(struct request *r)
{
    struct str type = r->x ? http_header(&r->x->headers, "content-type") : STR_NULL;
    bool apply = str_starts(type, STR("application/apply-patch+yaml"));
    if (apply && !r->opt.field_manager.n)
        cause_required(&r->status, STR("fieldManager"), "is required for apply patch");
    if (!apply && r->opt.force)
        cause_forbidden(&r->status, STR("force"), "may not be specified for non-apply patch");
}

static int check_field_manager(struct request *r, const char *kind)
{
    enum { MANAGER_MAX = 128 };
    struct str m = r->opt.field_manager;
    if (m.n > MANAGER_MAX)
        cause_too_long(&r->status, STR("fieldManager"), MANAGER_MAX);
    for (size_t i = 0; i < m.n; i++)
        if ((unsigned char)m.p[i] < 0x20 || m.p[i] == 0x7f) {
            struct val bad = val_of_str(arena_str(r->arena, m));
            cause_invalid(&r->status, STR("fieldManager"), &bad, "should only contain printable characters");
            break;
        }
    if (str_is(r->info.verb, "patch"))
        check_apply(r);
    invalid_option(r, kind);
    return r->status.code;
}

static int parse_list(struct request *r)
{
    struct request_options *o = &r->opt;
    text(r, "labelSelector", &o->label_selector);
    text(r, "fieldSelector", &o->field_selector);
    text(r, "resourceVersion", &o->resource_version);
    text(r, "resourceVersionMatch", &o->resource_version_match);
    text(r, "continue", &o->continue_token);
    o->bookmarks = query_bool(r->arena, r->query, "allowWatchBookmarks", false);
    o->send_initial = three_way(r, "sendInitialEvents");
    int e = number(r, "limit", &o->limit);
    return e ? e : number(r, "timeoutSeconds", &o->timeout);
}

static const char *options_kind(const struct request *r)
{
    static const struct {
        const char *verb, *kind;
    } kinds[] = {{"create", "CreateOptions"}, {"update", "UpdateOptions"}, {"patch", "PatchOptions"},
        {"delete", "DeleteOptions"}, {"deletecollection", "DeleteOptions"}};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (str_is(r->info.verb, kinds[i].verb))
            return kinds[i].kind;
    return NULL;
}

static int parse_write(struct request *r, const char *kind)
{
    struct request_options *o = &r->opt;
    text(r, "fieldManager", &o->field_manager);
    text(r, "fieldValidation", &o->field_validation);
    text(r, "propagationPolicy", &o->propagation);
    text(r, "resourceVersion", &o->resource_version);
    o->force = query_bool(r->arena, r->query, "force", false);
    o->orphan = three_way(r, "orphanDependents");
    int e = number(r, "gracePeriodSeconds", &o->grace);
    if (!e)
        e = parse_dry_run(r, kind);
    if (!e)
        e = check_field_validation(r, kind);
    return e ? e : check_field_manager(r, kind);
}

int options_parse(struct request *r)
{
    const char *kind = options_kind(r);
    r->opt.send_initial = r->opt.orphan = -1;
    if (!r->x)
        return 0; /* a call from inside has brought its options */
    r->opt.grace = -1;
    text(r, "resourceVersion", &r->opt.resource_version);
    if (kind) {
        int e = parse_write(r, kind);
        if (e)
            return e;
    }
    bool lists = str_is(r->info.verb, "list") || str_is(r->info.verb, "watch") ||
                 str_is(r->info.verb, "deletecollection");
    return lists ? parse_list(r) : 0;
}
