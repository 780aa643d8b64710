/* SPDX-License-Identifier: Apache-2.0 */
/* A request as configured admission sees it; rules and selectors. */
#include "apiserver/dynamic.h"

#include "apiserver/audit.h"
#include "apiserver/auth.h"
#include "apiserver/conversion.h"
#include "apiserver/custom.h"
#include "apiserver/state.h"
#include "apiserver/verbs.h"
#include "apiserver/write.h"
#include "names.h"
#include "resources.h"
#include "type/defaults.h"
#include "type/meta.h"
#include "types.h"
#include "wire/json.h"

/* ---- the request ---------------------------------------------------------------------------------------- */

static const char *op_name(enum admit_op op)
{
    return op == ADMIT_CREATE ? "CREATE" : op == ADMIT_UPDATE ? "UPDATE" : op == ADMIT_DELETE ? "DELETE" : "CONNECT";
}

void subject_init(struct subject *s, struct admission *a)
{
    const struct request *r = a->r;
    bool made = a->op == ADMIT_CREATE && !a->body && r->name_made; /* the name is not the client's */
    *s = (struct subject){.a = a, .res = r->res, .sub = a->sub ? str_of(a->sub) : STR(""), .ns = a->ns, .op = op_name(a->op),
                          .name = made ? STR("") : a->name};
    if (a->res->index == RES_NAMESPACES)
        s->ns = a->name;
}

/* The objects of a scale are views of others. */
static bool is_scale(const struct admission *a)
{
    return a->sub && strcmp(a->sub, "scale") == 0;
}

static int face_fill(struct subject *s, struct face *f)
{
    struct admission *a = s->a;
    struct arena *m = a->r->arena;
    const struct val *v = a->op == ADMIT_DELETE ? NULL : a->v;
    if (a->body) {
        *f = (struct face){f->res, a->body->type, a->body->group, a->body->version, a->body->kind, v, a->old};
        return 0;
    }
    if (is_scale(a)) {
        *f = (struct face){f->res, &types[T_autoscaling_v1_Scale], "autoscaling", "v1", "Scale",
                           v ? scale_view(a->r, v) : NULL, a->old ? scale_view(a->r, a->old) : NULL};
        return 0;
    }
    const struct val *both[] = {v, a->old};
    int e = conversion_ahead(a->r, f->res, both, 2);
    if (e)
        return e;
    f->now = v ? convert_from_stored(m, f->res, v) : NULL;
    f->old = a->old ? convert_from_stored(m, f->res, a->old) : NULL;
    return 0;
}

int subject_face(struct subject *s, const struct resource *res, struct face **ret)
{
    for (unsigned i = 0; i < s->n_faces; i++)
        if (s->faces[i]->res == res) {
            *ret = s->faces[i];
            return 0;
        }
    struct face *f = ARENA_NEW(s->a->r->arena, struct face);
    *f = (struct face){res, res->type, res->group, res->version, res->kind, NULL, NULL};
    int e = face_fill(s, f);
    if (e)
        return e;
    if (s->n_faces < ARRAY_SIZE(s->faces))
        s->faces[s->n_faces++] = f;
    *ret = f;
    return 0;
}

int subject_changed(struct subject *s, struct face *f)
{
    struct admission *a = s->a;
    struct arena *m = a->r->arena;
    if (a->body) {
        *a->v = *val_copy_shallow(m, f->now);
    } else if (is_scale(a)) {
        scale_store(a->r, a->v, f->now);
    } else {
        struct val *v = NULL;
        int e = conversion_to_stored(a->r, f->res, val_copy(m, f->now), &v);
        if (e)
            return e;
        name_id name = a->v->name;
        *a->v = *v;
        a->v->name = name;
    }
    s->n_faces = 1;
    s->faces[0] = f;
    return 0;
}

const struct user *subject_user(const struct subject *s)
{
    static const struct str masters[] = {{"system:masters", 14}, {"system:authenticated", 20}};
    static const struct user own = {.name = {"system:apiserver", 16}, .groups = masters, .n_groups = 2};
    const struct request *r = s->a->r;
    return r->trusted && !r->user.name.n ? &own : &r->user;
}

