/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/custom.h"

#include <stdio.h>

#include "apiserver/custom_cel.h"
#include "apiserver/local.h"
#include "apiserver/state.h"
#include "apiserver/write.h"
#include "base/log.h"
#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"
#include "wire/json.h"

/* A kind of which a definition speaks, or once spoke. */
struct custom_kind {
    struct str name; /* of the definition, malloc'd: "widgets.example.com" */
    uint16_t index;
    struct custom_version **versions; /* each stays where it is */
    size_t n_versions;
    struct custom_version *stored;
    struct cache_kind *cache;         /* NULL: not served */
    struct arena *arena;              /* what the definition says; replaced when it changes */
    struct custom_programs *programs;
    uint64_t turn;                    /* how often definitions were taken up */
    const struct val *definition;     /* as it was taken up, in the arena */
    int64_t revision, generation;     /* of it */
    bool terminating;
    struct list link;
};

/* Memory that a request may still look at. */
struct retired {
    struct arena *arena;
    struct custom_programs *programs; /* may be NULL */
    struct mono since;
    struct list link;
};

struct custom_state {
    struct list kinds;
    struct map by_name, by_kind; /* "group/version/plural" to served versions */
    struct map definitions;      /* name to struct custom_kind */
    uint16_t n_kinds;
    struct group_version *served;
    size_t n_served;
    struct arena *served_arena;
    struct list retired;
    struct cache_hook hook;
    struct waitq changed;
    bool waiting;                /* some wait for others: look again without being told */
    struct map dirty;            /* names of definitions to look at */
};

enum { KINDS_MAX = 20000, GRACE_SECONDS = 600 };

/* ---- memory that ends later ---------------------------------------------------------------------------- */

static struct arena *arena_make(void)
{
    struct arena *a = NEW(struct arena);
    *a = (struct arena)ARENA_INIT;
    return a;
}

static void programs_free(struct custom_programs *p)
{
    if (p)
        custom_programs_done(p);
    free(p);
}

static void retired_free(struct retired *r)
{
    list_remove(&r->link);
    arena_done(r->arena);
    free(r->arena);
    programs_free(r->programs);
    free(r);
}

void custom_end_retired(struct apiserver *s, struct mono now)
{
    LIST_EACH_SAFE(&s->custom->retired, l) {
        struct retired *old = LIST_ENTRY(l, struct retired, link);
        if (old->since.ns + SECONDS(GRACE_SECONDS) < now.ns)
            retired_free(old);
    }
}

static void retire(struct custom_state *c, struct arena *a, struct custom_programs *programs)
{
    if (!a)
        return;
    struct retired *r = NEW(struct retired);
    *r = (struct retired){.arena = a, .programs = programs, .since = os_mono()};
    list_push_back(&c->retired, &r->link);
}

/* ---- look-ups ------------------------------------------------------------------------------------------ */

const struct custom_version *custom_version(const struct resource *r)
{
    return r->index >= n_resources ? CONTAINER_OF(r, struct custom_version, res) : NULL;
}

const struct resource *custom_stored(const struct resource *r)
{
    const struct custom_version *v = custom_version(r);
    return v ? &v->kind->stored->res : r;
}

bool custom_terminating(const struct resource *r)
{
    const struct custom_version *v = custom_version(r);
    return v && v->kind->terminating;
}

static struct str map_key(char *buf, size_t size, struct str group, struct str version, struct str name)
{
    int n = snprintf(buf, size, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(group), STR_ARG(version), STR_ARG(name));
    return n > 0 && (size_t)n < size ? str_n(buf, (size_t)n) : STR_NULL;
}

static const struct resource *find(const struct map *m, struct str group, struct str version, struct str name)
{
    char buf[512];
    struct str key = map_key(buf, sizeof(buf), group, version, name);
    const struct custom_version *v = key.n ? map_get(m, key) : NULL;
    return v ? &v->res : NULL;
}

const struct resource *served_find(const struct apiserver *s, struct str group, struct str version, struct str plural)
{
    const struct resource *r = resource_find(group, version, plural);
    return r || !s->custom ? r : find(&s->custom->by_name, group, version, plural);
}

