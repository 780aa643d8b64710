/* SPDX-License-Identifier: Apache-2.0 */
/* One extension server: is it available (conditions as kube-aggregator's), and what does it say of itself. */
#include <stdio.h>

#include "apiserver/aggregate.h"
#include "apiserver/backend.h"
#include "apiserver/custom.h"
#include "apiserver/peers.h"
#include "apiserver/state.h"
#include "base/os.h"
#include "client/client.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

#define DISCOVERY_V2 "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

enum {
    PORT = 443,
    LOOK_SECONDS = 30,      /* also without being told */
    DOCUMENTS_SECONDS = 60, /* how old what it says of itself may be, and how long that may take */
    RETRY_SECONDS = 2,
    CHECK_SECONDS = 5,
    ATTEMPTS = 5,           /* a Service may have dead endpoints for a while */
    ANSWER_MAX = 16 << 20,
};

/* ---- references ----------------------------------------------------------------------------------------- */

struct extension *extension_ref(struct extension *x)
{
    x->refs++;
    return x;
}

static void documents_done(struct extension_documents *d)
{
    struct str *const all[] = {&d->resources, &d->openapi_v2, &d->openapi_v3, &d->discovery_tag, &d->v2_tag};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        free((char *)(uintptr_t)all[i]->p);
    *d = (struct extension_documents){.current = false};
}

void extension_unref(struct extension *x)
{
    if (--x->refs)
        return;
    struct str *const texts[] = {&x->name, &x->group, &x->version};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free((char *)(uintptr_t)texts[i]->p);
    documents_done(&x->documents);
    object_unref(x->object);
    free(x);
}

bool extension_available(const struct extension *x)
{
    return condition_is(val_at(x->object->val, N_status, N_conditions), STR("Available"), "True");
}

/* ---- asking it ------------------------------------------------------------------------------------------ */

int extension_reach(struct extension *x, struct arena *a, struct peer_client **ret_client, struct str *ret_base, struct err *e)
{
    struct object *o = object_ref(x->object); /* another one may come while we wait */
    const struct val *spec = val_get(o->val, N_spec), *to = val_get(spec, N_service);
    struct str ns = val_getstr(to, N_namespace), name = val_getstr(to, N_name), at;
    struct peer p = {.ca = val_getstr(spec, N_caBundle), .insecure = val_bool(val_get(spec, N_insecureSkipTLSVerify), false),
                     .front_proxy = true, .server_name = arena_printf(a, STR_FMT "." STR_FMT ".svc", STR_ARG(name), STR_ARG(ns))};
    int r = backend_service(x->server, a, ns, name, val_int(val_get(to, N_port), PORT), &at, e);
    if (r == 0) {
        r = peer_take(x->server, &p, ret_client, e);
        r = r < 0 ? -EINVAL : 0;
    } else {
        r = -EHOSTUNREACH;
    }
    if (r == 0)
        *ret_base = arena_printf(a, "https://" STR_FMT, STR_ARG(at));
    object_unref(o);
    return r;
}

static int ask(struct http_client *http, const struct http_request *q, int64_t timeout, struct arena *a, struct extension_answer *ret,
               struct err *e)
{
    struct mono deadline = mono_add(os_mono(), timeout);
    struct http_call *c = NULL;
    struct str text = STR("");
    int r = http_do(http, q, deadline, &c, e);
    if (r == 0 && (r = http_call_read_all(c, ANSWER_MAX, deadline, &text)) < 0)
        err_set(e, r, r == -EFBIG ? "the answer is too large" : "%s", strerror(-r));
    if (r == 0)
        *ret = (struct extension_answer){c->status, arena_str(a, text), arena_str(a, http_header(&c->headers, "content-type")),
                                         arena_str(a, http_header(&c->headers, "etag"))};
    http_call_free(c);
    return r;
}

int extension_get(struct extension *x, const char *path, const char *user, const char *group, const char *accept, struct str tag,
                  int64_t timeout, struct arena *a, struct extension_answer *ret, struct err *e)
{
    struct peer_client *c = NULL;
    struct str base;
    struct http_header headers[5];
    size_t n = 0;
    int r = extension_reach(x, a, &c, &base, e);
    if (r < 0)
        return r;
    headers[n++] = (struct http_header){STR("X-Remote-User"), str_of(user)};
    headers[n++] = (struct http_header){STR("Accept"), str_of(accept)};
    if (group)
        headers[n++] = (struct http_header){STR("X-Remote-Group"), str_of(group)};
    if (tag.n)
        headers[n++] = (struct http_header){STR("If-None-Match"), tag};
    struct http_request q = {.url = arena_printf(a, STR_FMT "%s", STR_ARG(base), path).p, .headers = headers, .n_headers = n};
    r = ask(peer_http(c), &q, timeout, a, ret, e);
    if (r < 0) {
        http_client_reset(peer_http(c));
        err_wrap(e, r, "Get \"%s\"", q.url);
    }
    peer_give_back(c);
    return r;
}