static struct val *kind_val(struct arena *m, const char *group, const char *version, name_id what, const char *name)
{
    struct val *v = val_new(m, VAL_OBJ);
    val_set_str(m, v, N_group, str_of(group));
    val_set_str(m, v, N_version, str_of(version));
    val_set_str(m, v, what, str_of(name));
    return v;
}

static void put_nonempty(struct arena *m, struct val *v, const char *key, struct str s)
{
    if (s.n)
        val_put_str(m, v, str_of(key), s);
}

static void put_dry_run(struct arena *m, struct val *v, bool dry_run)
{
    if (dry_run)
        val_add_str(m, val_put(m, v, STR("dryRun"), *val_new(m, VAL_LIST)), STR("All"));
}

static void deletion_options(struct arena *m, struct val *v, const struct delete_options *o)
{
    if (o->grace >= 0)
        val_put(m, v, STR("gracePeriodSeconds"), val_of_int(o->grace));
    if (o->uid.n || o->resource_version.n) {
        struct val *p = val_put(m, v, STR("preconditions"), *val_new(m, VAL_MAP));
        put_nonempty(m, p, "uid", o->uid);
        put_nonempty(m, p, "resourceVersion", o->resource_version);
    }
    if (o->orphan >= 0)
        val_put(m, v, STR("orphanDependents"), val_of_bool(o->orphan));
    put_nonempty(m, v, "propagationPolicy", o->propagation);
}

/* Options as the client gave them; a patch has those of what it becomes. NULL: none. */
static struct val *options_val(struct subject *s)
{
    struct admission *a = s->a;
    struct arena *m = a->r->arena;
    const struct request_options *o = &a->r->opt;
    if (a->op == ADMIT_CONNECT)
        return NULL;
    struct val *v = val_new(m, VAL_MAP);
    val_put_str(m, v, STR("kind"), a->op == ADMIT_CREATE ? STR("CreateOptions") : a->op == ADMIT_UPDATE ? STR("UpdateOptions") : STR("DeleteOptions"));
    val_put_str(m, v, STR("apiVersion"), STR("meta.k8s.io/v1"));
    if (a->op == ADMIT_DELETE && a->deletion)
        deletion_options(m, v, a->deletion);
    put_dry_run(m, v, a->dry_run);
    if (a->op != ADMIT_DELETE) {
        put_nonempty(m, v, "fieldManager", o->field_manager);
        put_nonempty(m, v, "fieldValidation", o->field_validation);
    }
    return v;
}

static void set_raw(struct arena *m, struct val *v, name_id name, const struct type *t, const struct val *value)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (value)
        json_encode(&b, t, value, 0);
    else
        buf_puts(&b, "null");
    struct str text = arena_str(m, buf_str(&b));
    val_set(m, v, name, (struct val){.kind = VAL_RAW, .n = (uint32_t)text.n, .s = text.p});
}

static void set_nonempty(struct arena *m, struct val *v, name_id name, struct str s)
{
    if (s.n)
        val_set_str(m, v, name, s);
}

static void request_kind(struct subject *s, struct face *ret)
{
    *ret = (struct face){s->res, s->res->type, s->res->group, s->res->version, s->res->kind, NULL, NULL};
    if (s->a->body)
        *ret = (struct face){s->res, NULL, s->a->body->group, s->a->body->version, s->a->body->kind, NULL, NULL};
    else if (is_scale(s->a))
        *ret = (struct face){s->res, NULL, "autoscaling", "v1", "Scale", NULL, NULL};
}

