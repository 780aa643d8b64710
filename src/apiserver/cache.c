/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/cache.h"

#include "apiserver/encryption.h"

#include <stdio.h>

#include "base/log.h"
#include "base/map.h"
#include "base/os.h"
#include "resources.h"
#include "type/meta.h"

enum {
    RING_MIN = 64,       /* first size of a ring */
    RING_KEEP = 128,     /* events kept however old they are */
    RING_MAX = 16384,    /* events kept however young they are */
    PINS_MAX = 32,
};
#define EVENT_FRESH SECONDS(75)
#define PIN_LIFE SECONDS(5 * 60)

struct cache {
    const struct encryption *encryption;
    struct store *store;
    struct store_watch *watch;
    struct cache_kind **kinds; /* by resource index */
    size_t n_kinds;
    struct map prefixes; /* store prefix to kind */
    struct list removed; /* kinds that somebody may still follow */
    unsigned loading;    /* a kind is being read as of this revision: what happens meanwhile waits */
    int64_t revision;
    struct mono trim_at; /* 0: no ring has more than it must */
    struct waitq moved;
    struct group fibers;
    bool closed;
};

struct pin {
    struct list link;
    int64_t revision;
    struct mono until;
    struct tree *root;
};

/* Where upstream keeps kinds in etcd, where that is not their plural name. */
static const struct {
    uint16_t res;
    const char *path;
} store_paths[] = {
    {RES_NODES, "minions"},
    {RES_SERVICES, "services/specs"},
    {RES_ENDPOINTS, "services/endpoints"},
    {RES_REPLICATIONCONTROLLERS, "controllers"},
    {RES_INGRESSES, "ingress"},
    {RES_CUSTOMRESOURCEDEFINITIONS, "apiextensions.k8s.io/customresourcedefinitions"},
    {RES_APISERVICES, "apiregistration.k8s.io/apiservices"},
};

static char *kind_prefix(const struct resource *r)
{
    struct buf b = BUF_INIT;
    buf_puts(&b, "/registry/");
    const char *path = r->name;
    if (r->index >= n_resources)
        buf_printf(&b, "%s/", r->group);
    for (size_t i = 0; i < ARRAY_SIZE(store_paths); i++)
        if (store_paths[i].res == r->index)
            path = store_paths[i].path;
    buf_puts(&b, path);
    buf_puts(&b, "/");
    return b.p;
}

static struct cache_kind *kind_new(struct cache *c, const struct resource *r)
{
    struct cache_kind *k = NEW(struct cache_kind);
    k->cache = c;
    k->res = r;
    k->prefix = str_of(kind_prefix(r));
    k->seal = encryption_of(c->encryption, r);
    list_init(&k->followers);
    list_init(&k->hooks);
    list_init(&k->pins);
    c->kinds[r->index] = k;
    map_put(&c->prefixes, k->prefix, k);
    return k;
}

struct cache_kind *cache_kind(struct cache *c, const struct resource *r)
{
    unsigned i = r->storage ? r->storage : r->index;
    return i < c->n_kinds ? c->kinds[i] : NULL;
}

int64_t cache_revision(const struct cache *c)
{
    return c->revision;
}

static void event_done(struct cache_event *e)
{
    object_unref((struct object *)e->old);
    object_unref((struct object *)e->now);
    object_unref(e->gone);
    *e = (struct cache_event){0};
}

static struct cache_event *ring_slot(const struct cache_kind *k, uint64_t position)
{
    return &k->ring[position & (k->cap - 1)];
}

static void ring_drop_first(struct cache_kind *k)
{
    struct cache_event *e = ring_slot(k, k->first++);
    k->oldest = e->revision;
    event_done(e);
}

static void ring_grow(struct cache_kind *k)
{
    size_t cap = k->cap ? k->cap * 2 : RING_MIN;
    struct cache_event *ring = xcalloc(cap, sizeof(*ring));
    for (uint64_t p = k->first; p < k->next; p++)
        ring[p & (cap - 1)] = *ring_slot(k, p);
    free(k->ring);
    k->ring = ring;
    k->cap = cap;
}

