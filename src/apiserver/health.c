/* SPDX-License-Identifier: Apache-2.0 */
/* /livez, /readyz, /healthz with their named checks (?verbose, ?exclude=name, /livez/name). */
#include "apiserver/encryption.h"
#include "apiserver/pages.h"
#include "apiserver/state.h"
#include "base/os.h"
#include "net/url.h"

enum { LIVE = 1, READY = 2, HEALTH = 4 };

static bool always(const struct apiserver *s)
{
    return s != NULL;
}

static bool store_open(const struct apiserver *s)
{
    return !*store_fault(s->store);
}

static bool bootstrapped(const struct apiserver *s)
{
    return s->ready;
}

static bool bootstrapped_or_young(const struct apiserver *s)
{
    return s->ready || os_mono().ns - s->started.ns < s->config.livez_grace;
}

static bool cache_synced(const struct apiserver *s)
{
    return cache_revision(s->cache) >= store_revision(s->store).n || s->ready;
}

static bool not_stopping(const struct apiserver *s)
{
    return !s->stopping && !s->winding_down;
}

static int key_services(const struct apiserver *s, struct err *e)
{
    return encryption_health(s->encryption, e);
}

static bool has_key_services(const struct apiserver *s)
{
    return encryption_has_services(s->encryption);
}

static const struct check {
    const char *name;
    unsigned of;
    bool (*fn)(const struct apiserver *s);
    /* Waits, and says why not; instead of fn. */
    int (*ask)(const struct apiserver *s, struct err *e);
    bool (*there)(const struct apiserver *s); /* NULL: always */
} checks[] = {
    {"ping", LIVE | READY | HEALTH, always},
    {"log", LIVE | READY | HEALTH, always},
    {"etcd", LIVE | READY | HEALTH, store_open},
    {"etcd-readiness", READY, store_open},
    {"informer-sync", READY, cache_synced},
    {"poststarthook/rbac/bootstrap-roles", READY | HEALTH, bootstrapped},
    {"poststarthook/rbac/bootstrap-roles", LIVE, bootstrapped_or_young},
    {"poststarthook/scheduling/bootstrap-system-priority-classes", READY | HEALTH, bootstrapped},
    {"poststarthook/scheduling/bootstrap-system-priority-classes", LIVE, bootstrapped_or_young},
    {"kms-providers", LIVE | READY | HEALTH, NULL, key_services, has_key_services},
    {"shutdown", READY, not_stopping},
};

static bool concerns(const struct check *c, const struct request *r, unsigned of)
{
    return (c->of & of) && (!c->there || c->there(r->server));
}

static void note(struct apiserver *s, size_t check, unsigned of, bool ok);

static bool passes(const struct check *c, const struct request *r, unsigned of, struct err *e)
{
    bool ok = c->ask ? c->ask(r->server, e) == 0 : c->fn(r->server);
    note(r->server, (size_t)(c - checks), of, ok);
    return ok;
}

/* ---- /metrics/slis (KEP-3466): each look at a check counts --------------------------------------------- */

static const struct {
    unsigned of;
    const char *name;
} kinds[] = {{HEALTH, "healthz"}, {LIVE, "livez"}, {READY, "readyz"}};

static void note(struct apiserver *s, size_t check, unsigned of, bool ok)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (kinds[i].of == of) {
            s->checks[check][i].looks[ok]++;
            s->checks[check][i].last = ok;
        }
}

void health_metrics(struct apiserver *s, struct buf *b)
{
    static const char *const words[] = {"error", "success"};
    for (int counters = 0; counters < 2; counters++) {
        buf_puts(b, counters ? "# HELP kubernetes_healthchecks_total [STABLE] Looks at health checks by outcome.\n# TYPE kubernetes_healthchecks_total counter\n"
                             : "# HELP kubernetes_healthcheck [STABLE] What a health check said last.\n# TYPE kubernetes_healthcheck gauge\n");
        for (size_t i = 0; i < ARRAY_SIZE(checks) * ARRAY_SIZE(kinds); i++) {
            const struct health_row *row = &s->checks[i / ARRAY_SIZE(kinds)][i % ARRAY_SIZE(kinds)];
            const char *name = checks[i / ARRAY_SIZE(kinds)].name, *type = kinds[i % ARRAY_SIZE(kinds)].name;
            if (!counters && row->looks[0] + row->looks[1])
                buf_printf(b, "kubernetes_healthcheck{name=\"%s\",type=\"%s\"} %d\n", name, type, row->last);
            for (int ok = 0; counters && ok < 2; ok++)
                if (row->looks[ok])
                    buf_printf(b, "kubernetes_healthchecks_total{name=\"%s\",status=\"%s\",type=\"%s\"} %llu\n", name, words[ok], type,
                               (unsigned long long)row->looks[ok]);
        }
    }
}

_Static_assert(ARRAY_SIZE(checks) <= HEALTH_CHECKS, "rows for all checks");

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
        struct err e = {0};
        if (!concerns(&checks[i], r, of) || !str_is(name, checks[i].name))
            continue;
        bool ok = passes(&checks[i], r, of, &e);
        answer_text(r, ok ? 200 : 500, "text/plain; charset=utf-8",
                    ok ? STR("ok") : arena_printf(r->arena, "internal server error: %s\n", e.text[0] ? e.text : "failed"));
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
        if (!concerns(&checks[i], r, of))
            continue;
        bool skip = excluded(r, checks[i].name), ok = skip || passes(&checks[i], r, of, NULL);
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
