/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/conversion.h"

#include "apiserver/admit_review.h"
#include "apiserver/custom-internal.h"
#include "apiserver/state.h"
#include "apiserver/uuid.h"
#include "apiserver/webhook.h"
#include "auth/crypto.h"
#include "names.h"
#include "type/meta.h"
#include "type/structural.h"
#include "types.h"
#include "wire/json.h"

enum { REMEMBERED_MAX = 32 << 20, ANSWER_MAX = 256 << 20 };

/* ---- the review ----------------------------------------------------------------------------------------- */

struct str conversion_review_text(struct arena *a, struct str version, struct str uid, struct str desired, const struct str *objects,
                                  size_t n)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_printf(&b, "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/" STR_FMT "\",\"request\":{\"uid\":\"" STR_FMT
                   "\",\"desiredAPIVersion\":", STR_ARG(version), STR_ARG(uid));
    json_encode_str(&b, desired, 0);
    buf_puts(&b, ",\"objects\":[");
    for (size_t i = 0; i < n; i++) {
        buf_puts(&b, i ? "," : "");
        buf_putstr(&b, objects[i]);
    }
    buf_puts(&b, "]}}");
    return arena_str(a, buf_str(&b));
}

int conversion_review_read(struct arena *a, struct str version, struct str uid, struct str text, size_t n, struct val **ret,
                           struct err *e)
{
    struct val *v = NULL;
    int r = json_decode(a, NULL, text, 0, NULL, &v, e);
    if (r < 0)
        return r;
    const struct val *response = val_key(v, STR("response")), *result = val_key(response, STR("result"));
    struct str api = val_str(val_key(v, STR("apiVersion"))), kind = val_str(val_key(v, STR("kind")));
    struct str status = val_str(val_key(result, STR("status"))), message = val_str(val_key(result, STR("message")));
    bool v1 = str_is(version, "v1");
    if (v1 && (!str_is(api, "apiextensions.k8s.io/v1") || !str_is(kind, "ConversionReview")))
        return err_set(e, -EINVAL, "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got " STR_FMT ", Kind=" STR_FMT,
                       STR_ARG(api), STR_ARG(kind));
    if (!val_is(response, VAL_MAP))
        return err_set(e, -EINVAL, "no response provided");
    if (v1 && !str_eq(val_str(val_key(response, STR("uid"))), uid))
        return err_set(e, -EINVAL, "expected response.uid=\"" STR_FMT "\", got \"" STR_FMT "\"", STR_ARG(uid),
                       STR_ARG(val_str(val_key(response, STR("uid")))));
    if (!str_is(status, "Success") && message.n)
        return err_set(e, -EINVAL, STR_FMT, STR_ARG(message));
    if (!str_is(status, "Success"))
        return err_set(e, -EINVAL, "response.result.status was '" STR_FMT "', not 'Success'", STR_ARG(status));
    const struct val *list = val_key(response, STR("convertedObjects"));
    if (val_len(list) != n)
        return err_set(e, -EINVAL, "returned %zu objects, expected %zu", val_len(list), n);
    *ret = (struct val *)(uintptr_t)list;
    return 0;
}

/* ---- what is remembered --------------------------------------------------------------------------------- */

/* Of one kind. */
struct conversions {
    struct map texts; /* by key: the object as JSON, malloc'd */
    size_t bytes;
};

void conversions_free(struct conversions *c)
{
    if (c)
        map_done_with(&c->texts, free);
    free(c);
}

static struct custom_kind *kind_of(const struct resource *r)
{
    const struct custom_version *v = custom_version(r);
    return v ? v->kind : NULL;
}

static const struct val *config_of(const struct resource *r)
{
    const struct custom_kind *k = kind_of(r);
    const struct val *c = k && k->definition ? val_at(k->definition->val, N_spec, N_conversion) : NULL;
    return str_is(val_getstr(c, N_strategy), "Webhook") ? val_get(c, N_webhook) : NULL;
}

bool conversion_by_webhook(const struct resource *r)
{
    return config_of(r) != NULL;
}

