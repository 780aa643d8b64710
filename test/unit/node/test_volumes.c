/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind volumes, where containers see them, and mounts on a real disk. */
#include "disk.h"

#include "client/fake_client.h"
#include "node/volume.h"
#include "node/volumes-internal.h"
#include "types.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define expect(value, text)                                                                                  \
    do {                                                                                                     \
        struct str expect_ = (value);                                                                        \
        if (!str_is(expect_, text))                                                                          \
            fail_msg("%s:%d: \"" STR_FMT "\" is not \"%s\"", __FILE__, __LINE__, STR_ARG(expect_), text);    \
    } while (0)

static struct val *pod_of(const char *spec)
{
    return val_relaxed(&arena, type_at(T_core_v1_Pod),
                       arena_printf(&arena, "{metadata: {namespace: ns, name: p, uid: u1}, spec: {%s}}", spec).p);
}

/* ---- resolving -------------------------------------------------------------------------------------------------- */

/* The API of a table: "claims/data" and "volumes/pv1" to relaxed text. */
struct api {
    const char *claim, *volume; /* NULL: there is none */
};

static int get_object(void *ctx, uint16_t res, struct str ns, struct str name, const struct val **ret, struct err *e)
{
    const struct api *api = ctx;
    const char *text = res == RES_PERSISTENTVOLUMECLAIMS ? api->claim : api->volume;
    if (!text)
        return err_set(e, -ENOENT, "%s \"" STR_FMT "\" not found", resources[res].name, STR_ARG(name));
    *ret = val_relaxed(&arena, resources[res].type, text);
    return 0;
}

/* "type path spec-name unique [ro] [block]", or the error. */
static struct str resolved(const char *pod_spec, const char *entry, const char *claim, const char *pv)
{
    static const char *const texts[] = {"emptyDir", "hostPath", "files", "local", "nfs", "csi", "image"};
    struct api api = {claim, pv};
    struct volume_world w = {.get = get_object, .ctx = &api};
    struct val *pod = pod_of(pod_spec), *v = val_relaxed(&arena, type_at(T_core_v1_Volume), entry);
    struct volume out;
    struct err e = {{0}};
    int r = volume_resolve(&arena, "/k", pod, v, &w, &out, &e);
    if (r < 0)
        return arena_str(&arena, str_of(err_text(&e, r)));
    struct volume copy = volume_copy(&arena, &out);
    assert_true(val_equal(copy.source, out.source) && str_eq(copy.path, out.path));
    return arena_printf(&arena, "%s " STR_FMT " " STR_FMT " " STR_FMT "%s%s", texts[out.type], STR_ARG(out.path),
                        STR_ARG(out.spec_name), STR_ARG(out.unique), out.read_only ? " ro" : "", out.block ? " block" : "");
}

#define BOUND "{metadata: {namespace: ns, name: data, uid: c1}, spec: {volumeName: pv1}, status: {phase: Bound}}"
#define PV(spec) "{metadata: {name: pv1}, spec: {claimRef: {namespace: ns, name: data, uid: c1}, " spec "}}"
#define CLAIM "{name: v, persistentVolumeClaim: {claimName: data}}"
#define CLAIM_RO "{name: v, persistentVolumeClaim: {claimName: data, readOnly: true}}"

