/* SPDX-License-Identifier: Apache-2.0 */
/* Images without a registry: the pause image from our own program, and archives from disk. */
#include "adm/cluster.h"

#include "auth/crypto.h"
#include "base/fiber.h"
#include "base/os.h"
#include "base/tar.h"

#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

extern const unsigned char pause_blob[];
extern const size_t pause_blob_size;

static const char *go_arch(void)
{
    struct utsname u;
    uname(&u);
    return !strcmp(u.machine, "aarch64") ? "arm64" : "amd64";
}

static void put_file(struct buf *b, const char *name, unsigned mode, struct str content)
{
    /* No times: the same content gives the same digest. */
    tar_put(b, &(struct tar_entry){.name = str_of(name), .type = TAR_FILE, .mode = mode, .size = content.n});
    buf_putstr(b, content);
    tar_pad(b, content.n);
}

/* A docker archive with one layer that holds /pause. */
static struct str pause_archive(struct arena *a, struct buf *b)
{
    struct buf layer CLEANUP_BUF = BUF_INIT;
    char layer_hash[65], config_hash[65];
    put_file(&layer, "pause", 0755, str_n((const char *)pause_blob, pause_blob_size));
    tar_end(&layer);
    sha256_hex(buf_str(&layer), layer_hash);
    struct str config = arena_printf(
        a,
        "{\"architecture\":\"%s\",\"os\":\"linux\",\"config\":{\"Entrypoint\":[\"/pause\"],\"User\":\"65535:65535\"},"
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\"]}}",
        go_arch(), layer_hash);
    sha256_hex(config, config_hash);
    const char *config_name = arena_printf(a, "%s.json", config_hash).p;
    struct str manifest =
        arena_printf(a, "[{\"Config\":\"%s\",\"RepoTags\":[\"" PAUSE_IMAGE "\"],\"Layers\":[\"layer.tar\"]}]", config_name);
    put_file(b, config_name, 0644, config);
    put_file(b, "layer.tar", 0644, buf_str(&layer));
    put_file(b, "manifest.json", 0644, manifest);
    tar_end(b);
    return buf_str(b);
}

static int run_ctr(struct arena *a, const char *const *argv, struct str *ret_out, struct err *e)
{
    struct str err = STR_NULL;
    int r = os_run(a, argv, ret_out, &err, mono_add(os_mono(), SECONDS(300)));
    if (r == -ENOENT)
        return err_set(e, r, "ctr was not found: it comes with containerd (apt-get install containerd)");
    if (r < 0)
        return err_set(e, r, "ctr: %s", strerror(-r));
    return r ? err_set(e, -EIO, "ctr: " STR_FMT, STR_ARG(str_trim(err))) : 0;
}

const char *ctr_of(struct arena *a, const char *containerd)
{
    struct str path = str_of(containerd);
    ssize_t slash = str_rfind(path, '/');
    const char *beside = slash < 0 ? NULL : arena_printf(a, "%.*s/ctr", (int)slash, path.p).p;
    return beside && access(beside, X_OK) == 0 ? beside : "ctr";
}

int image_import(const char *ctr, const char *socket, const char *file, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *argv[] = {ctr, "--address", socket, "--namespace", "k8s.io", "images", "import",
                          "--all-platforms", file, NULL};
    int r = run_ctr(&a, argv, NULL, e);
    return r < 0 ? err_wrap(e, r, "cannot import %s", file) : 0;
}

static bool image_exists(struct arena *a, const char *ctr, const char *socket, const char *name)
{
    struct str out = STR_NULL;
    const char *filter = arena_printf(a, "name==%s", name).p;
    const char *argv[] = {ctr, "--address", socket, "--namespace", "k8s.io", "images", "list", "-q", filter, NULL};
    return run_ctr(a, argv, &out, NULL) == 0 && str_contains(out, str_of(name));
}

int image_ensure_pause(const struct containerd *r, const char *work_dir, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    const char *ctr = ctr_of(&a, r->containerd);
    if (image_exists(&a, ctr, r->socket, PAUSE_IMAGE))
        return 0;
    const char *file = arena_printf(&a, "%s/pause.tar", work_dir).p;
    int n = os_write_file(file, pause_archive(&a, &b), 0600);
    if (n < 0)
        return err_set(e, n, "cannot write %s: %s", file, strerror(-n));
    n = image_import(ctr, r->socket, file, e);
    os_unlink(file);
    return n;
}
