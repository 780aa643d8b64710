/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "store/crc32c.h"
#include "store/frame.h"

static void crc_known_answers(void **state UNUSED)
{
    unsigned char b[48];
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    memset(b, 0, 32);
    assert_int_equal(crc32c(0, b, 32), 0x8a9136aa); /* RFC 3720, B.4 */
    memset(b, 0xff, 32);
    assert_int_equal(crc32c(0, b, 32), 0x62a8ab43);
    assert_int_equal(crc32c(crc32c(0, "12345", 5), "6789", 4), 0xe3069283);
}

static void crc_plain_is_the_same(void **state UNUSED)
{
    unsigned char b[300];
    for (unsigned i = 0; i < sizeof(b); i++)
        b[i] = (unsigned char)(i * 131 + (i >> 3));
    for (unsigned from = 0; from < 9; from++)
        for (unsigned n = 0; n + from < sizeof(b); n++)
            assert_int_equal(crc32c(n, b + from, n), crc32c_plain(n, b + from, n));
}

static const struct op some_op = {.key = {"/registry/pods/a", 16},
                                  .value = {"value", 5},
                                  .modified = 77,
                                  .created = 70,
                                  .version = 3,
                                  .sub = 2};

static void op_round_trip(void **state UNUSED)
{
    char b[100];
    struct op op;
    op_encode(b, 42, &some_op);
    size_t n = op_size(16, 5);
    assert_int_equal(op_decode(42, b, n, &op), 0);
    assert_str(op.key, "/registry/pods/a");
    assert_str(op.value, "value");
    assert_int_equal(op.modified, 77);
    assert_int_equal(op.created, 70);
    assert_int_equal(op.version, 3);
    assert_int_equal(op.sub, 2);
    assert_int_equal(op_decode(43, b, n, &op), -EBADMSG); /* another segment's */
    assert_int_equal(op_decode(42, b, n - 1, &op), -EBADMSG);
    for (size_t bit = 0; bit < n * 8; bit++) {
        b[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(op_decode(42, b, n, &op), -EBADMSG);
        b[bit / 8] ^= (char)(1 << bit % 8);
    }
}

static void frame_round_trip(void **state UNUSED)
{
    char b[200];
    struct frame f = {.kind = FRAME_TXN, .number = 99, .prev = 5, .durable = 4096, .batch = 8}, g;
    op_encode(b + FRAME_SIZE, 42, &some_op);
    frame_add_op(&f, b + FRAME_SIZE, op_size(16, 5));
    uint32_t crc = frame_encode(b, 42, &f);
    assert_int_equal(frame_decode(42, b, &g), 0);
    assert_int_equal(g.kind, FRAME_TXN);
    assert_int_equal(g.number, 99);
    assert_int_equal(g.prev, 5);
    assert_int_equal(g.durable, 4096);
    assert_int_equal(g.batch, 8);
    assert_int_equal(g.n_ops, 1);
    assert_int_equal(g.length, op_size(16, 5));
    assert_int_equal(g.crc, crc);
    assert_int_equal(frame_check_body(42, &g, b + FRAME_SIZE), 0);
    assert_int_equal(frame_decode(43, b, &g), FRAME_NONE);
    for (size_t bit = 0; bit < FRAME_SIZE * 8; bit++) {
        b[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_not_equal(frame_decode(42, b, &g), 0);
        b[bit / 8] ^= (char)(1 << bit % 8);
    }
}

/* A torn write may leave the head of one frame before the body of another that stood there earlier. */
static void head_and_body_belong_together(void **state UNUSED)
{
    char b[200];
    struct frame f = {.kind = FRAME_TXN, .number = 77};
    op_encode(b + FRAME_SIZE, 42, &some_op);
    frame_add_op(&f, b + FRAME_SIZE, op_size(16, 5));
    struct op other = some_op;
    other.value = STR("VALUE");
    op_encode(b + FRAME_SIZE, 42, &other);
    assert_int_equal(frame_check_body(42, &f, b + FRAME_SIZE), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_known_answers),
        cmocka_unit_test(crc_plain_is_the_same),
        cmocka_unit_test(op_round_trip),
        cmocka_unit_test(frame_round_trip),
        cmocka_unit_test(head_and_body_belong_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
