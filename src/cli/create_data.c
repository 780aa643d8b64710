/* SPDX-License-Identifier: Apache-2.0 */
/* create configmap and secret: keys and values from files, folders, environment files and the command line. */
#include "cli/create.h"

#include "auth/crypto.h"
#include "auth/x509.h"
#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/check.h"
#include "wire/json.h"
#include "wire/json_scan.h"

#include <sys/stat.h>

enum { MAX_FILE = 64 << 20 };

struct data {
    struct creation x;
    struct flag_list files, literals, env_files;
    bool secret, append_hash;
};
#define FROM_FLAGS(d)                                                                                        \
    {"append-hash", 0, FLAG_BOOL, &(d)->append_hash, "Append a hash of the content to the name"},            \
        {"from-env-file", 0, FLAG_STRINGS, &(d)->env_files, "File with lines of KEY=VALUE"},                 \
        {"from-file", 0, FLAG_STRINGS, &(d)->files, "File or folder: [KEY=]FILE; the key is the file's name unless given"}, \
        {"from-literal", 0, FLAG_ARRAY, &(d)->literals, "KEY=VALUE"}

/* s is followed by NUL or a line end. */
static bool is_utf8(struct str s)
{
    size_t len;
    for (size_t i = 0; i < s.n; i += len) {
        const unsigned char *p = (const unsigned char *)s.p + i;
        len = *p < 0x80 ? 1 : utf8_len(p);
        if (!len)
            return false;
    }
    return true;
}

/* ---- keys ------------------------------------------------------------------------------------------------------------ */

static int check_key(struct data *d, struct str key)
{
    struct cli *c = d->x.c;
    struct check bad = {.n = 0};
    struct buf b CLEANUP_BUF = BUF_INIT;
    check_config_key(&bad, key);
    for (unsigned i = 0; i < bad.n; i++)
        buf_printf(&b, "%s%s", i ? d->secret ? ";" : "," : "", bad.texts[i]);
    if (bad.n && d->secret)
        return cli_fail(c, "\"" STR_FMT "\" is not valid key name for a Secret " STR_FMT, STR_ARG(key), STR_ARG(buf_str(&b)));
    if (bad.n)
        return cli_fail(c, "\"" STR_FMT "\" is not a valid key name for a ConfigMap: " STR_FMT, STR_ARG(key), STR_ARG(buf_str(&b)));
    bool text = val_key(val_get(d->x.v, N_data), key), bytes = val_key(val_get(d->x.v, N_binaryData), key);
    if (text && d->secret)
        return cli_fail(c, "cannot add key " STR_FMT ", another key by that name already exists", STR_ARG(key));
    if (text || bytes)
        return cli_fail(c, "cannot add key \"" STR_FMT "\", another key by that name already exists in %s for ConfigMap \"" STR_FMT "\"",
                        STR_ARG(key), text ? "Data" : "BinaryData", STR_ARG(d->x.name));
    return 0;
}

/* The value must stay: in the arena or in argv. */
static int add_value(struct data *d, struct str key, struct str value)
{
    struct arena *a = &d->x.c->a;
    int r = check_key(d, key);
    if (r)
        return r;
    bool binary = !d->secret && !is_utf8(value);
    struct val *map = val_sub_map(a, d->x.v, binary ? N_binaryData : N_data);
    val_put(a, map, key, binary || d->secret ? val_of_bytes(value) : val_of_str(value));
    return 0;
}

/* ---- sources --------------------------------------------------------------------------------------------------------- */

static int add_file(struct data *d, struct str key, const char *path)
{
    struct cli *c = d->x.c;
    struct str text;
    int r = !strcmp(path, "/dev/stdin") ? manifest_stdin(c, &text) : os_read_file(&c->a, path, MAX_FILE, &text);
    if (r)
        return r < 0 ? cli_fail(c, "open %s: %s", path, strerror(-r)) : r;
    return add_value(d, key, text);
}

/* Every regular file of a folder, by its name. */
static int add_folder(struct data *d, const char *path)
{
    struct cli *c = d->x.c;
    char **names;
    int n = os_list_dir(&c->a, path, &names);
    if (n < 0)
        return cli_fail(c, "error listing files in %s: %s", path, strerror(-n));
    for (; *names; names++) {
        const char *file = cli_printf(c, "%s/%s", path, *names).p;
        struct stat st;
        if (lstat(file, &st) < 0 || !S_ISREG(st.st_mode))
            continue;
        int r = add_file(d, str_of(*names), file);
        if (r)
            return r;
    }
    return 0;
}

