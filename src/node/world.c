/* SPDX-License-Identifier: Apache-2.0 */
/* What a Pod may ask for beyond itself: ConfigMaps, Secrets, Services, tokens, trust bundles, claims. */
#include "node/kubelet-internal.h"

#include "type/selector.h"

#define PATIENCE SECONDS(10) /* for an object to become known */

/* ---- objects --------------------------------------------------------------------------------------------- */

static const struct val *keep(struct world *w, const struct object *o)
{
    w->held = xrealloc(w->held, (w->n_held + 1) * sizeof(*w->held));
    w->held[w->n_held++] = object_ref(o);
    return o->val;
}

static int get_object(struct world *w, uint16_t res, struct str ns, struct str name, const struct val **ret,
                      struct err *e)
{
    const struct object *o = NULL;
    if (!w->k->objects)
        return err_set(e, -ENOTCONN, "this node has no API server to ask for " STR_FMT, STR_ARG(name));
    int r = objects_get(w->k->objects, &resources[res], ns, name, mono_add(os_mono(), PATIENCE), &o);
    if (r == -ETIMEDOUT)
        return err_set(e, r, "failed to sync %s cache: timed out waiting for the condition", resources[res].singular);
    if (r == -ENOENT)
        return err_set(e, r, "object \"" STR_FMT "\"/\"" STR_FMT "\" not registered", STR_ARG(ns), STR_ARG(name));
    if (r < 0)
        return err_set(e, r, "%s", strerror(-r));
    *ret = o ? keep(w, o) : NULL;
    return 0;
}

static int get_config_map(void *ctx, struct str ns, struct str name, const struct val **ret, struct err *e)
{
    return get_object(ctx, RES_CONFIGMAPS, ns, name, ret, e);
}

static int get_secret(void *ctx, struct str ns, struct str name, const struct val **ret, struct err *e)
{
    return get_object(ctx, RES_SECRETS, ns, name, ret, e);
}

static void each_service(void *ctx, void (*visit)(void *arg, const struct val *service), void *arg)
{
    struct world *w = ctx;
    struct tree_iter it;
    if (!w->k->world)
        return;
    /* What visit makes is copied: no reference is needed as nobody waits in between. */
    for (tree_seek(&it, replica_tree(w->k->world, &resources[RES_SERVICES]), STR_NULL); it.object; tree_next(&it))
        visit(arg, it.object->val);
}

static int get_file(void *ctx, struct arena *a, struct str volume, struct str path, struct str *ret, struct err *e)
{
    struct world *w = ctx;
    struct volume_list list = worker_volumes(w->worker);
    int r = err_set(e, -EINVAL, "cannot find the volume \"" STR_FMT "\" referenced by FileKeyRef", STR_ARG(volume));
    for (size_t i = 0; i < list.n; i++)
        if (str_eq(list.items[i].name, volume))
            r = w->k->host->ops->read_file(w->k->host, a, arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(list.items[i].path),
                                           STR_ARG(path)).p, 64 << 10, ret, e);
    return r;
}

/* ---- tokens (KEP-1205) ----------------------------------------------------------------------------------- */

static struct token *find_token(struct worker *w, struct str audience, int64_t seconds)
{
    for (size_t i = 0; i < w->n_tokens; i++)
        if (w->tokens[i].seconds == seconds && str_is(audience, w->tokens[i].audience))
            return &w->tokens[i];
    return NULL;
}

static struct val *token_request(struct arena *a, const struct val *pod, struct str audience, int64_t seconds)
{
    struct val *v = val_new(a, VAL_OBJ), *spec = val_sub_obj(a, v, N_spec), *bound;
    struct val *list = val_sub_list(a, spec, N_audiences);
    if (audience.n)
        val_add_str(a, list, audience);
    val_set_int(a, spec, N_expirationSeconds, seconds);
    bound = val_sub_obj(a, spec, N_boundObjectRef);
    val_set_str(a, bound, N_kind, STR("Pod"));
    val_set_str(a, bound, N_apiVersion, STR("v1"));
    val_set_str(a, bound, N_name, obj_name(pod));
    val_set_str(a, bound, N_uid, obj_uid(pod));
    return v;
}