/* ---- available? ----------------------------------------------------------------------------------------- */

static bool not_met(struct extension_verdict *v, const char *reason, struct str message)
{
    *v = (struct extension_verdict){"False", reason, message};
    return false;
}

static bool has_ready(const struct val *slice)
{
    VAL_EACH (val_get(slice, N_endpoints), ep)
        if (val_bool(val_at(ep, N_conditions, N_ready), true))
            return true;
    return false;
}

static bool serves_port(const struct val *slice, struct str name)
{
    VAL_EACH (val_get(slice, N_ports), p)
        if (str_eq(val_getstr(p, N_name), name) && val_get(p, N_port))
            return has_ready(slice);
    return false;
}

bool extension_judge(struct arena *a, const struct val *api_service, const struct val *service, const struct val *const *slices,
                     size_t n_slices, struct extension_verdict *ret)
{
    const struct val *to = val_at(api_service, N_spec, N_service), *port = NULL;
    struct str ns = val_getstr(to, N_namespace), name = val_getstr(to, N_name);
    int64_t number = val_int(val_get(to, N_port), PORT);
    if (!service)
        return not_met(ret, "ServiceNotFound", arena_printf(a, "service/" STR_FMT " in \"" STR_FMT "\" is not present", STR_ARG(name), STR_ARG(ns)));
    if (!str_is(val_str(val_at(service, N_spec, N_type)), "ClusterIP")) /* others may have what no endpoint shows */
        return true;
    VAL_EACH (val_at(service, N_spec, N_ports), p)
        if (!port && val_int(val_get(p, N_port), 0) == number)
            port = p;
    if (!port)
        return not_met(ret, "ServicePortError", arena_printf(a, "service/" STR_FMT " in \"" STR_FMT "\" is not listening on port %lld",
                                                             STR_ARG(name), STR_ARG(ns), (long long)number));
    if (!n_slices)
        return not_met(ret, "EndpointsNotFound", arena_printf(a, "cannot find endpointslices for service/" STR_FMT " in \"" STR_FMT "\"",
                                                              STR_ARG(name), STR_ARG(ns)));
    for (size_t i = 0; i < n_slices; i++)
        if (serves_port(slices[i], val_getstr(port, N_name)))
            return true;
    return not_met(ret, "MissingEndpoints", arena_printf(a, "endpointslices for service/" STR_FMT " in \"" STR_FMT "\" have no addresses with port name \"" STR_FMT "\"",
                                                         STR_ARG(name), STR_ARG(ns), STR_ARG(val_getstr(port, N_name))));
}

/* Everything but calling it. */
static bool look_at_service(struct extension *x, struct arena *a, struct extension_verdict *ret)
{
    struct apiserver *s = x->server;
    const struct val *to = val_at(x->object->val, N_spec, N_service), **slices;
    struct str ns = val_getstr(to, N_namespace), name = val_getstr(to, N_name);
    const struct object *service = cache_get(state_kind(s, RES_SERVICES), ns, name);
    const struct tree *all = state_kind(s, RES_ENDPOINTSLICES)->root;
    size_t n = 0;
    TREE_EACH (all, ns, it)
        n++;
    slices = ARENA_ARRAY(a, const struct val *, n + 1);
    n = 0;
    TREE_EACH (all, ns, it)
        if (str_eq(obj_label(it.object->val, STR("kubernetes.io/service-name")), name))
            slices[n++] = it.object->val;
    return extension_judge(a, x->object->val, service ? service->val : NULL, slices, n, ret);
}

static struct str own_path(const struct extension *x, struct arena *a)
{
    return x->group.n ? arena_printf(a, "/apis/" STR_FMT "/" STR_FMT, STR_ARG(x->group), STR_ARG(x->version))
                      : arena_printf(a, "/api/" STR_FMT, STR_ARG(x->version));
}

