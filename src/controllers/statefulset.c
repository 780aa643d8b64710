/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/statefulset.h"

#include "controllers/own.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

/* Pods made in one go beyond those there are, and those a set can have: what a set asks for may be absurd. */
enum { BURST = 500, MAX_PLACES = 100000 };

/* ---- the state of a pod ------------------------------------------------------------------------------ */

static bool is_available(const struct stateful *s, const struct object *pod)
{
    return pod && !obj_deleting(pod->val) && pod_available(pod->val, s->min_ready, s->now);
}

static bool is_running_and_ready(const struct object *pod)
{
    return str_is(pod_phase(pod->val), "Running") && pod_ready(pod->val);
}

/* Nothing is expected of it any more: who comes after it may be made. */
static bool is_settled(const struct stateful *s, const struct object *pod)
{
    return is_available(s, pod) && is_running_and_ready(pod);
}

static bool is_old(const struct stateful *s, const struct place *p)
{
    return p->pod && !obj_deleting(p->pod->val) && !str_eq(p->revision, s->update->name);
}

/* ---- revisions --------------------------------------------------------------------------------------- */

static struct revision *find_update(struct stateful *s)
{
    struct history *h = &s->history;
    const struct val *template = val_get(s->spec, N_template);
    struct revision *same = history_of(h, template);
    if (!same)
        return history_make(h, history_data(s->w->arena, template), history_next_number(h));
    if (same != &h->items[h->n - 1])
        history_renumber(h, same, history_next_number(h));
    return same;
}

static void look_at_history(struct stateful *s, const struct selector *selector)
{
    const struct val *template = val_get(s->spec, N_template);
    history_load(&s->history, s->world, s->set, selector, s->w);
    s->update = find_update(s);
    s->current = history_find(&s->history, val_str(val_at(s->set->val, N_status, N_currentRevision)));
    if (!s->current)
        s->current = s->update;
    s->current_template =
        s->current == s->update ? template : history_template(&s->history, s->current) ?: template;
}

static bool is_live(void *arg, const struct revision *r)
{
    const struct stateful *s = arg;
    if (r == s->current || r == s->update)
        return true;
    for (size_t i = 0; i < s->pods.n; i++)
        if (str_eq(stateful_revision(s->pods.items[i]), r->name))
            return true;
    return false;
}

/* ---- who is where ------------------------------------------------------------------------------------ */

static bool is_member(const struct object *set, const struct object *pod)
{
    return stateful_ordinal(set, pod->name) >= 0;
}

static int highest_first(const void *pa, const void *pb)
{
    const struct place *a = pa, *b = pb;
    return (a->ordinal < b->ordinal) - (a->ordinal > b->ordinal);
}

static void put_pods(struct stateful *s)
{
    for (size_t i = 0; i < s->pods.n; i++) {
        const struct object *pod = s->pods.items[i];
        int64_t ordinal = stateful_ordinal(s->set, pod->name), at = ordinal - s->start;
        struct place p = {
            .pod = pod, .ordinal = ordinal, .name = pod->name, .revision = stateful_revision(pod)};
        if (at >= 0 && at < (int64_t)s->n_places)
            s->places[at] = p;
        else if (at < 0 || at >= s->wanted)
            s->condemned[s->n_condemned++] = p;
    }
    qsort(s->condemned, s->n_condemned, sizeof(*s->condemned), highest_first);
}

static size_t count_places(const struct stateful *s)
{
    int64_t last = -1;
    for (size_t i = 0; i < s->pods.n; i++) {
        int64_t at = stateful_ordinal(s->set, s->pods.items[i]->name) - s->start;
        if (at < s->wanted)
            last = MAX(last, at);
    }
    int64_t most = MIN(last + 1 + BURST, (int64_t)MAX_PLACES);
    return (size_t)MIN(s->wanted, most);
}

static void find_first_unavailable(struct stateful *s)
{
    for (size_t i = 0; i < s->n_places; i++)
        if (!is_available(s, s->places[i].pod)) {
            s->first_unavailable =
                s->places[i].pod; /* NULL: one that is not there is none of those too many */
            return;
        }
    for (size_t i = s->n_condemned; i-- > 0;)
        if (!is_available(s, s->condemned[i].pod)) {
            s->first_unavailable = s->condemned[i].pod;
            return;
        }
}

