/* SPDX-License-Identifier: Apache-2.0 */
#include "client/delegate.h"

#include "auth/crypto.h"
#include "base/os.h"
#include "names.h"
#include "net/http.h"
#include "type/resource.h"

#define TOKEN_GOOD SECONDS(120)
#define ALLOWED_GOOD SECONDS(300)
#define DENIED_GOOD SECONDS(30)
#define REFUSED_GOOD SECONDS(2)

enum { CACHE_MAX = 4096, REFUSED_MAX = 256 };

/* An answer of the API: a user for a token, a yes or no for a question. */
struct answer {
    struct mono until;
    bool yes;
    struct arena arena;
    struct delegate_user user;
};

static void answer_free(void *p)
{
    struct answer *a = p;
    arena_done(&a->arena);
    free(a);
}

void delegate_done(struct delegate *d)
{
    map_done_with(&d->known, answer_free);
    map_done_with(&d->refused, answer_free);
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

static void add_group(struct arena *a, struct delegate_user *u, struct str group)
{
    for (size_t i = 0; i < u->n_groups; i++)
        if (str_eq(u->groups[i], group))
            return;
    if (u->n_groups < DELEGATE_GROUPS)
        u->groups[u->n_groups++] = arena_str(a, group);
}

static void user_from_cert(struct arena *a, const struct tls_peer *peer, struct delegate_user *ret)
{
    ret->name = arena_str(a, str_of(peer->cn));
    for (size_t i = 0; i < peer->n_orgs; i++)
        add_group(a, ret, str_of(peer->orgs[i]));
    add_group(a, ret, STR("system:authenticated"));
}

static void copy_user(struct arena *a, const struct delegate_user *from, struct delegate_user *ret)
{
    ret->name = arena_str(a, from->name);
    ret->uid = arena_str(a, from->uid);
    for (size_t i = 0; i < from->n_groups; i++)
        add_group(a, ret, from->groups[i]);
}

/* Asks the API whose token it is. False: nobody's. */
static bool user_from_token(struct delegate *d, struct arena *a, struct str token, struct delegate_user *ret)
{
    char digest[65];
    struct str key = arena_printf(a, "token:%s", sha256_hex(token, digest));
    struct answer *known = remembered(&d->known, key);
    if (!known && remembered(&d->refused, key))
        return false;
    if (!known) {
        const struct resource *res = resource_find(STR("authentication.k8s.io"), STR("v1"), STR("tokenreviews"));
        struct val *v = val_new(a, VAL_OBJ);
        const struct val *answer;
        struct status s;
        status_init(&s, a);
        val_set_str(a, val_sub_obj(a, v, N_spec), N_token, token);
        if (client_create(d->client, CALL(.res = res), v, a, &answer, &s) != 0)
            return false;
        const struct val *st = val_get(answer, N_status), *user = val_get(st, N_user);
        if (!val_bool(val_get(st, N_authenticated), false)) {
            remember(&d->refused, REFUSED_MAX, key, false, REFUSED_GOOD);
            return false;
        }
        known = remember(&d->known, CACHE_MAX, key, true, TOKEN_GOOD);
        known->user.name = arena_str(&known->arena, val_getstr(user, N_username));
        known->user.uid = arena_str(&known->arena, val_getstr(user, N_uid));
        VAL_EACH (val_get(user, N_groups), g)
            add_group(&known->arena, &known->user, val_str(g));
        add_group(&known->arena, &known->user, STR("system:authenticated"));
    }
    copy_user(a, &known->user, ret);
    return true;
}

bool delegate_who(struct delegate *d, struct http_exchange *x, struct delegate_user *ret)
{
    struct str header = http_header(&x->headers, "authorization");
    if (x->tls && x->tls->verified) {
        user_from_cert(&x->arena, x->tls, ret);
        return true;
    }
    if (header.n > 7 && !strncasecmp(header.p, "Bearer ", 7))
        return d->client && d->tokens && user_from_token(d, &x->arena, str_trim(str_from(header, 7)), ret);
    if (!d->anonymous)
        return false;
    ret->name = STR("system:anonymous");
    add_group(&x->arena, ret, STR("system:unauthenticated"));
    return true;
}

/* ---- what ---------------------------------------------------------------------------------------------------- */

static struct val *review(struct arena *a, const struct delegate_user *u, name_id kind, const struct val *what)
{
    struct val *v = val_new(a, VAL_OBJ), *spec = val_sub_obj(a, v, N_spec);
    val_set_str(a, spec, N_user, u->name);
    if (u->uid.n)
        val_set_str(a, spec, N_uid, u->uid);
    struct val *groups = val_sub_list(a, spec, N_groups);
    for (size_t i = 0; i < u->n_groups; i++)
        val_add_str(a, groups, u->groups[i]);
    val_set(a, spec, kind, *what);
    return v;
}

/* key: what is asked, without who. */
static int ask(struct delegate *d, struct arena *a, const struct delegate_user *u, struct str what_key, name_id kind, const struct val *what)
{
    struct str groups = u->n_groups ? arena_join(a, u->groups, u->n_groups, STR("\n")) : STR("");
    struct str key = arena_printf(a, "may:" STR_FMT ":%zu:" STR_FMT ":" STR_FMT, STR_ARG(what_key), u->name.n, STR_ARG(u->name),
                                  STR_ARG(groups)); /* names have colons, too */
    struct answer *known = remembered(&d->known, key);
    if (!known) {
        const struct resource *res = resource_find(STR("authorization.k8s.io"), STR("v1"), STR("subjectaccessreviews"));
        const struct val *answer;
        struct status s;
        status_init(&s, a);
        if (client_create(d->client, CALL(.res = res), review(a, u, kind, what), a, &answer, &s) != 0)
            return -EIO;
        bool yes = val_bool(val_at(answer, N_status, N_allowed), false);
        known = remember(&d->known, CACHE_MAX, key, yes, yes ? ALLOWED_GOOD : DENIED_GOOD);
    }
    return known->yes;
}

int delegate_may_node(struct delegate *d, struct arena *a, const struct delegate_user *u, const char *verb, const char *node, const char *sub)
{
    struct val *what = val_new(a, VAL_OBJ);
    val_set_str(a, what, N_verb, str_of(verb));
    val_set_str(a, what, N_version, STR("v1"));
    val_set_str(a, what, N_resource, STR("nodes"));
    val_set_str(a, what, N_subresource, str_of(sub));
    val_set_str(a, what, N_name, str_of(node));
    return ask(d, a, u, arena_printf(a, "%s:%s", verb, sub), N_resourceAttributes, what);
}

int delegate_may_path(struct delegate *d, struct arena *a, const struct delegate_user *u, const char *verb, struct str path)
{
    struct val *what = val_new(a, VAL_OBJ);
    for (size_t i = 0; i < u->n_groups; i++)
        if (str_is(u->groups[i], "system:masters"))
            return 1;
    val_set_str(a, what, N_verb, str_of(verb));
    val_set_str(a, what, N_path, path);
    return ask(d, a, u, arena_printf(a, "%s:" STR_FMT, verb, STR_ARG(path)), N_nonResourceAttributes, what);
}