static void kinds(void **state)
{
    expect(resolved("", "{name: v, emptyDir: {}}", 0, 0), "emptyDir /k/pods/u1/volumes/kubernetes.io~empty-dir/v v ");
    expect(resolved("", "{name: v, secret: {secretName: s}}", 0, 0), "files /k/pods/u1/volumes/kubernetes.io~secret/v v ");
    expect(resolved("", "{name: v, hostPath: {path: '/x'}}", 0, 0), "hostPath /x v ");
    expect(resolved("", "{name: v, nfs: {server: s, path: '/e', readOnly: true}}", 0, 0),
           "nfs /k/pods/u1/volumes/kubernetes.io~nfs/v v  ro");
    expect(resolved("", "{name: v, csi: {driver: d}}", 0, 0), "csi /k/pods/u1/volumes/kubernetes.io~csi/v/mount v ");
    expect(resolved("", "{name: v, image: {reference: r}}", 0, 0), "image  v ");
    expect(resolved("", "{name: v, rbd: {image: r}}", 0, 0), "no volume plugin matched name: v: this node does not support its kind");
    expect(resolved("", CLAIM, BOUND, PV("local: {path: '/l'}")),
           "local /k/pods/u1/volumes/kubernetes.io~local-volume/pv1 pv1 kubernetes.io/local-volume/pv1");
    expect(resolved("", CLAIM, BOUND, PV("local: {path: '/dev/x'}, volumeMode: Block")),
           "local /k/pods/u1/volumeDevices/kubernetes.io~local-volume/pv1 pv1 kubernetes.io/local-volume/pv1 block");
    expect(resolved("", CLAIM, BOUND, PV("csi: {driver: d, volumeHandle: 'h/1'}")),
           "csi /k/pods/u1/volumes/kubernetes.io~csi/pv1/mount pv1 kubernetes.io/csi/d^h/1");
    expect(resolved("", CLAIM_RO, BOUND, PV("hostPath: {path: '/h'}")), "hostPath /h pv1  ro");
    expect(resolved("", CLAIM, BOUND, PV("nfs: {server: s, path: '/h'}, volumeMode: Block")),
           "no volume plugin matched name: pv1: this node does not support its kind as a block device");
    arena_done(&arena);
}

static void claims(void **state)
{
    expect(resolved("", CLAIM, NULL, NULL),
           "error processing PVC ns/data: failed to fetch PVC from API server: persistentvolumeclaims \"data\" not found");
    expect(resolved("", CLAIM, "{metadata: {name: data, uid: c1}, spec: {volumeName: pv1}, status: {phase: Pending}}", NULL),
           "error processing PVC ns/data: PVC is not bound");
    expect(resolved("", CLAIM, "{metadata: {name: data, uid: c1}, status: {phase: Bound}}", NULL),
           "error processing PVC ns/data: PVC has empty pvc.Spec.VolumeName");
    expect(resolved("", CLAIM, "{metadata: {name: data, uid: c1, deletionTimestamp: '2020-01-01T00:00:00Z'}, status: {phase: Bound}}", NULL),
           "error processing PVC ns/data: PVC is being deleted");
    /* one that is only kept by its protection must not come into use; a Pod that has it goes on */
#define GOING "{metadata: {namespace: ns, name: data, uid: c1, deletionTimestamp: '2020-01-01T00:00:00Z', finalizers: " \
              "['kubernetes.io/pvc-protection']}, spec: {volumeName: pv1}, status: {phase: Bound}}"
    expect(resolved("", CLAIM, GOING, PV("hostPath: {path: '/h'}")), "error processing PVC ns/data: PVC is being deleted");
    expect(resolved("nodeName: n}, status: {containerStatuses: [{name: c, containerID: 'x://1'}]", CLAIM, GOING, PV("hostPath: {path: '/h'}")), "hostPath /h pv1 ");
    expect(resolved("", CLAIM, BOUND, NULL),
           "error processing PVC ns/data: failed to fetch PV pv1 from API server: persistentvolumes \"pv1\" not found");
    expect(resolved("", CLAIM, BOUND, "{metadata: {name: pv1}, spec: {hostPath: {path: '/h'}}}"),
           "error processing PVC ns/data: found PV object pv1 but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim");
    expect(resolved("", CLAIM, BOUND, "{metadata: {name: pv1}, spec: {claimRef: {uid: other}, hostPath: {path: '/h'}}}"),
           "error processing PVC ns/data: found PV object pv1 but its pv.Spec.ClaimRef.UID other does not point to claim.UID c1");
    expect(resolved("containers: [{name: c, volumeMounts: [{name: v}]}]", CLAIM, BOUND, PV("local: {path: '/d'}, volumeMode: Block")),
           "volume v has volumeMode Block, but is specified in volumeMounts");
    expect(resolved("containers: [{name: c, volumeDevices: [{name: v}]}]", CLAIM, BOUND, PV("local: {path: '/d'}")),
           "volume v has volumeMode Filesystem, but is specified in volumeDevices");
    /* a claim of the right name is not enough for an ephemeral volume */
    expect(resolved("", "{name: v, ephemeral: {volumeClaimTemplate: {}}}", BOUND, PV("hostPath: {path: '/h'}")),
           "error processing PVC ns/p-v: PVC ns/p-v was not created for pod ns/p (pod is not owner)");
    expect(resolved("", "{name: v, ephemeral: {volumeClaimTemplate: {}}}",
                    "{metadata: {namespace: ns, name: p-v, uid: c1, ownerReferences: [{kind: Pod, name: p, uid: u1, controller: true}]},"
                    " spec: {volumeName: pv1}, status: {phase: Bound}}",
                    PV("hostPath: {path: '/h'}")),
           "hostPath /h pv1 ");
    arena_done(&arena);
}

