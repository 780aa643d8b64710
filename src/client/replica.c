/* SPDX-License-Identifier: Apache-2.0 */
#include "client/replica.h"

#include "base/fiber.h"
#include "base/os.h"
#include "resources.h"
#include "type/meta.h"

/* How long to wait before asking again, as client-go's reflector: 800 ms doubling to 30 s, plus up to the
 * same again. */
enum { BACKOFF_FIRST_MS = 800, BACKOFF_MAX_MS = 30000 };

enum { KEY_MAX = 1024 };

struct kind_index {
    index_fn *fn;
    struct tree *tree;
};

struct kind {
    struct replica *replica;
    struct replica_kind want; /* its texts are the replica's */
    struct call call;
    struct tree *tree;
    struct tree *next; /* being listed again; NULL and listing false otherwise */
    struct kind_index *indexes;
    size_t n_indexes;
    int64_t revision;
    struct group fibers;
    bool listing, synced;
    bool late; /* followed since some time after the start: nobody waits for it */
};

struct listener {
    replica_changed *fn;
    void *arg;
};

struct replica {
    struct client *client;
    struct arena arena;
    struct kind **kinds;
    size_t n_kinds;
    struct listener *listeners;
    size_t n_listeners;
    replica_listed *listed;
    void *listed_arg;
    struct waitq moved; /* a kind got synced, or its revision moved */
};

/* ---- keys -------------------------------------------------------------------------------------------- */

static struct str put_text(char *buf, size_t *at, struct str s, bool slash)
{
    size_t n = MIN(s.n, (size_t)(KEY_MAX - *at - 1));
    memcpy(buf + *at, s.p ? s.p : "", n);
    *at += n;
    if (slash)
        buf[(*at)++] = '/';
    return str_n(buf, *at);
}

static struct str key_of(char buf[static KEY_MAX], struct str ns, struct str name)
{
    size_t at = 0;
    if (!str_empty(ns))
        put_text(buf, &at, ns, true);
    return put_text(buf, &at, name, false);
}

static struct str index_key_of(char buf[static KEY_MAX], struct str text, const struct object *o)
{
    size_t at = 0;
    put_text(buf, &at, text, true);
    if (!str_empty(o->namespace_))
        put_text(buf, &at, o->namespace_, true);
    return put_text(buf, &at, o->name, false);
}

struct str index_pod_node(const struct object *o)
{
    return val_str(val_at(o->val, N_spec, N_nodeName));
}

struct str index_controller_uid(const struct object *o)
{
    struct str uid = val_getstr(obj_controller(o->val), N_uid);
    return str_empty(uid) ? STR(INDEX_NO_CONTROLLER) : uid;
}

/* ---- making and ending ------------------------------------------------------------------------------- */

static struct kind *add_kind(struct replica *r, const struct replica_kind *want)
{
    struct kind *k = NEW(struct kind);
    k->replica = r;
    k->want.res = want->res;
    k->want.label_selector = arena_str(&r->arena, want->label_selector);
    k->want.field_selector = arena_str(&r->arena, want->field_selector);
    k->want.ns = arena_str(&r->arena, want->ns);
    k->call = (struct call){.res = k->want.res,
                            .ns = k->want.ns,
                            .label_selector = k->want.label_selector,
                            .field_selector = k->want.field_selector,
                            .grace_seconds = -1};
    r->kinds = xrealloc(r->kinds, (r->n_kinds + 1) * sizeof(*r->kinds));
    r->kinds[r->n_kinds++] = k;
    return k;
}

struct replica *replica_new(struct client *c, const struct replica_kind *kinds, size_t n)
{
    struct replica *r = NEW(struct replica);
    r->client = c;
    for (size_t i = 0; i < n; i++)
        add_kind(r, &kinds[i]);
    return r;
}

static struct kind *kind_find(const struct replica *r, const struct resource *res)
{
    for (size_t i = 0; i < r->n_kinds; i++)
        if (r->kinds[i]->want.res == res)
            return r->kinds[i];
    return NULL;
}

void replica_on_change(struct replica *r, replica_changed *fn, void *arg)
{
    r->listeners = xrealloc(r->listeners, (r->n_listeners + 1) * sizeof(*r->listeners));
    r->listeners[r->n_listeners++] = (struct listener){fn, arg};
}