static struct str base_name(struct str path)
{
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    return str_from(path, (size_t)(str_rfind(path, '/') + 1));
}

static int add_source(struct data *d, struct str source)
{
    struct cli *c = d->x.c;
    struct str key, path;
    struct stat st;
    bool named = str_cut(source, '=', &key, &path);
    if (named && str_find(path, '=') >= 0)
        return cli_fail(c, "key names or file paths cannot contain '='");
    if (named && !key.n)
        return cli_fail(c, "key name for file path " STR_FMT " missing", STR_ARG(path));
    if (named && !path.n)
        return cli_fail(c, "file path for key name " STR_FMT " missing", STR_ARG(key));
    if (!named)
        path = source, key = base_name(source);
    const char *file = arena_cstr(&c->a, path);
    if (stat(file, &st) < 0)
        return cli_fail(c, "error reading %s: %s", file, errno == ENOENT ? "no such file or directory" : strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return add_file(d, key, file);
    return named ? cli_fail(c, "cannot give a key name for a directory path") : add_folder(d, file);
}

static int add_literal(struct data *d, struct str source)
{
    struct str key, value;
    if (!str_cut(source, '=', &key, &value) || !key.n)
        return cli_fail(d->x.c, "invalid literal source " STR_FMT ", expected key=value", STR_ARG(source));
    return add_value(d, key, value);
}

/* A line of an environment file. A name alone takes its value from our own environment. */
static int add_env_line(struct data *d, const char *path, struct str line, size_t number)
{
    struct cli *c = d->x.c;
    struct check bad = {.n = 0};
    struct str key, value;
    if (!is_utf8(line))
        return cli_fail(c, "env file %s contains invalid utf8 bytes at line %zu", path, number);
    if (number == 1 && str_starts(line, STR("\xef\xbb\xbf")))
        line = str_from(line, 3);
    while (line.n && strchr(" \t\r\v\f", line.p[0]))
        line = str_from(line, 1);
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    if (!line.n || line.p[0] == '#')
        return 0;
    bool has_value = str_cut(line, '=', &key, &value);
    check_env_name(&bad, key);
    if (bad.n)
        return cli_fail(c, "\"" STR_FMT "\" is not a valid key name: %s", STR_ARG(key), bad.texts[0]);
    if (!has_value)
        value = str_of(getenv(arena_cstr(&c->a, key)));
    return add_value(d, key, value);
}

static int add_env_file(struct data *d, const char *path)
{
    struct cli *c = d->x.c;
    struct stat st;
    struct str text, line;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return cli_fail(c, "env %s file cannot be a directory", d->secret ? "secret" : "config");
    int r = os_read_file(&c->a, path, MAX_FILE, &text);
    if (r < 0)
        return cli_fail(c, "error reading %s: %s", path, r == -ENOENT ? "no such file or directory" : strerror(-r));
    for (size_t n = 1; r == 0 && text.p && str_next(&text, '\n', &line); n++)
        r = add_env_line(d, path, line, n);
    return r;
}

static int add_all(struct data *d)
{
    int r = 0;
    if (d->env_files.n && (d->files.n || d->literals.n))
        return cli_fail(d->x.c, "from-env-file cannot be combined with from-file or from-literal");
    for (size_t i = 0; r == 0 && d->secret && i < d->literals.n; i++)
        r = add_literal(d, str_of(d->literals.items[i]));
    for (size_t i = 0; r == 0 && i < d->files.n; i++)
        r = add_source(d, str_of(d->files.items[i]));
    for (size_t i = 0; r == 0 && !d->secret && i < d->literals.n; i++)
        r = add_literal(d, str_of(d->literals.items[i]));
    for (size_t i = 0; r == 0 && i < d->env_files.n; i++)
        r = add_env_file(d, d->env_files.items[i]);
    return r;
}

/* ---- the hash in the name ----------------------------------------------------------------------------------------------- */

static void put_quoted(struct buf *b, const char *key, struct str value)
{
    struct val v = val_of_str(value);
    buf_printf(b, "%s\"%s\":", b->n > 1 ? "," : "", key);
    json_encode(b, NULL, &v, 0);
}

static void put_map(struct data *d, struct buf *b, const char *key, name_id name)
{
    const struct val *v = val_get(d->x.v, name);
    struct val *plain = val_new(&d->x.c->a, VAL_MAP);
    VAL_EACH_ENTRY(v, k, item)
    {
        struct buf text CLEANUP_BUF = BUF_INIT;
        if (val_is(item, VAL_BYTES))
            base64_put(&text, val_str(item));
        else
            buf_putstr(&text, val_str(item));
        val_put_str(&d->x.c->a, plain, val_str(k), buf_str(&text));
    }
    buf_printf(b, "%s\"%s\":", b->n > 1 ? "," : "", key);
    json_encode(b, NULL, plain, JSON_SORTED);
}

/* The first ten digits of a hash of the content, without vowels, as upstream's tools have it. */
static void append_hash(struct data *d)
{
    static const char from[] = "013ae", to[] = "ghkmt";
    struct buf b CLEANUP_BUF = BUF_INIT;
    char hex[65];
    struct cli *c = d->x.c;
    buf_putc(&b, '{');
    if (!d->secret && val_len(val_get(d->x.v, N_binaryData)))
        put_map(d, &b, "binaryData", N_binaryData);
    put_map(d, &b, "data", N_data);
    put_quoted(&b, "kind", d->x.kind->kind);
    put_quoted(&b, "name", d->x.name);
    if (d->secret)
        put_quoted(&b, "type", val_getstr(d->x.v, N_type));
    buf_putc(&b, '}');
    sha256_hex(buf_str(&b), hex);
    for (size_t i = 0; i < 10; i++) {
        const char *p = strchr(from, hex[i]);
        if (p)
            hex[i] = to[p - from];
    }
    struct str name = cli_printf(c, STR_FMT "-%.10s", STR_ARG(d->x.name), hex);
    val_set_str(&c->a, val_sub_obj(&c->a, d->x.v, N_metadata), N_name, name);
}

static int finish(struct data *d)
{
    if (d->append_hash)
        append_hash(d);
    return create_end(&d->x, d->secret ? "failed to create secret" : "failed to create configmap:");
}

/* ---- the commands ---------------------------------------------------------------------------------------------------------- */

int cmd_create_configmap(struct cli *c, int argc, char **argv)
{
    struct data d = {.x = {.c = c, .w = WRITE_INIT}};
    struct flag flags[] = {CREATE_FLAGS(&d.x), FROM_FLAGS(&d), NO_FLAGS};
    int r = create_begin(&d.x, RES_CONFIGMAPS, flags, NULL, argc, argv);
    if (r == 0)
        r = add_all(&d);
    return r ? r : finish(&d);
}

static void set_type(struct data *d, const char *type)
{
    if (type && type[0])
        val_set_str(&d->x.c->a, d->x.v, N_type, str_of(type));
}

int cmd_create_secret_generic(struct cli *c, int argc, char **argv)
{
    struct data d = {.x = {.c = c, .w = WRITE_INIT}, .secret = true};
    const char *type = NULL;
    struct flag flags[] = {CREATE_FLAGS(&d.x), FROM_FLAGS(&d), {"type", 0, FLAG_STRING, &type, "Type of the secret"}, NO_FLAGS};
    int r = create_begin(&d.x, RES_SECRETS, flags, NULL, argc, argv);
    if (r)
        return r;
    set_type(&d, type);
    r = add_all(&d);
    return r ? r : finish(&d);
}

static int read_pem(struct cli *c, const char *file, struct str *ret)
{
    int r = os_read_file(&c->a, file, MAX_FILE, ret);
    if (r < 0)
        return cli_fail(c, "Cannot read file %s, open %s: %s", file, file,
                        r == -ENOENT ? "no such file or directory" : strerror(-r));
    return 0;
}

static int check_pair(struct cli *c, struct str cert_pem, struct str key_pem)
{
    struct err e = {0};
    struct x509_cert *cert = NULL;
    struct x509_key *key = NULL, *public = NULL;
    int r = 0;
    if (x509_cert_parse(cert_pem, &cert, &e) < 0)
        r = cli_fail(c, "tls: failed to find any PEM data in certificate input");
    else if (x509_key_parse(key_pem, &key, &e) < 0 || !x509_key_is_private(key))
        r = cli_fail(c, "tls: failed to find any PEM data in key input");
    else if (!x509_key_equal(public = x509_cert_key(cert), key))
        r = cli_fail(c, "tls: private key does not match public key");
    x509_key_unref(public);
    x509_key_unref(key);
    x509_cert_unref(cert);
    return r;
}

int cmd_create_secret_tls(struct cli *c, int argc, char **argv)
{
    struct data d = {.x = {.c = c, .w = WRITE_INIT}, .secret = true};
    const char *cert_file = "", *key_file = "";
    struct str cert, key;
    struct flag flags[] = {
        CREATE_FLAGS(&d.x),
        {"append-hash", 0, FLAG_BOOL, &d.append_hash, "Append a hash of the content to the name"},
        {"cert", 0, FLAG_STRING, &cert_file, "File with the certificate, PEM"},
        {"key", 0, FLAG_STRING, &key_file, "File with its private key"},
        NO_FLAGS,
    };
    int r = create_begin(&d.x, RES_SECRETS, flags, NULL, argc, argv);
    if (r)
        return r;
    if (!cert_file[0] || !key_file[0])
        return cli_fail(c, "key and cert must be specified");
    r = read_pem(c, cert_file, &cert);
    if (r == 0)
        r = read_pem(c, key_file, &key);
    if (r == 0)
        r = check_pair(c, cert, key);
    if (r)
        return r;
    set_type(&d, "kubernetes.io/tls");
    struct val *map = val_sub_map(&c->a, d.x.v, N_data);
    val_put(&c->a, map, STR("tls.crt"), val_of_bytes(cert));
    val_put(&c->a, map, STR("tls.key"), val_of_bytes(key));
    return finish(&d);
}

/* ---- docker-registry ---------------------------------------------------------------------------------------------------------- */

#define DOCKER_KEY ".dockerconfigjson"

struct docker {
    const char *user, *password, *email, *server;
};

static void put_member(struct buf *b, const char *key, struct str value)
{
    struct val v = val_of_str(value);
    if (!value.n)
        return;
    buf_printf(b, "%s\"%s\":", b->p[b->n - 1] == '{' ? "" : ",", key);
    json_encode(b, NULL, &v, 0);
}

/* What `docker login` writes. */
static struct str docker_config(struct cli *c, const struct docker *k)
{
    struct buf b CLEANUP_BUF = BUF_INIT, auth CLEANUP_BUF = BUF_INIT;
    struct val server = val_of_str(str_of(k->server));
    base64_put(&auth, cli_printf(c, "%s:%s", k->user, k->password));
    buf_puts(&b, "{\"auths\":{");
    json_encode(&b, NULL, &server, 0);
    buf_puts(&b, ":{");
    put_member(&b, "username", str_of(k->user));
    put_member(&b, "password", str_of(k->password));
    put_member(&b, "email", str_of(k->email));
    put_member(&b, "auth", buf_str(&auth));
    buf_puts(&b, "}}}");
    return arena_str(&c->a, buf_str(&b));
}

int cmd_create_secret_docker(struct cli *c, int argc, char **argv)
{
    struct data d = {.x = {.c = c, .w = WRITE_INIT}, .secret = true};
    struct docker k = {.user = "", .password = "", .email = "", .server = "https://index.docker.io/v1/"};
    struct flag flags[] = {
        CREATE_FLAGS(&d.x),
        {"append-hash", 0, FLAG_BOOL, &d.append_hash, "Append a hash of the content to the name"},
        {"docker-email", 0, FLAG_STRING, &k.email, "Mail address"},
        {"docker-password", 0, FLAG_STRING, &k.password, "Password"},
        {"docker-server", 0, FLAG_STRING, &k.server, "The registry"},
        {"docker-username", 0, FLAG_STRING, &k.user, "User name"},
        {"from-file", 0, FLAG_STRINGS, &d.files, "A docker configuration to take: [KEY=]FILE; the key is " DOCKER_KEY},
        NO_FLAGS,
    };
    int r = create_begin(&d.x, RES_SECRETS, flags, NULL, argc, argv);
    if (r)
        return r;
    if (!d.files.n && (!k.user[0] || !k.password[0] || !k.server[0]))
        return cli_fail(c, "either --from-file or the combination of --docker-username, --docker-password and --docker-server "
                           "is required");
    set_type(&d, "kubernetes.io/dockerconfigjson");
    for (size_t i = 0; r == 0 && i < d.files.n; i++)
        r = add_source(&d, strchr(d.files.items[i], '=') ? str_of(d.files.items[i])
                                                         : cli_printf(c, DOCKER_KEY "=%s", d.files.items[i]));
    if (!d.files.n)
        r = add_value(&d, STR(DOCKER_KEY), docker_config(c, &k));
    return r ? r : finish(&d);
}
