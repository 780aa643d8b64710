/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manifest.h"

#include "base/os.h"
#include "names.h"
#include "wire/yaml.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FILE = 256 << 20, MAX_DEPTH = 64 };

/* ---- one text ------------------------------------------------------------------------------------------------ */

static void add(struct manifests *m, const char *source, struct val *v)
{
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 16;
        m->items = xrealloc(m->items, m->cap * sizeof(*m->items));
    }
    m->items[m->n++] = (struct manifest){source, v};
}

static int add_object(struct cli *c, const char *source, struct val *v, struct manifests *m);

/* Items of a typed list (PodList) may leave out what the list says already. */
static int add_items(struct cli *c, const char *source, struct val *list, struct manifests *m)
{
    struct str kind = val_getstr(list, N_kind);
    int code = 0;
    VAL_EACH(val_get(list, N_items), item)
    {
        struct val *v = val_copy(&c->a, item);
        if (kind.n > 4 && val_is(v, VAL_MAP) && !val_getstr(v, N_kind).n) {
            val_put_str(&c->a, v, STR("kind"), str_n(kind.p, kind.n - 4));
            val_put_str(&c->a, v, STR("apiVersion"), val_getstr(list, N_apiVersion));
        }
        code |= add_object(c, source, v, m);
    }
    return code;
}

static int lacks(struct cli *c, const char *source, const struct val *v, const char *what)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode(&b, NULL, v, JSON_SORTED);
    return cli_fail(c, "unable to decode \"%s\": Object '%s' is missing in '" STR_FMT "'", source, what,
                    STR_ARG(buf_str(&b)));
}

static int add_object(struct cli *c, const char *source, struct val *v, struct manifests *m)
{
    if (!val_is(v, VAL_MAP))
        return cli_fail(c, "unable to decode \"%s\": an object was expected", source);
    if (!val_getstr(v, N_kind).n)
        return lacks(c, source, v, "Kind");
    if (!val_getstr(v, N_apiVersion).n)
        return lacks(c, source, v, "apiVersion");
    if (str_ends(val_getstr(v, N_kind), STR("List")) && val_is(val_get(v, N_items), VAL_LIST))
        return add_items(c, source, v, m);
    add(m, source, v);
    return 0;
}

/* JSON texts may follow each other without a separator. */
static int parse_json(struct cli *c, const char *source, struct str text, struct manifests *m)
{
    int code = 0;
    for (struct str rest = str_trim(text); rest.n; rest = str_trim(rest)) {
        struct val *v = NULL;
        struct err e = {0};
        if (json_decode(&c->a, NULL, json_cut(&rest), 0, NULL, &v, &e) < 0)
            return cli_fail(c, "error parsing %s: json: %s", source, e.text);
        code |= add_object(c, source, v, m);
    }
    return code;
}

static int parse_yaml(struct cli *c, const char *source, struct str text, struct manifests *m)
{
    struct yaml_stream *s = yaml_open(text);
    struct err e = {0};
    int code = 0;
    for (;;) {
        struct val *v = NULL;
        int r = yaml_next(s, &c->a, NULL, &v, &e);
        if (r == YAML_END)
            break;
        if (r < 0) {
            code = cli_fail(c, "error parsing %s: error converting YAML to JSON: %s", source, e.text);
            break;
        }
        if (!val_is(v, VAL_NULL))
            code |= add_object(c, source, v, m);
    }
    yaml_close(s);
    return code;
}

int manifest_parse(struct cli *c, const char *source, struct str text, struct manifests *ret)
{
    struct val *v = NULL;
    if (yaml_is_json(text) && json_decode(&c->a, NULL, text, 0, NULL, &v, NULL) == 0)
        return add_object(c, source, v, ret);
    if (yaml_is_json(text) && !str_contains(text, STR("\n---")))
        return parse_json(c, source, text, ret);
    return parse_yaml(c, source, text, ret);
}

/* ---- sources ------------------------------------------------------------------------------------------------- */

int manifest_stdin(struct cli *c, struct str *ret)
{
    struct buf b = BUF_INIT; /* kept: the text is of the run's length */
    for (;;) {
        ssize_t n = read(STDIN_FILENO, buf_grow(&b, 64 << 10), 64 << 10);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cli_fail(c, "error reading standard input: %s", strerror(errno));
        if (n == 0)
            break;
        b.n += (size_t)n;
        if (b.n > MAX_FILE)
            return cli_fail(c, "standard input is larger than %d MiB", MAX_FILE >> 20);
    }
    *buf_grow(&b, 1) = 0;
    *ret = buf_str(&b);
    return 0;
}

/* Named pipes and /dev/fd/N have no size and no positions: they are read like stdin. */
static int read_stream(struct cli *c, const char *path, struct str *ret)
{
    struct buf b = BUF_INIT;
    int fd = os_open(path, O_RDONLY, 0);
    if (fd < 0)
        return cli_fail(c, "the path \"%s\" cannot be accessed: %s", path, strerror(-fd));
    for (;;) {
        ssize_t n = read(fd, buf_grow(&b, 64 << 10), 64 << 10);
        if (n <= 0 || b.n > MAX_FILE)
            break;
        b.n += (size_t)n;
    }
    os_close(fd);
    *buf_grow(&b, 1) = 0;
    *ret = buf_str(&b);
    return 0;
}

