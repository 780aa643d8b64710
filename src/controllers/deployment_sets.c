/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/deployment.h"

#include "controllers/pods.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"
#include "wire/json.h"
#include "wire/schema.h"

#define HASH_LABEL "pod-template-hash"
#define REVISION "deployment.kubernetes.io/revision"
#define REVISION_HISTORY "deployment.kubernetes.io/revision-history"
#define DESIRED "deployment.kubernetes.io/desired-replicas"
#define MAX_REPLICAS "deployment.kubernetes.io/max-replicas"

enum { HISTORY_TEXT_MAX = 2000, NAME_MAX_LEN = 253 };

/* Annotations of a deployment that its replica sets do not get. */
static bool is_own_annotation(struct str key)
{
    static const char *const own[] = {"kubectl.kubernetes.io/last-applied-configuration",
                                      REVISION,
                                      REVISION_HISTORY,
                                      DESIRED,
                                      MAX_REPLICAS,
                                      "deprecated.deployment.rollback.to"};
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        if (str_is(key, own[i]))
            return true;
    return false;
}

/* ---- sums -------------------------------------------------------------------------------------------- */

int64_t rollout_total(const struct rollout *r)
{
    int64_t n = 0;
    for (size_t i = 0; i < r->n_sets; i++)
        n += r->sets[i].replicas;
    return n;
}

/* A set that was scaled down and has not said so yet: what it counts above its replicas is on its way out
 * already. */
int64_t rollout_available(const struct rollout *r)
{
    int64_t n = 0;
    for (size_t i = 0; i < r->n_sets; i++)
        n += MIN(r->sets[i].available, r->sets[i].replicas);
    return n;
}

bool rollout_is_old(const struct rollout *r, const struct depset *s)
{
    return s != r->newest;
}

/* ---- which is the newest ----------------------------------------------------------------------------- */

static const struct val *template_of(const struct depset *s)
{
    return val_at(s->edit ? s->edit : s->object->val, N_spec, N_template);
}

static bool same_labels(const struct val *a, const struct val *b)
{
    size_t n = val_len(a) - (val_key(a, STR(HASH_LABEL)) != NULL);
    if (n != val_len(b) - (val_key(b, STR(HASH_LABEL)) != NULL))
        return false;
    VAL_EACH_ENTRY (a, k, v)
        if (!str_is(val_str(k), HASH_LABEL) && !val_same(v, val_key(b, val_str(k))))
            return false;
    return true;
}

bool same_template(const struct val *a, const struct val *b)
{
    const struct val *ma = val_get(a, N_metadata), *mb = val_get(b, N_metadata);
    if (!same_labels(val_get(ma, N_labels), val_get(mb, N_labels)) ||
        !val_same(val_get(a, N_spec), val_get(b, N_spec)))
        return false;
    VAL_EACH_MEMBER(ma, m)
    if (m->name != N_labels && !val_equal(m, val_get(mb, m->name)))
        return false;
    VAL_EACH_MEMBER(mb, m)
    if (m->name != N_labels && !val_equal(m, val_get(ma, m->name)))
        return false;
    return true;
}

void rollout_find_newest(struct rollout *r)
{
    r->newest = NULL;
    for (size_t i = 0; i < r->n_sets && !r->newest; i++) /* the oldest of several like it, always the same */
        if (same_template(template_of(&r->sets[i]), val_get(r->spec, N_template)))
            r->newest = &r->sets[i];
}

/* ---- changing a set ---------------------------------------------------------------------------------- */

static struct val *edit(struct rollout *r, struct depset *s)
{
    if (!s->edit) {
        struct arena *a = r->w->arena;
        s->edit = val_copy_shallow(a, s->object->val);
        val_set(a, s->edit, N_metadata, *val_copy_shallow(a, s->object->meta));
        val_set(a, s->edit, N_spec, *val_copy_shallow(a, val_get(s->object->val, N_spec)));
        own_map(a, val_mut(s->edit, N_metadata), N_annotations);
    }
    return s->edit;
}

