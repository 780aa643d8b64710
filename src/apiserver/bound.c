/* SPDX-License-Identifier: Apache-2.0 */
/* Until when a request is worked on (--request-timeout, ?timeout=), and the answer to those that come while the server ends. */
#include "apiserver/request.h"

#include "apiserver/state.h"
#include "base/os.h"
#include "net/url.h"

/* What may be asked until the very end, as upstream has it. */
static bool always_answered(const struct request *r)
{
    static const char *const paths[] = {"/readyz", "/livez", "/healthz", "/metrics"};
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        if (str_starts(r->info.path, str_of(paths[i])))
            return true;
    return str_starts(http_header(&r->x->headers, "user-agent"), STR("kube-apiserver/"));
}

static int refuse(struct request *r)
{
    http_close_after(r->x);
    http_add_header(r->x, "Retry-After", STR("5"));
    answer_text(r, 429, "text/plain; charset=utf-8", STR("The apiserver is shutting down, please try again later.\n"));
    return 0;
}

static bool goes_away(const struct apiserver *s)
{
    enum { PARTS = 1000000 };
    return s->config.goaway_chance > 0 && os_random_below(PARTS) < (uint64_t)(s->config.goaway_chance * PARTS);
}

int request_bound(struct request *r)
{
    const struct apiserver *s = r->server;
    struct str rest = r->query, k, v;
    int64_t most = s->config.request_timeout, asked;
    if (!r->x)
        return 0;
    if (s->refusing && !always_answered(r))
        return refuse(r);
    if (r->x->version == 20 && goes_away(s))
        http_close_after(r->x);
    if (s->config.hsts)
        http_add_header(r->x, "Strict-Transport-Security", str_of(s->config.hsts));
    if (request_long_running(r))
        return 0;
    while (query_next(r->arena, &rest, &k, &v)) {
        if (!str_is(k, "timeout") || !v.n)
            continue;
        if (duration_parse(v, &asked) < 0)
            return status_bad_request(&r->status, "invalid timeout specified in the request URL - time: invalid duration \"%.*s\"", STR_ARG(v));
        if (asked > 0)
            most = MIN(most, asked);
        break;
    }
    r->deadline = mono_add(r->begun, most);
    return 0;
}
