/* SPDX-License-Identifier: Apache-2.0 */
/* get and list: everything comes from the watch cache (D9). */
#include "apiserver/select.h"

#include <stdio.h>
#include "apiserver/state.h"
#include "apiserver/verbs.h"
#include "base/os.h"
#include "type/meta.h"

static int closed(struct request *r, int e)
{
    return e == -EPIPE ? status_set(&r->status, 503, "ServiceUnavailable", "the store has been closed") : e;
}

int find_named(struct request *r, const struct object **ret)
{
    int e = cache_fresh(r->server->cache);
    if (e < 0)
        return closed(r, e);
    const struct object *o = cache_get(r->kind, r->ns, r->info.name);
    if (!o)
        return status_not_found(&r->status, stored_resource(r->res), r->info.name);
    *ret = request_hold(r, o);
    return 0;
}

/* 504 with the cause that clients look for (apierrors.IsTimeout, storage.NewTooLargeResourceVersionError). */
static int too_large(struct request *r, int64_t wanted, int64_t have)
{
    struct status *s = &r->status;
    status_set(s, 504, "Timeout", "Timeout: Too large resource version: %lld, current: %lld",
               (long long)wanted, (long long)have);
    s->retry_after = 1;
    cause_add(s, "ResourceVersionTooLarge", STR(""), "Too large resource version");
    return s->code;
}

/* Waits until the revision was reached, as long as upstream does (3 s). */
static int reach(struct request *r, int64_t rev)
{
    struct cache *c = r->server->cache;
    int e = rev ? cache_wait(c, rev, mono_add(os_mono(), SECONDS(3))) : cache_fresh(c);
    return e == -ETIMEDOUT ? too_large(r, rev, cache_revision(c)) : closed(r, e);
}

int verb_get(struct request *r)
{
    int64_t rev = 0;
    const struct object *o = NULL;
    if (r->opt.resource_version.n) {
        int e = revision_parse(r, r->opt.resource_version, &rev);
        if (e || (e = reach(r, rev)))
            return e;
    }
    int e = find_named(r, &o);
    if (!e)
        answer_object(r, 200, o);
    return e;
}

/* ---- list -------------------------------------------------------------------------------------------- */

struct page {
    size_t seen; /* objects looked at */
    const struct object **items;
    size_t n, cap;
    struct str last; /* key of the last item when there are more */
    bool more;
};

static void page_add(struct request *r, struct page *p, const struct object *o)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 32;
        const struct object **items = ARENA_ARRAY(r->arena, const struct object *, cap);
        if (p->n)
            memcpy(items, p->items, p->n * sizeof(*items));
        p->items = items;
        p->cap = cap;
    }
    p->items[p->n++] = o;
}

static void read_one(struct request *r, const struct selection *s, const struct tree *t, struct page *p)
{
    const struct object *o = tree_get(t, obj_key(r->arena, s->ns, s->name));
    if (o && selection_matches(s, o))
        page_add(r, p, o);
}

static void read_page(struct request *r, const struct selection *s, const struct tree *t, size_t limit,
                      struct page *p)
{
    struct tree_iter it = tree_begin_ns(t, s->ns);
    if (s->start.n)
        tree_seek(&it, t, s->start);
    struct str before = STR_NULL;
    for (; tree_in_ns(&it, s->ns); tree_next(&it)) {
        p->seen++;
        if (!selection_matches(s, it.object))
            continue;
        if (limit && p->n == limit) {
            p->more = true;
            p->last = before;
            return;
        }
        page_add(r, p, it.object);
        before = it.key;
    }
}

/* How many there are behind a key within the namespace. */
static int64_t count_rest(const struct selection *s, const struct tree *t, struct str last)
{
    int64_t n = 0;
    struct tree_iter it;
    if (!s->ns.n)
        return (int64_t)tree_count_from(t, last) - 1;
    tree_seek(&it, t, last);
    for (tree_next(&it); tree_in_ns(&it, s->ns); tree_next(&it))
        n++;
    return n;
}

static int gone(struct request *r, const struct selection *s)
{
    if (!s->continue_revision)
        return status_gone(&r->status, "The resourceVersion for the provided list is too old.");
    int e = status_gone(
        &r->status,
        "The provided continue parameter is too old to display a consistent list result. You can start a "
        "new list without the continue parameter, or use the continue token in this response to "
        "retrieve the remainder of the results. Continuing with the provided token results in an "
        "inconsistent list - objects that were created, modified, or deleted between the time the "
        "first chunk was returned and now may show up in the list.");
    r->answer.continue_token = continue_make(r, -1, str_n(s->start.p, s->start.n ? s->start.n - 1 : 0));
    return e;
}

/* The tree to list and the revision it stands for. */
static int choose_root(struct request *r, const struct selection *s, struct tree **ret, int64_t *ret_revision)
{
    struct cache *c = r->server->cache;
    bool older = s->continue_revision > 0 || s->exact;
    int64_t want = s->continue_revision > 0 ? s->continue_revision : s->revision;
    int e = s->any ? 0 : reach(r, want);
    if (e)
        return e;
    if (older && cache_root_at(r->kind, want, ret))
        return gone(r, s);
    if (!older)
        *ret = tree_ref(r->kind->root);
    *ret_revision = older ? want : cache_revision(c);
    return 0;
}

static void count_list(struct request *r, const struct page *p)
{
    char text[200];
    struct metric_set *m = &r->server->metrics.set;
    int n = snprintf(text, sizeof(text), "group=\"%s\",resource=\"%s\"", r->res->group, r->res->name);
    struct str labels = str_n(text, MIN((size_t)n, sizeof(text) - 1));
    metric_add(m, METRIC_LISTS, labels, 1);
    metric_add(m, METRIC_LIST_FETCHED, labels, (double)p->seen);
    metric_add(m, METRIC_LIST_EVALUATED, labels, (double)p->seen);
    metric_add(m, METRIC_LIST_RETURNED, labels, (double)p->n);
}

int list_selected(struct request *r, const struct selection *s, size_t limit)
{
    struct tree *t = NULL;
    struct page p = {.n = 0};
    int64_t rev = 0;
    int e = choose_root(r, s, &t, &rev);
    if (e)
        return e;
    request_hold_tree(r, t);
    if ((e = selection_ahead(r, s, t)))
        return e;
    if (s->name.n && (s->ns.n || !r->res->namespaced))
        read_one(r, s, t, &p);
    else
        read_page(r, s, t, limit, &p);
    count_list(r, &p);
    r->answer =
        (struct answer){.kind = ANSWER_LIST, .code = 200, .items = p.items, .n_items = p.n, .revision = rev};
    if (p.more) {
        r->answer.continue_token = continue_make(r, rev, p.last);
        if (!selection_narrows(s))
            r->answer.remaining = count_rest(s, t, p.last);
        cache_pin(r->kind, rev, t);
    }
    return 0;
}

int verb_list(struct request *r)
{
    struct selection s;
    int e = selection_parse(r, &s);
    return e ? e : list_selected(r, &s, r->opt.limit > 0 ? (size_t)r->opt.limit : 0);
}