/* As upstream names them: external-attacher and our kubelet must agree. */
static void names(void **state)
{
    expect(csi_attachment_name(&arena, STR("vol-b092bb03e94fd75f"), STR("csi.cube.test"), STR("sn1")),
           "csi-91b484ee9358987551342059edc885267062686a57881cac2cd6ec4d2d907846");
    expect(csi_inline_handle(&arena, STR("u1"), STR("v")), "csi-3df5ffc60026e8207ea59c1564beebc5d9845fde03ed041b10fa368ddd17875f");
    arena_done(&arena);
}

/* ---- mounts -------------------------------------------------------------------------------------------------------- */

/* As root; in a mount namespace of the whole program, helper threads too. */
static bool mounts_are_ours;

static bool can_mount(void)
{
    return mounts_are_ours;
}

/* "path at flags ..." of every mount and device of the container, or the error. */
static struct str mounts_text(const char *container, bool recursive)
{
    static struct env_var vars[] = {{{"A", 1}, {"x", 1}}, {{"E", 1}, {"", 0}}};
    struct volume items[] = {
        {.type = VOLUME_EMPTY_DIR, .name = STR("dir"), .path = str_of(under("vol"))},
        {.type = VOLUME_FILES, .name = STR("files"), .path = STR("/files")},
        {.type = VOLUME_HOST_PATH, .name = STR("host"), .path = STR("/host")},
        {.type = VOLUME_LOCAL, .name = STR("claimed"), .path = STR("/claimed"), .pv = pod_of(""), .read_only = true},
        {.type = VOLUME_CSI, .name = STR("disk"), .path = STR("/link"), .block = true},
        {.type = VOLUME_CSI, .name = STR("rodisk"), .path = STR("/link"), .block = true, .read_only = true},
        {.type = VOLUME_IMAGE, .name = STR("image"), .source = val_relaxed(&arena, NULL, "{reference: 'r:1'}")},
    };
    struct volume_list list = {items, ARRAY_SIZE(items), recursive};
    struct env_list env = {vars, 2, 2};
    struct container_volumes v;
    struct err e = {{0}};
    struct buf b = BUF_INIT;
    items[6].source = val_get(val_relaxed(&arena, type_at(T_core_v1_Volume), "{name: image, image: {reference: 'r:1'}}"), N_image);
    int r = volume_mounts(&arena, host, dir, pod_of(""), val_relaxed(&arena, type_at(T_core_v1_Container), container), &env, &list, &v, &e);
    if (r < 0)
        buf_printf(&b, "%s", err_text(&e, r));
    for (size_t i = 0; r == 0 && i < v.n_mounts; i++)
        buf_printf(&b, "%s" STR_FMT STR_FMT "%s" STR_FMT " at " STR_FMT "%s%s%s", b.n ? ", " : "", STR_ARG(v.mounts[i].host_path),
                   STR_ARG(v.mounts[i].image), v.mounts[i].image_sub_path.n ? "/" : "", STR_ARG(v.mounts[i].image_sub_path),
                   STR_ARG(v.mounts[i].container_path), v.mounts[i].read_only ? " ro" : "",
                   v.mounts[i].recursive_read_only ? " rro" : "",
                   v.mounts[i].propagation == 2 ? " both" : v.mounts[i].propagation == 1 ? " in" : "");
    for (size_t i = 0; r == 0 && i < v.n_devices; i++)
        buf_printf(&b, "%s" STR_FMT " dev " STR_FMT " " STR_FMT, b.n ? ", " : "", STR_ARG(v.devices[i].host_path),
                   STR_ARG(v.devices[i].container_path), STR_ARG(v.devices[i].permissions));
    struct str s = arena_str(&arena, buf_str(&b));
    buf_done(&b);
    return s;
}