/* Drops what is neither young nor among the last; true when there is more than must be kept. */
static bool ring_trim(struct cache_kind *k, struct mono now)
{
    while (k->next - k->first > RING_KEEP && ring_slot(k, k->first)->at.ns + EVENT_FRESH < now.ns)
        ring_drop_first(k);
    return k->next - k->first > RING_KEEP;
}

static void ring_push(struct cache_kind *k, struct cache_event e)
{
    if (ring_trim(k, e.at) && !k->cache->trim_at.ns)
        k->cache->trim_at = mono_add(e.at, EVENT_FRESH);
    if (k->next - k->first == k->cap) {
        if (k->cap < RING_MAX)
            ring_grow(k);
        else
            ring_drop_first(k);
    }
    *ring_slot(k, k->next++) = e;
    k->changed = e.revision;
}

/* Encodings are shared by the watchers of the moment; after those have had their turn nobody needs them. */
static void drop_old_encodings(struct cache_kind *k)
{
    enum { BEHIND = 8 };
    if (k->next - k->first <= BEHIND)
        return;
    const struct cache_event *e = ring_slot(k, k->next - BEHIND);
    if (e->now)
        object_drop_encodings((struct object *)e->now);
    if (e->old)
        object_drop_encodings((struct object *)e->old);
}

static struct cache_kind *kind_of_key(const struct cache *c, struct str key)
{
    size_t slashes = 0;
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] != '/' || ++slashes < 3)
            continue;
        struct cache_kind *k = map_get(&c->prefixes, str_n(key.p, i + 1));
        if (k || slashes == 4)
            return k;
    }
    return NULL;
}

static void pass_unconcerned(struct cache_kind *k)
{
    const struct cache_event *e = ring_slot(k, k->next - 1);
    LIST_EACH(&k->followers, l) {
        struct cache_follower *f = LIST_ENTRY(l, struct cache_follower, link);
        if (f->position == k->next - 1 && f->concerns && !f->concerns(f, e))
            f->position++;
    }
}

static void tell_hooks(struct cache_kind *k, const struct object *old, const struct object *now)
{
    LIST_EACH_SAFE(&k->hooks, l) {
        struct cache_hook *h = LIST_ENTRY(l, struct cache_hook, link);
        h->fn(h->arg, old, now);
    }
}

static void apply(struct cache *c, struct cache_kind *k, struct str key, struct cache_event e)
{
    struct str name = str_from(key, k->prefix.n);
    e.old = tree_get(k->root, name);
    if (!e.old && !e.now) {
        event_done(&e);
        return;
    }
    if (e.old)
        e.old = object_ref(e.old);
    k->root = e.now ? tree_put(k->root, name, e.now) : tree_del(k->root, name);
    e.at = os_mono();
    ring_push(k, e);
    pass_unconcerned(k);
    drop_old_encodings(k);
    tell_hooks(k, e.old, e.now);
}

/* What the store has of an object, sealed or not. */
static int read_value(const struct cache_kind *k, struct str key, struct str value, int64_t at, struct object **ret, struct err *e)
{
    CLEANUP_BUF struct buf open = BUF_INIT;
    bool stale;
    if (!k->seal->n && !seal_is_sealed(value))
        return object_decode(k->res, value, at, ret, e);
    int r = seal_decrypt(k->seal, key, value, &open, &stale, e);
    return r < 0 ? r : object_decode(k->res, buf_str(&open), at, ret, e);
}

static void take_event(struct cache *c, const struct store_event *se)
{
    struct cache_kind *k = kind_of_key(c, se->key);
    struct object *o = se->cookie;
    if (!k) {
        object_unref(o); /* of a kind that went meanwhile */
        return;
    }
    struct cache_event e = {.revision = se->modified.n};
    struct err err = {0};
    if (se->deleted) {
        e.gone = o;
    } else if (o) {
        e.now = o;
    } else {
        struct object *decoded = NULL;
        int r = read_value(k, se->key, se->value, se->modified.n, &decoded, &err);
        if (r < 0) {
            log_error("apiserver", "%.*s: cannot be read: %s", STR_ARG(se->key), err_text(&err, r));
            return;
        }
        e.now = decoded;
    }
    apply(c, k, se->key, e);
}