static struct str annotation(const struct depset *s, const char *key)
{
    return obj_annotation(s->edit ? s->edit : s->object->val, str_of(key));
}

static void annotate(struct rollout *r, struct depset *s, const char *key, struct str value)
{
    if (str_eq(annotation(s, key), value) &&
        val_key(val_get(obj_meta(s->edit ? s->edit : s->object->val), N_annotations), str_of(key)))
        return;
    struct val *map = val_mut(val_mut(edit(r, s), N_metadata), N_annotations);
    val_put_str(r->w->arena, map, str_of(key), value);
}

static int64_t annotated_number(const struct depset *s, const char *key, int64_t absent)
{
    int64_t n;
    return str_to_i64(annotation(s, key), &n) == 0 && n >= 0 ? n : absent;
}

static struct str number(struct rollout *r, int64_t n)
{
    return arena_printf(r->w->arena, "%lld", (long long)n);
}

static void annotate_scale(struct rollout *r, struct depset *s)
{
    annotate(r, s, DESIRED, number(r, r->wanted));
    annotate(r, s, MAX_REPLICAS, number(r, r->wanted + r->max_surge));
}

bool rollout_scale_set(struct rollout *r, struct depset *s, int64_t n, bool force)
{
    bool changed = s->replicas != n;
    if (!changed && !force)
        return false;
    annotate_scale(r, s);
    if (changed) {
        val_set_int(r->w->arena, val_mut(edit(r, s), N_spec), N_replicas, n);
        s->replicas = n;
    }
    return changed;
}

static void write_set(struct rollout *r, struct depset *s)
{
    const struct resource *res = &resources[RES_REPLICASETS];
    if (!s->object) {
        struct write *w = writes_add(r->w, WRITE_CREATE, res, r->deployment->namespace_, STR_NULL);
        w->body = s->edit;
    } else if (s->edit && !val_equal(s->edit, s->object->val)) {
        writes_update(r->w, res, s->edit);
    }
    if (s->replicas != s->stored)
        writes_event(r->w, r->deployment->res, r->deployment->val, false, "ScalingReplicaSet",
                     "Scaled %s replica set " STR_FMT " from %lld to %lld",
                     s->replicas > s->stored ? "up" : "down", STR_ARG(s->name), (long long)s->stored,
                     (long long)s->replicas);
}

/* The newest first, so that a refusal to make it stops the rest. */
void rollout_write_sets(struct rollout *r)
{
    if (r->newest)
        write_set(r, r->newest);
    for (size_t i = 0; i < r->n_sets; i++)
        if (&r->sets[i] != r->newest)
            write_set(r, &r->sets[i]);
}

/* ---- revisions --------------------------------------------------------------------------------------- */

static int64_t max_old_revision(const struct rollout *r)
{
    int64_t max = 0;
    for (size_t i = 0; i < r->n_sets; i++)
        if (rollout_is_old(r, &r->sets[i]))
            max = MAX(max, annotated_number(&r->sets[i], REVISION, 0));
    return max;
}

static void append_history(struct rollout *r, struct depset *s, struct str old_revision)
{
    struct str history = annotation(s, REVISION_HISTORY), head, tail;
    while (history.n + old_revision.n + 1 > HISTORY_TEXT_MAX) {
        str_cut(history, ',', &head, &tail);
        history = tail;
    }
    annotate(r, s, REVISION_HISTORY,
             str_empty(history)
                 ? old_revision
                 : arena_printf(r->w->arena, STR_FMT "," STR_FMT, STR_ARG(history), STR_ARG(old_revision)));
}

static void copy_annotations(struct rollout *r, struct depset *s)
{
    VAL_EACH_ENTRY (val_get(r->deployment->meta, N_annotations), k, v)
        if (!is_own_annotation(val_str(k)))
            annotate(r, s, val_cstr(k), val_str(v));
}

