/* SPDX-License-Identifier: Apache-2.0 */
#include "store/frame.h"

#include "store/crc32c.h"

#include <endian.h>

static void put16(char *p, uint16_t v)
{
    v = htole16(v);
    memcpy(p, &v, 2);
}
static void put32(char *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, 4);
}
static void put64(char *p, int64_t n)
{
    uint64_t v = htole64((uint64_t)n);
    memcpy(p, &v, 8);
}
static uint16_t get16(const char *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return le16toh(v);
}
static uint32_t get32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return le32toh(v);
}
static int64_t get64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return (int64_t)le64toh(v);
}

/* Operation: crc 0, value length 4, modified 8, created 16, version 24, key length 28, sub 30. */

void op_encode(char *to, uint32_t mark, const struct op *op)
{
    put32(to + 4, (uint32_t)op->value.n);
    put64(to + 8, op->modified);
    put64(to + 16, op->created);
    put32(to + 24, op->version);
    put16(to + 28, (uint16_t)op->key.n);
    put16(to + 30, op->sub);
    if (op->key.n)
        memcpy(to + OP_SIZE, op->key.p, op->key.n);
    if (op->value.n)
        memcpy(to + OP_SIZE + op->key.n, op->value.p, op->value.n);
    put32(to, crc32c(mark, to + 4, op_size(op->key.n, op->value.n) - 4));
}

int op_decode(uint32_t mark, const char *p, size_t n, struct op *ret)
{
    if (n < OP_SIZE)
        return -EBADMSG;
    uint32_t value = get32(p + 4);
    uint16_t key = get16(p + 28);
    if (key > n - OP_SIZE || value > n - OP_SIZE - key)
        return -EBADMSG;
    if (get32(p) != crc32c(mark, p + 4, op_size(key, value) - 4))
        return -EBADMSG;
    *ret = (struct op){
        .key = {p + OP_SIZE, key},
        .value = {p + OP_SIZE + key, value},
        .modified = get64(p + 8),
        .created = get64(p + 16),
        .version = get32(p + 24),
        .sub = get16(p + 30),
    };
    return 0;
}

/* Head: crc 0, mark 4, length 8, prev 12, number 16, durable 24, ops_crc 28, operations 32, kind 34, zero 35,
 * batch 36. */

void frame_add_op(struct frame *f, const char *op, size_t size)
{
    f->length += (uint32_t)size;
    f->n_ops++;
    f->ops_crc = crc32c(f->ops_crc, op, 4);
}

uint32_t frame_encode(char *to, uint32_t mark, const struct frame *f)
{
    put32(to + 4, mark);
    put32(to + 8, f->length);
    put32(to + 12, f->prev);
    put64(to + 16, f->number);
    put32(to + 24, f->durable);
    put32(to + 28, f->ops_crc);
    put16(to + 32, f->n_ops);
    to[34] = (char)f->kind;
    to[35] = 0;
    put32(to + 36, f->batch);
    uint32_t crc = crc32c(mark, to + 4, FRAME_SIZE - 4);
    put32(to, crc);
    return crc;
}

int frame_decode(uint32_t mark, const char *p, struct frame *ret)
{
    if (get32(p + 4) != mark)
        return FRAME_NONE;
    uint32_t crc = get32(p);
    if (crc != crc32c(mark, p + 4, FRAME_SIZE - 4) || p[34] < FRAME_TXN || p[34] >= FRAME_KINDS)
        return -EBADMSG;
    *ret = (struct frame){
        .kind = (enum frame_kind)p[34],
        .length = get32(p + 8),
        .prev = get32(p + 12),
        .number = get64(p + 16),
        .durable = get32(p + 24),
        .ops_crc = get32(p + 28),
        .n_ops = get16(p + 32),
        .batch = get32(p + 36),
        .crc = crc,
    };
    return 0;
}

int frame_check_body(uint32_t mark, const struct frame *f, const char *body)
{
    size_t at = 0;
    uint32_t crc = 0;
    for (unsigned i = 0; i < f->n_ops; i++) {
        struct op op;
        int r = op_decode(mark, body + at, f->length - at, &op);
        if (r < 0)
            return r;
        crc = crc32c(crc, body + at, 4);
        at += op_size(op.key.n, op.value.n);
    }
    return at == f->length && crc == f->ops_crc ? 0 : -EBADMSG;
}