static void wake_followers(struct cache_kind *k)
{
    LIST_EACH(&k->followers, l) {
        struct cache_follower *f = LIST_ENTRY(l, struct cache_follower, link);
        if (f->position < k->next)
            waitq_wake_all(&f->q);
    }
}

static void wake_kinds(struct cache *c, int64_t before)
{
    for (size_t i = 0; i < c->n_kinds; i++)
        if (c->kinds[i] && c->kinds[i]->changed > before)
            wake_followers(c->kinds[i]);
    waitq_wake_all(&c->moved);
}

void cache_trim(struct cache *c, struct mono now)
{
    bool more = false;
    for (size_t i = 0; i < c->n_kinds; i++)
        more |= c->kinds[i] && ring_trim(c->kinds[i], now);
    c->trim_at = more ? mono_add(now, EVENT_FRESH) : (struct mono){0};
}

/* Values that others wrote may need keys of a service: asked for before anything of these events is taken. */
static void fetch_keys(struct cache *c, const struct store_event *events, size_t n)
{
    struct err e = {0};
    for (size_t i = 0; encryption_has_services(c->encryption) && i < n; i++) {
        const struct cache_kind *k = kind_of_key(c, events[i].key);
        CLEANUP_BUF struct buf open = BUF_INIT;
        if (k && !events[i].cookie && !events[i].deleted && k->seal->n &&
            seal_decrypt(k->seal, events[i].key, events[i].value, &open, NULL, &e) == -EAGAIN)
            encryption_fetch(c->encryption, &e);
    }
}

static int follow_once(struct cache *c)
{
    const struct store_event *events = NULL;
    size_t n = 0;
    revision progress = {0};
    struct mono now = os_mono();
    if (c->trim_at.ns && c->trim_at.ns <= now.ns)
        cache_trim(c, now);
    int r = store_watch_next(c->watch, c->trim_at.ns ? c->trim_at : MONO_NEVER, &events, &n, &progress);
    if (r)
        return r;
    while (c->loading)
        if ((r = waitq_wait(&c->moved, MONO_NEVER)) < 0)
            return r;
    fetch_keys(c, events, n);
    int64_t before = c->revision;
    for (size_t i = 0; i < n; i++)
        take_event(c, &events[i]);
    c->revision = MAX(c->revision, progress.n);
    wake_kinds(c, before);
    return 0;
}

static void kind_clear(struct cache_kind *k)
{
    while (k->first < k->next)
        ring_drop_first(k);
    k->root = tree_unref(k->root);
    while (!list_empty(&k->pins)) {
        struct pin *p = LIST_ENTRY(list_pop_front(&k->pins), struct pin, link);
        tree_unref(p->root);
        free(p);
    }
    k->n_pins = 0;
}

struct load {
    struct cache_kind *kind;
    struct err *e;
    bool locked; /* some values' keys have to be asked for */
};

static int load_entry(void *arg, const struct store_entry *entry)
{
    struct load *l = arg;
    struct object *o = NULL;
    int r = read_value(l->kind, entry->key, entry->value, entry->modified.n, &o, l->e);
    if (r == -EAGAIN) {
        l->locked = true;
        return 0;
    }
    if (r < 0)
        return err_wrap(l->e, r, "stored object %.*s", STR_ARG(entry->key));
    l->kind->root = tree_put(l->kind->root, str_from(entry->key, l->kind->prefix.n), o);
    object_unref(o);
    return 0;
}

static int load_kind(struct cache *c, struct cache_kind *k, revision at, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct load l = {.kind = k, .e = e};
    int r;
    do {
        l.locked = false;
        r = store_range(c->store, k->prefix, store_prefix_end(&a, k->prefix), at, 0, load_entry, &l, NULL);
    } while (r == 0 && l.locked && (r = encryption_fetch(c->encryption, e)) == 0);
    if (r > 0)
        return err_set(e, -EIO, "the store cannot be read at revision %lld", (long long)at.n);
    k->changed = k->oldest = at.n;
    return r;
}

