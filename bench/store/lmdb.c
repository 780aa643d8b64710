/* SPDX-License-Identifier: Apache-2.0 */
/* LMDB with full durability, a group of puts a transaction; and the bare minimum: a preallocated file and
 * fdatasync. */
#include "peers.h"

#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char value_bytes[4096];

static int lmdb_open(const char *dir, MDB_env **ret, MDB_dbi *ret_dbi, unsigned flags)
{
    MDB_txn *txn;
    int r = mdb_env_create(ret);
    if (r == 0)
        r = mdb_env_set_mapsize(*ret, (size_t)4 << 30);
    if (r == 0)
        r = mdb_env_open(*ret, dir, flags, 0600);
    if (r == 0)
        r = mdb_txn_begin(*ret, NULL, 0, &txn);
    if (r == 0)
        r = mdb_dbi_open(txn, NULL, 0, ret_dbi);
    return r == 0 ? mdb_txn_commit(txn) : r;
}

static int lmdb_group(MDB_env *env, MDB_dbi dbi, int from, int n, size_t value)
{
    MDB_txn *txn;
    int r = mdb_txn_begin(env, NULL, 0, &txn);
    for (int i = 0; i < n && r == 0; i++) {
        char text[64];
        bench_key(text, (unsigned)(from + i));
        MDB_val k = {strlen(text), text}, v = {value, value_bytes};
        r = mdb_put(txn, dbi, &k, &v, 0);
    }
    return r == 0 ? mdb_txn_commit(txn) : r;
}

double lmdb_puts(const char *dir, int total, int group, size_t value)
{
    MDB_env *env;
    MDB_dbi dbi;
    if (lmdb_open(dir, &env, &dbi, 0) != 0)
        return -1;
    double start = bench_now();
    int r = 0;
    for (int i = 0; i < total && r == 0; i += group)
        r = lmdb_group(env, dbi, i, group, value);
    double rate = r ? -1 : total / (bench_now() - start);
    mdb_env_close(env);
    return rate;
}

double lmdb_open_and_count(const char *dir, size_t keys)
{
    MDB_env *env;
    MDB_dbi dbi;
    if (lmdb_open(dir, &env, &dbi, MDB_NOSYNC) != 0)
        return -1;
    for (size_t i = 0; i < keys; i += 1000)
        if (lmdb_group(env, dbi, (int)i, 1000, 600) != 0)
            return -1;
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val k, v;
    size_t n = 0, bytes = 0;
    mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    mdb_cursor_open(txn, dbi, &cursor);
    double start = bench_now();
    while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0) {
        n++;
        bytes += v.mv_size + (size_t)((char *)v.mv_data)[0]; /* touches it */
    }
    double rate = bytes ? (double)n / (bench_now() - start) : -1;
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    return rate;
}

double raw_puts(const char *dir, int total, int group, size_t value)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/raw", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    size_t n = (size_t)group * (value + 130), size = (size_t)(total / group + 1) * n;
    static char bytes[1 << 20];
    memset(bytes, 1, sizeof(bytes));
    for (size_t at = 0; at < size; at += sizeof(bytes))
        if (pwrite(fd, bytes, sizeof(bytes), (off_t)at) < 0)
            return -1;
    fsync(fd);
    double start = bench_now();
    for (int i = 0; i < total / group; i++)
        if (pwrite(fd, bytes, n, (off_t)((size_t)i * n)) < 0 || fdatasync(fd) < 0)
            return -1;
    double rate = total / (bench_now() - start);
    close(fd);
    unlink(path);
    return rate;
}