const struct resource *served_find_kind(const struct apiserver *s, struct str group, struct str version, struct str kind)
{
    const struct resource *r = resource_find_kind(group, version, kind);
    return r || !s->custom ? r : find(&s->custom->by_kind, group, version, kind);
}

/* ---- group versions ------------------------------------------------------------------------------------ */

size_t served_count(const struct apiserver *s)
{
    return n_group_versions + (s->custom ? s->custom->n_served : 0);
}

const struct group_version *served_at(const struct apiserver *s, size_t i)
{
    return i < n_group_versions ? &group_versions[i] : &s->custom->served[i - n_group_versions];
}

bool served_first_of_group(const struct apiserver *s, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (strcmp(served_at(s, j)->group, served_at(s, i)->group) == 0)
            return false;
    return true;
}

static bool is_served(const struct custom_version *v)
{
    return v->served && v->kind->cache;
}

const struct resource **served_resources(const struct apiserver *s, struct arena *a, const struct group_version *g, size_t *ret_n)
{
    size_t n = 0, most = n_resources;
    LIST_EACH(&s->custom->kinds, l)
        most += LIST_ENTRY(l, struct custom_kind, link)->n_versions;
    const struct resource **out = ARENA_ARRAY(a, const struct resource *, most);
    for (unsigned i = 1; i < n_resources; i++)
        if (strcmp(resources[i].group, g->group) == 0 && strcmp(resources[i].version, g->version) == 0)
            out[n++] = &resources[i];
    LIST_EACH(&s->custom->kinds, l) {
        const struct custom_kind *k = LIST_ENTRY(l, struct custom_kind, link);
        for (size_t i = 0; i < k->n_versions; i++) {
            const struct resource *r = &k->versions[i]->res;
            if (is_served(k->versions[i]) && strcmp(r->group, g->group) == 0 && strcmp(r->version, g->version) == 0)
                out[n++] = r;
        }
    }
    *ret_n = n;
    return out;
}

/* v10 before v2 before v1 before v2beta1 before v1alpha3, then other words (k8s.io/apimachinery version.CompareKubeAware). */
struct kube_version {
    int stage; /* 3 release, 2 beta, 1 alpha, 0 none of them */
    int64_t major, minor;
};

static struct kube_version kube_version(struct str v)
{
    struct kube_version out = {.stage = 0};
    size_t n = 1;
    if (v.n < 2 || v.p[0] != 'v')
        return out;
    while (n < v.n && v.p[n] >= '0' && v.p[n] <= '9')
        n++;
    struct str rest = str_from(v, n);
    int stage = !rest.n ? 3 : str_starts(rest, STR("beta")) ? 2 : str_starts(rest, STR("alpha")) ? 1 : 0;
    if (n == 1 || !stage || str_to_i64(str_slice(v, 1, n - 1), &out.major) < 0)
        return out;
    if (stage < 3 && str_to_i64(str_from(rest, stage == 2 ? 4 : 5), &out.minor) < 0)
        return (struct kube_version){.stage = 0};
    out.stage = stage;
    return out;
}

static int by_age(const char *x, const char *y)
{
    struct kube_version a = kube_version(str_of(x)), b = kube_version(str_of(y));
    if (a.stage != b.stage)
        return b.stage - a.stage;
    if (a.major != b.major)
        return a.major < b.major ? 1 : -1;
    if (a.minor != b.minor)
        return a.minor < b.minor ? 1 : -1;
    return strcmp(x, y);
}

static int by_group(const void *px, const void *py)
{
    const struct group_version *x = px, *y = py;
    int c = strcmp(x->group, y->group);
    return c ? c : by_age(x->version, y->version);
}

static bool is_compiled_in(const struct group_version *g)
{
    for (unsigned i = 0; i < n_group_versions; i++)
        if (strcmp(group_versions[i].group, g->group) == 0 && strcmp(group_versions[i].version, g->version) == 0)
            return true;
    return false;
}

