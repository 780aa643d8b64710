/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks and what they may: client certificate or bearer token (TokenReview), then SubjectAccessReview on the
 * node's subresources (KEP-2862: the narrow one first, then "proxy"). Answers are remembered for a while: as many as
 * CACHE_MAX, refusals apart, few and short, so that a flood of bad tokens pushes nothing good out. Tokens themselves are
 * not kept, only their SHA-256.
 */
#include "auth/crypto.h"
#include "net/http.h"
#include "node/kubelet-internal.h"

#define TOKEN_GOOD SECONDS(120)
#define ALLOWED_GOOD SECONDS(300)
#define DENIED_GOOD SECONDS(30)

#define REFUSED_GOOD SECONDS(2)

enum { CACHE_MAX = 4096, REFUSED_MAX = 256, GROUPS_MAX = 64 };

struct user {
    struct str name;
    struct str groups[GROUPS_MAX];
    size_t n_groups;
    struct str uid;
};

/* An answer of the API: a user for a token, a yes or no for a question. */
struct answer {
    struct mono until;
    bool yes;
    struct arena arena;
    struct user user;
};

static void answer_free(void *p)
{
    struct answer *a = p;
    arena_done(&a->arena);
    free(a);
}

void server_auth_forget(struct kubelet *k)
{
    map_done_with(&k->auth_cache, answer_free);
    map_done_with(&k->auth_refused, answer_free);
}

static struct answer *remembered(struct map *m, struct str key)
{
    struct answer *a = map_get(m, key);
    if (a && a->until.ns > os_mono().ns)
        return a;
    if (a)
        answer_free(map_del(m, key));
    return NULL;
}

/* Takes out whose time is up, else the one whose time is up next. */
static void make_room(struct map *m, size_t most)
{
    while (m->n >= most) {
        struct str first = STR_NULL;
        int64_t until = INT64_MAX;
        MAP_EACH (m, e) {
            const struct answer *a = e->value;
            if (a->until.ns < until) {
                until = a->until.ns;
                first = e->key;
            }
        }
        answer_free(map_del(m, first));
    }
}

static struct answer *remember(struct map *m, size_t most, struct str key, bool yes, int64_t good)
{
    struct answer *a = NEW(struct answer), *old;
    make_room(m, most);
    a->yes = yes;
    a->until = mono_add(os_mono(), good);
    old = map_put(m, key, a);
    if (old)
        answer_free(old);
    return a;
}

/* ---- who ---------------------------------------------------------------------------------------------------- */

static void add_group(struct arena *a, struct user *u, struct str group)
{
    for (size_t i = 0; i < u->n_groups; i++)
        if (str_eq(u->groups[i], group))
            return;
    if (u->n_groups < GROUPS_MAX)
        u->groups[u->n_groups++] = arena_str(a, group);
}

static void user_from_cert(struct arena *a, const struct tls_peer *peer, struct user *ret)
{
    ret->name = arena_str(a, str_of(peer->cn));
    for (size_t i = 0; i < peer->n_orgs; i++)
        add_group(a, ret, str_of(peer->orgs[i]));
    add_group(a, ret, STR("system:authenticated"));
}

static void copy_user(struct arena *a, const struct user *from, struct user *ret)
{
    ret->name = arena_str(a, from->name);
    ret->uid = arena_str(a, from->uid);
    for (size_t i = 0; i < from->n_groups; i++)
        add_group(a, ret, from->groups[i]);
}

/* Asks the API whose token it is. False: nobody's. */
static bool user_from_token(struct kubelet *k, struct arena *a, struct str token, struct user *ret)
{
    char digest[65];
    struct str key = arena_printf(a, "token:%s", sha256_hex(token, digest));
    struct answer *known = remembered(&k->auth_cache, key);
    if (!known && remembered(&k->auth_refused, key))
        return false;
    if (!known) {
        const struct resource *res = resource_find(STR("authentication.k8s.io"), STR("v1"), STR("tokenreviews"));
        struct val *v = val_new(a, VAL_OBJ);
        const struct val *answer;
        struct status s;
        status_init(&s, a);
        val_set_str(a, val_sub_obj(a, v, N_spec), N_token, token);
        if (client_create(k->client, CALL(.res = res), v, a, &answer, &s) != 0)
            return false;
        const struct val *st = val_get(answer, N_status), *user = val_get(st, N_user);
        if (!val_bool(val_get(st, N_authenticated), false)) {
            remember(&k->auth_refused, REFUSED_MAX, key, false, REFUSED_GOOD);
            return false;
        }
        known = remember(&k->auth_cache, CACHE_MAX, key, true, TOKEN_GOOD);
        known->user.name = arena_str(&known->arena, val_getstr(user, N_username));
        known->user.uid = arena_str(&known->arena, val_getstr(user, N_uid));
        VAL_EACH (val_get(user, N_groups), g)
            add_group(&known->arena, &known->user, val_str(g));
        add_group(&known->arena, &known->user, STR("system:authenticated"));
    }
    copy_user(a, &known->user, ret);
    return true;
}

