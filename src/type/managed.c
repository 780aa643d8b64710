/* SPDX-License-Identifier: Apache-2.0 */
#include "type/managed.h"

#include "names.h"
#include "type/meta.h"
#include "wire/json.h"

#define BEFORE_APPLY "before-first-apply"
#define ANCIENT "ancient-changes"
#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

enum { MAX_UPDATERS = 10, MAX_VERSIONS = 16 };

struct manager {
    struct str name, version, subresource;
    bool applied;
    size_t at; /* where it stood */
    struct str time; /* RFC 3339; empty: none */
    const struct fieldset *set;
    const struct fieldset *conflict; /* with what is being applied */
    const struct fieldset *read;     /* the set of `text`, as it was stored; NULL: it was not */
    struct str text;
};

/* What a write changes, in one version of the kind. */
struct view {
    struct str version;
    const struct fieldset *won, *removed;
};

struct managers {
    struct arena *a;
    struct manager *items;
    size_t n, cap;
    struct view views[MAX_VERSIONS]; /* of the write in hand; the first is that of the request */
    size_t n_views;
};

/* ---- the list ---------------------------------------------------------------------------------------------- */

static struct manager *add(struct managers *m, struct manager x)
{
    if (m->n == m->cap) {
        struct manager *more = ARENA_ARRAY(m->a, struct manager, m->cap = m->cap ? m->cap * 2 : 8);
        if (m->n)
            memcpy(more, m->items, m->n * sizeof(*more));
        m->items = more;
    }
    m->items[m->n] = x;
    return &m->items[m->n++];
}

static void drop_empty(struct managers *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->n; i++)
        if (!fieldset_empty(m->items[i].set))
            m->items[kept++] = m->items[i];
    m->n = kept;
}

static int decode_entry(struct managers *m, const struct val *entry)
{
    struct fieldset *set;
    struct str op = val_getstr(entry, N_operation), fields = val_getstr(entry, N_fieldsV1);
    if ((!str_is(op, "Apply") && !str_is(op, "Update")) || !val_getstr(entry, N_apiVersion).n ||
        !str_is(val_getstr(entry, N_fieldsType), "FieldsV1"))
        return -EINVAL;
    int r = fieldset_decode(m->a, fields.n ? fields : STR("{}"), &set, NULL);
    if (r < 0)
        return r;
    add(m, (struct manager){.name = val_getstr(entry, N_manager), .version = val_getstr(entry, N_apiVersion),
                            .subresource = val_getstr(entry, N_subresource), .applied = str_is(op, "Apply"),
                            .time = val_getstr(entry, N_time), .at = m->n, .set = set,
                            .text = fields});
    return 0;
}

/* Appliers are the same whatever version they speak. */
static int by_identity(const struct manager *x, const struct manager *y)
{
    int c = str_cmp(x->name, y->name);
    if (!c)
        c = x->applied - y->applied;
    if (!c)
        c = str_cmp(x->subresource, y->subresource);
    return c || x->applied ? c : str_cmp(x->version, y->version);
}

static struct manager *find(struct managers *m, const struct manager *like)
{
    for (size_t i = 0; i < m->n; i++)
        if (by_identity(&m->items[i], like) == 0)
            return &m->items[i];
    return NULL;
}

static int by_identity_and_place(const void *px, const void *py)
{
    const struct manager *x = px, *y = py;
    int c = by_identity(x, y);
    return c ? c : (x->at > y->at) - (x->at < y->at);
}

/* Of entries of one manager the last counts. */
static void drop_twins(struct managers *m)
{
    size_t kept = 0;
    if (m->n)
        qsort(m->items, m->n, sizeof(*m->items), by_identity_and_place);
    for (size_t i = 0; i < m->n; i++) {
        kept -= kept && by_identity(&m->items[kept - 1], &m->items[i]) == 0;
        m->items[kept++] = m->items[i];
    }
    m->n = kept;
}

/* What cannot be read counts for nothing. */
static void decode_list(struct managers *m, const struct val *list)
{
    VAL_EACH (list, entry)
        if (decode_entry(m, entry) < 0) {
            m->n = 0;
            return;
        }
    drop_twins(m);
}

static void decode(struct managers *m, const struct val *v)
{
    decode_list(m, val_get(obj_meta(v), N_managedFields));
}

static void decode_stored(struct managers *m, const struct val *v)
{
    decode(m, v);
    for (size_t i = 0; i < m->n; i++)
        m->items[i].read = m->items[i].text.n ? m->items[i].set : NULL;
}