static void where_containers_see_them_body(void *arg UNUSED)
{
    assert_int_equal(mkdir(under("vol"), 0777), 0);
    expect(mounts_text("{name: c, volumeMounts: [{name: host, mountPath: 'rel'}, {name: files, mountPath: '/f'}]}", false),
           "/host at /rel, /files at /f ro");
    expect(mounts_text("{name: c, volumeMounts: [{name: host, mountPath: '/b', mountPropagation: Bidirectional}, {name: claimed, mountPath: '/c',"
                       " mountPropagation: HostToContainer}, {name: host, mountPath: '/n', mountPropagation: None, readOnly: true}]}", false),
           "/host at /b both, /claimed at /c ro in, /host at /n ro");
    expect(mounts_text("{name: c, volumeMounts: [{name: host, mountPath: '/r', readOnly: true, recursiveReadOnly: IfPossible}]}", false),
           "/host at /r ro");
    expect(mounts_text("{name: c, volumeMounts: [{name: host, mountPath: '/r', readOnly: true, recursiveReadOnly: Enabled}]}", true),
           "/host at /r ro rro");
    expect(mounts_text("{name: c, volumeMounts: [{name: host, mountPath: '/r', readOnly: true, recursiveReadOnly: Enabled}]}", false),
           "failed to resolve recursive read-only mode: volume \"host\" requested recursive read-only mode, but it is not supported by the runtime");
    expect(mounts_text("{name: c, volumeMounts: [{name: none, mountPath: '/r'}]}", false), "cannot find volume \"none\" to mount into container \"c\"");
    expect(mounts_text("{name: c, volumeMounts: [{name: image, mountPath: '/i', subPath: etc}]}", false), "r:1/etc at /i ro");
    expect(mounts_text("{name: c, volumeDevices: [{name: disk, devicePath: '/dev/x'}, {name: rodisk, devicePath: '/dev/y'}]}", false),
           "/link dev /dev/x mrw, /link dev /dev/y r");
    expect(mounts_text("{name: c, volumeDevices: [{name: dir, devicePath: '/dev/x'}]}", false), "cannot find volume \"dir\" to pass into container \"c\"");
    expect(mounts_text("{name: c, volumeDevices: [{name: disk, devicePath: 'x'}]}", false), "error DevicePath `x` must be an absolute path");
    expect(mounts_text("{name: c, volumeMounts: [{name: dir, mountPath: '/s', subPath: '/abs'}]}", false), "error SubPath `/abs` must not be an absolute path");
    expect(mounts_text("{name: c, volumeMounts: [{name: dir, mountPath: '/s', subPath: 'a/../b'}]}", false),
           "unable to provision SubPath `a/../b`: must not contain '..'");
    expect(mounts_text("{name: c, volumeMounts: [{name: dir, mountPath: '/s', subPathExpr: 'a$(NONE)$(A)$(E)$$(B)'}]}", false), "missing value for E, NONE");
    assert_int_equal(symlink("/etc", under("vol/out")), 0);
    expect(mounts_text("{name: c, volumeMounts: [{name: dir, mountPath: '/s', subPath: out}]}", false),
           "failed to prepare subPath for volumeMount \"dir\" of container \"c\"");
}

static void where_containers_see_them(void **state)
{
    loop_run(where_containers_see_them_body, NULL);
}

