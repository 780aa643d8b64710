/* SPDX-License-Identifier: Apache-2.0 */
#include "node/checkpoint.h"

#include "node/kubelet-internal.h"
#include "node/memory.h"
#include "wire/json.h"

#define RETRY SECONDS(10) /* a disk that was full */

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
    k->checkpoint_asked++;
    waitq_wake_all(&k->checkpoint_wanted);
}

int checkpoint_wait(struct kubelet *k)
{
    unsigned mine = k->checkpoint_asked;
    int r = 0;
    while (r == 0 && (k->cpus || k->memory) && (int)(k->checkpoint_tried - mine) < 0)
        r = waitq_wait(&k->checkpoint_done, MONO_NEVER);
    return r;
}

static int write_one(struct kubelet *k, const char *name, struct val *data, struct arena *a)
{
    const char *path = arena_printf(a, "%s/%s", k->cfg.root_dir, name).p;
    int r = os_write_file(path, checkpoint_text(a, data), 0600);
    if (r < 0 && r != -ECANCELED)
        log_warn(LOG, "cannot write %s: %s", path, strerror(-r));
    return r;
}

static int write_all(struct kubelet *k)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int cpus = k->cpus ? write_one(k, CHECKPOINT_CPUS, cpus_checkpoint(k, &a), &a) : 0;
    int memory = k->memory ? write_one(k, CHECKPOINT_MEMORY, memory_checkpoint(k, &a), &a) : 0;
    return cpus < 0 ? cpus : memory;
}

void checkpoints_run(void *arg)
{
    struct kubelet *k = arg;
    bool stale = true; /* what is there is another life's */
    while (!fiber_cancelled()) {
        unsigned state = k->checkpoint_asked;
        if (stale || state != k->checkpoint_tried)
            stale = write_all(k) < 0;
        k->checkpoint_tried = state;
        waitq_wake_all(&k->checkpoint_done);
        if (state == k->checkpoint_asked)
            waitq_wait(&k->checkpoint_wanted, stale ? mono_add(os_mono(), RETRY) : MONO_NEVER);
    }
}