static int by_age(const void *px, const void *py)
{
    const struct manager *x = px, *y = py;
    int c = (y->applied) - (x->applied); /* "Apply" before "Update" */
    if (!c)
        c = strncmp(x->time.p ? x->time.p : "", y->time.p ? y->time.p : "", 64);
    if (!c)
        c = str_cmp(x->name, y->name);
    if (!c)
        c = str_cmp(x->version, y->version);
    return c ? c : str_cmp(x->subresource, y->subresource);
}

static struct val *encode_entry(struct arena *a, const struct manager *x)
{
    struct val *v = val_new(a, VAL_OBJ);
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (x->set != x->read) /* what did not change is written as it was */
        fieldset_encode(&b, x->set);
    val_set_str(a, v, N_manager, x->name);
    val_set_str(a, v, N_operation, x->applied ? STR("Apply") : STR("Update"));
    val_set_str(a, v, N_apiVersion, x->version);
    if (x->time.n)
        val_set_str(a, v, N_time, x->time);
    val_set_str(a, v, N_fieldsType, STR("FieldsV1"));
    val_set(a, v, N_fieldsV1, val_of_raw(x->set == x->read ? x->text : arena_str(a, buf_str(&b))));
    if (x->subresource.n)
        val_set_str(a, v, N_subresource, x->subresource);
    return v;
}

static const struct val *encode(struct managers *m)
{
    struct val *list = val_new(m->a, VAL_LIST);
    if (m->n == 0)
        return NULL;
    qsort(m->items, m->n, sizeof(*m->items), by_age);
    for (size_t i = 0; i < m->n; i++)
        val_add(m->a, list, *encode_entry(m->a, &m->items[i]));
    return list;
}

/* ---- what nobody manages --------------------------------------------------------------------------------------- */

static const struct fieldset *strip(struct arena *a, const struct fieldset *s)
{
    static const char *const type_meta[] = {"f:apiVersion", "f:kind", "f:metadata"},
        *const meta[] = {"f:name", "f:namespace", "f:creationTimestamp", "f:selfLink", "f:uid", "f:clusterName",
                         "f:generation", "f:managedFields", "f:resourceVersion"};
    struct fieldset *gone = fieldset_new(a);
    struct str path[2] = {STR("f:metadata")};
    for (size_t i = 0; i < ARRAY_SIZE(type_meta); i++)
        fieldset_add(a, gone, &(struct str){type_meta[i], strlen(type_meta[i])}, 1);
    for (size_t i = 0; i < ARRAY_SIZE(meta); i++) {
        path[1] = str_of(meta[i]);
        fieldset_add(a, gone, path, 2);
    }
    return fieldset_minus(a, s, gone);
}

static const struct fieldset *ours(struct arena *a, const struct managed_request *r, const struct fieldset *s)
{
    return r->not_ours ? fieldset_without(a, s, r->not_ours) : s;
}

static struct view look(struct arena *a, const struct managed_request *r, const struct type *t, struct str version,
                        const struct val *from, const struct val *to)
{
    struct typed_diff d;
    typed_compare(a, t, from, to, &d);
    return (struct view){version, ours(a, r, fieldset_union(a, d.modified, d.added)), ours(a, r, d.removed)};
}

/* What is plain, as its type has it. */
static const struct val *typed(struct arena *a, const struct type *t, const struct val *v)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *out = NULL;
    if (!val_is(v, VAL_MAP))
        return v;
    json_encode(&b, NULL, v, 0);
    json_decode(a, t, arena_str(a, buf_str(&b)), 0, NULL, &out, NULL);
    return out;
}

/* NULL: nobody serves that version. */
static const struct view *view_of(struct managers *m, const struct managed_request *r, struct str version, const struct val *from,
                                  const struct val *to)
{
    for (size_t i = 0; i < m->n_views; i++)
        if (str_eq(m->views[i].version, version))
            return &m->views[i];
    const struct type *t = r->type;
    if (!m->n_views)
        m->views[m->n_views++] = look(m->a, r, t, r->api_version, from, to);
    if (!r->in_version || str_eq(version, r->api_version))
        return &m->views[0];
    const struct val *is = r->in_version(r, m->a, version, typed(m->a, t, to), &t);
    const struct val *was = from && is ? r->in_version(r, m->a, version, typed(m->a, r->type, from), &t) : NULL;
    if (!is || m->n_views == MAX_VERSIONS)
        return NULL;
    m->views[m->n_views] = look(m->a, r, t, version, was, is);
    return &m->views[m->n_views++];
}