static void index_kind(struct custom_state *c, struct custom_kind *k, struct buf *list)
{
    char buf[512];
    for (size_t i = 0; i < k->n_versions; i++) {
        struct custom_version *v = k->versions[i];
        struct group_version g = {.group = v->res.group, .version = v->res.version, .group_priority = 1000, .version_priority = 100};
        if (!is_served(v))
            continue;
        map_put(&c->by_name, map_key(buf, sizeof(buf), str_of(g.group), str_of(g.version), str_of(v->res.name)), v);
        map_put(&c->by_kind, map_key(buf, sizeof(buf), str_of(g.group), str_of(g.version), str_of(v->res.kind)), v);
        if (!is_compiled_in(&g))
            buf_put(list, (const char *)&g, sizeof(g));
    }
}

/* Everything that is made from what is served is made anew. */
static void reindex(struct apiserver *s)
{
    struct custom_state *c = s->custom;
    struct buf list CLEANUP_BUF = BUF_INIT;
    map_done(&c->by_name);
    map_done(&c->by_kind);
    c->by_name = c->by_kind = (struct map){0};
    LIST_EACH(&c->kinds, l)
        index_kind(c, LIST_ENTRY(l, struct custom_kind, link), &list);
    struct arena *a = arena_make();
    size_t n = list.n / sizeof(struct group_version), kept = 0;
    struct group_version *g = ARENA_ARRAY(a, struct group_version, n + 1);
    if (n)
        memcpy(g, list.p, list.n);
    qsort(g, n, sizeof(*g), by_group);
    for (size_t i = 0; i < n; i++)
        if (!kept || by_group(&g[kept - 1], &g[i]) != 0)
            g[kept++] = g[i];
    retire(c, c->served_arena, NULL);
    c->served_arena = a;
    c->served = g;
    c->n_served = kept;
    struct arena *pages = arena_make();
    *pages = s->pages_arena;
    s->pages_arena = (struct arena)ARENA_INIT;
    map_done(&s->pages);
    s->pages = (struct map){0};
    retire(c, pages, NULL);
}

/* ---- from a definition to resources -------------------------------------------------------------------- */

static const char *text(struct arena *a, struct str s)
{
    return arena_cstr(a, s);
}

static const char *const *texts(struct arena *a, const struct val *list)
{
    size_t n = 0;
    const char **out = ARENA_ARRAY(a, const char *, val_len(list) + 1);
    VAL_EACH (list, v)
        out[n++] = text(a, val_str(v));
    out[n] = NULL;
    return out;
}

static const struct column name_column = {"Name", "string", "name", "{metadata.name}",
                                          "Name must be unique within a namespace.", 0},
                           age_column = {"Age", "date", "", ".metadata.creationTimestamp",
                                         "When the object was made, by the server's clock (RFC 3339, UTC).", 0};

static void set_columns(struct arena *a, struct resource *r, const struct val *list)
{
    struct column *c = ARENA_ARRAY(a, struct column, val_len(list) + 2);
    size_t n = 0;
    c[n++] = name_column;
    if (!val_len(list))
        c[n++] = age_column;
    VAL_EACH (list, v)
        c[n++] = (struct column){text(a, val_getstr(v, N_name)), text(a, val_getstr(v, N_type)), text(a, val_getstr(v, N_format)),
                                 text(a, val_getstr(v, N_jsonPath)), text(a, val_getstr(v, N_description)),
                                 (uint8_t)MIN(val_int(val_get(v, N_priority), 0), (int64_t)255)};
    r->columns = c;
    r->n_columns = (uint16_t)n;
}

static void set_subresources(struct arena *a, struct custom_version *v, const struct val *subs)
{
    struct subresource *list = ARENA_ARRAY(a, struct subresource, 2);
    const struct val *scale = val_get(subs, N_scale);
    uint16_t verbs = VERB_GET | VERB_UPDATE | VERB_PATCH, n = 0;
    if (val_get(subs, N_status))
        list[n++] = (struct subresource){"status", v->res.kind, v->res.group, v->res.version, &v->type.type, verbs};
    v->scale = (struct custom_scale){0};
    if (scale) {
        list[n++] = (struct subresource){"scale", "Scale", "autoscaling", "v1", &types[T_autoscaling_v1_Scale], verbs};
        v->scale = (struct custom_scale){val_getstr(scale, N_specReplicasPath), val_getstr(scale, N_statusReplicasPath),
                                         val_getstr(scale, N_labelSelectorPath)};
    }
    v->res.subresources = list;
    v->res.n_subresources = n;
}