/* A set that comes into force again (a rollback) gets a new revision and remembers the old. */
static void update_revision(struct rollout *r, struct depset *s, int64_t revision)
{
    struct str old = annotation(s, REVISION);
    if (annotated_number(s, REVISION, str_empty(old) ? 0 : INT64_MAX) >= revision)
        return;
    annotate(r, s, REVISION, number(r, revision));
    if (!str_empty(old))
        append_history(r, s, old);
}

static void update_newest(struct rollout *r, int64_t revision)
{
    struct depset *s = r->newest;
    copy_annotations(r, s);
    update_revision(r, s, revision);
    int64_t ready = val_int(val_get(r->spec, N_minReadySeconds), 0);
    if (val_int(val_at(s->edit ? s->edit : s->object->val, N_spec, N_minReadySeconds), 0) != ready)
        set_count(r->w->arena, val_mut(edit(r, s), N_spec), N_minReadySeconds, ready);
    r->revision = annotation(s, REVISION);
    if (rollout_has_deadline(r) && !rollout_condition(r, "Progressing"))
        rollout_set_condition(r, "Progressing", "True", "FoundNewReplicaSet",
                              "Found new replica set \"" STR_FMT "\"", STR_ARG(s->name));
}

/* ---- making a set ------------------------------------------------------------------------------------ */

static struct str template_hash(struct rollout *r)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, type_at(T_core_v1_PodTemplateSpec), val_get(r->spec, N_template), 0);
    return short_hash(r->w->arena, buf_str(&b), r->collisions);
}

static struct str set_name(struct rollout *r, struct str hash)
{
    struct str name = str_slice(r->deployment->name, 0, NAME_MAX_LEN - 1 - hash.n);
    return arena_printf(r->w->arena, STR_FMT "-" STR_FMT, STR_ARG(name), STR_ARG(hash));
}

static struct val *make_template(struct rollout *r, struct str hash)
{
    struct arena *a = r->w->arena;
    struct val *t = val_copy_shallow(a, val_get(r->spec, N_template));
    const struct val *meta = val_get(t, N_metadata);
    struct val *m = val_set(a, t, N_metadata, meta ? *val_copy_shallow(a, meta) : *val_new(a, VAL_OBJ));
    val_put_str(a, own_map(a, m, N_labels), STR(HASH_LABEL), hash);
    return t;
}

static struct val *make_set(struct rollout *r, struct str name, struct str hash)
{
    struct arena *a = r->w->arena;
    struct val *template = make_template(r, hash), *v = val_new(a, VAL_OBJ);
    struct val *meta = val_sub_obj(a, v, N_metadata);
    val_set_str(a, meta, N_name, name);
    val_set_str(a, meta, N_namespace, r->deployment->namespace_);
    val_set_ref(a, meta, N_labels, val_at(template, N_metadata, N_labels));
    val_add(
        a, val_sub_list(a, meta, N_ownerReferences),
        obj_owner_ref(a, api_version(a, r->deployment->res).p, r->deployment->res->kind, r->deployment->val));
    val_sub_map(a, meta, N_annotations);
    struct val *spec = val_sub_obj(a, v, N_spec);
    val_set_int(a, spec, N_replicas, 0);
    val_set_ref(a, spec, N_minReadySeconds, val_get(r->spec, N_minReadySeconds));
    struct val *selector = val_set(a, spec, N_selector, *val_copy_shallow(a, val_get(r->spec, N_selector)));
    val_put_str(a, own_map(a, selector, N_matchLabels), STR(HASH_LABEL), hash);
    val_set_ref(a, spec, N_template, template);
    return v;
}

static void create_newest(struct rollout *r, int64_t revision)
{
    struct str hash = template_hash(r), name = set_name(r, hash);
    struct depset *s = &r->sets[r->n_sets++];
    *s = (struct depset){.name = name, .edit = make_set(r, name, hash), .created = r->now};
    r->newest = s;
    s->replicas = rollout_new_replicas(r, 0);
    val_set_int(r->w->arena, val_mut(s->edit, N_spec), N_replicas, s->replicas);
    copy_annotations(r, s);
    annotate(r, s, REVISION, number(r, revision));
    annotate_scale(r, s);
    r->revision = number(r, revision);
    if (rollout_has_deadline(r))
        rollout_set_condition(r, "Progressing", "True", "NewReplicaSetCreated",
                              "Created new replica set \"" STR_FMT "\"", STR_ARG(name));
}