struct attempt {
    struct extension *x;
    struct arena arena;
    struct err e;
    int result; /* 0: it answered */
};

static void attempt(void *arg)
{
    struct attempt *t = arg;
    struct extension_answer answer;
    struct str path = own_path(t->x, &t->arena);
    int r = extension_get(t->x, path.p, "system:kube-aggregator", "system:masters", "*/*", STR(""), SECONDS(CHECK_SECONDS), &t->arena, &answer, &t->e);
    if (r == 0 && (answer.code < 200 || answer.code >= 300))
        r = err_set(&t->e, -EREMOTEIO, "bad status from " STR_FMT ": %d", STR_ARG(path), answer.code);
    if (r < 0)
        err_wrap(&t->e, r, "failing or missing response from " STR_FMT, STR_ARG(path));
    t->result = r;
}

/* One call is enough where it is answered; else the others at once, since each may take its whole time. */
static bool answers(struct extension *x, struct arena *a, struct extension_verdict *ret)
{
    struct attempt *t = xcalloc(ATTEMPTS, sizeof(*t));
    struct group fibers = {.n = 0};
    bool ok;
    for (size_t i = 0; i < ATTEMPTS; i++)
        t[i] = (struct attempt){.x = x, .arena = ARENA_INIT, .result = -ECANCELED};
    attempt(&t[0]);
    ok = t[0].result == 0;
    for (size_t i = 1; i < ATTEMPTS && !ok; i++)
        group_spawn(&fibers, "extension-check", attempt, &t[i]);
    group_wait(&fibers, MONO_NEVER);
    group_stop(&fibers);
    for (size_t i = 1; i < ATTEMPTS; i++)
        ok |= t[i].result == 0;
    if (!ok)
        not_met(ret, "FailedDiscoveryCheck", arena_printf(a, "%s", err_text(&t[0].e, t[0].result)));
    for (size_t i = 0; i < ATTEMPTS; i++)
        arena_done(&t[i].arena);
    free(t);
    return ok;
}

static void count_unavailable(struct extension *x, const char *reason)
{
    struct map *m = &x->server->aggregate->unavailable;
    char key[600];
    int n = snprintf(key, sizeof(key), STR_FMT "/%s", STR_ARG(x->name), reason);
    if (n > 0 && (size_t)n < sizeof(key))
        map_put(m, str_n(key, (size_t)n), (void *)((uintptr_t)map_get(m, str_n(key, (size_t)n)) + 1));
}

static void write_status(struct extension *x, struct arena *a, const struct extension_verdict *v)
{
    struct val *now = val_copy(a, x->object->val);
    struct val *conditions = val_sub_list(a, val_sub_obj(a, now, N_status), N_conditions);
    bool was = extension_available(x);
    struct status st;
    if (!condition_set(a, conditions, STR("Available"), v->status, v->reason, v->message, os_wall()))
        return;
    status_init(&st, a);
    int r = client_update(x->server->self, CALL(.res = &resources[RES_APISERVICES], .name = x->name, .subresource = "status"), now, a, NULL, &st);
    if (r == 0 && was && strcmp(v->status, "True") != 0)
        count_unavailable(x, v->reason);
    if (r == 0)
        cache_fresh(x->server->cache);
}

/* True when a call failed: it is to be tried again before long. */
static bool judge(struct extension *x)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct extension_verdict v = {"True", "Passed", STR("all checks passed")};
    bool failed = false;
    if (cache_fresh(x->server->cache) < 0)
        return true;
    if (look_at_service(x, &a, &v))
        failed = !answers(x, &a, &v);
    if (!x->gone && !fiber_cancelled())
        write_status(x, &a, &v);
    return failed;
}

/* ---- what it says of itself ----------------------------------------------------------------------------- */

static bool set_text(struct str *t, struct str now)
{
    if (str_eq(*t, now))
        return false;
    free((char *)(uintptr_t)t->p);
    *t = now.n ? (struct str){str_dup(now), now.n} : STR_NULL;
    return true;
}