/* What changed between two states of a kind, where the events are not known. */
static void tell_difference(struct cache_kind *k, const struct tree *before)
{
    struct tree *now = tree_ref(k->root);
    struct tree_iter a, b;
    tree_seek(&a, before, STR(""));
    tree_seek(&b, now, STR(""));
    while (a.object || b.object) {
        int order = !a.object ? 1 : !b.object ? -1 : str_cmp(a.key, b.key);
        const struct object *old = order <= 0 ? a.object : NULL, *is = order >= 0 ? b.object : NULL;
        if (!old || !is || old->revision != is->revision)
            tell_hooks(k, old, is);
        if (old)
            tree_next(&a);
        if (is)
            tree_next(&b);
    }
    tree_unref(now);
}

static int reload_kind(struct cache *c, struct cache_kind *k, revision at, struct err *e)
{
    struct tree *before = tree_ref(k->root);
    kind_clear(k);
    k->next = k->first = k->first + 1;
    int r = load_kind(c, k, at, e);
    if (r == 0)
        tell_difference(k, before);
    else { /* it will be tried again */
        tree_unref(k->root);
        k->root = tree_ref(before);
    }
    tree_unref(before);
    LIST_EACH(&k->followers, l) /* they have lost their place */
        waitq_wake_all(&LIST_ENTRY(l, struct cache_follower, link)->q);
    return r;
}

/* Everything as of one revision, and the watch from there on. Watchers that stood in the rings are lost. */
static int load_all(struct cache *c, struct err *e)
{
    revision at;
    store_watch_close(TAKE_PTR(c->watch));
    int r = store_latest(c->store, &at);
    for (size_t i = 0; i < c->n_kinds && r == 0; i++)
        if (c->kinds[i])
            r = reload_kind(c, c->kinds[i], at, e);
    if (r)
        return r < 0 ? r : err_set(e, -EIO, "the store cannot be read");
    r = store_watch(c->store, STR("/registry/"), STR("/registry0"), at, false, &c->watch);
    if (r)
        return err_set(e, r < 0 ? r : -EIO, "the store cannot be watched from revision %lld",
                       (long long)at.n);
    c->revision = at.n;
    waitq_wake_all(&c->moved);
    return 0;
}

static void follow(void *arg)
{
    struct cache *c = arg;
    struct err e = {0};
    for (;;) {
        int r = follow_once(c);
        if (r == -ETIMEDOUT)
            continue;
        while (r == STORE_COMPACTED && load_all(c, &e) != 0) {
            log_error("apiserver", "the watch cache is out of date: %s", err_text(&e, -EIO));
            r = fiber_sleep(SECONDS(1)) < 0 ? -ECANCELED : STORE_COMPACTED;
        }
        if (r == STORE_COMPACTED)
            continue;
        if (r < 0 && r != -ECANCELED && r != -EPIPE)
            log_error("apiserver", "the watch cache ended: %s", err_text(&e, r));
        if (r < 0)
            break;
    }
    c->closed = true;
    wake_kinds(c, -1);
}

int cache_open(struct store *store, const struct encryption *enc, struct cache **ret, struct err *e)
{
    struct cache *c = NEW(struct cache);
    c->encryption = enc;
    c->store = store;
    list_init(&c->removed);
    c->n_kinds = n_resources;
    c->kinds = xcalloc(c->n_kinds, sizeof(struct cache_kind *));
    for (unsigned i = 1; i < n_resources; i++)
        if (resources[i].stored && (!resources[i].storage || resources[i].storage == i))
            kind_new(c, &resources[i]);
    int r = load_all(c, e);
    if (r < 0) {
        cache_close(c);
        return r;
    }
    group_spawn(&c->fibers, "watch-cache", follow, c);
    *ret = c;
    return 0;
}

void cache_set_encryption(struct cache *c, const struct encryption *enc)
{
    c->encryption = enc;
    for (size_t i = 0; i < c->n_kinds; i++)
        if (c->kinds[i])
            c->kinds[i]->seal = encryption_of(enc, c->kinds[i]->res);
}

size_t cache_count(const struct cache *c)
{
    return c->n_kinds;
}

struct cache_kind *cache_at(const struct cache *c, size_t i)
{
    return c->kinds[i];
}

static void kind_free(struct cache_kind *k)
{
    kind_clear(k);
    free(k->ring);
    free((char *)(uintptr_t)k->prefix.p);
    free(k);
}