void rollout_sync_newest(struct rollout *r, bool create)
{
    int64_t revision = max_old_revision(r) + 1;
    if (r->newest)
        update_newest(r, revision);
    else if (create)
        create_newest(r, revision);
}

static void write_failure(struct rollout *r, const struct write *w, const struct status *why)
{
    struct str text = arena_printf(r->w->arena, "Failed to create new replica set \"" STR_FMT "\": " STR_FMT,
                                   STR_ARG(obj_name(w->body)), STR_ARG(why->message));
    writes_event(r->w, r->deployment->res, r->deployment->val, true, "ReplicaSetCreateError", STR_FMT,
                 STR_ARG(text));
    if (!rollout_has_deadline(r))
        return;
    rollout_set_condition(r, "Progressing", "False", "ReplicaSetCreateError", STR_FMT, STR_ARG(text));
    struct val *status, *v = with_status(r->w->arena, r->deployment, &status);
    val_set_ref(r->w->arena, status, N_conditions, r->conditions);
    writes_update_status(r->w, r->deployment->res, v);
}

void rollout_create_refused(struct rollout *r, const struct write *w, const struct status *why)
{
    const struct resource *res = &resources[RES_REPLICASETS];
    if (why->code != 409) {
        write_failure(r, w, why);
        return;
    }
    const struct object *other = snapshot_get(r->world, res, r->deployment->namespace_, obj_name(w->body));
    if (!other || (obj_controlled_by(other->val, r->deployment->uid) &&
                   same_template(val_at(other->val, N_spec, N_template), val_get(r->spec, N_template))))
        return; /* it is ours; the next try sees it */
    struct val *status, *v = with_status(r->w->arena, r->deployment, &status);
    val_set_int(r->w->arena, status, N_collisionCount, MAX(r->collisions, (int64_t)0) + 1);
    writes_update_status(r->w, r->deployment->res, v);
}

/* ---- scaling ----------------------------------------------------------------------------------------- */

/* How many the newest set may have with the others as they are. */
int64_t rollout_new_replicas(const struct rollout *r, int64_t newest_now)
{
    if (!r->rolling)
        return r->wanted;
    int64_t room = r->wanted + r->max_surge - rollout_total(r);
    return room <= 0 ? newest_now : newest_now + MIN(room, r->wanted - newest_now);
}

bool rollout_is_scaling(const struct rollout *r)
{
    for (size_t i = 0; i < r->n_sets; i++)
        if (r->sets[i].replicas > 0 && annotated_number(&r->sets[i], DESIRED, r->wanted) != r->wanted)
            return true;
    return false;
}

static bool is_saturated(const struct rollout *r)
{
    const struct depset *n = r->newest;
    return n && n->replicas == r->wanted && annotated_number(n, DESIRED, -1) == r->wanted &&
           n->available == r->wanted;
}

/* The one set with replicas, or, when none has any, the newest; NULL when several have. */
static struct depset *active_or_latest(struct rollout *r)
{
    struct depset *active = NULL;
    size_t n = 0;
    for (size_t i = 0; i < r->n_sets; i++)
        if (r->sets[i].replicas > 0) {
            active = &r->sets[i];
            n++;
        }
    if (n == 0)
        return r->newest ? r->newest : r->n_sets ? &r->sets[r->n_sets - 1] : NULL;
    return n == 1 ? active : NULL;
}

static int larger_then_newer(const void *pa, const void *pb)
{
    const struct depset *a = *(struct depset *const *)pa, *b = *(struct depset *const *)pb;
    if (a->replicas != b->replicas)
        return a->replicas > b->replicas ? -1 : 1;
    return a > b ? -1 : 1; /* they stand in order of age */
}

