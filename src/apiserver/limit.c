/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests may be worked on at once: by priority and fairness (flow.h), which shares out the sum of
 * --max-requests-inflight and --max-mutating-requests-inflight; without it each of them is a bound. Requests that last as long as
 * their client likes do not count. */
#include "apiserver/flow.h"

#include "apiserver/state.h"
#include "base/os.h"
#include "net/url.h"

static const char *const long_verbs[] = {"watch", "proxy"};
static const char *const long_subresources[] = {"log", "exec", "attach", "portforward", "proxy"};

bool request_long_running(const struct request *r)
{
    for (size_t i = 0; i < ARRAY_SIZE(long_verbs); i++)
        if (str_is(r->info.verb, long_verbs[i]))
            return true;
    for (size_t i = 0; i < ARRAY_SIZE(long_subresources); i++)
        if (str_is(r->info.subresource, long_subresources[i]))
            return true;
    return false;
}

static bool reads(const struct request *r)
{
    return str_is(r->info.verb, "get") || str_is(r->info.verb, "list");
}

int request_limit(struct request *r)
{
    struct apiserver *s = r->server;
    int kind = reads(r) ? IN_FLIGHT_READ : IN_FLIGHT_WRITE;
    struct mono before = os_mono();
    s->in_queue[kind]++;
    int e = flow_begin(r);
    s->in_queue[kind]--;
    r->not_ours += os_mono().ns - before.ns;
    if (e || request_long_running(r))
        return e;
    unsigned max = kind == IN_FLIGHT_READ ? s->config.max_in_flight : s->config.max_mutating_in_flight;
    if (!s->flow && s->in_flight[kind] >= max) {
        r->status.retry_after = 1;
        return status_set(&r->status, 429, "TooManyRequests", "too many requests, please try again later");
    }
    s->in_flight[kind]++;
    r->in_flight = &s->in_flight[kind];
    return 0;
}