static struct str version_of(struct arena *a, const struct resource *r)
{
    char buf[512];
    return arena_str(a, str_of(resource_api_version(r, buf, sizeof(buf))));
}

bool conversion_needed(const struct resource *r, const struct val *v)
{
    char buf[512];
    return v && conversion_by_webhook(r) && !str_is(val_getstr(v, N_apiVersion), resource_api_version(r, buf, sizeof(buf)));
}

/* A hash of what a webhook goes by, and of the version it is to become. named: also of what the server may fill in. */
static struct str hash_of(struct arena *a, const struct resource *to, const struct val *v, bool named)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    char hex[65];
    struct val copy = *v, meta = {.kind = VAL_OBJ};
    const struct val *had = obj_meta(v);
    static const name_id counts[] = {N_labels, N_annotations, N_name, N_namespace};
    struct val *root = val_copy_shallow(a, &copy);
    for (size_t i = 0; i < (named ? 4 : 2); i++)
        if (val_get(had, counts[i]))
            val_set(a, &meta, counts[i], *val_get(had, counts[i]));
    val_set(a, root, N_metadata, meta);
    buf_printf(&b, "%s ", to->version);
    json_encode(&b, to->type, root, 0);
    return arena_str(a, str_of(sha256_hex(buf_str(&b), hex)));
}

static struct str key_of(struct arena *a, const struct resource *to, const struct val *v)
{
    return hash_of(a, to, v, true);
}

static struct conversions *conversions_of(const struct resource *r)
{
    struct custom_kind *k = kind_of(r);
    if (!k->conversions)
        k->conversions = NEW(struct conversions);
    return k->conversions;
}

static void remember(struct conversions *c, struct str key, struct str text)
{
    if (map_has(&c->texts, key))
        return;
    c->bytes += text.n;
    map_put(&c->texts, key, str_dup(text));
}

/* ---- one answer ----------------------------------------------------------------------------------------- */

/* Labels and annotations alone may change of the metadata: the rest is put back. */
static int restore_meta(struct arena *a, struct val *got, const struct val *from, struct err *e)
{
    static const char *const names[] = {"labels", "annotations"};
    const struct val *meta = val_key(got, STR("metadata"));
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *kept = NULL;
    if (!val_is(meta, VAL_MAP))
        return err_set(e, -EINVAL, "missing metadata in converted object");
    json_encode(&b, &types[T_meta_v1_ObjectMeta], obj_meta(from), 0);
    int r = json_decode(a, NULL, arena_str(a, buf_str(&b)), 0, NULL, &kept, e);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++) {
        const struct val *m = val_key(meta, str_of(names[i]));
        if (m && m->kind != VAL_NULL && m->kind != VAL_MAP)
            return err_set(e, -EINVAL, "invalid metadata.%s in converted object", names[i]);
        VAL_EACH_ENTRY (m, k, v)
            if (!val_is(v, VAL_STR))
                return err_set(e, -EINVAL, "metadata.%s[" STR_FMT "] must be a string", names[i], STR_ARG(val_str(k)));
        if (val_len(m))
            val_put(a, kept, str_of(names[i]), *m);
        else
            val_unput(kept, str_of(names[i]));
    }
    if (r == 0)
        val_put(a, got, STR("metadata"), *kept);
    return r;
}

static int check_same(const struct val *got, const struct val *from, struct str api_version, struct err *e)
{
    static const struct {
        const char *json, *name;
        name_id id;
    } same[] = {{"name", "name", N_name}, {"namespace", "namespace", N_namespace}, {"uid", "UID", N_uid}};
    struct str version = val_str(val_key(got, STR("apiVersion"))), kind = val_str(val_key(got, STR("kind")));
    const struct val *meta = val_key(got, STR("metadata"));
    if (!str_eq(version, api_version))
        return err_set(e, -EINVAL, "invalid groupVersion (expected " STR_FMT ", received " STR_FMT ")", STR_ARG(api_version), STR_ARG(version));
    if (!str_eq(kind, val_getstr(from, N_kind)))
        return err_set(e, -EINVAL, "invalid kind (expected " STR_FMT ", received " STR_FMT ")", STR_ARG(val_getstr(from, N_kind)), STR_ARG(kind));
    for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
        struct str was = val_getstr(obj_meta(from), same[i].id), is = val_str(val_key(meta, str_of(same[i].json)));
        if (!str_eq(was, is))
            return err_set(e, -EINVAL, "must have the same %s: " STR_FMT " != " STR_FMT, same[i].name, STR_ARG(was), STR_ARG(is));
    }
    return 0;
}