struct val *subject_request(struct subject *s, const struct face *f, bool texts)
{
    struct arena *m = s->a->r->arena;
    struct val *v = val_new(m, VAL_OBJ);
    struct face asked;
    request_kind(s, &asked);
    val_set_ref(m, v, N_kind, kind_val(m, f->group, f->version, N_kind, f->kind));
    val_set_ref(m, v, N_resource, kind_val(m, f->res->group, f->res->version, N_resource, f->res->name));
    set_nonempty(m, v, N_subResource, s->sub);
    val_set_ref(m, v, N_requestKind, kind_val(m, asked.group, asked.version, N_kind, asked.kind));
    val_set_ref(m, v, N_requestResource, kind_val(m, s->res->group, s->res->version, N_resource, s->res->name));
    set_nonempty(m, v, N_requestSubResource, s->sub);
    set_nonempty(m, v, N_name, s->name);
    set_nonempty(m, v, N_namespace, s->ns);
    val_set_str(m, v, N_operation, str_of(s->op));
    val_set_ref(m, v, N_userInfo, user_to_val(m, subject_user(s)));
    struct val *options = options_val(s);
    if (texts) {
        set_raw(m, v, N_object, f->type, f->now);
        set_raw(m, v, N_oldObject, f->type, f->old);
        set_raw(m, v, N_options, NULL, options);
    } else if (options) {
        val_set_ref(m, v, N_options, options);
    }
    val_set_bool(m, v, N_dryRun, s->a->dry_run);
    return v;
}

const struct val *subject_namespace(struct subject *s)
{
    if (!s->ns.n || s->a->res->index == RES_NAMESPACES)
        return NULL;
    const struct object *o = request_hold(s->a->r, cache_get(state_kind(s->a->r->server, RES_NAMESPACES), STR(""), s->ns));
    return o ? o->val : NULL;
}

/* ---- rules ---------------------------------------------------------------------------------------------- */

static bool listed(const struct val *list, struct str s)
{
    VAL_EACH (list, v)
        if (str_is(val_str(v), "*") || str_eq(val_str(v), s))
            return true;
    return false;
}

/* A namespace is cluster-wide, although requests for it are in the namespace of its name. */
static bool scope_fits(const struct subject *s, struct str scope)
{
    bool inside = s->ns.n && s->a->res->index != RES_NAMESPACES;
    return !scope.n || str_is(scope, "*") || (str_is(scope, "Namespaced") ? inside : str_is(scope, "Cluster") && !inside);
}

static bool resource_fits(const struct subject *s, const struct resource *as, const struct val *list)
{
    VAL_EACH (list, v) {
        struct str res, sub;
        str_cut(val_str(v), '/', &res, &sub);
        if ((str_is(res, "*") || str_is(res, as->name)) && (str_is(sub, "*") || str_eq(sub, s->sub)))
            return true;
    }
    return false;
}

static bool names_fit(const struct subject *s, const struct val *names)
{
    if (!val_len(names))
        return true;
    VAL_EACH (names, v)
        if (str_eq(val_str(v), s->name))
            return true;
    return false;
}

static bool rule_fits(const struct subject *s, const struct resource *as, const struct val *rule)
{
    return scope_fits(s, val_getstr(rule, N_scope)) && listed(val_get(rule, N_operations), str_of(s->op)) &&
           listed(val_get(rule, N_apiGroups), str_of(as->group)) && listed(val_get(rule, N_apiVersions), str_of(as->version)) &&
           resource_fits(s, as, val_get(rule, N_resources)) && names_fit(s, val_get(rule, N_resourceNames));
}

const struct resource *subject_match_rules(struct subject *s, const struct val *rules, bool equivalent)
{
    VAL_EACH (rules, rule)
        if (rule_fits(s, s->res, rule))
            return s->res;
    if (!equivalent)
        return NULL;
    if (!s->same)
        s->same = served_versions(s->a->r->arena, s->res, &s->n_same);
    VAL_EACH (rules, rule)
        for (size_t i = 0; i < s->n_same; i++)
            if (s->same[i] != s->res && rule_fits(s, s->same[i], rule))
                return s->same[i];
    return NULL;
}

/* ---- selectors ------------------------------------------------------------------------------------------ */