static struct kind_index *index_find(const struct kind *k, index_fn *fn)
{
    for (size_t i = 0; i < k->n_indexes; i++)
        if (k->indexes[i].fn == fn)
            return &k->indexes[i];
    return NULL;
}

void replica_add_index(struct replica *r, const struct resource *res, index_fn *fn)
{
    struct kind *k = kind_find(r, res);
    if (!k || index_find(k, fn))
        return;
    k->indexes = xrealloc(k->indexes, (k->n_indexes + 1) * sizeof(*k->indexes));
    k->indexes[k->n_indexes++] = (struct kind_index){fn, NULL};
}

static void kind_free(struct kind *k)
{
    tree_unref(k->tree);
    tree_unref(k->next);
    for (size_t j = 0; j < k->n_indexes; j++)
        tree_unref(k->indexes[j].tree);
    free(k->indexes);
    free(k);
}

void replica_free(struct replica *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_kinds; i++)
        group_cancel(&r->kinds[i]->fibers);
    for (size_t i = 0; i < r->n_kinds; i++)
        group_stop(&r->kinds[i]->fibers);
    for (size_t i = 0; i < r->n_kinds; i++)
        kind_free(r->kinds[i]);
    waitq_wake_all(&r->moved);
    free(r->kinds);
    free(r->listeners);
    arena_done(&r->arena);
    free(r);
}

/* ---- applying changes -------------------------------------------------------------------------------- */

static void tell(const struct kind *k, const struct object *old, const struct object *new_)
{
    const struct replica *r = k->replica;
    for (size_t i = 0; i < r->n_listeners; i++)
        r->listeners[i].fn(r->listeners[i].arg, k->want.res, old, new_);
}

static void index_change(struct kind_index *x, const struct object *old, const struct object *new_)
{
    char a[KEY_MAX], b[KEY_MAX];
    struct str was = old ? x->fn(old) : STR_NULL, is = new_ ? x->fn(new_) : STR_NULL;
    if (!str_empty(was) && !(new_ && str_eq(was, is)))
        x->tree = tree_del(x->tree, index_key_of(a, was, old));
    if (!str_empty(is))
        x->tree = tree_put(x->tree, index_key_of(b, is, new_), new_);
}

/* The tree has the change already; old is kept alive by the caller. */
static void changed(struct kind *k, const struct object *old, const struct object *new_)
{
    for (size_t i = 0; i < k->n_indexes; i++)
        index_change(&k->indexes[i], old, new_);
    tell(k, old, new_);
}

static void moved_to(struct kind *k, int64_t revision)
{
    k->revision = MAX(k->revision, revision);
    waitq_wake_all(&k->replica->moved);
}

static void apply_change(struct kind *k, const struct watch_event *e)
{
    char buf[KEY_MAX];
    struct str key = key_of(buf, e->object->namespace_, e->object->name);
    const struct object *was = tree_get(k->tree, key);
    struct object *old CLEANUP_OBJECT = was ? object_ref(was) : NULL;
    bool gone = e->kind == WATCH_DELETED;
    k->tree = gone ? tree_del(k->tree, key) : tree_put(k->tree, key, e->object);
    if (old || !gone)
        changed(k, old, gone ? NULL : e->object);
    moved_to(k, e->object->revision);
}

/* Two objects of one name: is the second another one, or another state of the same? */
static void replaced(struct kind *k, const struct object *old, const struct object *new_)
{
    if (old->revision == new_->revision && str_eq(old->uid, new_->uid))
        return;
    if (str_eq(old->uid, new_->uid)) {
        changed(k, old, new_);
        return;
    }
    changed(k, old, NULL);
    changed(k, NULL, new_);
}

/* A new list takes the place of what was there: the difference is told as if it had been watched. */
static void finish_list(struct kind *k, int64_t revision)
{
    struct tree *old = k->tree;
    k->tree = TAKE_PTR(k->next);
    k->listing = false;
    struct tree_iter o, n;
    tree_seek(&o, old, STR_NULL);
    tree_seek(&n, k->tree, STR_NULL);
    /* Listeners must not write to the replica, so both trees stand still meanwhile. */
    while (o.object || n.object) {
        int order = !o.object ? 1 : !n.object ? -1 : str_cmp(o.key, n.key);
        if (order < 0)
            changed(k, o.object, NULL);
        else if (order > 0)
            changed(k, NULL, n.object);
        else
            replaced(k, o.object, n.object);
        if (order <= 0)
            tree_next(&o);
        if (order >= 0)
            tree_next(&n);
    }
    tree_unref(old);
    bool first = !k->synced;
    k->synced = true;
    moved_to(k, revision);
    if (first && k->replica->listed)
        k->replica->listed(k->replica->listed_arg, k->want.res);
}