static void look_at_pods(struct stateful *s, const struct selector *selector)
{
    struct arena *a = s->w->arena;
    claim_members(s->world, &resources[RES_PODS], s->set, selector, is_member, s->w, &s->pods);
    s->n_places = count_places(s);
    s->places = ARENA_ARRAY(a, struct place, s->n_places);
    s->condemned = ARENA_ARRAY(a, struct place, s->pods.n);
    put_pods(s);
    for (size_t i = 0; i < s->n_places; i++)
        if (!s->places[i].pod) {
            s->places[i].ordinal = s->start + (int64_t)i;
            stateful_plan(s, &s->places[i]);
        }
    find_first_unavailable(s);
}

/* ---- wanted pods ------------------------------------------------------------------------------------- */

/* Returns whether those after it have to wait. */
static bool tend(struct stateful *s, const struct place *p)
{
    struct str going;
    if (!p->pod) {
        if (!claims_stale(s, p))
            stateful_make(s, p);
        return true;
    }
    if (pod_finished(p->pod->val)) { /* of whatever it died: a new one comes when it is gone */
        if (!obj_deleting(p->pod->val))
            stateful_delete(s, p);
        return true;
    }
    if (str_is(pod_phase(p->pod->val), "Pending"))
        claims_make(s, p, &going);
    if (s->ordered && !is_settled(s, p->pod)) {
        claims_mend_owners(s, p);
        return true;
    }
    stateful_mend(s, p);
    return false;
}

static bool tend_all(struct stateful *s)
{
    for (size_t i = 0; i < s->n_places; i++)
        if (tend(s, &s->places[i]) && s->ordered)
            return true;
    return false;
}

/* ---- pods too many ----------------------------------------------------------------------------------- */

/* Returns whether those after it have to wait. Of those that are not well only the first may go: what a set
 * loses is never more than it was told to give up. */
static bool dismiss(struct stateful *s, const struct place *p)
{
    if (obj_deleting(p->pod->val))
        return true;
    if (s->ordered && !is_settled(s, p->pod) && p->pod != s->first_unavailable)
        return true;
    stateful_delete(s, p);
    return true;
}

static bool dismiss_all(struct stateful *s)
{
    for (size_t i = 0; i < s->n_condemned; i++)
        claims_mend_owners(s, &s->condemned[i]);
    for (size_t i = 0; i < s->n_condemned; i++)
        if (dismiss(s, &s->condemned[i]) && s->ordered)
            return true;
    return false;
}

/* ---- updates ----------------------------------------------------------------------------------------- */

static void renew(struct stateful *s, const struct place *p)
{
    stateful_delete(s, p);
    s->updating++;
}

/* Old pods that are not available cost nothing: they go first, however many. Available ones as the budget
 * allows. */
static void renew_in_parallel(struct stateful *s, size_t partition, int64_t budget)
{
    for (size_t i = s->n_places; i-- > partition;)
        if (is_old(s, &s->places[i]) && !is_available(s, s->places[i].pod))
            renew(s, &s->places[i]);
    for (size_t i = s->n_places; i-- > partition && budget > 0;)
        if (is_old(s, &s->places[i]) && is_available(s, s->places[i].pod)) {
            renew(s, &s->places[i]);
            budget--;
        }
}

static void renew_in_order(struct stateful *s, size_t partition, int64_t budget)
{
    for (size_t i = s->n_places; i-- > partition && budget > 0;)
        if (is_old(s, &s->places[i])) {
            renew(s, &s->places[i]);
            budget--;
        }
}

static void roll(struct stateful *s)
{
    const struct val *strategy = val_get(s->spec, N_updateStrategy),
                     *rolling = val_get(strategy, N_rollingUpdate);
    if (!str_is(val_getstr(strategy, N_type), "RollingUpdate"))
        return;
    int64_t partition = val_int(val_get(rolling, N_partition), 0), unavailable = 0, old_unavailable = 0;
    int64_t max = MAX(intstr_scaled(val_get(rolling, N_maxUnavailable), s->wanted, false, 1), (int64_t)1);
    for (size_t i = 0; i < s->n_places; i++)
        if (!is_available(s, s->places[i].pod)) {
            unavailable++;
            old_unavailable += is_old(s, &s->places[i]);
        }
    if (unavailable >= max && (s->ordered || old_unavailable == 0))
        return;
    if (s->ordered)
        renew_in_order(s, (size_t)partition, max - unavailable);
    else
        renew_in_parallel(s, (size_t)partition, max - unavailable);
}

/* ---- status ------------------------------------------------------------------------------------------ */

struct counts {
    int64_t replicas, ready, available, current, updated;
};