/* Anew at 80 % of its life, and once a day (with some spread, so that a node's Pods do not ask all at once). */
static void keep_token(struct worker *w, struct token *t, struct str audience, int64_t seconds, const struct val *answer)
{
    struct wall now = os_wall(), expires = val_time(val_at(answer, N_status, N_expirationTimestamp));
    int64_t life = MAX(expires.ns - now.ns, SECONDS(1));
    int64_t after = MIN(life / 10 * 8, SECONDS(86400));
    if (!t) {
        w->tokens = xrealloc(w->tokens, (w->n_tokens + 1) * sizeof(*w->tokens));
        t = &w->tokens[w->n_tokens++];
        *t = (struct token){.audience = str_dup(audience), .seconds = seconds};
    }
    free(t->text);
    t->text = str_dup(val_str(val_at(answer, N_status, N_token)));
    t->expires = expires;
    t->refresh.ns = now.ns + after - (int64_t)os_random_below((uint64_t)MIN(SECONDS(10), after / 10 + 1));
}

static int get_token(void *ctx, struct str audience, int64_t seconds, struct arena *a, struct str *ret, struct err *e)
{
    struct world *w = ctx;
    const struct val *pod = w->pod->val, *answer;
    struct token *t = find_token(w->worker, audience, seconds);
    if (t && os_wall().ns < t->refresh.ns) {
        *ret = arena_str(a, str_of(t->text));
        return 0;
    }
    struct status s;
    struct str account = val_str(val_at(pod, N_spec, N_serviceAccountName));
    status_init(&s, a);
    if (!w->k->client)
        return err_set(e, -ENOTCONN, "this node has no API server to ask for tokens");
    int r = client_create(w->k->client,
                          CALL(.res = &resources[RES_SERVICEACCOUNTS], .ns = obj_namespace(pod),
                               .name = account.n ? account : STR("default"), .subresource = "token"),
                          token_request(a, pod, audience, seconds), a, &answer, &s);
    if (r == -ECANCELED)
        return r;
    t = find_token(w->worker, audience, seconds); /* the worker may have moved while we waited */
    if (r != 0 && t && os_wall().ns < t->expires.ns) {
        *ret = arena_str(a, str_of(t->text)); /* still good: tried again at the next look */
        return 0;
    }
    if (r != 0)
        return err_set(e, -EIO, "failed to fetch token: " STR_FMT, STR_ARG(s.message));
    keep_token(w->worker, t, audience, seconds, answer);
    *ret = val_str(val_at(answer, N_status, N_token));
    return 0;
}

/* ---- rarer things ---------------------------------------------------------------------------------------- */

/* Asked for at each look: trust changes seldom, and few Pods ask. */
static int get_trust_bundle(void *ctx, const struct val *projection, struct arena *a, struct str *ret, struct err *e)
{
    struct world *w = ctx;
    const struct resource *res =
        resource_find(STR("certificates.k8s.io"), STR("v1"), STR("clustertrustbundles"));
    struct str name = val_getstr(projection, N_name);
    struct status s;
    const struct val *v;
    status_init(&s, a);
    if (!res || !w->k->client)
        return err_set(e, -ENOTSUP, "ClusterTrustBundles are not served here");
    if (name.n) {
        int r = client_get(w->k->client, CALL(.res = res, .name = name), a, &v, &s);
        if (r == 404)
            return 0;
        if (r != 0)
            return err_set(e, -EIO, STR_FMT, STR_ARG(s.message));
        *ret = val_str(val_at(v, N_spec, N_trustBundle));
        return 0;
    }
    struct str signer = val_getstr(projection, N_signerName);
    struct selector sel;
    if (selector_from_val(a, val_get(projection, N_labelSelector), &sel, e) < 0)
        return -EINVAL;
    int r = client_list(w->k->client, CALL(.res = res), a, &v, &s);
    if (r != 0)
        return err_set(e, -EIO, STR_FMT, STR_ARG(s.message));
    struct buf b = BUF_INIT;
    VAL_EACH (val_get(v, N_items), item)
        if (str_eq(val_str(val_at(item, N_spec, N_signerName)), signer) && selector_matches(&sel, obj_labels(item)))
            buf_putstr(&b, val_str(val_at(item, N_spec, N_trustBundle)));
    if (b.n)
        *ret = arena_str(a, buf_str(&b));
    buf_done(&b);
    return 0;
}

