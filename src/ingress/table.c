/* SPDX-License-Identifier: Apache-2.0 */
#include "ingress/table-internal.h"

#include "ingress/annotations.h"
#include "resources.h"
#include "type/meta.h"

/* ---- what tables share --------------------------------------------------------------------------------- */

struct kept_certificate {
    int64_t revision;
    char uid[64];
    struct tls_certificate *certificate; /* NULL: it was no good */
    struct err why;
};

struct maker {
    struct map backends, counts, certificates;
    struct counts *no_rule;
    uint64_t tables; /* made so far */
};

struct maker *maker_new(void)
{
    struct maker *m = NEW(struct maker);
    m->no_rule = counts_new(STR(""), STR(""), STR(""));
    return m;
}

static void certificate_free(void *p)
{
    struct kept_certificate *k = p;
    tls_certificate_unref(k->certificate);
    free(k);
}

void maker_free(struct maker *m)
{
    if (!m)
        return;
    MAP_EACH(&m->backends, e)
    {
        backend_unref(e->value);
    }
    MAP_EACH(&m->counts, e)
    {
        counts_unref(e->value);
    }
    map_done(&m->backends);
    map_done(&m->counts);
    map_done_with(&m->certificates, certificate_free);
    counts_unref(m->no_rule);
    free(m);
}

/* What no table uses any more. */
static void forget_unused(struct maker *m)
{
    MAP_EACH(&m->backends, e)
    {
        struct backend *b = e->value;
        if (b->refs == 1) {
            map_del(&m->backends, e->key);
            backend_unref(b);
        }
    }
    MAP_EACH(&m->counts, e)
    {
        struct counts *c = e->value;
        if (c->refs == 1) {
            map_del(&m->counts, e->key);
            counts_unref(c);
        }
    }
}

void maker_counts(struct maker *m, void (*fn)(void *arg, const struct counts *c), void *arg)
{
    fn(arg, m->no_rule);
    MAP_EACH(&m->counts, e)
    {
        fn(arg, e->value);
    }
}

struct counts *maker_no_rule(struct maker *m)
{
    return m->no_rule;
}

void maker_endpoints(struct maker *m, const struct service_index *services, struct str ns, struct str name)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct service_entry *entry = service_index_get(services, ns, name);
    struct str prefix = arena_printf(&a, STR_FMT "/" STR_FMT ":", STR_ARG(ns), STR_ARG(name));
    MAP_EACH(&m->backends, e)
    {
        if (!str_starts(e->key, prefix))
            continue;
        struct val port = val_of_str(str_from(e->key, prefix.n)), wanted = {.kind = VAL_OBJ, .n = 1, .items = &port};
        int64_t number;
        port.name = N_name;
        if (str_to_i64(val_str(&port), &number) == 0) {
            port = val_of_int(number);
            port.name = N_number;
        }
        const struct val *found = entry ? service_port(entry->service, &wanted) : NULL;
        backend_fill(e->value, found ? entry : NULL, val_getstr(found, N_name));
    }
}

/* ---- tables -------------------------------------------------------------------------------------------- */

struct table *table_ref(struct table *t)
{
    t->refs++;
    return t;
}

struct table *table_unref(struct table *t)
{
    if (!t || --t->refs)
        return NULL;
    for (size_t i = 0; i < t->n_targets; i++) {
        backend_unref(t->targets[i]->backend);
        counts_unref(t->targets[i]->counts);
    }
    MAP_EACH(&t->certificates, e)
    {
        tls_certificate_unref(e->value);
    }
    map_done(&t->certificates);
    router_free(t->router);
    arena_done(&t->arena);
    free(t->targets);
    free(t);
    return NULL;
}

static struct tls_certificate *find_certificate(const struct table *t, struct str host)
{
    char wild[HOST_MAX + 2];
    ssize_t dot = str_find(host, '.');
    struct tls_certificate *c = map_get(&t->certificates, host);
    if (c || dot <= 0)
        return c;
    wild[0] = '*';
    memcpy(wild + 1, host.p + dot, host.n - (size_t)dot);
    return map_get(&t->certificates, str_n(wild, host.n - (size_t)dot + 1));
}