static int read_file(struct cli *c, const char *path, struct manifests *m)
{
    struct str text;
    struct stat st;
    int r = stat(path, &st) == 0 && !S_ISREG(st.st_mode) ? read_stream(c, path, &text) : 0;
    if (r)
        return r;
    if (S_ISREG(st.st_mode) && (r = os_read_file(&c->a, path, MAX_FILE, &text)) < 0)
        return cli_fail(c, "error reading \"%s\": %s", path, strerror(-r));
    return manifest_parse(c, path, text, m);
}

static bool is_manifest(const char *name)
{
    struct str s = str_of(name);
    return str_ends(s, STR(".json")) || str_ends(s, STR(".yaml")) || str_ends(s, STR(".yml"));
}

static int read_dir(struct cli *c, const char *path, bool recursive, int depth, size_t *found, struct manifests *m)
{
    char **names;
    int code = 0, r = os_list_dir(&c->a, path, &names);
    if (r < 0)
        return cli_fail(c, "error reading \"%s\": %s", path, strerror(-r));
    for (char **p = names; *p; p++) {
        const char *child = cli_printf(c, "%s%s%s", path, str_ends(str_of(path), STR("/")) ? "" : "/", *p).p;
        struct stat st;
        bool is_dir = stat(child, &st) == 0 && S_ISDIR(st.st_mode);
        if (is_dir && recursive && depth < MAX_DEPTH)
            code |= read_dir(c, child, recursive, depth + 1, found, m);
        if (is_dir || !is_manifest(*p))
            continue;
        (*found)++;
        code |= read_file(c, child, m);
    }
    return code;
}

static int read_path(struct cli *c, const char *path, bool recursive, struct manifests *m)
{
    struct stat st;
    size_t found = 0;
    if (stat(path, &st) < 0)
        return cli_fail(c, errno == ENOENT ? "the path \"%s\" does not exist" : "the path \"%s\" cannot be accessed", path);
    if (!S_ISDIR(st.st_mode))
        return read_file(c, path, m);
    m->several = true;
    int code = read_dir(c, path, recursive, 0, &found, m);
    if (!found && !code)
        return cli_fail(c, "error reading [%s]: recognized file extensions are [.json .yaml .yml]", path);
    return code;
}

static int read_url(struct cli *c, const char *url, struct manifests *m)
{
    struct err e = {0};
    struct http_call *call;
    struct str text = STR_NULL;
    struct http_client *client = http_client_new(&(struct http_client_config){0});
    struct mono deadline = mono_add(os_mono(), SECONDS(60));
    int r = http_do(client, &(struct http_request){.url = url}, deadline, &call, &e);
    if (r < 0)
        return cli_fail(c, "unable to read URL \"%s\": %s", url, err_text(&e, r));
    if (call->status != 200)
        return cli_fail(c, "unable to read URL \"%s\", server reported %d %s, status code=%d", url, call->status,
                        http_status_text(call->status), call->status);
    r = http_call_read_all(call, MAX_FILE, deadline, &text);
    if (r < 0)
        return cli_fail(c, "unable to read URL \"%s\": %s", url, strerror(-r));
    return manifest_parse(c, url, text, m);
}

static int read_pattern(struct cli *c, const char *pattern, bool recursive, struct manifests *m)
{
    glob_t g = {0};
    int code = 0;
    if (glob(pattern, 0, NULL, &g) == 0)
        for (size_t i = 0; i < g.gl_pathc; i++)
            code |= read_path(c, arena_cstr(&c->a, str_of(g.gl_pathv[i])), recursive, m);
    else
        code = cli_fail(c, "the path \"%s\" does not exist", pattern);
    m->several = true;
    globfree(&g);
    return code;
}

static int read_source(struct cli *c, const char *s, bool recursive, struct manifests *m)
{
    struct stat st;
    if (!strcmp(s, "-")) {
        struct str text;
        m->several = true;
        int r = manifest_stdin(c, &text);
        return r ? r : manifest_parse(c, "STDIN", text, m);
    }
    if (!strncmp(s, "http://", 7) || !strncmp(s, "https://", 8))
        return read_url(c, s, m);
    if (strpbrk(s, "*?[") && stat(s, &st) < 0)
        return read_pattern(c, s, recursive, m);
    return read_path(c, s, recursive, m);
}

int manifest_read(struct cli *c, const struct flag_list *files, bool recursive, struct manifests *ret)
{
    int code = 0;
    unsigned stdins = 0;
    for (size_t i = 0; i < files->n; i++) {
        if (!strcmp(files->items[i], "-") && stdins++)
            return cli_fail(c, "standard input cannot be used for multiple arguments");
        code |= read_source(c, files->items[i], recursive, ret);
    }
    ret->several |= files->n > 1;
    return code;
}