static int get_certificate(void *ctx, struct str volume, size_t index, const struct val *source, struct arena *a, struct str *ret_key,
                           struct str *ret_chain, struct err *e)
{
    struct world *w = ctx;
    return pod_cert_get(w->worker, w->pod->val, volume, index, source, a, ret_key, ret_chain, e);
}

/* As the API has it now: claims and volumes are asked for one by one, a node may not watch them. */
static int get_live(void *ctx, uint16_t res, struct str ns, struct str name, const struct val **ret, struct err *e)
{
    struct world *w = ctx;
    struct arena a = ARENA_INIT;
    struct status s;
    const struct val *v;
    status_init(&s, &a);
    if (!w->k->client)
        return err_set(e, -ENOTCONN, "this node has no API server to ask for " STR_FMT, STR_ARG(name));
    int r = client_get(w->k->client, CALL(.res = &resources[res], .ns = ns, .name = name), &a, &v, &s);
    if (r == 0) {
        struct object *o = object_new(&resources[res], v);
        *ret = keep(w, o);
        object_unref(o);
    } else if (r > 0) {
        r = err_set(e, r == 404 ? -ENOENT : -EIO, STR_FMT, STR_ARG(s.message));
    } else if (r != -ECANCELED) {
        err_set(e, r, "the API server cannot be asked: %s", strerror(-r));
    }
    arena_done(&a);
    return r;
}

/* ---- one pass -------------------------------------------------------------------------------------------- */

void world_init(struct world *w, struct worker *worker)
{
    struct kubelet *k = worker->k;
    *w = (struct world){.k = k, .worker = worker, .pod = object_ref(worker->pod)};
    w->v = (struct volume_world){.token = get_token, .trust_bundle = get_trust_bundle, .certificate = get_certificate, .get = get_live, .ctx = w};
    struct env_world *env = &w->v.env;
    *env = (struct env_world){
        .config_map = get_config_map,
        .secret = get_secret,
        .services = each_service,
        .file = get_file,
        .ctx = w,
        .host_ips = k->ips,
        .n_host_ips = k->n_ips,
        .node_milli_cpu = node_allocatable_of(k, "cpu"),
        .node_memory = node_allocatable_of(k, "memory"),
        .node_storage = node_allocatable_of(k, "ephemeral-storage"),
    };
}

void world_done(struct world *w)
{
    for (size_t i = 0; i < w->n_held; i++)
        object_unref(w->held[i]);
    free(w->held);
    w->held = NULL;
    w->n_held = 0;
    w->pod = object_unref(w->pod);
}

struct holding {
    struct worker *w;
    struct str ns;
    bool hold;
};

static void hold_one(void *arg, bool secret, struct str name)
{
    struct holding *h = arg;
    const struct resource *res = &resources[secret ? RES_SECRETS : RES_CONFIGMAPS];
    if (h->hold)
        objects_hold(h->w->k->objects, res, h->ns, name);
    else
        objects_release(h->w->k->objects, res, h->ns, name);
}

void worker_hold_references(struct worker *w, const struct val *pod, bool hold)
{
    struct holding h = {w, obj_namespace(pod), hold};
    if (w->k->objects && pod)
        pod_references(pod, hold_one, &h);
}

struct searching {
    bool secret, found;
    struct str name;
};

static void match_one(void *arg, bool secret, struct str name)
{
    struct searching *s = arg;
    s->found = s->found || (secret == s->secret && str_eq(name, s->name));
}

bool worker_refers(const struct worker *w, bool secret, struct str name)
{
    struct searching s = {secret, false, name};
    pod_references(worker_pod(w), match_one, &s);
    return s.found;
}