/* ---- the call ------------------------------------------------------------------------------------------- */

struct conversion {
    const struct resource *to;
    const struct val **v; /* those that have to be asked about */
    struct str *keys;
    size_t n;
    struct str api_version;
};

static int failed(struct request *r, const struct conversion *c, const char *what)
{
    return status_internal(&r->status, "conversion webhook for " STR_FMT ", Kind=" STR_FMT " %s", STR_ARG(val_getstr(c->v[0], N_apiVersion)),
                           STR_ARG(val_getstr(c->v[0], N_kind)), what);
}

static int take_objects(struct request *r, const struct conversion *c, const struct val *objects)
{
    struct conversions *memory = conversions_of(c->to);
    struct arena *a = r->arena;
    struct err e = {0};
    if (memory->bytes > REMEMBERED_MAX) {
        map_done_with(&memory->texts, free);
        *memory = (struct conversions){.bytes = 0};
    }
    for (size_t i = 0; i < c->n; i++) {
        struct val *got = val_copy(a, val_item(objects, i));
        struct buf b CLEANUP_BUF = BUF_INIT;
        if (!val_is(got, VAL_MAP) || check_same(got, c->v[i], c->api_version, &e) < 0 || restore_meta(a, got, c->v[i], &e) < 0)
            return failed(r, c, arena_printf(a, "returned invalid converted object at index %zu: %s", i, *e.text ? e.text : "no object").p);
        json_encode(&b, NULL, got, 0);
        remember(memory, c->keys[i], buf_str(&b));
    }
    return 0;
}

static int ask(struct request *r, const struct conversion *c)
{
    struct arena *a = r->arena;
    struct custom_kind *k = kind_of(c->to);
    struct object *definition = object_ref(k->definition); /* its configuration is needed while we wait */
    const struct val *hook = config_of(c->to), *objects;
    struct str version = review_version(val_get(hook, N_conversionReviewVersions)), *texts = ARENA_ARRAY(a, struct str, c->n), text;
    char uid[UUID_TEXT];
    struct val *list = NULL;
    struct err e = {0};
    uuid_new(uid);
    for (size_t i = 0; i < c->n; i++) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        json_encode(&b, c->to->type, c->v[i], 0);
        texts[i] = arena_str(a, buf_str(&b));
    }
    struct webhook_call call = {.config = val_get(hook, N_clientConfig), .max_answer = ANSWER_MAX,
                                .body = conversion_review_text(a, version, str_of(uid), c->api_version, texts, c->n)};
    int x = version.n ? webhook_post(r->server, &call, a, &text, &e) : err_set(&e, -EINVAL, "no supported conversion review versions");
    if (x == 0)
        x = conversion_review_read(a, version, str_of(uid), text, c->n, &list, &e);
    objects = list;
    object_unref(definition);
    if (x < 0)
        return failed(r, c, arena_printf(a, "failed: %s", err_text(&e, x)).p);
    return take_objects(r, c, objects);
}