static void look_anew(struct managers *m)
{
    m->n_views = 0;
}

static struct str stamp(struct arena *a, struct wall now)
{
    char text[TIME_TEXT_MAX];
    return arena_str(a, str_of(time_format(now, text)));
}

/* ---- update -------------------------------------------------------------------------------------------------------- */

static bool is_reset(const struct val *v)
{
    const struct val *list = val_get(obj_meta(v), N_managedFields);
    return val_len(list) == 1 && val_len(val_item(list, 0)) == 0;
}

static bool sent_as_stored(const struct val *live, const struct val *v)
{
    return live && val_equal(val_get(obj_meta(live), N_managedFields), val_get(obj_meta(v), N_managedFields));
}

/* Most writers send back the list that they were given: then what stands in it need not be written anew. */
static void decode_sent(struct managers *m, const struct managed_request *r, const struct val *live, const struct val *v)
{
    if (!r->subresource && !sent_as_stored(live, v)) {
        decode(m, v);
        if (m->n || is_reset(v))
            return;
    }
    if (live)
        decode_stored(m, live);
}

/* The union of the sets of some, that are then empty but for the first; halves, so that many cost no square. */
static const struct fieldset *gather(struct managers *m, const size_t *at, size_t n)
{
    if (n == 1)
        return m->items[at[0]].set;
    return fieldset_union(m->a, gather(m, at, n / 2), gather(m, at + n / 2, n - n / 2));
}

/* Updaters of one version become one. */
static void pour(struct managers *m, const size_t *at, size_t n)
{
    struct manager *into = &m->items[at[0]];
    if (n < 2)
        return;
    into->set = gather(m, at, n);
    into->name = STR(ANCIENT);
    into->subresource = STR_NULL;
    into->time = m->items[at[n - 1]].time;
    for (size_t i = 1; i < n; i++)
        m->items[at[i]].set = NULL;
}

static size_t version_at(const struct str *versions, size_t n, struct str v)
{
    size_t k = 0;
    while (k < n && !str_eq(versions[k], v))
        k++;
    return k;
}

/* How many of the oldest have to become one for each version; the versions among them. */
static size_t count_old(const struct managers *m, size_t updaters, struct str *versions, size_t *ret_n)
{
    size_t i = 0;
    for (; i < m->n && updaters > MAX_UPDATERS; i++) {
        const struct manager *x = &m->items[i];
        if (x->applied)
            continue;
        if (version_at(versions, *ret_n, x->version) < *ret_n)
            updaters--;
        else if (*ret_n < MAX_VERSIONS)
            versions[(*ret_n)++] = x->version;
    }
    return i;
}

/* Of many that update only the latest are told apart. */
static void cap_updaters(struct managers *m)
{
    size_t updaters = 0, n_versions = 0, *at = ARENA_ARRAY(m->a, size_t, m->n + 1);
    struct str versions[MAX_VERSIONS];
    for (size_t i = 0; i < m->n; i++)
        updaters += !m->items[i].applied;
    if (updaters <= MAX_UPDATERS)
        return;
    qsort(m->items, m->n, sizeof(*m->items), by_age);
    size_t old = count_old(m, updaters, versions, &n_versions);
    for (size_t k = 0; k < n_versions; k++) {
        size_t n = 0;
        for (size_t i = 0; i < m->n; i++)
            if (!m->items[i].applied && str_eq(m->items[i].version, versions[k]) && (i < old || str_is(m->items[i].name, ANCIENT)))
                at[n++] = i;
        pour(m, at, n);
    }
    drop_empty(m);
}

static const struct fieldset *take(struct arena *a, const struct fieldset *set, const struct fieldset *gone)
{
    return fieldset_empty(fieldset_common(a, set, gone)) ? set : fieldset_minus(a, set, gone);
}

/* What changed is nobody's, but for what `but` applies. */
static void take_from_all(struct managers *m, const struct managed_request *r, const struct val *from, const struct val *to,
                          const struct manager *but)
{
    for (size_t i = 0; i < m->n; i++) {
        struct manager *x = &m->items[i];
        const struct view *view = x == but ? NULL : view_of(m, r, x->version, from, to);
        if (view)
            x->set = take(m->a, take(m->a, x->set, view->won), view->removed);
        else if (x != but)
            x->set = NULL;
    }
}