static void apply(struct kind *k, const struct watch_event *e)
{
    char buf[KEY_MAX];
    if (e->kind == WATCH_BOOKMARK && k->listing)
        finish_list(k, e->object->revision);
    else if (e->kind == WATCH_BOOKMARK)
        moved_to(k, e->object->revision);
    else if (!k->listing)
        apply_change(k, e);
    else if (e->kind == WATCH_DELETED)
        k->next = tree_del(k->next, key_of(buf, e->object->namespace_, e->object->name));
    else
        k->next = tree_put(k->next, key_of(buf, e->object->namespace_, e->object->name), e->object);
}

/* ---- following --------------------------------------------------------------------------------------- */

/* One watch from beginning to end. Returns how it ended; *ret_events how many events came. */
static int follow_once(struct kind *k, size_t *ret_events)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    status_init(&s, &a);
    struct client_watch *w = NULL;
    int r = client_watch(k->replica->client, &k->call, k->listing ? 0 : k->revision, &w, &s);
    if (r != 0)
        return r;
    struct watch_event e;
    while ((r = client_watch_next(w, MONO_NEVER, &e, &s)) == 0) {
        apply(k, &e);
        object_unref(e.object);
        (*ret_events)++;
    }
    client_watch_close(w);
    return r;
}

static int64_t jittered(int64_t ns)
{
    return ns + (int64_t)os_random_below((uint64_t)ns + 1);
}

static void start_listing(struct kind *k)
{
    k->next = tree_unref(k->next);
    k->listing = true;
}

static void follow(void *arg)
{
    struct kind *k = arg;
    int64_t wait = MILLISECONDS(BACKOFF_FIRST_MS);
    start_listing(k);
    while (!fiber_cancelled()) {
        size_t events = 0;
        int r = follow_once(k, &events);
        if (r > 0 || k->listing) /* 410 Expired, or anything else that a list cures */
            start_listing(k);
        if (events > 0)
            wait = MILLISECONDS(BACKOFF_FIRST_MS);
        if (r == -EPIPE && events > 0)
            continue;
        if (fiber_sleep(jittered(wait)) < 0)
            break;
        wait = MIN(wait * 2, MILLISECONDS(BACKOFF_MAX_MS));
    }
}

void replica_start(struct replica *r)
{
    for (size_t i = 0; i < r->n_kinds; i++)
        group_spawn(&r->kinds[i]->fibers, "replica", follow, r->kinds[i]);
}

void replica_on_listed(struct replica *r, replica_listed *fn, void *arg)
{
    r->listed = fn;
    r->listed_arg = arg;
}

void replica_follow(struct replica *r, const struct resource *res)
{
    struct kind *k = kind_find(r, res);
    if (!k)
        k = add_kind(r, &(const struct replica_kind){.res = res});
    if (k->fibers.n)
        return;
    k->late = true;
    group_spawn(&k->fibers, "replica", follow, k);
}

void replica_unfollow(struct replica *r, const struct resource *res)
{
    struct kind *k = kind_find(r, res);
    if (!k)
        return;
    group_stop(&k->fibers);
    start_listing(k);
    finish_list(k, k->revision);
}

void replica_forget(struct replica *r, const struct resource *res)
{
    struct kind *k = kind_find(r, res);
    if (!k)
        return;
    group_stop(&k->fibers);
    for (size_t i = 0; i < r->n_kinds; i++)
        if (r->kinds[i] == k)
            r->kinds[i] = r->kinds[--r->n_kinds];
    kind_free(k);
}

bool replica_synced(const struct replica *r)
{
    for (size_t i = 0; i < r->n_kinds; i++)
        if (!r->kinds[i]->synced && !r->kinds[i]->late)
            return false;
    return true;
}