static int larger_then_older(const void *pa, const void *pb)
{
    const struct depset *a = *(struct depset *const *)pa, *b = *(struct depset *const *)pb;
    if (a->replicas != b->replicas)
        return a->replicas > b->replicas ? -1 : 1;
    return a < b ? -1 : 1;
}

/* By how much a set changes when the whole goes from what it was (its annotation) to what it shall be. */
static int64_t share_of(const struct rollout *r, const struct depset *s, int64_t to_add, int64_t added)
{
    if (to_add == added)
        return 0;
    int64_t share, left = to_add - added;
    if (r->wanted == 0) {
        share = -s->replicas;
    } else {
        int64_t before = annotated_number(s, MAX_REPLICAS, 0);
        if (before == 0)
            before = val_int(val_at(r->deployment->val, N_status, N_replicas), 0);
        if (before == 0)
            return 0;
        double size = (double)(s->replicas * (r->wanted + r->max_surge)) / (double)before;
        share = (int64_t)(size + 0.5) - s->replicas;
    }
    return to_add > 0 ? MIN(share, left) : MAX(share, left);
}

static void scale_all(struct rollout *r)
{
    struct depset **active = ARENA_ARRAY(r->w->arena, struct depset *, r->n_sets);
    int64_t *size = ARENA_ARRAY(r->w->arena, int64_t, r->n_sets);
    size_t n = 0;
    for (size_t i = 0; i < r->n_sets; i++)
        if (r->sets[i].replicas > 0)
            active[n++] = &r->sets[i];
    int64_t allowed = r->wanted > 0 ? r->wanted + r->max_surge : 0, to_add = allowed - rollout_total(r),
            added = 0;
    if (to_add != 0)
        qsort(active, n, sizeof(*active), to_add > 0 ? larger_then_newer : larger_then_older);
    for (size_t i = 0; i < n; i++) {
        int64_t share = to_add ? share_of(r, active[i], to_add, added) : 0;
        size[i] = active[i]->replicas + share;
        added += share;
    }
    if (n > 0 && to_add != 0)
        size[0] = MAX(size[0] + to_add - added, (int64_t)0); /* what rounding left goes to the largest */
    for (size_t i = 0; i < n; i++)
        rollout_scale_set(r, active[i], size[i], true);
}

void rollout_scale_in_proportion(struct rollout *r)
{
    struct depset *only = active_or_latest(r);
    if (only) {
        rollout_scale_set(r, only, r->wanted, false);
        return;
    }
    if (is_saturated(r)) {
        for (size_t i = 0; i < r->n_sets; i++)
            if (rollout_is_old(r, &r->sets[i]) && r->sets[i].replicas > 0)
                rollout_scale_set(r, &r->sets[i], 0, false);
        return;
    }
    if (r->rolling)
        scale_all(r);
}

/* ---- history ----------------------------------------------------------------------------------------- */

static int by_revision(const void *pa, const void *pb)
{
    const struct depset *a = *(struct depset *const *)pa, *b = *(struct depset *const *)pb;
    int64_t ra = annotated_number(a, REVISION, 0), rb = annotated_number(b, REVISION, 0);
    if (ra != rb)
        return ra < rb ? -1 : 1;
    return a < b ? -1 : 1;
}

static bool is_unused(const struct depset *s)
{
    return s->actual == 0 && s->replicas == 0 && s->generation <= s->observed;
}

void rollout_clean_up_history(struct rollout *r)
{
    int64_t limit = val_int(val_get(r->spec, N_revisionHistoryLimit), INT32_MAX);
    struct depset **old = ARENA_ARRAY(r->w->arena, struct depset *, r->n_sets);
    size_t n = 0;
    for (size_t i = 0; i < r->n_sets; i++)
        if (rollout_is_old(r, &r->sets[i]) && !obj_deleting(r->sets[i].object->val))
            old[n++] = &r->sets[i];
    if (limit == INT32_MAX || (int64_t)n <= limit)
        return;
    qsort(old, n, sizeof(*old), by_revision);
    for (size_t i = 0; i < n - (size_t)limit; i++)
        if (is_unused(old[i]))
            writes_delete(r->w, old[i]->object);
}