static void update(struct managers *m, const struct managed_request *r, const struct val *from, const struct val *to,
                   struct str name)
{
    look_anew(m);
    const struct view *own = view_of(m, r, r->api_version, from, to);
    const struct fieldset *won = strip(m->a, own->won);
    if (fieldset_empty(own->won) && fieldset_empty(own->removed))
        return;
    take_from_all(m, r, from, to, NULL);
    if (!fieldset_empty(won)) {
        struct manager like = {.name = name, .version = r->api_version, .subresource = str_of(r->subresource ? r->subresource : "")};
        struct manager *x = find(m, &like);
        if (!x)
            x = add(m, like);
        x->set = fieldset_union(m->a, x->set, won);
        x->time = stamp(m->a, r->now);
    }
    drop_empty(m);
    cap_updaters(m);
}

static struct str name_of(const struct managed_request *r)
{
    return r->manager.n ? r->manager : STR("unknown");
}

const struct val *managed_update(struct arena *a, const struct managed_request *r, const struct val *live, const struct val *v)
{
    struct managers m = {.a = a};
    decode_sent(&m, r, live, v);
    /* An object that nobody keeps count of stays so until it is applied. */
    if (m.n == 0 && live)
        return NULL;
    update(&m, r, live, v, name_of(r));
    return encode(&m);
}

/* ---- apply --------------------------------------------------------------------------------------------------------------- */

static const struct val *plain(struct arena *a, const struct type *t, const struct val *v)
{
    struct val *out = NULL;
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, t, v ? v : &(struct val){.kind = VAL_OBJ}, 0);
    json_decode(a, NULL, arena_str(a, buf_str(&b)), 0, NULL, &out, NULL);
    struct val *meta = out ? (struct val *)val_key(out, STR("metadata")) : NULL;
    if (meta)
        val_unput(meta, STR("managedFields"));
    return out;
}

static const struct fieldset *all_sets(struct managers *m)
{
    size_t *at = ARENA_ARRAY(m->a, size_t, m->n + 1);
    for (size_t i = 0; i < m->n; i++)
        at[i] = i;
    return m->n ? gather(m, at, m->n) : NULL;
}

static const struct fieldset *fields_with_parents(struct arena *a, const struct type *t, const struct val *v)
{
    return typed_with_parents(a, t, typed_fields_there(a, t, v));
}

/* What the applier had applied before and leaves out now goes, unless somebody else has it. */
static const struct val *prune(struct managers *m, const struct type *t, const struct val *merged, const struct fieldset *last)
{
    struct arena *a = m->a;
    if (fieldset_empty(last))
        return merged;
    const struct fieldset *had = typed_with_parents(a, t, last), *in_merged = fields_with_parents(a, t, merged);
    const struct val *pruned = typed_remove(a, t, merged, had);
    const struct fieldset *kept = fieldset_union(a, fields_with_parents(a, t, pruned), typed_with_parents(a, t, all_sets(m)));
    pruned = typed_remove(a, t, merged, fieldset_minus(a, in_merged, kept));
    const struct fieldset *gone = fieldset_minus(a, in_merged, fields_with_parents(a, t, pruned));
    return typed_remove(a, t, merged, fieldset_common(a, gone, had));
}

struct complaint {
    struct status *s;
    const struct manager *m;
    struct buf *text;
    size_t n;
    bool list;
};

static void print_manager(struct buf *b, const struct manager *m)
{
    json_encode_str(b, m->name, JSON_NO_HTML);
    if (m->subresource.n)
        buf_printf(b, " with subresource \"" STR_FMT "\"", STR_ARG(m->subresource));
    if (!m->applied)
        buf_printf(b, " using " STR_FMT, STR_ARG(m->version));
}

static void complain(void *arg, const struct str *path, size_t n)
{
    struct complaint *c = arg;
    struct buf field CLEANUP_BUF = BUF_INIT, who CLEANUP_BUF = BUF_INIT;
    fieldset_path_text(&field, path, n);
    print_manager(&who, c->m);
    cause_add(c->s, "FieldManagerConflict", arena_str(c->s->arena, buf_str(&field)), "conflict with " STR_FMT, STR_ARG(buf_str(&who)));
    if (c->list)
        buf_printf(c->text, "\n- " STR_FMT, STR_ARG(buf_str(&field)));
    else
        buf_printf(c->text, "conflict with " STR_FMT ": " STR_FMT, STR_ARG(buf_str(&who)), STR_ARG(buf_str(&field)));
}

static void count_one(void *arg, const struct str *path UNUSED, size_t n UNUSED)
{
    ++*(size_t *)arg;
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(((const struct manager *)x)->name, ((const struct manager *)y)->name);
}