struct tls_certificate *table_certificate(const struct table *t, const char *name)
{
    char host[HOST_MAX];
    if (host_canonical(str_of(name), host) < 0)
        return NULL;
    struct tls_certificate *c = find_certificate(t, str_of(host));
    return c ? tls_certificate_ref(c) : NULL;
}

/* ---- making one ---------------------------------------------------------------------------------------- */

struct making {
    struct maker *m;
    const struct table_input *in;
    struct table *t;
    struct arena *a;
    struct map *secrets;
    struct problem *problems;
    size_t n_problems, cap_problems;
    const struct object *ingress; /* the present one */
    struct ingress_options *options;
    struct map own_tls; /* hosts of its certificates */
};

static void problem(struct making *k, const char *reason, struct str message)
{
    if (k->n_problems == k->cap_problems) {
        struct problem *more = ARENA_ARRAY(k->a, struct problem, k->cap_problems = MAX(k->cap_problems * 2, (size_t)8));
        if (k->n_problems)
            memcpy(more, k->problems, k->n_problems * sizeof(*more));
        k->problems = more;
    }
    k->problems[k->n_problems++] = (struct problem){k->ingress, reason, arena_str(k->a, message)};
}

static void bad_annotation(void *ctx, struct str message)
{
    problem(ctx, "BadAnnotation", message);
}

/* Certificates are read from Secrets of their type alone, and only when they have changed. */
static struct tls_certificate *certificate_of(struct making *k, struct str name)
{
    struct str key = obj_key(k->a, k->ingress->namespace_, name);
    map_put(k->secrets, key, k);
    const struct object *o = k->in->secret ? k->in->secret(k->in->ctx, k->ingress->namespace_, name) : NULL;
    if (!o || !str_is(val_getstr(o->val, N_type), "kubernetes.io/tls")) {
        problem(k, "NoCertificate", arena_printf(k->a, "Secret " STR_FMT " %s", STR_ARG(name), o ? "is not of type kubernetes.io/tls" : "is not there"));
        return NULL;
    }
    struct kept_certificate *kept = map_get(&k->m->certificates, key);
    if (!kept || kept->revision != o->revision || !str_is(o->uid, kept->uid)) {
        const struct val *data = val_get(o->val, N_data);
        struct tls_keypair pair = {.cert_pem = val_str(val_key(data, STR("tls.crt"))), .key_pem = val_str(val_key(data, STR("tls.key")))};
        if (kept)
            certificate_free(kept);
        kept = NEW(struct kept_certificate);
        kept->revision = o->revision;
        memcpy(kept->uid, o->uid.p, MIN(o->uid.n, sizeof(kept->uid) - 1));
        tls_certificate_new(&pair, &kept->certificate, &kept->why);
        map_put(&k->m->certificates, key, kept);
    }
    if (!kept->certificate)
        problem(k, "BadCertificate", arena_printf(k->a, "Secret " STR_FMT ": %s", STR_ARG(name), kept->why.text));
    return kept->certificate;
}

/* The first that names a host has it. */
static void add_certificate(struct making *k, struct str host, struct tls_certificate *c)
{
    char name[HOST_MAX + 2];
    bool wild = str_starts(host, STR("*."));
    if (host_canonical(str_from(host, wild ? 2 : 0), name + (wild ? 2 : 0)) < 0)
        return;
    if (wild)
        memcpy(name, "*.", 2);
    map_put(&k->own_tls, str_of(name), k);
    if (!map_has(&k->t->certificates, str_of(name)))
        map_put(&k->t->certificates, str_of(name), tls_certificate_ref(c));
}

static void add_tls(struct making *k, const struct val *tls)
{
    struct str secret = val_getstr(tls, N_secretName);
    const struct val *hosts = val_get(tls, N_hosts);
    struct tls_certificate *c = secret.n ? certificate_of(k, secret) : NULL;
    if (!c)
        return;
    VAL_EACH(hosts, it)
    {
        add_certificate(k, val_str(it), c);
    }
    if (!val_len(hosts)) /* none named: those of the rules */
        VAL_EACH(val_at(k->ingress->val, N_spec, N_rules), rule)
        {
            add_certificate(k, val_getstr(rule, N_host), c);
        }
}