static struct str deprecation(struct arena *a, const struct custom_version *v, const struct val *version)
{
    if (!val_bool(val_get(version, N_deprecated), false))
        return STR_NULL;
    struct str own = val_getstr(version, N_deprecationWarning);
    return own.n ? own : arena_printf(a, "%s/%s %s is deprecated", v->res.group, v->res.version, v->res.kind);
}

static void set_schema(struct arena *a, struct custom_version *v, const struct val *version, bool keep_all)
{
    const struct val *props = val_at(version, N_schema, N_openAPIV3Schema);
    struct buf b CLEANUP_BUF = BUF_INIT;
    const struct structural *s = structural_compile(a, keep_all ? NULL : props);
    if (props)
        json_encode(&b, &types[T_apiextensions_v1_JSONSchemaProps], props, 0);
    v->schema_text = arena_str(a, buf_str(&b));
    custom_type_init(&v->type, v->res.kind, s);
}

/* Fills in what the definition (copied to the arena) says of a version. */
static void describe(struct arena *a, struct custom_version *v, const struct val *spec, const struct val *names, const struct val *version)
{
    struct resource *r = &v->res;
    *r = (struct resource){
        .group = text(a, val_getstr(spec, N_group)),
        .version = text(a, val_getstr(version, N_name)),
        .name = text(a, val_getstr(names, N_plural)),
        .singular = text(a, val_getstr(names, N_singular)),
        .kind = text(a, val_getstr(names, N_kind)),
        .list_kind = text(a, val_getstr(names, N_listKind)),
        .short_names = texts(a, val_get(names, N_shortNames)),
        .categories = texts(a, val_get(names, N_categories)),
        .type = &v->type.type,
        .verbs = VERB_GET | VERB_LIST | VERB_WATCH | VERB_CREATE | VERB_UPDATE | VERB_PATCH | VERB_DELETE | VERB_DELETECOLLECTION,
        .index = v->kind->index,
        .storage = v->kind->index,
        .namespaced = str_is(val_getstr(spec, N_scope), "Namespaced"),
        .stored = true,
    };
    v->said = version;
    set_schema(a, v, version, val_bool(val_get(spec, N_preserveUnknownFields), false));
    set_columns(a, r, val_get(version, N_additionalPrinterColumns));
    set_subresources(a, v, val_get(version, N_subresources));
    v->selectable = val_get(version, N_selectableFields);
    v->warning = deprecation(a, v, version);
    v->programs = v->kind->programs;
    v->served = val_bool(val_get(version, N_served), false);
}

static struct custom_version *version_named(struct custom_kind *k, struct str name)
{
    for (size_t i = 0; i < k->n_versions; i++)
        if (str_is(name, k->versions[i]->res.version))
            return k->versions[i];
    k->versions = xrealloc(k->versions, (k->n_versions + 1) * sizeof(*k->versions));
    struct custom_version *v = NEW(struct custom_version);
    v->kind = k;
    k->versions[k->n_versions++] = v;
    return v;
}

static struct custom_kind *kind_named(struct custom_state *c, struct str name)
{
    struct custom_kind *k = map_get(&c->definitions, name);
    if (k || c->n_kinds == KINDS_MAX)
        return k;
    k = NEW(struct custom_kind);
    char *copy = xmalloc(name.n + 1);
    memcpy(copy, name.p, name.n);
    copy[name.n] = 0;
    k->name = str_of(copy);
    k->index = (uint16_t)(n_resources + c->n_kinds++);
    list_push_back(&c->kinds, &k->link);
    map_put(&c->definitions, k->name, k);
    return k;
}

static bool established(const struct val *crd)
{
    const struct val *c = condition_find(val_at(crd, N_status, N_conditions), STR("Established"));
    return str_is(val_getstr(c, N_status), "True");
}

/* A version that the definition has no more stays as it was: watches that began with it may last for hours. */
static void keep_dropped(struct custom_kind *k, struct arena *a, const struct val *spec, const struct val *names)
{
    for (size_t i = 0; i < k->n_versions; i++) {
        struct custom_version *v = k->versions[i];
        if (v->in_turn == k->turn)
            continue;
        describe(a, v, spec, names, val_copy(a, v->said));
        v->served = false;
    }
}