static struct counts count(const struct stateful *s)
{
    struct counts n = {.current = -s->updating};
    for (size_t i = 0; i < s->pods.n; i++) {
        const struct object *pod = s->pods.items[i];
        bool ready = is_running_and_ready(pod);
        n.replicas++;
        n.ready += ready;
        n.available += ready && pod_available(pod->val, s->min_ready, s->now);
        if (obj_deleting(pod->val))
            continue;
        n.current += str_eq(stateful_revision(pod), s->current->name);
        n.updated += str_eq(stateful_revision(pod), s->update->name);
    }
    return n;
}

static void write_status(struct stateful *s)
{
    struct arena *a = s->w->arena;
    struct counts n = count(s);
    struct str current = s->current->name;
    if (n.updated == s->wanted && n.ready == s->wanted &&
        n.replicas == s->wanted) { /* the update is complete */
        n.current = n.updated;
        current = s->update->name;
    }
    struct val *status, *v = with_status(a, s->set, &status);
    val_set_ref(a, status, N_observedGeneration, val_get(s->set->meta, N_generation));
    set_count(a, status, N_replicas, n.replicas);
    set_count(a, status, N_readyReplicas, n.ready);
    set_count(a, status, N_availableReplicas, n.available);
    set_count(a, status, N_currentReplicas, MAX(n.current, (int64_t)0));
    set_count(a, status, N_updatedReplicas, n.updated);
    set_text(a, status, N_currentRevision, current);
    set_text(a, status, N_updateRevision, s->update->name);
    val_set_int(a, status, N_collisionCount, s->history.collisions);
    if (n.ready != n.available)
        writes_again(s->w, pods_next_available(&s->pods, s->min_ready, s->now)
                               ?: SECONDS(MAX(s->min_ready, (int64_t)1)));
    if (!val_equal(status, val_get(s->set->val, N_status)))
        writes_update_status(s->w, s->set->res, v);
}

/* ---- reconcile --------------------------------------------------------------------------------------- */

static void decide(struct stateful *s)
{
    if (obj_deleting(s->set->val))
        return;
    if (!tend_all(s) && !dismiss_all(s))
        roll(s);
    for (struct list *l; (l = list_pop_front(&s->with_claims.list));)
        list_push_back(&s->w->list, l);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    struct selector selector;
    struct stateful s = {.world = world,
                         .set = snapshot_get(world, &resources[RES_STATEFULSETS], key.ns, key.name),
                         .now = now,
                         .w = w};
    if (!s.set || owner_selector(w->arena, s.set, &selector) < 0)
        return 0;
    s.spec = val_get(s.set->val, N_spec);
    s.start = val_int(val_at(s.spec, N_ordinals, N_start), 0);
    s.wanted = val_int(val_get(s.spec, N_replicas), 1);
    s.min_ready = val_int(val_get(s.spec, N_minReadySeconds), 0);
    s.ordered = !str_is(val_getstr(s.spec, N_podManagementPolicy), "Parallel");
    s.with_claims = (struct writes){.arena = w->arena};
    list_init(&s.with_claims.list);
    look_at_history(&s, &selector);
    look_at_pods(&s, &selector);
    decide(&s);
    write_status(&s);
    history_truncate(&s.history, val_int(val_get(s.spec, N_revisionHistoryLimit), 10), is_live, &s);
    return 0;
}

static void refused(const struct snapshot *world, struct key key, const struct write *w,
                    const struct status *why, struct wall now, struct writes *ret)
{
    if (w->verb != WRITE_UPDATE_STATUS && w->res != &resources[RES_CONTROLLERREVISIONS] &&
        reconcile(world, key, now, ret) == 0)
        writes_keep_status(ret);
}

/* ---- keys -------------------------------------------------------------------------------------------- */

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    const struct object *o = new_ ? new_ : old;
    if (res == &resources[RES_STATEFULSETS])
        sink(arg, (struct key){o->namespace_, o->name});
    else if (res == &resources[RES_PERSISTENTVOLUMECLAIMS])
        keys_of_claim(world, old, new_, sink, arg);
    else if (res == &resources[RES_PODS] || old)
        keys_of_owners(world, &resources[RES_STATEFULSETS], old, new_, sink, arg);
}

const struct controller statefulset_controller = {
    .name = "statefulset-controller",
    .alias = "statefulset",
    .reads = (const uint16_t[]){RES_STATEFULSETS, RES_PODS, RES_PERSISTENTVOLUMECLAIMS,
                                RES_CONTROLLERREVISIONS, 0},
    .workers = 5,
    .keys_of = keys_of,
    .reconcile = reconcile,
    .refused = refused,
};