static void parse_selector(struct arena *a, const struct val *v, struct selector *ret, bool *ret_any, struct str *fault)
{
    struct err e = {0};
    *ret_any = !val_len(val_get(v, N_matchLabels)) && !val_len(val_get(v, N_matchExpressions));
    if (!*ret_any && selector_from_val(a, v, ret, &e) < 0)
        *fault = arena_str(a, str_of(e.text));
}

void admit_selectors_parse(struct arena *a, const struct val *v, struct admit_selectors *ret)
{
    *ret = (struct admit_selectors){.any_ns = false};
    parse_selector(a, val_get(v, N_namespaceSelector), &ret->ns, &ret->any_ns, &ret->fault);
    parse_selector(a, val_get(v, N_objectSelector), &ret->object, &ret->any_object, &ret->fault);
}

static bool object_matches(const struct selector *sel, const struct val *v)
{
    return v && obj_meta(v) && selector_matches(sel, obj_labels(v));
}

/* Labels of the namespace: of one that is being written, as it will be. */
static int namespace_matches(struct subject *s, const struct selector *sel, bool *ret)
{
    struct admission *a = s->a;
    bool own = a->res->index == RES_NAMESPACES;
    *ret = true;
    if (!s->ns.n && !own)
        return 0;
    if (own && !a->sub && (a->op == ADMIT_CREATE || a->op == ADMIT_UPDATE)) {
        *ret = selector_matches(sel, obj_labels(a->v));
        return 0;
    }
    const struct object *ns = cache_get(state_kind(a->r->server, RES_NAMESPACES), STR(""), s->ns);
    if (!ns)
        return status_not_found(&a->r->status, &resources[RES_NAMESPACES], s->ns);
    *ret = selector_matches(sel, obj_labels(ns->val));
    return 0;
}

int subject_match_selectors(struct subject *s, const struct admit_selectors *x, bool *ret)
{
    struct admission *a = s->a;
    int e = 0;
    *ret = true;
    if (x->fault.n)
        return status_internal(&a->r->status, STR_FMT, STR_ARG(x->fault));
    if (!x->any_ns)
        e = namespace_matches(s, &x->ns, ret);
    if (!*ret)
        return 0;
    if (!x->any_object && !object_matches(&x->object, a->op == ADMIT_DELETE ? NULL : a->v) && !object_matches(&x->object, a->old)) {
        *ret = false;
        return 0;
    }
    return e;
}

/* ---- small ---------------------------------------------------------------------------------------------- */

bool admit_exempt(const struct admission *a, bool hooks)
{
    static const uint16_t kinds[] = {RES_VALIDATINGADMISSIONPOLICIES, RES_VALIDATINGADMISSIONPOLICYBINDINGS,
                                     RES_MUTATINGADMISSIONPOLICIES, RES_MUTATINGADMISSIONPOLICYBINDINGS,
                                     RES_VALIDATINGWEBHOOKCONFIGURATIONS, RES_MUTATINGWEBHOOKCONFIGURATIONS};
    for (size_t i = 0; i < (hooks ? 6 : 4); i++)
        if (a->res->index == kinds[i])
            return true;
    return a->r->trusted && !a->r->server->ready; /* what the server needs to come up */
}

/* ---- running twice -------------------------------------------------------------------------------------- */

struct admit_rerun_source *admit_rerun_begin(struct admission *a, struct admit_rerun_source *x, enum admit_source source)
{
    if (!x->looked)
        x->list = admit_list_get(a->r->server, source);
    x->looked = true;
    if (!x->list)
        return NULL;
    if (a->rerun->second && !val_same(x->last, a->v)) /* others changed it since */
        admit_rerun_all(a, x);
    return x;
}

void admit_rerun_all(struct admission *a, struct admit_rerun_source *x)
{
    MAP_EACH (&x->may, e)
        map_put(&x->shall, e->key, a);
    map_done(&x->may);
    x->may = MAP_INIT;
}

void admit_rerun_done(struct admit_rerun *x)
{
    struct admit_rerun_source *both[] = {&x->hooks, &x->policies};
    for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
        admit_list_unref(both[i]->list);
        map_done(&both[i]->may);
        map_done(&both[i]->shall);
    }
}