static bool has_own_tls(const struct making *k, struct str host)
{
    char name[HOST_MAX];
    ssize_t dot = str_find(host, '.');
    if (map_has(&k->own_tls, host))
        return true;
    if (host_canonical(host, name) < 0)
        return false;
    return map_has(&k->own_tls, str_of(name)) ||
           (dot > 0 && map_has(&k->own_tls, arena_printf(k->a, "*%s", name + dot)));
}

static struct backend *backend_of(struct making *k, const struct val *service)
{
    const struct val *port = val_get(service, N_port);
    struct str name = val_getstr(service, N_name), ns = k->ingress->namespace_, port_name = val_getstr(port, N_name);
    const struct service_entry *entry = service_index_get(k->in->services, ns, name);
    struct str key = port_name.n ? arena_printf(k->a, STR_FMT "/" STR_FMT ":" STR_FMT, STR_ARG(ns), STR_ARG(name), STR_ARG(port_name))
                                 : arena_printf(k->a, STR_FMT "/" STR_FMT ":%lld", STR_ARG(ns), STR_ARG(name),
                                                (long long)val_int(val_get(port, N_number), 0));
    if (!entry || !entry->service) {
        problem(k, "NoService", arena_printf(k->a, "Service " STR_FMT " is not there", STR_ARG(name)));
        return NULL;
    }
    if (str_is(val_str(val_at(entry->service->val, N_spec, N_type)), "ExternalName")) {
        problem(k, "NoService", arena_printf(k->a, "Service " STR_FMT " is an external name, which is not served", STR_ARG(name)));
        return NULL;
    }
    const struct val *found = service_port(entry->service, port);
    if (!found) {
        problem(k, "NoService", arena_printf(k->a, STR_FMT " is no TCP port of its Service", STR_ARG(key)));
        return NULL;
    }
    struct backend *b = map_get(&k->m->backends, key);
    if (!b) {
        b = backend_new(key);
        map_put(&k->m->backends, key, b);
    }
    if (b->made != k->m->tables) { /* once, however many paths lead to it */
        backend_fill(b, entry, val_getstr(found, N_name));
        b->protocol = port_protocol(found);
        b->made = k->m->tables;
    }
    return backend_ref(b);
}

static struct counts *counts_of(struct making *k, struct str host)
{
    struct str key = arena_printf(k->a, STR_FMT "/" STR_FMT " " STR_FMT, STR_ARG(k->ingress->namespace_), STR_ARG(k->ingress->name), STR_ARG(host));
    struct counts *c = map_get(&k->m->counts, key);
    if (!c) {
        c = counts_new(k->ingress->namespace_, k->ingress->name, host);
        map_put(&k->m->counts, key, c);
    }
    c->refs++;
    return c;
}

static struct target *target_of(struct making *k, const struct val *backend, struct str host, struct str path)
{
    struct table *t = k->t;
    const struct val *service = val_get(backend, N_service);
    if (!service) {
        problem(k, "NotSupported", STR("a back end that is not a Service is not served"));
        return NULL;
    }
    struct target *g = ARENA_NEW(&t->arena, struct target);
    *g = (struct target){
        .ns = arena_cstr(&t->arena, k->ingress->namespace_),
        .ingress = arena_cstr(&t->arena, k->ingress->name),
        .host = arena_cstr(&t->arena, host),
        .path = arena_str(&t->arena, path),
        .backend = backend_of(k, service),
        .options = k->options,
        .tls = has_own_tls(k, host),
        .counts = counts_of(k, host),
    };
    if (t->n_targets == t->cap_targets)
        t->targets = xrealloc(t->targets, (t->cap_targets = MAX(t->cap_targets * 2, (size_t)16)) * sizeof(struct target *));
    t->targets[t->n_targets++] = g;
    return g;
}

static void refused(struct making *k, int r, struct str host, struct str path)
{
    if (r == -EEXIST)
        problem(k, "Conflict", arena_printf(k->a, "\"" STR_FMT "\" of host \"" STR_FMT "\" is served for another rule that was there before",
                                            STR_ARG(path), STR_ARG(host)));
    else if (r < 0)
        problem(k, "BadPath", arena_printf(k->a, "\"" STR_FMT "\" of host \"" STR_FMT "\" cannot be served: host or path is none that a "
                                                 "request may have, or longer than %d bytes", STR_ARG(path), STR_ARG(host), PATH_RULE_MAX));
}