static void take_up_versions(struct custom_kind *k, struct arena *a, const struct val *crd)
{
    const struct val *spec = val_get(crd, N_spec), *names = val_at(crd, N_status, N_acceptedNames);
    k->turn++;
    VAL_EACH (val_get(spec, N_versions), version) {
        struct custom_version *v = version_named(k, val_getstr(version, N_name));
        describe(a, v, spec, names, version);
        v->in_turn = k->turn;
        if (val_bool(val_get(version, N_storage), false))
            k->stored = v;
    }
    keep_dropped(k, a, spec, names);
}

/* What versions are made from. */
static bool says_the_same(const struct val *a, const struct val *b)
{
    return val_same(val_get(a, N_spec), val_get(b, N_spec)) &&
           val_same(val_at(a, N_status, N_acceptedNames), val_at(b, N_status, N_acceptedNames));
}

static int take_up(struct apiserver *s, const struct object *crd, struct err *e)
{
    struct custom_kind *k = kind_named(s->custom, crd->name);
    if (!k)
        return err_set(e, -E2BIG, "more than %d custom kinds", KINDS_MAX);
    if (k->revision == crd->revision && k->cache)
        return 0;
    k->terminating = obj_deleting(crd->val);
    if (k->cache && says_the_same(crd->val, k->definition)) { /* only conditions or metadata are others */
        k->revision = crd->revision;
        k->generation = val_int(val_get(crd->meta, N_generation), 0);
        return 0;
    }
    struct arena *a = arena_make();
    struct custom_programs *had = k->programs;
    k->programs = NEW(struct custom_programs);
    k->definition = val_copy(a, crd->val);
    take_up_versions(k, a, k->definition);
    retire(s->custom, k->arena, had);
    k->arena = a;
    k->revision = crd->revision;
    int64_t had_generation = k->generation;
    k->generation = val_int(val_get(crd->meta, N_generation), 0);
    bool had_cache = k->cache;
    int r = !k->cache && k->stored ? cache_add(s->cache, &k->stored->res, &k->cache, e) : 0;
    if (had_cache) {
        cache_rename(k->cache, &k->stored->res);
        if (had_generation != k->generation)
            cache_reread(k->cache);
    }
    reindex(s);
    return r;
}

static void put_down(struct apiserver *s, struct custom_kind *k)
{
    if (!k->cache)
        return;
    cache_remove(s->cache, TAKE_PTR(k->cache));
    k->revision = 0;
    reindex(s);
}

/* ---- names that others have ---------------------------------------------------------------------------- */

static size_t taken_by(struct str *out, size_t n, const struct val *names, bool kinds)
{
    if (kinds) {
        out[n++] = val_getstr(names, N_kind);
        out[n++] = val_getstr(names, N_listKind);
        return n;
    }
    out[n++] = val_getstr(names, N_plural);
    out[n++] = val_getstr(names, N_singular);
    VAL_EACH (val_get(names, N_shortNames), v)
        out[n++] = val_str(v);
    return n;
}

static struct custom_names taken_names(struct apiserver *s, struct arena *a, const struct object *crd)
{
    struct cache_kind *k = state_kind(s, RES_CUSTOMRESOURCEDEFINITIONS);
    struct str group = val_str(val_at(crd->val, N_spec, N_group));
    size_t most = 0;
    for (struct tree_iter it = tree_begin_ns(k->root, STR("")); tree_in_ns(&it, STR("")); tree_next(&it))
        most += 4 + val_len(val_at(it.object->val, N_status, N_acceptedNames, N_shortNames));
    struct str *names = ARENA_ARRAY(a, struct str, most + 1), *kinds = ARENA_ARRAY(a, struct str, most + 1);
    struct custom_names out = {.resources = names, .kinds = kinds};
    for (struct tree_iter it = tree_begin_ns(k->root, STR("")); tree_in_ns(&it, STR("")); tree_next(&it)) {
        const struct val *accepted = val_at(it.object->val, N_status, N_acceptedNames);
        if (str_eq(it.object->name, crd->name) || !str_eq(val_str(val_at(it.object->val, N_spec, N_group)), group))
            continue;
        out.n_resources = taken_by(names, out.n_resources, accepted, false);
        out.n_kinds = taken_by(kinds, out.n_kinds, accepted, true);
    }
    return out;
}