/* True when something is another than before. */
static bool ask_for_resources(struct extension *x, struct arena *a)
{
    struct extension_documents *d = &x->documents;
    struct extension_answer w = {.code = 0};
    struct err e = {0};
    struct str list = STR_NULL;
    bool was = d->current;
    int r = extension_get(x, "/apis", "system:kube-aggregator", "system:masters", DISCOVERY_V2 ",application/json", d->discovery_tag,
                          SECONDS(CHECK_SECONDS), a, &w, &e);
    if (r == 0 && w.code == 304) {
        d->current = true;
        return !was;
    }
    bool aggregated = r == 0 && w.code == 200 && str_contains(w.media, STR("as=APIGroupDiscoveryList")) && str_contains(w.media, STR("v=v2")) &&
                      !str_contains(w.media, STR("v=v2beta1"));
    if (aggregated) {
        r = documents_discovery(a, w.text, x->group, x->version, &list, &e);
    } else if (r == 0 && w.code != 503) {
        w.tag = STR("");
        r = extension_get(x, own_path(x, a).p, "system:kube-aggregator", "system:masters", "application/json", STR(""), SECONDS(CHECK_SECONDS), a, &w, &e);
        if (r == 0)
            r = w.code == 200 ? documents_resources(a, w.text, x->group, x->version, &list, &e) : -EREMOTEIO;
    }
    d->current = r >= 0 && w.code == 200;
    if (!d->current)
        return was;
    set_text(&d->discovery_tag, aggregated ? w.tag : STR(""));
    return set_text(&d->resources, list) || !was;
}

static bool ask_for_v3(struct extension *x, struct arena *a)
{
    struct extension_answer w;
    struct err e = {0};
    struct str at = STR_NULL;
    int r = extension_get(x, "/openapi/v3", "system:aggregator", NULL, "application/json", STR(""), SECONDS(DOCUMENTS_SECONDS), a, &w, &e);
    if (r < 0 || (w.code != 200 && w.code != 404))
        return false; /* what it said before holds */
    if (w.code == 200 && documents_v3(a, w.text, x->group, x->version, &at, &e) < 0)
        return false;
    return set_text(&x->documents.openapi_v3, at);
}

static bool ask_for_v2(struct extension *x, struct arena *a)
{
    struct extension_documents *d = &x->documents;
    struct extension_answer w;
    struct err e = {0};
    struct str text = STR_NULL;
    int r = extension_get(x, "/openapi/v2", "system:aggregator", NULL, "application/json", d->v2_tag, SECONDS(DOCUMENTS_SECONDS), a, &w, &e);
    if (r < 0 || (w.code != 200 && w.code != 404))
        return false;
    if (w.code == 200 && documents_v2(a, w.text, x->group, x->version, &text, &e) < 0)
        return false;
    set_text(&d->v2_tag, w.tag);
    return set_text(&d->openapi_v2, text);
}

static void ask_for_documents(struct extension *x)
{
    bool (*const parts[])(struct extension *x, struct arena *a) = {ask_for_resources, ask_for_v3, ask_for_v2};
    for (size_t i = 0; i < ARRAY_SIZE(parts) && !fiber_cancelled() && !x->gone; i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        if (parts[i](x, &a))
            served_changed(x->server);
    }
}

/* ---- the fiber ------------------------------------------------------------------------------------------ */

static bool documents_due(const struct extension *x, struct mono now)
{
    int64_t every = x->documents.current ? SECONDS(DOCUMENTS_SECONDS) : SECONDS(RETRY_SECONDS);
    return extension_available(x) && (!x->asked.ns || x->asked.ns + every <= now.ns);
}

/* Who cannot be called any more is out of date, as far as anybody knows. */
static void mark_stale(struct extension *x)
{
    if (extension_available(x) || !x->documents.current)
        return;
    x->documents.current = false;
    x->asked = (struct mono){0};
    served_changed(x->server);
}

void extension_follow(void *extension)
{
    struct extension *x = extension;
    int64_t wait = SECONDS(LOOK_SECONDS), again = MILLISECONDS(50);
    while (!x->gone && !fiber_cancelled()) {
        x->look = false;
        bool failed = judge(x);
        again = failed ? MIN(again * 2, SECONDS(LOOK_SECONDS)) : MILLISECONDS(50);
        wait = failed ? again : SECONDS(LOOK_SECONDS);
        mark_stale(x);
        if (!x->gone && documents_due(x, os_mono())) {
            x->asked = os_mono();
            ask_for_documents(x);
        }
        if (extension_available(x) && !x->documents.current)
            wait = MIN(wait, SECONDS(RETRY_SECONDS));
        struct mono until = mono_add(os_mono(), wait);
        while (!x->look && !x->gone && waitq_wait(&x->changed, until) == 0)
            ;
    }
    extension_unref(x);
}
