/* SPDX-License-Identifier: Apache-2.0 */
/* Objects, lists and watch events as text or protobuf, in the form the client asked for. YAML and indented
 * JSON are made from the JSON text at the end (answer.c). */
#include "apiserver/conversion.h"
#include "apiserver/request.h"

#include "names.h"
#include "type/meta.h"
#include "types.h"
#include "wire/json.h"
#include "wire/proto.h"

#define META_VERSION "meta.k8s.io/v1"

static struct val without_kind(const struct val *v)
{
    struct val item = *v;
    while (item.n && (item.items[0].name == N_kind || item.items[0].name == N_apiVersion)) {
        item.items++;
        item.n--;
    }
    item.name = 0;
    return item;
}

static bool is_as_asked(const struct request *r, const struct object *o)
{
    return o->res == r->res && !conversion_needed(r->res, o->val);
}

struct val answer_item(struct request *r, const struct object *o, bool in_list)
{
    const struct val *v = o->val;
    if (r->res && !is_as_asked(r, o) && converts_to(o->res, r->res))
        v = convert_from_stored(r->arena, r->res, v);
    return in_list ? without_kind(v) : *v;
}

/* ---- metadata only ----------------------------------------------------------------------------------- */

static void partial_json(struct buf *b, const struct val *meta)
{
    buf_puts(b, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"" META_VERSION "\",\"metadata\":");
    json_encode(b, &types[T_meta_v1_ObjectMeta], meta, 0);
    buf_putc(b, '}');
}

static void proto_varint(struct buf *b, uint64_t n)
{
    for (; n > 127; n >>= 7)
        buf_putc(b, (char)(n | 128));
    buf_putc(b, (char)n);
}

static void proto_field(struct buf *b, unsigned number, struct str bytes)
{
    proto_varint(b, number << 3 | 2);
    proto_varint(b, bytes.n);
    buf_putstr(b, bytes);
}

static void partial_message(struct buf *b, const struct val *meta)
{
    CLEANUP_BUF struct buf m = BUF_INIT;
    proto_encode(&m, &types[T_meta_v1_ObjectMeta], meta);
    proto_field(b, 1, buf_str(&m));
}

static void partial_proto(struct buf *b, const struct val *meta)
{
    CLEANUP_BUF struct buf m = BUF_INIT;
    partial_message(&m, meta);
    proto_encode_envelope(b, STR(META_VERSION), STR("PartialObjectMetadata"), buf_str(&m));
}

/* ---- one object -------------------------------------------------------------------------------------- */

static void object_table(struct request *r, struct buf *b, const struct object *o, bool columns)
{
    table_encode(r, b,
                 &(struct table){.res = r->res,
                                 .items = &o,
                                 .n = 1,
                                 .columns = columns,
                                 .include = r->include,
                                 .resource_version = val_getstr(o->meta, N_resourceVersion)});
}

static void object_plain(struct request *r, struct buf *b, const struct object *o)
{
    if (!r->res || is_as_asked(r, o)) {
        object_encode(o, r->media == MEDIA_PROTO ? ENC_PROTO : ENC_JSON, b);
        return;
    }
    struct val v = answer_item(r, o, false);
    encode_value(r, b, converts_to(o->res, r->res) ? r->res->type : o->res->type, &v);
}

static void encode_object_form(struct request *r, struct buf *b, const struct object *o, bool columns)
{
    if (r->form == FORM_TABLE)
        object_table(r, b, o, columns);
    else if (r->form == FORM_PARTIAL && r->media == MEDIA_PROTO)
        partial_proto(b, o->meta);
    else if (r->form == FORM_PARTIAL)
        partial_json(b, o->meta);
    else
        object_plain(r, b, o);
}

void encode_object(struct request *r, struct buf *b, const struct object *o)
{
    encode_object_form(r, b, o, true);
}

void encode_value(struct request *r, struct buf *b, const struct type *t, const struct val *v)
{
    if (r->media == MEDIA_PROTO)
        proto_encode_object(b, t, v);
    else
        json_encode(b, t, v, 0);
}

/* ---- lists ------------------------------------------------------------------------------------------- */

static struct val *list_meta(struct request *r)
{
    const struct answer *a = &r->answer;
    struct val *m = val_new(r->arena, VAL_OBJ);
    val_set_str(r->arena, m, N_resourceVersion, arena_printf(r->arena, "%lld", (long long)a->revision));
    if (a->continue_token.n)
        val_set_str(r->arena, m, N_continue, a->continue_token);
    if (a->remaining)
        val_set_int(r->arena, m, N_remainingItemCount, a->remaining);
    return m;
}

struct val *answer_list_val(struct request *r)
{
    const struct answer *a = &r->answer;
    struct val *list = val_new(r->arena, VAL_OBJ);
    char version[128];
    val_set_str(r->arena, list, N_kind, str_of(r->res->list_kind));
    val_set_str(r->arena, list, N_apiVersion, str_of(resource_api_version(r->res, version, sizeof(version))));
    val_set_ref(r->arena, list, N_metadata, list_meta(r));
    struct val *items = val_set_ref(r->arena, list, N_items, val_new(r->arena, VAL_LIST));
    items->items = ARENA_ARRAY(r->arena, struct val, a->n_items);
    items->n = (uint32_t)a->n_items;
    for (size_t i = 0; i < a->n_items; i++)
        items->items[i] = answer_item(r, a->items[i], true);
    return list;
}

static void list_partial_json(struct request *r, struct buf *b)
{
    buf_puts(b, "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"" META_VERSION "\",\"metadata\":");
    json_encode(b, &types[T_meta_v1_ListMeta], list_meta(r), 0);
    buf_puts(b, ",\"items\":[");
    for (size_t i = 0; i < r->answer.n_items; i++) {
        if (i)
            buf_putc(b, ',');
        partial_json(b, r->answer.items[i]->meta);
    }
    buf_puts(b, "]}");
}

