/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/options_store.h"

#include "base/log.h"

int store_flags_check(const struct store_flags *f, struct err *e)
{
    if (f->backend && *f->backend && strcmp(f->backend, "etcd3"))
        return err_set(e, -EINVAL, "--storage-backend %s: expected etcd3", f->backend);
    if (f->backend && *f->backend && !f->servers.n)
        return err_set(e, -EINVAL, "--storage-backend etcd3: --etcd-servers is needed");
    if (f->servers.n && (f->data_dir || f->memory))
        return err_set(e, -EINVAL, "--etcd-servers and %s: there is one store", f->data_dir ? "--data-dir" : "--storage-memory");
    if (!f->data_dir && !f->memory && !f->servers.n)
        return err_set(e, -EINVAL, "--data-dir or --etcd-servers: where should the store be kept?");
    if (!f->etcd.etcd.cert_file != !f->etcd.etcd.key_file)
        return err_set(e, -EINVAL, "--etcd-certfile and --etcd-keyfile go together");
    if (f->compaction < 0)
        return err_set(e, -EINVAL, "--etcd-compaction-interval: expected a duration, or 0 for never");
    return 0;
}

static int open_etcd(struct store_flags *f, struct arena *a, struct store **ret, struct err *e)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < f->servers.n; i++)
        buf_printf(&b, "%s%s", i ? "," : "", f->servers.items[i]);
    f->etcd.etcd.endpoints = arena_cstr(a, buf_str(&b));
    f->etcd.compaction_interval = f->compaction ? f->compaction : -1;
    int r = etcd_store_open(&f->etcd, ret, e);
    return r < 0 ? err_wrap(e, r, "--etcd-servers %s", f->etcd.etcd.endpoints) : r;
}

int store_flags_open(struct store_flags *f, struct arena *a, struct store **ret, struct err *e)
{
    struct store_options s = {.dir = f->data_dir, .durable = true};
    struct str note = STR_NULL;
    if (f->servers.n)
        return open_etcd(f, a, ret, e);
    if (f->memory)
        return store_open_memory(&s, ret);
    int r = store_open_log(&s, ret, &note, a, e);
    if (r == 0 && note.n)
        log_warn("apiserver", "store: " STR_FMT, STR_ARG(note));
    return r < 0 ? err_wrap(e, r, "store %s", f->data_dir) : r;
}
