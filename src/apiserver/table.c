/* SPDX-License-Identifier: Apache-2.0 */
/* metav1.Table as JSON: what kubectl get shows without knowing kinds. */
#include "apiserver/request.h"

#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "type/print.h"
#include "types.h"
#include "wire/json.h"

static const struct column fallback_columns[] = {
    {"Name", "string", "name", "{metadata.name}", "Name of the object.", 0},
    {"Created At", "date", "", "{metadata.creationTimestamp}", "When it was made.", 0},
};

static void put_columns(struct buf *b, const struct table *t)
{
    const struct column *c = t->res->n_columns ? t->res->columns : fallback_columns;
    size_t n = t->res->n_columns ? t->res->n_columns : ARRAY_SIZE(fallback_columns);
    if (t->res->index == RES_IPADDRESSES)
        n--; /* upstream has a cell more than headings */
    buf_puts(b, ",\"columnDefinitions\":[");
    for (size_t i = 0; i < n; i++) {
        buf_puts(b, i ? ",{\"name\":" : "{\"name\":");
        json_encode_str(b, str_of(c[i].name), 0);
        buf_printf(b, ",\"type\":\"%s\",\"format\":\"%s\",\"description\":", c[i].type, c[i].format);
        json_encode_str(b, str_of(c[i].doc), 0);
        buf_printf(b, ",\"priority\":%d}", c[i].priority);
    }
    buf_putc(b, ']');
}

static void put_cells(struct request *r, struct buf *b, const struct resource *res, const struct object *o)
{
    size_t n = res->n_columns;
    struct val *cells = ARENA_ARRAY(r->arena, struct val, MAX(n, (size_t)2));
    struct val v = answer_item(r, o, false);
    if (n) {
        print_cells(res, &v, r->now, r->arena, cells);
    } else {
        n = 2;
        cells[0] = val_of_str(o->name);
        cells[1] = val_of_str(val_getstr(o->meta, N_creationTimestamp));
    }
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(b, ',');
        json_encode(b, NULL, &cells[i], 0);
    }
}

static void put_object(struct request *r, struct buf *b, const struct table *t, const struct object *o)
{
    buf_puts(b, ",\"object\":");
    if (t->include == INCLUDE_NONE) {
        buf_puts(b, "null");
        return;
    }
    if (t->include == INCLUDE_OBJECT) {
        struct val v = answer_item(r, o, false);
        json_encode(b, t->res->type, &v, 0);
        return;
    }
    buf_puts(b, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":");
    json_encode(b, &types[T_meta_v1_ObjectMeta], o->meta, 0);
    buf_putc(b, '}');
}

static void put_list_meta(struct buf *b, const struct table *t)
{
    const char *comma = "";
    buf_puts(b, "\"metadata\":{");
    if (t->resource_version.n) {
        buf_puts(b, "\"resourceVersion\":");
        json_encode_str(b, t->resource_version, 0);
        comma = ",";
    }
    if (t->continue_token.n) {
        buf_printf(b, "%s\"continue\":", comma);
        json_encode_str(b, t->continue_token, 0);
    }
    if (t->remaining)
        buf_printf(b, ",\"remainingItemCount\":%lld", (long long)t->remaining);
    buf_putc(b, '}');
}

int table_encode(struct request *r, struct buf *b, const struct table *t, encode_piece *full)
{
    buf_puts(b, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",");
    put_list_meta(b, t);
    if (t->columns)
        put_columns(b, t);
    else
        buf_puts(b, ",\"columnDefinitions\":null");
    bool plain = !t->res->n_columns || (t->res->n_columns == 2 && strcmp(t->res->columns[1].name, "Created At") == 0);
    if (!t->n && plain) { /* as upstream's table of kinds without columns of their own has it */
        buf_puts(b, ",\"rows\":null}");
        return 0;
    }
    buf_puts(b, ",\"rows\":[");
    for (size_t i = 0; i < t->n; i++) {
        buf_puts(b, i ? ",{\"cells\":[" : "{\"cells\":[");
        put_cells(r, b, t->res, t->items[i]);
        buf_putc(b, ']');
        put_object(r, b, t, t->items[i]);
        buf_putc(b, '}');
        int e = encode_piece_full(r, b, full);
        if (e < 0)
            return e;
    }
    buf_puts(b, "]}");
    return 0;
}