static void list_partial_proto(struct request *r, struct buf *b)
{
    CLEANUP_BUF struct buf raw = BUF_INIT;
    CLEANUP_BUF struct buf item = BUF_INIT;
    proto_encode(&item, &types[T_meta_v1_ListMeta], list_meta(r));
    proto_field(&raw, 1, buf_str(&item));
    for (size_t i = 0; i < r->answer.n_items; i++) {
        buf_clear(&item);
        partial_message(&item, r->answer.items[i]->meta);
        proto_field(&raw, 2, buf_str(&item));
    }
    proto_encode_envelope(b, STR(META_VERSION), STR("PartialObjectMetadataList"), buf_str(&raw));
}

static void list_table(struct request *r, struct buf *b)
{
    const struct answer *a = &r->answer;
    table_encode(r, b, &(struct table){.res = r->res, .items = a->items, .n = a->n_items, .columns = true,
                           .include = r->include,
                           .resource_version = arena_printf(r->arena, "%lld", (long long)a->revision),
                           .continue_token = a->continue_token, .remaining = a->remaining});
}

/* Members in the order of their names, as upstream's lists of custom resources. */
static void list_custom(struct request *r, struct buf *b)
{
    char version[512];
    buf_puts(b, "{\"apiVersion\":");
    json_encode_str(b, str_of(resource_api_version(r->res, version, sizeof(version))), 0);
    buf_puts(b, ",\"items\":[");
    for (size_t i = 0; i < r->answer.n_items; i++) {
        buf_puts(b, i ? "," : "");
        object_plain(r, b, r->answer.items[i]);
    }
    buf_puts(b, "],\"kind\":");
    json_encode_str(b, str_of(r->res->list_kind), 0);
    buf_puts(b, ",\"metadata\":");
    buf_puts(b, "{\"continue\":"); /* always there, as upstream's unstructured lists have it */
    json_encode_str(b, r->answer.continue_token, 0);
    if (r->answer.remaining)
        buf_printf(b, ",\"remainingItemCount\":%lld", (long long)r->answer.remaining);
    buf_printf(b, ",\"resourceVersion\":\"%lld\"}}", (long long)r->answer.revision);
}

void encode_list(struct request *r, struct buf *b)
{
    if (r->form == FORM_TABLE)
        list_table(r, b);
    else if (r->form == FORM_PARTIAL && r->media == MEDIA_PROTO)
        list_partial_proto(r, b);
    else if (r->form == FORM_PARTIAL)
        list_partial_json(r, b);
    else if (!r->res->list_type)
        list_custom(r, b);
    else
        encode_value(r, b, r->res->list_type, answer_list_val(r));
}

/* ---- watch events ------------------------------------------------------------------------------------ */

/* metav1.WatchEvent behind its length (application/vnd.kubernetes.protobuf;stream=watch). */
static void frame_proto(struct buf *b, const char *type, struct str object)
{
    CLEANUP_BUF struct buf raw = BUF_INIT;
    CLEANUP_BUF struct buf event = BUF_INIT;
    proto_field(&raw, 1, object);
    proto_field(&event, 1, str_of(type));
    proto_field(&event, 2, buf_str(&raw));
    uint8_t length[4] = {(uint8_t)(event.n >> 24), (uint8_t)(event.n >> 16), (uint8_t)(event.n >> 8),
                         (uint8_t)event.n};
    buf_put(b, length, sizeof(length));
    buf_putstr(b, buf_str(&event));
}

static void frame(struct request *r, struct buf *b, const char *type, struct str object)
{
    if (r->media == MEDIA_PROTO) {
        frame_proto(b, type, object);
        return;
    }
    buf_printf(b, "{\"type\":\"%s\",\"object\":", type);
    buf_putstr(b, object);
    buf_puts(b, "}\n");
}

void encode_event(struct request *r, struct buf *b, const char *type, const struct object *o, bool columns)
{
    CLEANUP_BUF struct buf text = BUF_INIT;
    if (r->form == FORM_OBJECT && is_as_asked(r, o)) {
        frame(r, b, type, object_encoded(o, r->media == MEDIA_PROTO ? ENC_PROTO : ENC_JSON));
        return;
    }
    encode_object_form(r, &text, o, columns);
    frame(r, b, type, buf_str(&text));
}

void encode_bookmark(struct request *r, struct buf *b, int64_t rev, bool initial_end)
{
    struct val *v = val_new(r->arena, VAL_OBJ);
    char version[128];
    val_set_str(r->arena, v, N_kind, str_of(r->res->kind));
    val_set_str(r->arena, v, N_apiVersion, str_of(resource_api_version(r->res, version, sizeof(version))));
    struct val *meta = val_sub_obj(r->arena, v, N_metadata);
    val_set_str(r->arena, meta, N_resourceVersion, arena_printf(r->arena, "%lld", (long long)rev));
    if (initial_end)
        val_put_str(r->arena, val_sub_map(r->arena, meta, N_annotations), STR("k8s.io/initial-events-end"),
                    STR("true"));
    struct object *o = object_new(r->res, v);
    object_stamp(o, rev);
    encode_event(r, b, "BOOKMARK", o, false);
    object_unref(o);
}

void encode_error_event(struct request *r, struct buf *b, const struct status *s)
{
    CLEANUP_BUF struct buf text = BUF_INIT;
    encode_value(r, &text, &types[T_meta_v1_Status], status_to_val(s, r->arena));
    frame(r, b, "ERROR", buf_str(&text));
}
