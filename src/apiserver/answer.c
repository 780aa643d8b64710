/* SPDX-License-Identifier: Apache-2.0 */
/* From what the stages left behind to bytes on the wire. */
#include "apiserver/request.h"

#include <stdio.h>

#include "apiserver/indent.h"
#include "base/os.h"
#include "names.h"
#include "net/gzip.h"
#include "types.h"
#include "wire/json.h"
#include "wire/yaml.h"

enum { GZIP_FROM = 128 << 10 }; /* upstream compresses from that size on */

void answer_object(struct request *r, int code, const struct object *o)
{
    request_hold(r, o);
    r->answer = (struct answer){.kind = ANSWER_OBJECT, .code = code, .object = o};
}

void answer_value(struct request *r, int code, const struct type *t, const struct val *v)
{
    r->answer = (struct answer){.kind = ANSWER_VALUE, .code = code, .type = t, .val = v};
}

void answer_text(struct request *r, int code, const char *content_type, struct str text)
{
    r->answer =
        (struct answer){.kind = ANSWER_TEXT, .code = code, .content_type = content_type, .text = text};
}

/* {"kind":"Status",...,"status":"Success","details":{...}} */
void answer_success(struct request *r, int code, const struct resource *res, struct str name, struct str uid)
{
    struct status s;
    status_init(&s, r->arena);
    struct val *v = status_to_val(&s, r->arena);
    v = val_copy(r->arena, v);
    val_set_str(r->arena, v, N_status, STR("Success"));
    val_del(v, N_reason);
    val_del(v, N_code);
    if (code != 200)
        val_set_int(r->arena, v, N_code, code);
    if (res) {
        struct val *d = val_sub_obj(r->arena, v, N_details);
        val_set_str(r->arena, d, N_name, name);
        if (res->group[0])
            val_set_str(r->arena, d, N_group, str_of(res->group));
        val_set_str(r->arena, d, N_kind, str_of(res->name));
        if (uid.n)
            val_set_str(r->arena, d, N_uid, uid);
    }
    answer_value(r, code, &types[T_meta_v1_Status], v);
}

static void add_warnings(struct request *r)
{
    for (size_t i = 0; i < r->n_warnings; i++) {
        CLEANUP_BUF struct buf b = BUF_INIT;
        buf_puts(&b, "299 - \"");
        for (size_t c = 0; c < r->warnings[i].n; c++) {
            char ch = r->warnings[i].p[c];
            if (ch == '"' || ch == '\\')
                buf_putc(&b, '\\');
            buf_putc(&b, (unsigned char)ch < 0x20 || ch == 0x7f ? ' ' : ch);
        }
        buf_putc(&b, '"');
        http_add_header(r->x, "Warning", buf_str(&b));
    }
}

/* JSON text becomes what was asked for. */
static const char *finish_text(struct request *r, struct buf *b)
{
    if (r->media == MEDIA_YAML) {
        struct val *v = NULL;
        struct buf yaml = BUF_INIT;
        if (json_decode(r->arena, NULL, buf_str(b), 0, NULL, &v, NULL) == 0)
            yaml_encode(&yaml, NULL, v);
        buf_done(b);
        *b = yaml;
        return media_name(MEDIA_YAML);
    }
    if (r->media == MEDIA_PROTO)
        return media_name(MEDIA_PROTO);
    if (r->opt.pretty) {
        struct buf pretty = BUF_INIT;
        json_indent(&pretty, buf_str(b));
        buf_done(b);
        *b = pretty;
    } else {
        buf_putc(b, '\n');
    }
    return media_name(MEDIA_JSON);
}

static void send_body(struct request *r, int code, const char *type, struct buf *b)
{
    CLEANUP_BUF struct buf z = BUF_INIT;
    http_add_header(r->x, "Cache-Control", STR("no-cache, private"));
    if (b->n >= GZIP_FROM && http_header_has(&r->x->headers, "accept-encoding", "gzip")) {
        gzip_deflate(&z, buf_str(b), 1);
        http_add_header(r->x, "Content-Encoding", STR("gzip"));
        http_add_header(r->x, "Vary", STR("Accept-Encoding"));
        b = &z;
    }
    http_respond(r->x, code, type, buf_str(b));
}

void answer_encode(struct request *r, struct buf *b)
{
    const struct answer *a = &r->answer;
    if (r->status.code) {
        struct val *v = status_to_val(&r->status, r->arena);
        if (a->continue_token.n)
            val_set_str(r->arena, val_sub_obj(r->arena, v, N_metadata), N_continue, a->continue_token);
        encode_value(r, b, &types[T_meta_v1_Status], v);
        return;
    }
    switch (a->kind) {
    case ANSWER_OBJECT:
        encode_object(r, b, a->object);
        break;
    case ANSWER_VALUE:
        encode_value(r, b, a->type, a->val);
        break;
    case ANSWER_LIST:
        encode_list(r, b, NULL);
        break;
    case ANSWER_TEXT:
    case ANSWER_NONE:
    case ANSWER_SENT:
        break;
    }
}

static int send_piece(struct request *r, struct buf *b)
{
    int e = http_write(r->x, buf_str(b), mono_add(os_mono(), SECONDS(120)));
    buf_clear(b);
    return e;
}

/* Long lists go out while they are made: neither memory nor the other requests wait for the whole. What is compressed or
 * indented is made at once. */
static bool goes_in_pieces(const struct request *r)
{
    enum { LONG = 64 };
    return r->answer.kind == ANSWER_LIST && r->answer.n_items >= LONG && r->media != MEDIA_YAML &&
           (r->media == MEDIA_PROTO || !r->opt.pretty) && !http_header_has(&r->x->headers, "accept-encoding", "gzip");
}

static void send_pieces(struct request *r)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    http_add_header(r->x, "Cache-Control", STR("no-cache, private"));
    int e = http_start(r->x, r->answer.code, media_name(r->media), -1);
    if (!e)
        e = encode_list(r, &b, send_piece);
    if (!e && r->media != MEDIA_PROTO)
        buf_putc(&b, '\n');
    if (!e && b.n)
        e = send_piece(r, &b);
    if (e < 0)
        http_abort(r->x);
}

static void send_status(struct request *r)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    if (r->status.retry_after) {
        char text[16];
        snprintf(text, sizeof(text), "%d", r->status.retry_after);
        http_add_header(r->x, "Retry-After", str_of(text));
    }
    if (r->status.code == 401)
        http_add_header(r->x, "WWW-Authenticate", STR("Bearer realm=\"kubernetes-master\""));
    answer_encode(r, &b);
    const char *type = finish_text(r, &b);
    send_body(r, r->status.code, type, &b);
}

void answer_send(struct request *r)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    const struct answer *a = &r->answer;
    if (a->kind == ANSWER_SENT)
        return;
    add_warnings(r);
    if (r->status.code) {
        send_status(r);
    } else if (a->kind == ANSWER_TEXT) {
        buf_putstr(&b, a->text);
        send_body(r, a->code, a->content_type, &b);
    } else if (goes_in_pieces(r)) {
        send_pieces(r);
    } else if (a->kind != ANSWER_NONE) {
        answer_encode(r, &b);
        const char *type = finish_text(r, &b);
        send_body(r, a->code, type, &b);
    }
}