static void add_path(struct making *k, struct str host, const struct val *p)
{
    struct str path = val_getstr(p, N_path);
    bool exact = str_is(val_getstr(p, N_pathType), "Exact");
    if (!path.n)
        path = STR("/");
    struct target *g = target_of(k, val_get(p, N_backend), host, path);
    if (g)
        refused(k, router_add(k->t->router, host, exact ? PATH_EXACT : PATH_PREFIX, path, g), host, path);
}

static void add_rule(struct making *k, const struct val *rule)
{
    struct str host = val_getstr(rule, N_host);
    const struct val *paths = val_at(rule, N_http, N_paths), *fallback = val_at(k->ingress->val, N_spec, N_defaultBackend);
    VAL_EACH(paths, it)
    {
        add_path(k, host, it);
    }
    struct target *g = fallback ? target_of(k, fallback, host, STR("")) : NULL;
    if (g)
        router_add_default(k->t->router, &host, g); /* the oldest one of a host is as good as any */
}

static void add_ingress(struct making *k, const struct object *o)
{
    const struct val *spec = val_get(o->val, N_spec);
    k->ingress = o;
    k->options = ARENA_NEW(&k->t->arena, struct ingress_options);
    annotations_read(&k->t->arena, o->val, k->options, bad_annotation, k);
    VAL_EACH(val_get(spec, N_tls), it)
    {
        add_tls(k, it);
    }
    VAL_EACH(val_get(spec, N_rules), it)
    {
        add_rule(k, it);
    }
    map_done(&k->own_tls);
}

/* What no host is for: of Ingresses without rules first. */
static void add_fallbacks(struct making *k, const struct object **list, size_t n)
{
    for (int with_rules = 0; with_rules < 2; with_rules++)
        for (size_t i = 0; i < n; i++) {
            const struct val *spec = val_get(list[i]->val, N_spec), *b = val_get(spec, N_defaultBackend);
            if (!b || (val_len(val_get(spec, N_rules)) > 0) != with_rules)
                continue;
            k->ingress = list[i];
            k->options = ARENA_NEW(&k->t->arena, struct ingress_options);
            annotations_read(&k->t->arena, list[i]->val, k->options, NULL, NULL);
            struct target *g = target_of(k, b, STR(""), STR(""));
            if (g)
                router_add_default(k->t->router, NULL, g);
            return;
        }
}

/* Who was there first keeps what it has. */
static int by_age(const void *a, const void *b)
{
    const struct object *const *x = a, *const *y = b;
    int r = str_cmp(val_getstr((*x)->meta, N_creationTimestamp), val_getstr((*y)->meta, N_creationTimestamp));
    if (r == 0)
        r = str_cmp((*x)->namespace_, (*y)->namespace_);
    return r ? r : str_cmp((*x)->name, (*y)->name);
}

static size_t ours(const struct table_input *in, struct arena *a, const struct object ***ret)
{
    const struct object **list = ARENA_ARRAY(a, const struct object *, tree_count(in->ingresses) + 1);
    size_t n = 0;
    TREE_EACH(in->ingresses, STR_NULL, it)
    {
        if (ingress_is_ours(in->classes, it.object) && !obj_deleting(it.object->val))
            list[n++] = it.object;
    }
    qsort(list, n, sizeof(*list), by_age);
    *ret = list;
    return n;
}

struct table *table_make(struct maker *m, const struct table_input *in, struct arena *a, struct problem **ret_problems,
                         size_t *ret_n, struct map *secrets, size_t *ret_ours)
{
    const struct object **list;
    struct table *t = NEW(struct table);
    struct making k = {.m = m, .in = in, .t = t, .a = a, .secrets = secrets};
    size_t n = ours(in, a, &list);
    m->tables++;
    t->refs = 1;
    t->router = router_new();
    for (size_t i = 0; i < n; i++)
        add_ingress(&k, list[i]);
    add_fallbacks(&k, list, n);
    forget_unused(m);
    MAP_EACH(&m->certificates, e)
    {
        if (!map_has(secrets, e->key))
            certificate_free(map_del(&m->certificates, e->key));
    }
    *ret_problems = k.problems;
    *ret_n = k.n_problems;
    *ret_ours = n;
    return t;
}
