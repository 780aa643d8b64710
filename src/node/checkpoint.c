/* SPDX-License-Identifier: Apache-2.0 */
#include "node/checkpoint.h"

#include "node/kubelet-internal.h"
#include "node/memory.h"
#include "wire/json.h"

/* FNV-1a over the text as upstream prints it for its sums: with its type before it. */
static uint32_t sum_of(struct str s)
{
    static const struct str before = STR("(string)");
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < before.n + s.n; i++)
        h = (h ^ (uint8_t)(i < before.n ? before.p[i] : s.p[i - before.n])) * 16777619u;
    return h;
}

struct str checkpoint_text(struct arena *a, const struct val *data)
{
    struct buf inner CLEANUP_BUF = BUF_INIT, out CLEANUP_BUF = BUF_INIT;
    struct val *v = val_copy(a, data);
    json_encode(&inner, NULL, data, 0);
    val_put(a, v, STR("checksum"), val_of_int(0)); /* of the older form: not checked when 0 */
    val_put(a, v, STR("data"), val_of_str(buf_str(&inner)));
    val_put(a, v, STR("dataChecksum"), val_of_int(sum_of(buf_str(&inner))));
    json_encode(&out, NULL, v, 0);
    return arena_str(a, buf_str(&out));
}

const struct val *checkpoint_parse(struct arena *a, struct str text)
{
    struct val *file = NULL, *data = NULL;
    if (json_decode(a, NULL, text, 0, NULL, &file, NULL) < 0)
        return NULL;
    struct str inner = val_str(val_key(file, STR("data")));
    if ((int64_t)sum_of(inner) != val_int(val_key(file, STR("dataChecksum")), -1) || json_decode(a, NULL, inner, 0, NULL, &data, NULL) < 0)
        return NULL;
    return data;
}

const struct val *checkpoint_read(struct kubelet *k, const char *name, struct arena *a)
{
    struct str text;
    const char *path = arena_printf(a, "%s/%s", k->cfg.root_dir, name).p;
    if (k->host->ops->read_file(k->host, a, path, 16 << 20, &text, NULL) < 0)
        return NULL;
    const struct val *v = checkpoint_parse(a, text);
    if (!v)
        log_warn(LOG, "%s is damaged; what containers have is asked of the runtime", path);
    return v;
}

void checkpoint_touch(struct kubelet *k)
{
    k->checkpoint_dirty = true;
    waitq_wake_all(&k->checkpoint_wanted);
}

static void write_one(struct kubelet *k, const char *name, struct val *data, struct arena *a)
{
    const char *path = arena_printf(a, "%s/%s", k->cfg.root_dir, name).p;
    int r = os_write_file(path, checkpoint_text(a, data), 0600);
    if (r < 0)
        log_warn(LOG, "cannot write %s: %s", path, strerror(-r));
}

void checkpoints_run(void *arg)
{
    struct kubelet *k = arg;
    k->checkpoint_dirty = k->cpus || k->memory;
    while (!fiber_cancelled()) {
        struct arena a = ARENA_INIT;
        bool dirty = k->checkpoint_dirty;
        k->checkpoint_dirty = false;
        if (dirty && k->cpus)
            write_one(k, CHECKPOINT_CPUS, cpus_checkpoint(k, &a), &a);
        if (dirty && k->memory)
            write_one(k, CHECKPOINT_MEMORY, memory_checkpoint(k, &a), &a);
        arena_done(&a);
        if (!k->checkpoint_dirty)
            waitq_wait(&k->checkpoint_wanted, MONO_NEVER);
    }
}
