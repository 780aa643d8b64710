/* SPDX-License-Identifier: Apache-2.0 */
/* One call: read, do, print. No loop, no fibers: it lives for a few milliseconds. */
#include "cni/cni.h"

#include "base/os.h"
#include "wire/json.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { INPUT_MAX = 1 << 20 };

struct call {
    struct arena arena;
    struct cni_request r;
    struct cni_result result;
    struct str raw;   /* the result of a foreign plug-in, handed on as it is */
    struct err e;
};

/* ---- foreign plug-ins --------------------------------------------------------------------------------------- */

/* Runs plug-in `type` of CNI_PATH with that input; its standard output in the arena. Its exit code, or -errno. */
static int run_plugin(struct call *c, struct str type, struct str input, struct str *ret_out)
{
    struct str dirs = str_of(c->r.path), dir;
    const char *program = NULL;
    while (!program && dirs.n && str_next(&dirs, ':', &dir)) {
        const char *path = arena_printf(&c->arena, STR_FMT "/" STR_FMT, STR_ARG(dir), STR_ARG(type)).p;
        program = access(path, X_OK) == 0 ? path : NULL;
    }
    if (!program || str_find(type, '/') >= 0)
        return -ENOENT;
    FILE *in = tmpfile(), *out = tmpfile();
    int status = -1;
    if (in && out && fwrite(input.p, 1, input.n, in) == input.n && fflush(in) == 0) {
        rewind(in);
        pid_t pid = fork();
        if (pid == 0) {
            dup2(fileno(in), 0);
            dup2(fileno(out), 1);
            execl(program, program, (char *)NULL);
            _exit(127);
        }
        while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    struct buf b = BUF_INIT;
    if (out) {
        char part[4096];
        size_t n;
        rewind(out);
        while ((n = fread(part, 1, sizeof(part), out)) > 0 && b.n < INPUT_MAX)
            buf_put(&b, part, n);
        fclose(out);
    }
    if (in)
        fclose(in);
    *ret_out = arena_str(&c->arena, buf_str(&b));
    buf_done(&b);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

/* Its own code and sentence where it says them. */
static int delegate(struct call *c, struct str type, struct str input, struct str *ret_out)
{
    struct val *v = NULL;
    int r = run_plugin(c, type, input, ret_out);
    if (r == 0)
        return 0;
    if (r == -ENOENT)
        return err_set(&c->e, CNI_BAD_CONFIG, "the plug-in \"" STR_FMT "\" is not in CNI_PATH", STR_ARG(type));
    if (r < 0)
        return err_set(&c->e, CNI_FAILED, "the plug-in \"" STR_FMT "\" did not come to its end", STR_ARG(type));
    if (json_decode(&c->arena, NULL, *ret_out, 0, NULL, &v, NULL) < 0)
        v = NULL;
    err_set(&c->e, 0, STR_FMT ": " STR_FMT, STR_ARG(type), STR_ARG(val_str(val_key(v, STR("msg")))));
    int code = (int)val_int(val_key(v, STR("code")), CNI_FAILED);
    return code ? code : CNI_FAILED; /* its exit code says that it failed */
}

/* ---- addresses ------------------------------------------------------------------------------------------------ */

static bool is_own_ipam(const struct cni_request *r)
{
    return !r->ipam.type.n || str_is(r->ipam.type, "host-local");
}

static int ipam_add(struct call *c)
{
    struct cni_store s;
    struct str out = STR_NULL;
    struct val *v = NULL;
    if (!c->r.ipam.type.n)
        return 0;
    if (!is_own_ipam(&c->r)) {
        int code = delegate(c, c->r.ipam.type, c->r.input, &out);
        if (code == 0 && json_decode(&c->arena, NULL, out, 0, NULL, &v, NULL) < 0)
            code = err_set(&c->e, CNI_DECODE, "ipam: what it says is no JSON");
        return code ? code : cni_result_read(&c->arena, v, &c->result, &c->e);
    }
    int code = cni_store_open(c->r.ipam.data_dir, c->r.name, &s, &c->e);
    if (code)
        return code;
    code = cni_ipam_add(&c->arena, &s, &c->r, &c->result.addresses, &c->result.n_addresses, &c->e);
    cni_store_close(&s);
    return code;
}

static void take_away(struct str notes)
{
    cni_guard_del(notes);
    cni_ports_del(notes);
    cni_bandwidth_del(notes);
}

/* Addresses last: who gets them next must find nothing of ours. */
static int release(struct call *c)
{
    struct cni_store s;
    struct str out;
    setenv("CNI_COMMAND", "DEL", 1); /* we may be undoing an ADD */
    if (!is_own_ipam(&c->r))
        delegate(c, c->r.ipam.type, c->r.input, &out);
    int code = cni_store_open(c->r.ipam.data_dir, c->r.name, &s, &c->e);
    if (code)
        return code;
    take_away(cni_notes_read(&c->arena, &s, c->r.container, c->r.ifname));
    code = cni_ipam_del(&s, c->r.container, c->r.ifname, &c->e);
    cni_store_close(&s);
    return code;
}

/* The record of an attachment with what was added to it. Before it is done: what is on record can be taken away. */
static int keep_notes(struct call *c, struct str more)
{
    struct cni_store s;
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (!more.n)
        return 0;
    int code = cni_store_open(c->r.ipam.data_dir, c->r.name, &s, &c->e);
    if (code)
        return code;
    buf_putstr(&b, cni_notes_read(&c->arena, &s, c->r.container, c->r.ifname));
    buf_putstr(&b, more);
    code = cni_notes_write(&s, c->r.container, c->r.ifname, buf_str(&b), &c->e);
    cni_store_close(&s);
    return code;
}

/* ---- the types --------------------------------------------------------------------------------------------------- */

static int prev(struct call *c)
{
    return cni_result_read(&c->arena, c->r.prev, &c->result, &c->e);
}

/* Without it packets would be too large for the overlay: later is better than wrong. */
static int read_mtu(struct call *c)
{
    struct str text;
    struct subnet_env env;
    if (c->r.mtu || !c->r.subnet_file)
        return 0;
    int r = os_read_file(&c->arena, c->r.subnet_file, 4096, &text);
    if (r < 0)
        return err_set(&c->e, CNI_TRY_LATER, "cannot read %s: %s", c->r.subnet_file, strerror(-r));
    subnet_env_read(text, &env);
    c->r.mtu = env.mtu;
    return 0;
}

static int bridge_add(struct call *c)
{
    int code = read_mtu(c);
    code = code ? code : ipam_add(c);
    if (code)
        return code;
    code = cni_bridge_add(&c->arena, &c->r, &c->result, &c->e);
    if (code) {
        struct err keep = c->e;
        release(c);
        c->e = keep;
    }
    return code;
}

static int bridge_del(struct call *c)
{
    int code = cni_bridge_del(&c->r, &c->e), later = release(c);
    return code ? code : later;
}

static int ipam_check(struct call *c)
{
    struct cni_store s;
    struct str out;
    if (!c->r.ipam.type.n)
        return 0;
    if (!is_own_ipam(&c->r))
        return delegate(c, c->r.ipam.type, c->r.input, &out);
    int code = cni_store_open(c->r.ipam.data_dir, c->r.name, &s, &c->e);
    if (code)
        return code;
    code = cni_ipam_check(&s, c->r.container, c->r.ifname, &c->e);
    cni_store_close(&s);
    return code;
}

static int bridge_check(struct call *c)
{
    int code = prev(c);
    code = code ? code : cni_bridge_check(&c->arena, &c->r, &c->result, &c->e);
    return code ? code : ipam_check(c);
}

static void stale(void *arg UNUSED, const char *container UNUSED, const char *ifname UNUSED, struct str notes)
{
    take_away(notes);
}

static int gc(struct call *c)
{
    struct cni_store s;
    struct str out;
    if (!is_own_ipam(&c->r))
        delegate(c, c->r.ipam.type, c->r.input, &out);
    int code = cni_store_open(c->r.ipam.data_dir, c->r.name, &s, &c->e);
    if (code)
        return code;
    code = cni_ipam_gc(&s, c->r.valid, c->r.n_valid, stale, NULL, &c->e);
    cni_store_close(&s);
    return code;
}

/* Whether ADD would find what it needs. */
static int store_status(struct call *c)
{
    struct cni_store s;
    int code = is_own_ipam(&c->r) ? cni_store_open(c->r.ipam.data_dir, c->r.name, &s, &c->e) : 0;
    if (code)
        return CNI_NOT_AVAILABLE;
    if (is_own_ipam(&c->r))
        cni_store_close(&s);
    return 0;
}

static int nothing(struct call *c UNUSED)
{
    return 0;
}

static int ports_add(struct call *c)
{
    struct buf text CLEANUP_BUF = BUF_INIT, notes CLEANUP_BUF = BUF_INIT;
    cni_ports_text(&text, &notes, &c->r, &c->result);
    int code = keep_notes(c, buf_str(&notes));
    return code ? code : cni_ports_add(&c->r, &c->result, buf_str(&text), buf_str(&notes), &c->e);
}

static int bandwidth_add(struct call *c)
{
    struct buf notes CLEANUP_BUF = BUF_INIT;
    cni_bandwidth_notes(&c->r, &notes);
    int code = keep_notes(c, buf_str(&notes));
    return code ? code : cni_bandwidth_add(&c->r, &c->result, &c->e);
}

/* The record comes after: a kill between leaves elements of a link that is nobody's. */
static int guard_add(struct call *c)
{
    struct buf notes CLEANUP_BUF = BUF_INIT;
    int code = cni_guard_add(&c->r, &c->result, &notes, &c->e);
    return code ? code : keep_notes(c, buf_str(&notes));
}

static int all_add(struct call *c)
{
    int code = bridge_add(c);
    if (code)
        return code;
    code = guard_add(c);
    code = code ? code : ports_add(c);
    code = code ? code : bandwidth_add(c);
    if (code) {
        struct err keep = c->e;
        bridge_del(c);
        c->e = keep;
    }
    return code;
}

static int all_check(struct call *c)
{
    int code = bridge_check(c);
    code = code ? code : cni_ports_check(&c->r, &c->result, &c->e);
    return code ? code : cni_bandwidth_check(&c->r, &c->result, &c->e);
}

static int chained_ports_add(struct call *c)
{
    int code = prev(c);
    return code ? code : ports_add(c);
}

static int chained_ports_check(struct call *c)
{
    int code = prev(c);
    return code ? code : cni_ports_check(&c->r, &c->result, &c->e);
}

static int chained_bandwidth_add(struct call *c)
{
    int code = prev(c);
    return code ? code : bandwidth_add(c);
}

static int chained_bandwidth_check(struct call *c)
{
    int code = prev(c);
    return code ? code : cni_bandwidth_check(&c->r, &c->result, &c->e);
}

/* What a chained plug-in noted beside the addresses, which are another's. */
static int chained_del(struct call *c)
{
    struct cni_store s;
    struct buf rest CLEANUP_BUF = BUF_INIT;
    struct str line;
    if (cni_store_open(c->r.ipam.data_dir, c->r.name, &s, &c->e))
        return 0;
    struct str notes = cni_notes_read(&c->arena, &s, c->r.container, c->r.ifname);
    take_away(notes);
    while (notes.n && str_next(&notes, '\n', &line))
        if (str_starts(line, STR("ip ")))
            buf_printf(&rest, STR_FMT "\n", STR_ARG(line));
    if (rest.n)
        cni_notes_write(&s, c->r.container, c->r.ifname, buf_str(&rest), &c->e);
    else
        cni_notes_remove(&s, c->r.container, c->r.ifname);
    cni_store_close(&s);
    return 0;
}

static int loopback(struct call *c)
{
    return cni_loopback(&c->r, &c->result, &c->arena, &c->e);
}

/* ---- type flannel ---------------------------------------------------------------------------------------------- */

static int run_type(struct call *c, struct str type);

static const char *delegate_file(struct call *c)
{
    struct str dir = val_str(val_key(c->r.conf, STR("dataDir")));
    return arena_printf(&c->arena, STR_FMT "/%s@%s", STR_ARG(dir.n ? dir : STR("/var/lib/cni/flannel")), c->r.container,
                        c->r.ifname).p;
}

static int as_delegate(struct call *c, struct str conf)
{
    struct cni_request inner;
    int code = cni_conf_read(&c->arena, conf, &inner, &c->e);
    if (code)
        return code;
    inner.command = c->r.command;
    inner.container = c->r.container;
    inner.netns = c->r.netns;
    inner.ifname = c->r.ifname;
    inner.path = c->r.path;
    c->r = inner;
    if (str_is(inner.type, "bridge"))
        return run_type(c, inner.type);
    return delegate(c, inner.type, conf, &c->raw);
}

static int make_delegate(struct call *c, struct str *ret)
{
    struct str file = val_str(val_key(c->r.conf, STR("subnetFile"))), text;
    const char *path = file.n ? arena_cstr(&c->arena, file) : "/run/flannel/subnet.env";
    struct subnet_env env;
    int r = os_read_file(&c->arena, path, 4096, &text);
    if (r < 0) {
        err_set(&c->e, r, "cannot read %s: %s", path, strerror(-r));
        return c->r.command == CNI_STATUS ? CNI_NOT_AVAILABLE : CNI_TRY_LATER;
    }
    subnet_env_read(text, &env);
    int code = cni_flannel_delegate(&c->arena, c->r.conf, &env, ret, &c->e);
    return code && c->r.command == CNI_STATUS ? CNI_NOT_AVAILABLE : code;
}

/* DEL must do what ADD did, whatever subnet.env says by then. */
static int flannel_add(struct call *c)
{
    struct str conf;
    const char *path = delegate_file(c);
    int code = make_delegate(c, &conf);
    if (code)
        return code;
    ssize_t slash = str_rfind(str_of(path), '/');
    if (os_mkdir_all(arena_cstr(&c->arena, str_n(path, (size_t)slash)), 0755) < 0 || os_write_file(path, conf, 0600) < 0)
        return err_set(&c->e, CNI_IO, "cannot write %s", path);
    code = as_delegate(c, conf);
    if (code)
        os_unlink(path);
    return code;
}

static int flannel_del(struct call *c)
{
    struct str conf;
    const char *path = delegate_file(c);
    if (os_read_file(&c->arena, path, INPUT_MAX, &conf) < 0)
        return 0; /* nothing was added, or it is gone already */
    int code = as_delegate(c, conf);
    if (code == 0)
        os_unlink(path);
    return code;
}

static int flannel_other(struct call *c)
{
    struct str conf;
    int code = make_delegate(c, &conf);
    if (code || c->r.command == CNI_STATUS)
        return code;
    struct cni_attachment *valid = c->r.valid;
    size_t n = c->r.n_valid;
    struct cni_request inner;
    code = cni_conf_read(&c->arena, conf, &inner, &c->e);
    if (code || c->r.command != CNI_GC)
        return code ? code : as_delegate(c, conf);
    inner.command = CNI_GC;
    inner.valid = valid;
    inner.n_valid = n;
    c->r = inner;
    return gc(c);
}

/* ---- host-local alone ------------------------------------------------------------------------------------------ */

static int ipam_alone_add(struct call *c)
{
    int code = ipam_add(c);
    c->result.routes = c->r.ipam.routes;
    c->result.n_routes = c->r.ipam.n_routes;
    c->result.dns = c->r.ipam.dns;
    return code;
}

/* ---- which -------------------------------------------------------------------------------------------------------- */

typedef int doing(struct call *c);
static const struct plugin {
    const char *name;
    doing *add, *del, *check, *gc, *status;
} plugins[] = {
    {"cube-cni", all_add, bridge_del, all_check, gc, store_status},
    {"bridge", bridge_add, bridge_del, bridge_check, gc, store_status},
    {"host-local", ipam_alone_add, release, ipam_check, gc, store_status},
    {"portmap", chained_ports_add, chained_del, chained_ports_check, gc, nothing},
    {"bandwidth", chained_bandwidth_add, chained_del, chained_bandwidth_check, gc, nothing},
    {"loopback", loopback, nothing, loopback, nothing, nothing},
    {"flannel", flannel_add, flannel_del, flannel_other, flannel_other, flannel_other},
};

static int run_type(struct call *c, struct str type)
{
    const struct plugin *p = plugins;
    for (size_t i = 0; i < ARRAY_SIZE(plugins); i++)
        if (str_is(type, plugins[i].name))
            p = &plugins[i];
    doing *const by_command[] = {[CNI_ADD] = p->add, [CNI_DEL] = p->del, [CNI_CHECK] = p->check,
                                 [CNI_GC] = p->gc,   [CNI_STATUS] = p->status};
    return by_command[c->r.command](c);
}

static int read_input(struct buf *b)
{
    for (;;) {
        ssize_t n = read(0, buf_grow(b, 4096), 4096);
        if (n == 0 || b->n > INPUT_MAX)
            return n == 0 ? 0 : -E2BIG;
        if (n < 0 && errno != EINTR)
            return -errno;
        b->n += n > 0 ? (size_t)n : 0;
    }
}

static void print(const struct buf *b)
{
    if (b->n && fwrite(b->p, 1, b->n, stdout) != b->n)
        exit(1);
    fflush(stdout);
}

static const char *from_environment(const char *name)
{
    return getenv(name);
}

/* The link's name says which it is; as `cube cni` the configuration's type does. */
static struct str type_of(const struct call *c, const char *program)
{
    const char *slash = strrchr(program, '/');
    struct str name = str_of(slash ? slash + 1 : program);
    for (size_t i = 0; i < ARRAY_SIZE(plugins); i++)
        if (str_is(name, plugins[i].name))
            return name;
    return c->r.type;
}

int cni_main(int argc UNUSED, char **argv)
{
    struct call c = {0};
    struct buf input CLEANUP_BUF = BUF_INIT, out CLEANUP_BUF = BUF_INIT;
    const char *command = getenv("CNI_COMMAND");
    if (!command || !*command) {
        fputs("This is a CNI plug-in: a container runtime runs it with CNI_COMMAND and the like, and a configuration on its "
              "standard input.\n", stderr);
        return 2;
    }
    int code = 0;
    if (strcmp(command, "VERSION") && read_input(&input) < 0)
        code = err_set(&c.e, CNI_IO, "the configuration cannot be read");
    code = code ? code : cni_request_read(&c.arena, from_environment, buf_str(&input), &c.r, &c.e);
    struct str version = c.r.version;
    if (code == 0 && c.r.command == CNI_VERSION)
        cni_versions_print(&out);
    else if (code == 0)
        code = run_type(&c, type_of(&c, argv[0]));
    if (code)
        cni_error_print(&out, version, code, err_text(&c.e, -EIO));
    else if (c.r.command == CNI_ADD && c.raw.n)
        buf_putstr(&out, c.raw);
    else if (c.r.command == CNI_ADD)
        cni_result_print(&out, version, &c.result);
    print(&out);
    arena_done(&c.arena);
    return code ? 1 : 0;
}