static bool authenticate(struct kubelet *k, struct http_exchange *x, struct user *ret)
{
    struct str header = http_header(&x->headers, "authorization");
    if (x->tls && x->tls->verified) {
        user_from_cert(&x->arena, x->tls, ret);
        return true;
    }
    if (header.n > 7 && !strncasecmp(header.p, "Bearer ", 7))
        return k->client && k->cfg.token_webhook && user_from_token(k, &x->arena, str_trim(str_from(header, 7)), ret);
    if (!k->cfg.anonymous)
        return false;
    ret->name = STR("system:anonymous");
    add_group(&x->arena, ret, STR("system:unauthenticated"));
    return true;
}

/* ---- what ---------------------------------------------------------------------------------------------------- */

static bool under(struct str path, const char *prefix)
{
    struct str p = str_of(prefix);
    return str_starts(path, p) && (path.n == p.n || path.p[p.n] == '/');
}

/* Subresources of the node that allow a path; any one of them is enough. Ends with NULL. */
static const char *const *subresources(struct str path)
{
    static const struct {
        const char *path;
        const char *names[3];
    } table[] = {
        {"/stats", {"stats"}},
        {"/metrics", {"metrics"}},
        {"/logs", {"log"}},
        {"/spec", {"spec"}},
        {"/checkpoint", {"checkpoint"}},
        {"/statusz", {"statusz"}},
        {"/healthz", {"healthz", "proxy"}},
        {"/configz", {"configz", "proxy"}},
        {"/pods", {"pods", "proxy"}},
        {"/runningpods", {"pods", "proxy"}},
    };
    static const char *const otherwise[] = {"proxy", NULL};
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (under(path, table[i].path))
            return table[i].names;
    return otherwise;
}

static const char *verb_of(struct str method)
{
    static const char *const verbs[][2] = {
        {"GET", "get"}, {"HEAD", "get"}, {"POST", "create"}, {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (str_is(method, verbs[i][0]))
            return verbs[i][1];
    return "get";
}

static struct val *review(struct kubelet *k, struct arena *a, const struct user *u, const char *verb, const char *sub)
{
    struct val *v = val_new(a, VAL_OBJ), *spec = val_sub_obj(a, v, N_spec), *what, *groups;
    val_set_str(a, spec, N_user, u->name);
    if (u->uid.n)
        val_set_str(a, spec, N_uid, u->uid);
    groups = val_sub_list(a, spec, N_groups);
    for (size_t i = 0; i < u->n_groups; i++)
        val_add_str(a, groups, u->groups[i]);
    what = val_sub_obj(a, spec, N_resourceAttributes);
    val_set_str(a, what, N_verb, str_of(verb));
    val_set_str(a, what, N_version, STR("v1"));
    val_set_str(a, what, N_resource, STR("nodes"));
    val_set_str(a, what, N_subresource, str_of(sub));
    val_set_str(a, what, N_name, str_of(k->cfg.node_name));
    return v;
}

/* 1 yes, 0 no, negative: the API cannot be asked. */
static int may(struct kubelet *k, struct arena *a, const struct user *u, const char *verb, const char *sub)
{
    struct str groups = u->n_groups ? arena_join(a, u->groups, u->n_groups, STR("\n")) : STR("");
    struct str key = arena_printf(a, "may:%s:%s:%zu:" STR_FMT ":" STR_FMT, verb, sub, u->name.n, STR_ARG(u->name),
                                  STR_ARG(groups)); /* names have colons, too */
    struct answer *known = remembered(&k->auth_cache, key);
    if (!known) {
        const struct resource *res = resource_find(STR("authorization.k8s.io"), STR("v1"), STR("subjectaccessreviews"));
        const struct val *answer;
        struct status s;
        status_init(&s, a);
        int r = client_create(k->client, CALL(.res = res), review(k, a, u, verb, sub), a, &answer, &s);
        if (r != 0)
            return -EIO;
        bool yes = val_bool(val_at(answer, N_status, N_allowed), false);
        known = remember(&k->auth_cache, CACHE_MAX, key, yes, yes ? ALLOWED_GOOD : DENIED_GOOD);
    }
    return known->yes;
}

bool server_allows(struct kubelet *k, struct http_exchange *x)
{
    struct user u = {0};
    const char *verb = verb_of(x->method), *const *subs = subresources(x->path);
    if (!authenticate(k, x, &u)) {
        http_respond(x, 401, "text/plain; charset=utf-8", STR("Unauthorized"));
        return false;
    }
    if (k->cfg.authorize_always)
        return true;
    if (!k->client) { /* nobody to ask: closed */
        http_respond(x, 403, "text/plain; charset=utf-8", STR("Forbidden (there is no API server to ask)"));
        return false;
    }
    int r = 0;
    for (const char *const *s = subs; *s && r == 0; s++)
        r = may(k, &x->arena, &u, verb, *s);
    if (r > 0)
        return true;
    if (r < 0)
        http_respond(x, 500, "text/plain; charset=utf-8", STR("Authorization error: the API server cannot be asked"));
    else
        http_respond(x, 403, "text/plain; charset=utf-8",
                     arena_printf(&x->arena, "Forbidden (user=" STR_FMT ", verb=%s, resource=nodes, subresource(s)=[%s])",
                                  STR_ARG(u.name), verb, subs[0]));
    return false;
}