FIBER_TEST(binds_and_what_is_left_of_them)
{
    struct err e = {{0}};
    struct host_stat st;
    if (!can_mount())
        return;
    mkdir(under("from"), 0755);
    mkdir(under("to"), 0755);
    int fd = open(under("from/f"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    close(fd);
    struct str ro = STR("ro");
    struct host_mount m = {under("from"), under("to"), "", &ro, 1};
    assert_int_equal(host_mount(host, &m, &e), 0);
    assert_true(host_mounted(host, under("to"))); /* though it is of the same device */
    assert_true(access(under("to/f"), F_OK) == 0);
    assert_true(open(under("to/g"), O_CREAT | O_WRONLY, 0644) < 0 && errno == EROFS);
    assert_int_equal(host_unmount(host, under("to"), false, &e), 0);
    assert_int_equal(host_stat(host, under("to"), &st), -ENOENT);
    assert_int_equal(host_unmount(host, under("to"), false, &e), 0); /* again */
    assert_true(access(under("from/f"), F_OK) == 0);                 /* never what lay below it */
    assert_true(host_unmount(host, under("from"), false, &e) < 0);   /* nor what is not empty */
    assert_true(access(under("from/f"), F_OK) == 0);
}

FIBER_TEST(what_a_failed_mount_says)
{
    struct err e = {{0}};
    struct str options[] = {STR("vers=4"), STR("ro")};
    if (!can_mount())
        return;
    mkdir(under("to"), 0755);
    struct host_mount m = {"192.0.2.1:/export", under("to"), "nosuchfs", options, 2};
    assert_true(host_mount(host, &m, &e) < 0);
    assert_non_null(strstr(e.text, "mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nosuchfs -o vers=4,ro 192.0.2.1:/export"));
    assert_non_null(strstr(e.text, "Output: mount:"));
}

/* The server of an NFS volume is any Pod author's word. As an option of mount(8) it would name a list of mounts that a
 * container wrote. */
FIBER_TEST(sources_are_no_options)
{
    struct err e = {{0}};
    struct host_stat st;
    if (!can_mount())
        return;
    mkdir(under("to"), 0755);
    mkdir(under("precious"), 0755);
    struct str list = arena_printf(&arena, "%s %s none bind 0 0\n", under("precious"), under("to"));
    assert_int_equal(os_write_file(under("a:"), list, 0644), 0);
    struct host_mount m = {arena_printf(&arena, "--fstab=%s", under("a:")).p, under("to"), "nfs", NULL, 0};
    assert_true(host_mount(host, &m, &e) < 0);
    assert_int_equal(host_stat(host, under("to"), &st), 0);
    assert_false(st.mounted);
}

/* By this the folder of plug-ins tells that one has come again. */
FIBER_TEST(socket_made_anew)
{
    struct host_stat first, opened, again;
    assert_int_equal(mknod(under("sock"), S_IFSOCK | 0600, 0), 0);
    assert_int_equal(host_stat(host, under("sock"), &first), 0);
    fiber_sleep(MILLISECONDS(20));
    assert_int_equal(chmod(under("sock"), 0666), 0);
    assert_int_equal(host_stat(host, under("sock"), &opened), 0);
    assert_true(first.id == opened.id);
    unlink(under("sock"));
    assert_int_equal(mknod(under("sock"), S_IFSOCK | 0600, 0), 0);
    assert_int_equal(host_stat(host, under("sock"), &again), 0);
    assert_true(first.id != again.id);
}

FIBER_TEST(how_much_a_tree_takes)
{
    struct host_space s;
    char block[4096] = {1};
    mkdir(under("t"), 0755);
    mkdir(under("t/d"), 0755);
    int fd = open(under("t/d/f"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    for (int i = 0; i < 256; i++)
        assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
    fsync(fd);
    close(fd);
    assert_int_equal(host_du(host, under("t"), &s), 0);
    assert_true(s.used >= 1 << 20 && s.used < 1100 << 10);
    assert_int_equal(s.inodes_used, 3);
    int64_t once = s.used;
    assert_int_equal(link(under("t/d/f"), under("t/g")), 0);
    assert_int_equal(symlink("/usr", under("t/out")), 0);
    assert_int_equal(host_du(host, under("t"), &s), 0);
    assert_true(s.used == once); /* one file of two names; what a link leads to is not its */
    assert_int_equal(s.inodes_used, 4);
    enum { LINKED = 300 };
    for (int i = 0; i < LINKED; i++) {
        char name[32], other[32];
        snprintf(name, sizeof(name), "t/d/%d", i);
        snprintf(other, sizeof(other), "t/%d", i);
        fd = open(under(name), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        close(fd);
        char *from = strdup(under(name));
        assert_int_equal(link(from, under(other)), 0);
        free(from);
    }
    assert_int_equal(host_du(host, under("t"), &s), 0);
    assert_int_equal(s.inodes_used, 4 + LINKED);
    assert_int_equal(host_space(host, under("t"), &s), 0);
    assert_true(s.capacity > 0 && s.available <= s.capacity);
}

static int patches;

/* The server is in trouble the first time. */
static int on_patch(void *arg, uint16_t verb, const struct call *c, const struct val *body, struct status *st)
{
    if (verb != VERB_PATCH || c->res != &resources[RES_PERSISTENTVOLUMES])
        return 0;
    return ++patches == 1 ? 500 : 0;
}

/* A directory that is a volume goes, and the volume with it, though the server did not listen at first. */
FIBER_TEST(volume_is_let_go_in_the_end)
{
    struct kubelet *k = NEW(struct kubelet);
    struct fake_client *f = fake_client_new();
    struct group g = {0};
    char *root = strdup(under("root")), *folder = strdup(under("lp"));
    mkdir(root, 0755);
    mkdir(folder, 0755);
    mkdir(under("lp/v"), 0755);
    k->cfg.root_dir = root;
    k->cfg.local_path_dir = folder;
    k->cfg.node_name = "n";
    k->host = host;
    k->client = fake_client_as(f);
    fake_client_hook(f, on_patch, NULL);
    fake_put_text(f, RES_PERSISTENTVOLUMES,
                  arena_printf(&arena, "{metadata: {name: v, finalizers: ['cube.local/local-path'], deletionTimestamp: '2026-01-01T00:00:00Z', labels: "
                               "{'cube.local/node': n}, annotations: {'cube.local/provisioned-by': n}}, spec: {persistentVolumeReclaimPolicy: Delete, "
                               "local: {path: '%s/v'}}, status: {phase: Released}}", folder).p);
    node_volumes_start(k);
    group_spawn(&g, "volumes", node_volumes_run, k);
    for (int i = 0; i < 300 && fake_count(f, RES_PERSISTENTVOLUMES); i++)
        fiber_sleep(MILLISECONDS(100));
    assert_int_equal(fake_count(f, RES_PERSISTENTVOLUMES), 0);
    assert_int_equal(patches, 2);
    assert_int_equal(access(under("lp/v"), F_OK), -1);
    group_stop(&g);
    node_volumes_free(k);
    fake_client_free(f);
    arena_done(&k->arena);
    free(root);
    free(folder);
    free(k);
}

FIBER_TEST(odd_names_of_file_systems)
{
    struct err e = {{0}};
    struct host_mount m = {"/dev/null", under("odd"), "ext4", NULL, 0};
    /* a type is no path of a program, a device no option */
    static const char *const bad[] = {"", "-o", "../../tmp/x", "ext4/../x", "ext4 x", ".x"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct host_mount odd = m;
        odd.type = bad[i];
        assert_int_equal(host_mount_device(host, &odd, &e), -EINVAL);
        assert_non_null(strstr(e.text, "is no type of a file system"));
    }
    struct host_mount option = m;
    option.source = "-x";
    assert_int_equal(host_mount_device(host, &option, &e), -EINVAL);
}

FIBER_TEST(a_device_with_a_file_system)
{
    struct err e = {{0}};
    struct str out = STR_NULL;
    const char *make[] = {"sh", "-c", arena_printf(&arena, "truncate -s 64M %s/img && losetup --show -f %s/img", dir, dir).p, NULL};
    if (!can_mount() || os_run(&arena, make, &out, NULL, mono_add(os_mono(), SECONDS(10))) != 0)
        return;
    const char *device = arena_cstr(&arena, str_trim(out)), *detach[] = {"losetup", "-d", device, NULL};
    struct str ro = STR("ro");
    mkdir(under("to"), 0755);
    struct host_mount m = {device, under("to"), "ext4", &ro, 1};
    assert_true(host_mount_device(host, &m, &e) < 0); /* nothing is made on what may not be written to */
    m.n_options = 0;
    assert_int_equal(host_mount_device(host, &m, &e), 0);
    close(open(under("to/kept"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    umount(under("to"));
    assert_int_equal(host_mount_device(host, &m, &e), 0);
    assert_true(access(under("to/kept"), F_OK) == 0); /* made once */
    struct host_space before, after;
    assert_int_equal(host_space(host, under("to"), &before), 0);
    const char *grow[] = {"sh", "-c", arena_printf(&arena, "truncate -s 128M %s/img && losetup -c %s", dir, device).p, NULL};
    assert_int_equal(os_run(&arena, grow, NULL, NULL, mono_add(os_mono(), SECONDS(10))), 0);
    if (host_resize(host, device, under("to"), &e) == 0) {
        assert_int_equal(host_space(host, under("to"), &after), 0);
        assert_true(after.capacity > before.capacity * 3 / 2);
    } else { /* without CAP_SYS_RESOURCE */
        assert_non_null(strstr(e.text, "Permission denied"));
    }
    assert_int_equal(host_unmount(host, under("to"), false, &e), 0);
    os_run(&arena, detach, NULL, NULL, mono_add(os_mono(), SECONDS(10)));
}

/* ---- a race (CVE-2021-25741) ------------------------------------------------------------------------------------------ */

static _Atomic bool racing;

/* What a container can do while the kubelet looks: a folder, a link out of the volume, a folder, ... */
static void *swap(void *arg)
{
    const char *at = arg;
    char other[128];
    snprintf(other, sizeof(other), "%s.link", at);
    while (racing) {
        renameat2(AT_FDCWD, at, AT_FDCWD, other, RENAME_EXCHANGE);
        sched_yield();
    }
    return NULL;
}

FIBER_TEST(sub_paths_win_races)
{
    struct err e = {{0}};
    struct stat etc, got;
    pthread_t thread;
    unsigned mounted = 0, refused = 0, escaped = 0;
    if (!can_mount() || stat("/etc", &etc) < 0)
        return;
    mkdir(under("vol"), 0777);
    mkdir(under("vol/sub"), 0755);
    assert_int_equal(symlink("/etc", under("vol/sub.link")), 0);
    racing = true;
    assert_int_equal(pthread_create(&thread, NULL, swap, (void *)(uintptr_t)under("vol/sub")), 0);
    for (unsigned i = 0; i < 60000 && (i < 1500 || mounted < 100 || refused < 100); i++) {
        const char *sub = i % 2 ? "sub" : "sub/deep";
        if (host->ops->subpath(host, under("vol"), sub, under("m/0"), &e) < 0) {
            refused++;
            continue;
        }
        mounted++;
        if (stat(under("m/0"), &got) < 0 || (got.st_dev == etc.st_dev && got.st_ino == etc.st_ino) ||
            access(under("m/0/passwd"), F_OK) == 0)
            escaped++;
    }
    racing = false;
    pthread_join(thread, NULL);
    assert_int_equal(escaped, 0);
    if (!mounted || !refused)
        fail_msg("%u mounted, %u refused: no race", mounted, refused);
    assert_true(access("/etc/deep", F_OK) < 0); /* nothing was made outside, either */
}

FIBER_TEST(sub_paths_are_as_open_as_their_volume)
{
    struct err e = {{0}};
    struct stat st;
    if (!can_mount())
        return;
    umask(022);
    mkdir(under("vol"), 0755);
    chmod(under("vol"), 02777);
    assert_int_equal(host->ops->subpath(host, under("vol"), "a/b", under("m/0"), &e), 0);
    assert_true(stat(under("m/0"), &st) == 0 && (st.st_mode & 07777) == 02777);
}

/* A volume that somebody wrote names a directory as ours: which ones may be made and removed? */
static void directories_of_ours(void **state)
{
    static const struct {
        const char *path, *volume;
        bool ours;
    } cases[] = {
        {"/k/local/pvc-1", "pvc-1", true},
        {"/k/local/pvc-2", "pvc-1", false}, /* another volume's */
        {"/k/local/pvc-11", "pvc-1", false},
        {"/k/local", "", false},
        {"/k/local/", "", false},
        {"/k/local/.", ".", false},
        {"/k/local/..", "..", false},
        {"/k/local/../pods", "../pods", false},
        {"/k/local/a/b", "a/b", false},
        {"/k/local/pvc-1/", "pvc-1", false},
        {"/k/local/../local/pvc-1", "pvc-1", false},
        {"/k/localpvc-1", "pvc-1", false},
        {"/etc", "etc", false},
        {"", "", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (local_path_is_own("/k/local", str_of(cases[i].path), str_of(cases[i].volume)) != cases[i].ours)
            fail_msg("%s of %s", cases[i].path, cases[i].volume);
    assert_false(local_path_is_own("", STR("/etc"), STR("etc")));
    assert_false(local_path_is_own("/k/local", str_n("/k/local/pvc-1\0x", 16), STR("pvc-1")));
}

int main(void)
{
#define with_dir(test) cmocka_unit_test_setup_teardown(test, disk_set_up, disk_tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(claims),
        cmocka_unit_test(names),
        cmocka_unit_test(directories_of_ours),
        with_dir(where_containers_see_them),
        with_dir(binds_and_what_is_left_of_them),
        with_dir(what_a_failed_mount_says),
        with_dir(sources_are_no_options),
        with_dir(socket_made_anew), with_dir(volume_is_let_go_in_the_end), with_dir(how_much_a_tree_takes),
        with_dir(odd_names_of_file_systems),
        with_dir(a_device_with_a_file_system),
        with_dir(sub_paths_win_races),
        with_dir(sub_paths_are_as_open_as_their_volume),
    };
    mounts_are_ours = geteuid() == 0 && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