int conversion_ahead(struct request *r, const struct resource *to, const struct val *const *v, size_t n)
{
    struct arena *a = r->arena;
    struct conversion c = {.to = to};
    if (!conversion_by_webhook(to))
        return 0;
    c.api_version = version_of(a, to);
    c.v = ARENA_ARRAY(a, const struct val *, n);
    c.keys = ARENA_ARRAY(a, struct str, n);
    for (size_t i = 0; i < n; i++) {
        if (!v[i] || str_eq(val_getstr(v[i], N_apiVersion), c.api_version))
            continue;
        struct str key = key_of(a, to, v[i]);
        if (map_has(&conversions_of(to)->texts, key))
            continue;
        c.v[c.n] = v[i];
        c.keys[c.n++] = key;
    }
    return c.n ? ask(r, &c) : 0;
}

/* ---- what came of it ------------------------------------------------------------------------------------ */

static struct val *bare(struct arena *a, const struct resource *to, const struct val *v)
{
    struct val *out = val_new(a, VAL_MAP);
    val_put_str(a, out, STR("apiVersion"), version_of(a, to));
    val_put_str(a, out, STR("kind"), str_of(to->kind));
    val_put(a, out, STR("metadata"), *obj_meta(v));
    return out;
}

struct val *conversion_take(struct arena *a, const struct resource *to, const struct val *v)
{
    const char *text = map_get(&conversions_of(to)->texts, key_of(a, to, v));
    struct val *out = NULL;
    if (!text || json_decode(a, to->type, arena_str(a, str_of(text)), 0, NULL, &out, NULL) < 0)
        return bare(a, to, v);
    /* Metadata is the object's own: what was remembered may be of another moment. */
    struct val meta = *val_copy(a, obj_meta(v));
    static const name_id changed[] = {N_labels, N_annotations};
    for (size_t i = 0; i < ARRAY_SIZE(changed); i++)
        val_set_ref(a, &meta, changed[i], val_get(obj_meta(out), changed[i]));
    val_set(a, out, N_metadata, meta);
    structural_prune(a, type_schema(to->type), out, true, NULL);
    structural_default(a, type_schema(to->type), out);
    return out;
}

int conversion_from_stored(struct request *r, const struct resource *to, const struct val *v, const struct val **ret)
{
    int e = conversion_ahead(r, to, &v, 1);
    if (!e)
        *ret = convert_from_stored(r->arena, to, v);
    return e;
}

int conversion_to_stored(struct request *r, const struct resource *from, struct val *v, struct val **ret)
{
    const struct val *in = v;
    int e = conversion_ahead(r, stored_resource(from), &in, 1);
    if (!e)
        *ret = convert_to_stored(r->arena, from, v);
    return e;
}

int conversion_of_body(struct request *r, struct val *v, struct val **ret)
{
    r->sent = NULL;
    int e = conversion_to_stored(r, r->res, v, ret);
    if (!e && *ret != v && conversion_by_webhook(r->res)) {
        r->sent = val_copy(r->arena, v);
        r->sent_key = hash_of(r->arena, r->res, *ret, false);
    }
    return e;
}

const struct val *conversion_as_sent(struct request *r, const struct val *v)
{
    if (!r->sent || !v || !str_eq(hash_of(r->arena, r->res, v, false), r->sent_key))
        return NULL;
    struct val *out = val_copy_shallow(r->arena, r->sent), meta = *val_copy(r->arena, obj_meta(v));
    static const name_id changed[] = {N_labels, N_annotations};
    for (size_t i = 0; i < ARRAY_SIZE(changed); i++)
        val_set_ref(r->arena, &meta, changed[i], val_get(obj_meta(r->sent), changed[i]));
    val_set(r->arena, out, N_metadata, meta);
    return out;
}

int conversion_of_answer(struct request *r)
{
    const struct answer *x = &r->answer;
    if (!r->res || r->form == FORM_PARTIAL || !conversion_by_webhook(r->res))
        return 0;
    if (x->kind == ANSWER_OBJECT)
        return conversion_ahead(r, r->res, &x->object->val, 1);
    if (x->kind != ANSWER_LIST)
        return 0;
    const struct val **v = ARENA_ARRAY(r->arena, const struct val *, x->n_items);
    for (size_t i = 0; i < x->n_items; i++)
        v[i] = x->items[i]->val;
    return conversion_ahead(r, r->res, v, x->n_items);
}
