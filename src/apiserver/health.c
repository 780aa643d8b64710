/* SPDX-License-Identifier: Apache-2.0 */
/* /livez, /readyz, /healthz with their named checks (?verbose, ?exclude=name, /livez/name). */
#include "apiserver/pages.h"
#include "apiserver/state.h"
#include "net/url.h"

enum { LIVE = 1, READY = 2, HEALTH = 4 };

static bool always(const struct apiserver *s)
{
    return s != NULL;
}

static bool store_open(const struct apiserver *s)
{
    return store_revision(s->store).n >= 0;
}

static bool bootstrapped(const struct apiserver *s)
{
    return s->ready;
}

static bool cache_synced(const struct apiserver *s)
{
    return cache_revision(s->cache) >= store_revision(s->store).n || s->ready;
}

static bool not_stopping(const struct apiserver *s)
{
    return !s->stopping;
}

static const struct check {
    const char *name;
    unsigned of;
    bool (*fn)(const struct apiserver *s);
} checks[] = {
    {"ping", LIVE | READY | HEALTH, always},
    {"log", LIVE | READY | HEALTH, always},
    {"etcd", LIVE | READY | HEALTH, store_open},
    {"etcd-readiness", READY, store_open},
    {"informer-sync", READY, cache_synced},
    {"poststarthook/rbac/bootstrap-roles", LIVE | READY | HEALTH, bootstrapped},
    {"poststarthook/scheduling/bootstrap-system-priority-classes", LIVE | READY | HEALTH, bootstrapped},
    {"shutdown", READY, not_stopping},
};

static bool excluded(struct request *r, const char *name)
{
    struct str rest = r->query, k, v;
    while (query_next(r->arena, &rest, &k, &v))
        if (str_is(k, "exclude") && str_is(v, name))
            return true;
    return false;
}

static int one_check(struct request *r, unsigned of, struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        if (!(checks[i].of & of) || !str_is(name, checks[i].name))
            continue;
        bool ok = checks[i].fn(r->server);
        answer_text(r, ok ? 200 : 500, "text/plain; charset=utf-8",
                    ok ? STR("ok") : STR("internal server error: failed\n"));
        return 0;
    }
    answer_text(r, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
    return 0;
}

static int health(struct request *r, unsigned of, const char *page)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct str rest = str_from(r->info.path, strlen(page) + 1);
    bool failed = false;
    if (rest.n > 1)
        return one_check(r, of, str_from(rest, 1));
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        if (!(checks[i].of & of))
            continue;
        bool skip = excluded(r, checks[i].name), ok = skip || checks[i].fn(r->server);
        failed |= !ok;
        if (skip)
            buf_printf(&b, "[+]%s excluded: ok\n", checks[i].name);
        else
            buf_printf(&b, ok ? "[+]%s ok\n" : "[-]%s failed: reason withheld\n", checks[i].name);
    }
    buf_printf(&b, "%s check %s\n", page, failed ? "failed" : "passed");
    bool verbose = query_bool(r->arena, r->query, "verbose", false);
    if (!failed && !verbose)
        answer_text(r, 200, "text/plain; charset=utf-8", STR("ok"));
    else
        answer_text(r, failed ? 500 : 200, "text/plain; charset=utf-8", arena_str(r->arena, buf_str(&b)));
    return 0;
}

int page_livez(struct request *r)
{
    return health(r, LIVE, "livez");
}

int page_readyz(struct request *r)
{
    return health(r, READY, "readyz");
}

int page_healthz(struct request *r)
{
    return health(r, HEALTH, "healthz");
}