/* ---- one definition ------------------------------------------------------------------------------------ */

static int put_status(struct apiserver *s, const struct object *crd, const struct val *v)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status st;
    status_init(&st, &a);
    return client_update(s->self, CALL(.res = crd->res, .name = crd->name, .subresource = "status"), v, &a, NULL, &st);
}

/* All objects go; true when there are none. */
static bool end_objects(struct apiserver *s, struct custom_kind *k)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status st;
    if (!k || !k->cache)
        return true;
    status_init(&st, &a);
    client_delete_collection(s->self, CALL(.res = &k->stored->res), &a, NULL, &st);
    return cache_fresh(s->cache) == 0 && tree_count(k->cache->root) == 0;
}

static void end_definition(struct apiserver *s, const struct object *crd)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct custom_kind *k = map_get(&s->custom->definitions, crd->name);
    struct val *v = val_copy(&a, crd->val), *meta = val_mut(v, N_metadata);
    struct status st;
    status_init(&st, &a);
    if (!obj_has_finalizer(v, STR(CRD_FINALIZER)) || !end_objects(s, k))
        return;
    struct val *list = val_new(&a, VAL_LIST);
    VAL_EACH (val_get(meta, N_finalizers), f)
        if (!str_is(val_str(f), CRD_FINALIZER))
            val_add(&a, list, *f);
    condition_set(&a, val_sub_list(&a, val_sub_obj(&a, v, N_status), N_conditions), STR("Terminating"), "False",
                  "InstanceDeletionCompleted", STR("removed all instances"), os_wall());
    val_set_ref(&a, meta, N_finalizers, list->n ? list : NULL);
    client_update(s->self, CALL(.res = crd->res, .name = crd->name), v, &a, NULL, &st);
}

static void take_up_or_tell(struct apiserver *s, const struct object *crd)
{
    struct err e = {0};
    if (take_up(s, crd, &e) < 0)
        log_error("apiserver", STR_FMT ": %s", STR_ARG(crd->name), e.text);
}

static void look_at(struct apiserver *s, const struct object *crd)
{
    s->custom->waiting = s->custom->waiting || obj_deleting(crd->val) || !established(crd->val);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct custom_names taken = taken_names(s, &a, crd);
    struct val *v = val_copy(&a, crd->val);
    if (!obj_deleting(v) && custom_judge(&a, v, &taken, os_wall()))
        put_status(s, crd, v); /* its event brings us here again */
    if (established(crd->val))
        take_up_or_tell(s, crd);
    if (obj_deleting(crd->val))
        end_definition(s, crd);
}

static void look_at_name(struct apiserver *s, struct str name)
{
    if (cache_fresh(s->cache) < 0) /* names that we just gave to another one are taken */
        return;
    struct cache_kind *k = state_kind(s, RES_CUSTOMRESOURCEDEFINITIONS);
    struct object *crd = object_ref(cache_get(k, STR(""), name));
    struct custom_kind *had = map_get(&s->custom->definitions, name);
    if (crd)
        look_at(s, crd);
    else if (had)
        put_down(s, had);
    object_unref(crd);
}

/* ---- namespaces ---------------------------------------------------------------------------------------- */

static size_t end_in_namespace(struct apiserver *s, struct custom_kind *k, struct arena *a, struct str ns)
{
    struct status st;
    size_t n = 0;
    struct tree_iter it = tree_begin_ns(k->cache->root, ns);
    if (!tree_in_ns(&it, ns))
        return 0;
    status_init(&st, a);
    client_delete_collection(s->self, CALL(.res = &k->stored->res, .ns = ns), a, NULL, &st);
    if (cache_fresh(s->cache) < 0 || !k->cache)
        return 1;
    for (it = tree_begin_ns(k->cache->root, ns); tree_in_ns(&it, ns); tree_next(&it))
        n++;
    return n;
}