static int refuse(struct managers *m, struct status *s)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    size_t n = 0, told = 0;
    qsort(m->items, m->n, sizeof(*m->items), by_name);
    for (size_t i = 0; i < m->n; i++)
        fieldset_each(m->items[i].conflict, count_one, &n);
    for (size_t i = 0; i < m->n; i++) {
        struct complaint c = {.s = s, .m = &m->items[i], .text = &b, .list = n > 1};
        if (fieldset_empty(c.m->conflict))
            continue;
        if (c.list) {
            buf_puts(&b, told++ ? "\nconflicts with " : "conflicts with ");
            print_manager(&b, c.m);
            buf_puts(&b, ":");
        }
        fieldset_each(c.m->conflict, complain, &c);
    }
    return status_set(s, 409, "Conflict", "Apply failed with %zu conflict%s: " STR_FMT, n, n > 1 ? "s" : "", STR_ARG(buf_str(&b)));
}

/* kubectl's client-side apply left in an annotation what it had applied: that much is no conflict for kubectl itself. */
static const struct fieldset *left_by_kubectl(struct arena *a, const struct managed_request *r, const struct val *live)
{
    const struct val *last = val_key(val_key(val_key(live, STR("metadata")), STR("annotations")), STR(LAST_APPLIED));
    struct val *v = NULL;
    struct fieldset *s = NULL;
    struct typed_diff d;
    if (!str_is(r->manager, "kubectl") || !val_str(last).n || json_decode(a, NULL, val_str(last), 0, NULL, &v, NULL) < 0 ||
        !str_eq(val_str(val_key(v, STR("apiVersion"))), r->api_version) || typed_fields(a, r->type, v, &s, NULL) < 0)
        return NULL;
    typed_compare(a, r->type, v, live, &d);
    return fieldset_minus(a, fieldset_minus(a, s, d.modified), fieldset_union(a, d.added, d.removed));
}

static bool find_conflicts(struct managers *m, const struct managed_request *r, const struct val *was, const struct val *is,
                           const struct manager *applier, const struct fieldset *allowed)
{
    bool all_allowed = true, any = false;
    for (size_t i = 0; i < m->n; i++) {
        struct manager *x = &m->items[i];
        const struct view *view = x == applier ? NULL : view_of(m, r, x->version, was, is);
        x->conflict = view ? fieldset_common(m->a, x->set, view->won) : NULL;
        any = any || !fieldset_empty(x->conflict);
        all_allowed = all_allowed && fieldset_empty(fieldset_minus(m->a, x->conflict, allowed));
    }
    if (any && allowed && all_allowed)
        return false;
    for (size_t i = 0; allowed && i < m->n; i++)
        m->items[i].conflict = fieldset_minus(m->a, m->items[i].conflict, allowed);
    return any;
}

/* The applier, with what it applied before in *ret_last. */
static struct manager *applier_of(struct managers *m, const struct managed_request *r, const struct fieldset **ret_last)
{
    struct manager like = {.name = name_of(r), .version = r->api_version, .applied = true,
                           .subresource = str_of(r->subresource ? r->subresource : "")};
    struct manager *x = find(m, &like);
    if (!x)
        x = add(m, like);
    *ret_last = x->set;
    x->version = r->api_version;
    return x;
}

static void sync_annotation(struct arena *a, const struct managed_request *r, struct val *v, const struct val *config)
{
    struct val *annotations = (struct val *)val_key(val_key(v, STR("metadata")), STR("annotations"));
    if (!str_is(r->manager, "kubectl") || !val_str(val_key(annotations, STR(LAST_APPLIED))).n)
        return;
    struct val *copy = val_copy(a, config);
    struct val *theirs = (struct val *)val_key(val_key(copy, STR("metadata")), STR("annotations"));
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (theirs)
        val_unput(theirs, STR(LAST_APPLIED));
    json_encode(&b, NULL, copy, JSON_SORTED);
    buf_puts(&b, "\n");
    val_put_str(a, annotations, STR(LAST_APPLIED), buf_str(&b));
}

/* ---- scale ------------------------------------------------------------------------------------------------------------ */

#define SCALE_VERSION "autoscaling/v1"

static const struct str replicas_path[] = {{"f:spec", 6}, {"f:replicas", 10}};

static const struct fieldset *replicas(struct arena *a)
{
    struct fieldset *s = fieldset_new(a);
    fieldset_add(a, s, replicas_path, ARRAY_SIZE(replicas_path));
    return s;
}