static bool is_taken(const struct cache *c, const struct resource *r)
{
    CLEANUP_FREE char *prefix = kind_prefix(r);
    return map_has(&c->prefixes, str_of(prefix));
}

int cache_add(struct cache *c, const struct resource *r, struct cache_kind **ret, struct err *e)
{
    if (is_taken(c, r)) /* "customresourcedefinitions.apiextensions.k8s.io", say */
        return err_set(e, -EEXIST, "another kind is stored at its place");
    if (r->index >= c->n_kinds) {
        size_t n = r->index + 1u;
        c->kinds = xrealloc(c->kinds, n * sizeof(*c->kinds));
        memset(c->kinds + c->n_kinds, 0, (n - c->n_kinds) * sizeof(*c->kinds));
        c->n_kinds = n;
    }
    struct cache_kind *k = kind_new(c, r);
    c->loading++;
    int x = load_kind(c, k, (revision){c->revision}, e);
    c->loading--;
    waitq_wake_all(&c->moved);
    if (x < 0) {
        cache_remove(c, k);
        return x;
    }
    *ret = k;
    return 0;
}

void cache_rename(struct cache_kind *k, const struct resource *r)
{
    k->res = r;
}

static void reread(struct cache_kind *k, struct str key, const struct object *old)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct object *o = NULL;
    object_store_bytes(k->res, old->val, &b);
    if (object_decode(k->res, buf_str(&b), old->revision, &o, NULL) == 0)
        k->root = tree_put(k->root, key, o);
    object_unref(o);
}

/* What was written meanwhile was read by the new rules already. */
void cache_reread(struct cache_kind *k)
{
    enum { AT_ONCE = 64 };
    unsigned n = 0;
    struct tree *old = tree_ref(k->root);
    for (struct tree_iter it = tree_begin_ns(old, STR("")); tree_in_ns(&it, STR("")); tree_next(&it)) {
        if (tree_get(k->root, it.key) == it.object)
            reread(k, it.key, it.object);
        if (++n % AT_ONCE == 0)
            fiber_yield();
    }
    tree_unref(old);
}

void cache_remove(struct cache *c, struct cache_kind *k)
{
    map_del(&c->prefixes, k->prefix);
    c->kinds[k->res->index] = NULL;
    kind_clear(k);
    free(k->ring);
    k->ring = NULL;
    k->cap = 0;
    k->oldest = INT64_MAX; /* whoever follows has lost its place */
    k->first = ++k->next;
    list_push_back(&c->removed, &k->link);
    LIST_EACH(&k->followers, l)
        waitq_wake_all(&LIST_ENTRY(l, struct cache_follower, link)->q);
}

void cache_close(struct cache *c)
{
    if (!c)
        return;
    group_stop(&c->fibers);
    store_watch_close(c->watch);
    for (size_t i = 0; i < c->n_kinds; i++)
        if (c->kinds[i])
            kind_free(c->kinds[i]);
    while (!list_empty(&c->removed))
        kind_free(LIST_ENTRY(list_pop_front(&c->removed), struct cache_kind, link));
    free(c->kinds);
    map_done(&c->prefixes);
    free(c);
}

