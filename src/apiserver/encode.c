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
                                 .resource_version = val_getstr(o->meta, N_resourceVersion)},
                 NULL);
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

int encode_piece_full(struct request *r, struct buf *b, encode_piece *full)
{
    enum { PIECE = 60 << 10 };
    return full && b->n >= PIECE ? full(r, b) : 0;
}

typedef void put_item(struct request *r, struct buf *b, const struct object *o);

static int put_items(struct request *r, struct buf *b, put_item *put, encode_piece *full)
{
    for (size_t i = 0; i < r->answer.n_items; i++) {
        if (i)
            buf_putc(b, ',');
        put(r, b, r->answer.items[i]);
        int e = encode_piece_full(r, b, full);
        if (e < 0)
            return e;
    }
    return 0;
}

static int list_json(struct request *r, struct buf *b, const char *kind, const char *version, put_item *put, encode_piece *full)
{
    buf_printf(b, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":", kind, version);
    json_encode(b, &types[T_meta_v1_ListMeta], list_meta(r), 0);
    buf_puts(b, ",\"items\":[");
    int e = put_items(r, b, put, full);
    buf_puts(b, "]}");
    return e;
}

static void item_partial(struct request *r, struct buf *b, const struct object *o)
{
    partial_json(b, o->meta);
}

static const struct type *item_type(const struct request *r)
{
    return field_type(type_field(r->res->list_type, N_items, NULL));
}

static void item_json(struct request *r, struct buf *b, const struct object *o)
{
    struct val v = answer_item(r, o, true);
    json_encode(b, item_type(r), &v, 0);
}

/* Items with their heads, in blocks. */
struct blocks {
    struct buf *items;
    size_t n, bytes;
};

static struct buf *blocks_last(struct request *r, struct blocks *k)
{
    enum { BLOCK = 256 << 10 };
    if (!k->n || k->items[k->n - 1].n >= BLOCK) {
        if (!(k->n & (k->n - 1)))
            k->items = xrealloc(k->items, MAX(2 * k->n, (size_t)1) * sizeof(*k->items));
        k->items[k->n++] = (struct buf)BUF_INIT;
        buf_grow(&k->items[k->n - 1], BLOCK + BLOCK / 8);
    }
    return &k->items[k->n - 1];
}

static void blocks_fill(struct request *r, struct blocks *k)
{
    CLEANUP_BUF struct buf item = BUF_INIT;
    bool partial = r->form == FORM_PARTIAL;
    for (size_t i = 0; i < r->answer.n_items; i++) {
        buf_clear(&item);
        if (partial) {
            partial_message(&item, r->answer.items[i]->meta);
        } else {
            struct val v = answer_item(r, r->answer.items[i], true);
            proto_encode(&item, item_type(r), &v);
        }
        struct buf *last = blocks_last(r, k);
        size_t had = last->n;
        proto_field(last, 2, buf_str(&item));
        k->bytes += last->n - had;
    }
}

/* runtime.Unknown around the list (proto_encode_envelope): the length of all comes first, so what goes out in pieces are blocks that
 * are whole. */
static int list_proto(struct request *r, struct buf *b, const char *kind, const char *version, encode_piece *full)
{
    CLEANUP_BUF struct buf meta = BUF_INIT, raw = BUF_INIT;
    struct blocks k = {0};
    int e = 0;
    proto_field(&meta, 1, str_of(version));
    proto_field(&meta, 2, str_of(kind));
    buf_put(b, "k8s", 4);
    proto_field(b, 1, buf_str(&meta));
    buf_clear(&meta);
    proto_encode(&meta, &types[T_meta_v1_ListMeta], list_meta(r));
    proto_field(&raw, 1, buf_str(&meta));
    blocks_fill(r, &k);
    proto_varint(b, 2 << 3 | 2);
    proto_varint(b, raw.n + k.bytes);
    buf_putstr(b, buf_str(&raw));
    for (size_t i = 0; i < k.n; i++) {
        if (full && !e && b->n)
            e = full(r, b);
        if (full && !e)
            e = full(r, &k.items[i]);
        else if (!full)
            buf_putstr(b, buf_str(&k.items[i]));
        buf_done(&k.items[i]);
    }
    free(k.items);
    buf_put(b, "\x1a\0\"", 4); /* no content encoding, no content type */
    return e;
}

static int list_table(struct request *r, struct buf *b, encode_piece *full)
{
    const struct answer *a = &r->answer;
    return table_encode(r, b, &(struct table){.res = r->res, .items = a->items, .n = a->n_items, .columns = true,
                           .include = r->include,
                           .resource_version = arena_printf(r->arena, "%lld", (long long)a->revision),
                           .continue_token = a->continue_token, .remaining = a->remaining}, full);
}

/* Members in the order of their names, as upstream's lists of custom resources. */
static int list_custom(struct request *r, struct buf *b, encode_piece *full)
{
    char version[512];
    buf_puts(b, "{\"apiVersion\":");
    json_encode_str(b, str_of(resource_api_version(r->res, version, sizeof(version))), 0);
    buf_puts(b, ",\"items\":[");
    int e = put_items(r, b, object_plain, full);
    buf_puts(b, "],\"kind\":");
    json_encode_str(b, str_of(r->res->list_kind), 0);
    buf_puts(b, ",\"metadata\":");
    buf_puts(b, "{\"continue\":"); /* always there, as upstream's unstructured lists have it */
    json_encode_str(b, r->answer.continue_token, 0);
    if (r->answer.remaining)
        buf_printf(b, ",\"remainingItemCount\":%lld", (long long)r->answer.remaining);
    buf_printf(b, ",\"resourceVersion\":\"%lld\"}}", (long long)r->answer.revision);
    return e;
}

int encode_list(struct request *r, struct buf *b, encode_piece *full)
{
    char buf[512];
    bool partial = r->form == FORM_PARTIAL;
    const char *kind = partial ? "PartialObjectMetadataList" : r->res->list_kind;
    const char *version = partial ? META_VERSION : resource_api_version(r->res, buf, sizeof(buf));
    if (r->form == FORM_TABLE)
        return list_table(r, b, full);
    if (!partial && !r->res->list_type)
        return list_custom(r, b, full);
    if (r->media == MEDIA_PROTO)
        return list_proto(r, b, kind, version, full);
    return list_json(r, b, kind, version, partial ? item_partial : item_json, full);
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
    buf_puts(b, "{\"type\":\"");
    buf_puts(b, type);
    buf_puts(b, "\",\"object\":");
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