static bool has_replicas(const struct manager *x)
{
    return fieldset_has_path(x->set, replicas_path, ARRAY_SIZE(replicas_path));
}

const struct val *managed_to_scale(struct arena *a, const struct managed_request *r, const struct val *live)
{
    struct managers all = {.a = a}, m = {.a = a};
    decode(&all, live);
    for (size_t i = 0; i < all.n; i++) {
        struct manager x = all.items[i];
        if (!str_eq(x.version, r->api_version) || !has_replicas(&x))
            continue;
        x.version = STR(SCALE_VERSION);
        x.set = replicas(a);
        add(&m, x);
    }
    return encode(&m);
}

/* The managers of the Scale that still have the field, as those of the object. */
static struct managers scalers(struct arena *a, const struct managed_request *r, const struct val *list)
{
    struct managers m = {.a = a};
    decode_list(&m, list);
    for (size_t i = 0; i < m.n; i++) {
        m.items[i].set = has_replicas(&m.items[i]) ? replicas(a) : NULL;
        m.items[i].version = r->api_version;
    }
    drop_empty(&m);
    return m;
}

const struct val *managed_from_scale(struct arena *a, const struct managed_request *r, const struct val *live,
                                     const struct val *scale)
{
    struct managers m = {.a = a}, now = scalers(a, r, scale);
    decode(&m, live);
    for (size_t i = 0; i < m.n; i++) {
        struct manager *x = &m.items[i];
        if (str_eq(x->version, r->api_version) && has_replicas(x) && !find(&now, x))
            x->set = fieldset_minus(a, x->set, replicas(a));
    }
    for (size_t i = 0; i < now.n; i++) {
        struct manager *x = find(&m, &now.items[i]);
        if (x && has_replicas(x))
            continue;
        now.items[i].time = STR_NULL; /* upstream forgets it, too */
        if (x)
            x->set = fieldset_union(a, x->set, now.items[i].set);
        else
            add(&m, now.items[i]);
    }
    drop_empty(&m);
    return encode(&m);
}

/* ---- applying -------------------------------------------------------------------------------------------------------------- */

static int check_config(struct arena *a, const struct managed_request *r, const struct val *config, struct fieldset **ret,
                        struct status *s)
{
    struct err e = {{0}};
    struct str version = val_str(val_key(config, STR("apiVersion")));
    if (!str_eq(version, r->api_version))
        return status_bad_request(s, "Incorrect version specified in apply patch. Specified patch version: " STR_FMT ", expected: " STR_FMT,
                                  STR_ARG(version), STR_ARG(r->api_version));
    if (val_key(val_key(config, STR("metadata")), STR("managedFields")))
        return status_bad_request(s, "metadata.managedFields must be nil");
    if (typed_check(a, r->type, config, &e) < 0 || typed_fields(a, r->type, config, ret, &e) < 0)
        return status_internal(s, "failed to create typed patch object: %s", e.text);
    return 0;
}

int managed_apply(struct arena *a, const struct managed_request *r, const struct val *live, const struct val *config,
                  bool force, const struct val **ret, const struct val **ret_managed, struct status *s)
{
    struct managers m = {.a = a};
    struct fieldset *set;
    const struct fieldset *last;
    int rc = check_config(a, r, config, &set, s);
    if (rc)
        return rc;
    if (live)
        decode_stored(&m, live);
    if (live && m.n == 0) /* fields of an object that nobody kept count of are somebody's nevertheless */
        update(&m, r, NULL, live, STR(BEFORE_APPLY));
    const struct val *was = plain(a, r->type, live), *merged = typed_merge(a, r->type, was, config);
    struct manager *applier = applier_of(&m, r, &last);
    applier->set = ours(a, r, set);
    struct val *is = val_copy(a, prune(&m, r->type, merged, last));
    is = is ? is : val_new(a, VAL_MAP);
    look_anew(&m);
    const struct view *own = view_of(&m, r, r->api_version, was, is);
    bool changed = !fieldset_empty(own->won) || !fieldset_empty(own->removed);
    if (!force && find_conflicts(&m, r, was, is, applier, left_by_kubectl(a, r, was)))
        return refuse(&m, s);
    take_from_all(&m, r, was, is, applier);
    applier->set = strip(a, applier->set);
    if (changed) /* who changes nothing is not newer than before */
        applier->time = stamp(a, r->now);
    drop_empty(&m);
    sync_annotation(a, r, is, config);
    *ret = is;
    *ret_managed = encode(&m);
    return 0;
}