int replica_wait_synced(struct replica *r, struct mono deadline)
{
    while (!replica_synced(r)) {
        int w = waitq_wait(&r->moved, deadline);
        if (w < 0)
            return w;
    }
    return 0;
}

int replica_wait_revision(struct replica *r, const struct resource *res, int64_t revision,
                          struct mono deadline)
{
    struct kind *k = kind_find(r, res);
    while (k && k->revision < revision) {
        int w = waitq_wait(&r->moved, deadline);
        if (w < 0)
            return w;
    }
    return 0;
}

int replica_wait_moved(struct replica *r, struct mono deadline)
{
    return waitq_wait(&r->moved, deadline);
}

/* ---- reading ----------------------------------------------------------------------------------------- */

const struct tree *replica_tree(const struct replica *r, const struct resource *res)
{
    struct kind *k = kind_find(r, res);
    return k ? k->tree : NULL;
}

const struct tree *replica_index(const struct replica *r, const struct resource *res, index_fn *fn)
{
    struct kind *k = kind_find(r, res);
    struct kind_index *x = k ? index_find(k, fn) : NULL;
    return x ? x->tree : NULL;
}

static const struct object *tree_lookup(const struct tree *t, struct str ns, struct str name)
{
    char buf[KEY_MAX];
    return tree_get(t, key_of(buf, ns, name));
}

const struct object *replica_get(const struct replica *r, const struct resource *res, struct str ns,
                                 struct str name)
{
    return tree_lookup(replica_tree(r, res), ns, name);
}

bool replica_follows(const struct replica *r, const struct resource *res)
{
    return kind_find(r, res) != NULL;
}

int64_t replica_revision(const struct replica *r, const struct resource *res)
{
    struct kind *k = kind_find(r, res);
    return k ? k->revision : 0;
}

/* ---- snapshots --------------------------------------------------------------------------------------- */

static void look_at_kind(const struct kind *k, struct snapshot *s)
{
    struct snapshot_slot slot = {k->want.res, NULL, k->tree, k->synced, k->fibers.n > 0};
    s->slots[s->n++] = slot;
    for (size_t i = 0; i < k->n_indexes; i++) {
        slot.index = k->indexes[i].fn;
        slot.tree = k->indexes[i].tree;
        s->slots[s->n++] = slot;
    }
}

static bool wanted(const uint16_t *kinds, const struct resource *res)
{
    for (; *kinds; kinds++)
        if (&resources[*kinds] == res)
            return true;
    return false;
}

void snapshot_borrow(const struct replica *r, const uint16_t *kinds, struct snapshot *s)
{
    size_t n = 1;
    for (size_t i = 0; i < r->n_kinds; i++)
        n += 1 + r->kinds[i]->n_indexes;
    if (n > s->cap) {
        s->slots = xrealloc(s->slots, n * sizeof(*s->slots));
        s->cap = n;
    }
    s->n = 0;
    for (size_t i = 0; i < r->n_kinds; i++)
        if (!kinds || wanted(kinds, r->kinds[i]->want.res))
            look_at_kind(r->kinds[i], s);
}

void snapshot_return(struct snapshot *s)
{
    free(s->slots);
    *s = (struct snapshot){0};
}

void snapshot_take_kinds(const struct replica *r, const uint16_t *kinds, struct snapshot *ret)
{
    struct snapshot s = {0};
    snapshot_borrow(r, kinds, &s);
    for (size_t i = 0; i < s.n; i++)
        s.slots[i].tree = tree_ref(s.slots[i].tree);
    *ret = s;
}

void snapshot_release(struct snapshot *s)
{
    for (size_t i = 0; i < s->n; i++)
        tree_unref(s->slots[i].tree);
    snapshot_return(s);
}

const struct tree *snapshot_index(const struct snapshot *s, const struct resource *res, index_fn *fn)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->slots[i].res == res && s->slots[i].index == fn)
            return s->slots[i].tree;
    return NULL;
}

const struct tree *snapshot_tree(const struct snapshot *s, const struct resource *res)
{
    return snapshot_index(s, res, NULL);
}

const struct object *snapshot_get(const struct snapshot *s, const struct resource *res, struct str ns,
                                  struct str name)
{
    return tree_lookup(snapshot_tree(s, res), ns, name);
}
