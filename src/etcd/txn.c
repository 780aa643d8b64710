/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store-internal.h"

/* ---- what is under way ------------------------------------------------------------------------------------- */

static void count(struct etcd_store *s, const struct store_op *ops, size_t n, int by)
{
    for (size_t i = 0; i < n; i++) {
        uintptr_t now = (uintptr_t)map_get(&s->under_way, ops[i].key) + (uintptr_t)by;
        if (now)
            map_put(&s->under_way, ops[i].key, (void *)now);
        else
            map_del(&s->under_way, ops[i].key);
    }
}

static void begin(struct etcd_store *s, const struct store_op *ops, size_t n)
{
    count(s, ops, n, 1);
}

static void end(struct etcd_store *s, const struct store_op *ops, size_t n)
{
    count(s, ops, n, -1);
    waitq_wake_all(&s->settled);
}

static struct str cookie_name(struct arena *a, struct str key, int64_t rev)
{
    return arena_printf(a, "%lld" STR_FMT, (long long)rev, STR_ARG(key));
}

int etcd_claim_cookie(struct etcd_store *s, struct str key, int64_t rev, void **ret)
{
    while (map_has(&s->under_way, key)) {
        int r = waitq_wait(&s->settled, MONO_NEVER);
        if (r < 0)
            return r;
    }
    if (!s->cookies.n)
        return 0;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    *ret = map_del(&s->cookies, cookie_name(&a, key, rev));
    return 0;
}

static void committed(struct etcd_store *s, const struct store_op *ops, size_t n, int64_t rev)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    s->writes++;
    etcd_saw(s, rev);
    for (size_t i = 0; i < n; i++) {
        if (!ops[i].cookie)
            continue;
        if (ops[i].committing)
            ops[i].committing(ops[i].cookie, (revision){rev});
        if (s->n_watches)
            map_put(&s->cookies, cookie_name(&a, ops[i].key, rev), ops[i].cookie);
    }
}

/* ---- the transaction --------------------------------------------------------------------------------------- */

static void add_op(const struct etcd_store *s, struct arena *a, struct val *txn, const struct store_op *op)
{
    struct val key = val_of_bytes(etcd_key_out(s, a, op->key));
    if (op->expect != STORE_ANY) {
        struct val *compare = val_add_obj(a, val_sub_list(a, txn, N_compare));
        val_set_int(a, compare, N_target, E_etcdserverpb_Compare_MOD);
        val_set(a, compare, N_key, key);
        val_set_int(a, compare, N_mod_revision, op->expect);
        struct val *look = val_add_obj(a, val_sub_list(a, txn, N_failure));
        val_set(a, val_sub_obj(a, look, N_request_range), N_key, key);
    }
    struct val *act = val_add_obj(a, val_sub_list(a, txn, N_success));
    struct val *what = val_sub_obj(a, act, op->kind == STORE_PUT ? N_request_put : N_request_delete_range);
    val_set(a, what, N_key, key);
    if (op->kind == STORE_PUT)
        val_set(a, what, N_value, val_of_bytes(op->value));
}

static int check_ops(const struct store_op *ops, size_t n, size_t most)
{
    if (!n)
        return -EINVAL;
    if (n > most)
        return -E2BIG;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k <= i; k++)
            if (!ops[i].key.n || (k < i && str_eq(ops[i].key, ops[k].key)))
                return -EINVAL;
    return 0;
}

/* What the keys were found to be when the transaction was refused, in the order of the operations that expected something. */
static const struct val *found(const struct val *answer, size_t i)
{
    return val_item(val_at(val_item(val_get(answer, N_responses), i), N_response_range, N_kvs), 0);
}

/* A member that was asked may have gone when the transaction was carried out but not answered; the next one then refuses it. It
 * was ours when everything that we put is there, of one revision later than what we expected: the revision, else 0. */
static int64_t done_before(const struct store_op *ops, size_t n, const struct val *answer)
{
    int64_t rev = 0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (ops[i].expect == STORE_ANY)
            return 0;
        const struct val *kv = found(answer, at++);
        int64_t is = val_int(val_get(kv, N_mod_revision), 0);
        if (ops[i].kind != STORE_PUT || is <= ops[i].expect || (rev && is != rev) || !str_eq(val_getstr(kv, N_value), ops[i].value))
            return 0;
        rev = is;
    }
    return rev;
}

static size_t first_conflict(const struct store_op *ops, size_t n, const struct val *answer)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        if (ops[i].expect != STORE_ANY && val_int(val_get(found(answer, at++), N_mod_revision), 0) != ops[i].expect)
            return i;
    return 0;
}

int etcd_txn(struct store *base, const struct store_op *ops, size_t n, revision *ret_rev, size_t *ret_conflict)
{
    struct etcd_store *s = etcd_store_of(base);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *txn = val_new(&a, VAL_OBJ);
    const struct val *answer = NULL;
    int r = check_ops(ops, n, base->ops->ops_max);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        add_op(s, &a, txn, &ops[i]);
    begin(s, ops, n);
    r = etcd_ask(s, G_etcdserverpb_KV_Txn, txn, &a, &answer);
    if (r == 0) {
        bool done = val_bool(val_get(answer, N_succeeded), false);
        int64_t rev = done ? val_int(val_at(answer, N_header, N_revision), 0) : done_before(ops, n, answer);
        if (rev) {
            committed(s, ops, n, rev);
            if (ret_rev)
                ret_rev->n = rev;
        } else {
            r = STORE_CONFLICT;
            if (ret_conflict)
                *ret_conflict = first_conflict(ops, n, answer);
        }
    }
    end(s, ops, n);
    return r;
}