int cache_wait(struct cache *c, int64_t rev, struct mono deadline)
{
    while (c->revision < rev) {
        if (c->closed)
            return -EPIPE;
        int r = waitq_wait(&c->moved, deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

int cache_fresh(struct cache *c)
{
    revision latest;
    int r = store_latest(c->store, &latest);
    if (r > 0)
        r = -EIO;
    return r ? r : cache_wait(c, latest.n, MONO_NEVER);
}

const struct object *cache_get(const struct cache_kind *k, struct str ns, struct str name)
{
    char key[512];
    size_t n = ns.n ? ns.n + 1 + name.n : name.n;
    if (n > sizeof(key) || !name.n)
        return NULL;
    size_t at = 0;
    if (ns.n) {
        memcpy(key, ns.p, ns.n);
        key[ns.n] = '/';
        at = ns.n + 1;
    }
    memcpy(key + at, name.p, name.n);
    return tree_get(k->root, str_n(key, n));
}

static void unpin(struct cache_kind *k, struct pin *p)
{
    list_remove(&p->link);
    k->n_pins--;
    tree_unref(p->root);
    free(p);
}

void cache_pin(struct cache_kind *k, int64_t rev, struct tree *root)
{
    struct mono now = os_mono();
    LIST_EACH_SAFE(&k->pins, l) {
        struct pin *p = LIST_ENTRY(l, struct pin, link);
        if (p->until.ns < now.ns)
            unpin(k, p);
        else if (p->revision == rev)
            return; /* its time runs from the first page: who turns them for ever holds nothing for ever */
    }
    if (k->n_pins == PINS_MAX)
        unpin(k, LIST_ENTRY(k->pins.next, struct pin, link));
    struct pin *p = NEW(struct pin);
    *p = (struct pin){.revision = rev, .until = mono_add(now, PIN_LIFE), .root = tree_ref(root)};
    list_push_back(&k->pins, &p->link);
    k->n_pins++;
}

/* Undoes the events after a revision, newest first. */
static struct tree *roll_back(const struct cache_kind *k, int64_t rev)
{
    struct tree *t = tree_ref(k->root);
    for (uint64_t p = k->next; p > k->first && ring_slot(k, p - 1)->revision > rev; p--) {
        const struct cache_event *e = ring_slot(k, p - 1);
        const struct object *o = e->old ? e->old : e->now;
        char key[600];
        int n = snprintf(key, sizeof(key), "%.*s%s%.*s", STR_ARG(o->namespace_), o->namespace_.n ? "/" : "",
                         STR_ARG(o->name));
        t = e->old ? tree_put(t, str_n(key, (size_t)n), e->old) : tree_del(t, str_n(key, (size_t)n));
    }
    return t;
}

int cache_root_at(struct cache_kind *k, int64_t rev, struct tree **ret)
{
    if (rev >= k->changed) {
        *ret = tree_ref(k->root);
        return 0;
    }
    LIST_EACH(&k->pins, l) {
        struct pin *p = LIST_ENTRY(l, struct pin, link);
        if (p->revision == rev && p->until.ns >= os_mono().ns) {
            *ret = tree_ref(p->root);
            return 0;
        }
    }
    if (rev < k->oldest)
        return STORE_COMPACTED;
    *ret = roll_back(k, rev);
    return 0;
}

void cache_on_change(struct cache_kind *k, struct cache_hook *h, cache_changed *fn, void *arg)
{
    *h = (struct cache_hook){.fn = fn, .arg = arg};
    list_push_back(&k->hooks, &h->link);
}

void cache_off_change(struct cache_hook *h)
{
    list_remove(&h->link);
}

int cache_seek(const struct cache_kind *k, int64_t rev, uint64_t *ret_position)
{
    if (rev < k->oldest)
        return STORE_COMPACTED;
    uint64_t p = k->next;
    while (p > k->first && ring_slot(k, p - 1)->revision > rev)
        p--;
    *ret_position = p;
    return 0;
}

struct cache_event *cache_event_at(const struct cache_kind *k, uint64_t position)
{
    return position >= k->first && position < k->next ? ring_slot(k, position) : NULL;
}

void cache_follow(struct cache_kind *k, struct cache_follower *f, uint64_t position,
                  bool (*concerns)(struct cache_follower *f, const struct cache_event *e))
{
    *f = (struct cache_follower){.kind = k, .position = position, .concerns = concerns};
    list_push_back(&k->followers, &f->link);
    k->n_followers++;
}

void cache_unfollow(struct cache_follower *f)
{
    if (!list_linked(&f->link))
        return;
    list_remove(&f->link);
    f->kind->n_followers--;
}

const struct object *cache_event_gone(struct cache_event *e)
{
    if (!e->gone) {
        e->gone = object_new(e->old->res, e->old->val);
        object_stamp(e->gone, e->revision);
    }
    return e->gone;
}

struct str cache_key(struct arena *a, const struct cache_kind *k, struct str ns, struct str name)
{
    return arena_printf(a, "%.*s%.*s%s%.*s", STR_ARG(k->prefix), STR_ARG(ns), ns.n ? "/" : "", STR_ARG(name));
}

void cache_committing(void *cookie, revision rev)
{
    struct object *o = cookie;
    object_stamp(o, rev.n);
    object_ref(o);
}