int custom_end_namespace(struct request *r)
{
    struct apiserver *s = r->server;
    const struct object *ns = cache_get(r->kind, STR(""), r->info.name);
    size_t left = 0;
    if (!ns || !obj_deleting(ns->val))
        return 0;
    LIST_EACH(&s->custom->kinds, l) { /* kinds are never freed before the server */
        struct custom_kind *k = LIST_ENTRY(l, struct custom_kind, link);
        if (k->cache && k->stored->res.namespaced)
            left += end_in_namespace(s, k, r->arena, r->info.name);
    }
    return left ? status_conflict(&r->status, r->kind->res, r->info.name,
                                  arena_printf(r->arena, "%zu custom resources remain in the namespace", left).p)
                : 0;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static void changed(void *arg, const struct object *old, const struct object *now)
{
    struct apiserver *s = arg;
    const struct object *o = now ? now : old;
    map_put(&s->custom->dirty, o->name, s);
    waitq_wake_all(&s->custom->changed);
}

/* Definitions that wait for their objects to go, or for a name that somebody else gave back. */
static void mark_waiting(struct apiserver *s)
{
    struct cache_kind *k = state_kind(s, RES_CUSTOMRESOURCEDEFINITIONS);
    for (struct tree_iter it = tree_begin_ns(k->root, STR("")); tree_in_ns(&it, STR("")); tree_next(&it))
        if (obj_deleting(it.object->val) || !established(it.object->val))
            map_put(&s->custom->dirty, it.object->name, s);
}

static bool take_dirty(struct custom_state *c, char *buf, size_t size)
{
    MAP_EACH(&c->dirty, e) {
        snprintf(buf, size, STR_FMT, STR_ARG(e->key));
        map_del(&c->dirty, str_of(buf));
        return true;
    }
    return false;
}

void custom_follow(void *arg)
{
    struct apiserver *s = arg;
    char name[512];
    for (;;) {
        while (take_dirty(s->custom, name, sizeof(name)))
            look_at_name(s, str_of(name));
        custom_end_retired(s, os_mono());
        int r = waitq_wait(&s->custom->changed, s->custom->waiting ? mono_add(os_mono(), SECONDS(1))
                                                         : list_empty(&s->custom->retired) ? MONO_NEVER
                                                         : mono_add(os_mono(), SECONDS(GRACE_SECONDS)));
        if (r < 0 && r != -ETIMEDOUT)
            return;
        s->custom->waiting = false;
        mark_waiting(s);
    }
}

/* A kind that cannot be read keeps nobody from all the others. */
void custom_open(struct apiserver *s)
{
    struct custom_state *c = s->custom = NEW(struct custom_state);
    list_init(&c->kinds);
    list_init(&c->retired);
    s->self = local_client_new(s, "kube-apiserver", NULL, NULL);
    struct cache_kind *k = state_kind(s, RES_CUSTOMRESOURCEDEFINITIONS);
    cache_on_change(k, &c->hook, changed, s);
    struct tree *root = tree_ref(k->root);
    for (struct tree_iter it = tree_begin_ns(root, STR("")); tree_in_ns(&it, STR("")); tree_next(&it)) {
        map_put(&c->dirty, it.object->name, s);
        if (established(it.object->val))
            take_up_or_tell(s, it.object);
    }
    tree_unref(root);
}

static void kind_free(struct custom_kind *k)
{
    for (size_t i = 0; i < k->n_versions; i++)
        free(k->versions[i]);
    free(k->versions);
    if (k->arena) {
        arena_done(k->arena);
        free(k->arena);
    }
    programs_free(k->programs);
    free((char *)(uintptr_t)k->name.p);
    free(k);
}

/* After the cache: its objects point to resources. */
void custom_close(struct apiserver *s)
{
    struct custom_state *c = s->custom;
    if (!c)
        return;
    retire(c, TAKE_PTR(c->served_arena), NULL);
    while (!list_empty(&c->retired))
        retired_free(LIST_ENTRY(c->retired.next, struct retired, link));
    while (!list_empty(&c->kinds))
        kind_free(LIST_ENTRY(list_pop_front(&c->kinds), struct custom_kind, link));
    map_done(&c->by_name);
    map_done(&c->by_kind);
    map_done(&c->definitions);
    map_done(&c->dirty);
    client_free(s->self);
    free(c);
    s->custom = NULL;
}
