/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

/* One SSL_CTX a certificate of the server; the whole set is replaced when certificates change, and lives as
 * long as a connection made with it. */
struct tls_set {
    atomic_uint refs;
    SSL_CTX **ctx;
    size_t n;
    bool require;
    struct tls_certificate *(*choose)(void *ctx, const char *name);
    void *choose_ctx;
};

struct tls_certificate {
    atomic_uint refs;
    SSL_CTX *ctx;
};

struct tls_server {
    atomic_uint refs;
    struct tls_set *set;
};

struct tls_client {
    atomic_uint refs;
    SSL_CTX *ctx;
    bool insecure;
};

struct tls_stream {
    struct stream s;
    struct tls_peer peer;
    struct arena arena; /* of peer */
    SSL *ssl;
    struct tls_set *set; /* server side */
    int fd;
    size_t to_write; /* bytes that OpenSSL was given and has made no record of yet, at most */
    int read_wants, write_wants; /* OS_READABLE or OS_WRITABLE: what the last -EAGAIN was about */
    int io_error;                /* of the socket */
    int verify_error;            /* X509_V_ERR_... of the peer's chain */
    bool saw_chain, broken;
    bool dry; /* the last read found nothing: what OpenSSL still holds is part of a record */
};

static const char default_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                      "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                      "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

/* Of TLS 1.3; a server of ours chooses by its own order. */
static const char default_suites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

/* ---- OpenSSL's I/O through the door ------------------------------------------------------------------- */

static int bio_write(BIO *b, const char *p, int n)
{
    struct tls_stream *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    t->to_write -= MIN(t->to_write, (size_t)SSL3_RT_MAX_PLAIN_LENGTH);
    ssize_t r = t->fd < 0 ? -EBADF : os_try_send(t->fd, p, (size_t)n, t->to_write > 0);
    if (r == -EAGAIN)
        BIO_set_retry_write(b);
    else if (r < 0)
        t->io_error = (int)r;
    return r < 0 ? -1 : (int)r;
}

static int bio_read(BIO *b, char *p, int n)
{
    struct tls_stream *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    ssize_t r = t->fd < 0 ? -EBADF : os_try_recv(t->fd, p, (size_t)n);
    if (r == -EAGAIN)
        BIO_set_retry_read(b);
    else if (r < 0)
        t->io_error = (int)r;
    return r < 0 ? -1 : (int)r;
}

static long bio_ctrl(BIO *b, int command, long num, void *p)
{
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;
static int ex_index;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_once(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "cube");
    if (!bio_method)
        panic("OpenSSL: no BIO method");
    BIO_meth_set_write(bio_method, bio_write);
    BIO_meth_set_read(bio_method, bio_read);
    BIO_meth_set_ctrl(bio_method, bio_ctrl);
    ex_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static struct tls_stream *stream_of_ssl(const SSL *ssl)
{
    return SSL_get_ex_data(ssl, ex_index);
}

/* ---- errors ------------------------------------------------------------------------------------------- */

/* The reason OpenSSL gives last, which is the outermost. */
static const char *ssl_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    return text ? text : "unknown error";
}

static int ssl_fail(struct err *e, int r, const char *what)
{
    err_set(e, r, "%s: %s", what, ssl_reason());
    ERR_clear_error();
    return r;
}

/* ---- contexts ----------------------------------------------------------------------------------------- */

static BIO *bio_of(struct str s)
{
    return BIO_new_mem_buf(s.p ? s.p : "", (int)s.n);
}

static int use_chain(SSL_CTX *ctx, struct str pem, struct err *e)
{
    BIO *b = bio_of(pem);
    X509 *leaf = PEM_read_bio_X509_AUX(b, NULL, NULL, NULL);
    bool ok = leaf && SSL_CTX_use_certificate(ctx, leaf) == 1;
    X509_free(leaf);
    while (ok) {
        X509 *next = PEM_read_bio_X509(b, NULL, NULL, NULL);
        if (!next)
            break;
        ok = SSL_CTX_add0_chain_cert(ctx, next) == 1;
        if (!ok)
            X509_free(next);
    }
    BIO_free(b);
    if (!ok)
        return ssl_fail(e, -EINVAL, "certificate");
    ERR_clear_error(); /* the end of a PEM text is an error to OpenSSL */
    return 0;
}

static int use_key(SSL_CTX *ctx, struct str pem, struct err *e)
{
    BIO *b = bio_of(pem);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
    BIO_free(b);
    bool ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;
    EVP_PKEY_free(key);
    return ok ? 0 : ssl_fail(e, -EINVAL, "private key");
}

static int use_keypair(SSL_CTX *ctx, const struct tls_keypair *k, struct err *e)
{
    int r = use_chain(ctx, k->cert_pem, e);
    return r < 0 ? r : use_key(ctx, k->key_pem, e);
}

/* Adds a PEM bundle as trust anchors; as_hint also names them in the request for client certificates. */
static int use_ca(SSL_CTX *ctx, struct str pem, bool as_hint, struct err *e)
{
    BIO *b = bio_of(pem);
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    size_t n = 0;
    for (X509 *x; (x = PEM_read_bio_X509(b, NULL, NULL, NULL)); X509_free(x)) {
        X509_STORE_add_cert(store, x);
        if (as_hint)
            SSL_CTX_add_client_CA(ctx, x);
        n++;
    }
    BIO_free(b);
    ERR_clear_error();
    return n ? 0 : err_set(e, -EINVAL, "CA bundle: no certificate in it");
}

static SSL_CTX *ctx_new(const SSL_METHOD *method)
{
    pthread_once(&once, init_once);
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (!ctx)
        panic("OpenSSL: no context");
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    /* Resumption is off: a resumed session carries no chain to check again, and our connections are long. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_cipher_list(ctx, default_ciphers);
    SSL_CTX_set_ciphersuites(ctx, default_suites);
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    return ctx;
}

struct alpn {
    const uint8_t *p;
    unsigned n;
};

static struct alpn alpn_choice(bool no_h2, bool h2_only)
{
    static const uint8_t both[] = "\x02h2\x08http/1.1";
    if (h2_only)
        return (struct alpn){both, 3};
    return no_h2 ? (struct alpn){both + 3, 9} : (struct alpn){both, 12};
}

/* Our order decides. A client without a protocol in common goes on without ALPN, as Go's servers let it. */
static int choose_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_n, const unsigned char *in,
                       unsigned in_n, void *arg)
{
    const struct alpn *ours = arg;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, ret_n, ours->p, ours->n, in, in_n) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Notes what came of verifying and goes on unless a certificate is required. */
static int verify_client(X509_STORE_CTX *store, void *arg)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_stream *t = stream_of_ssl(ssl);
    int ok = X509_verify_cert(store);
    t->saw_chain = true;
    t->verify_error = ok == 1 ? X509_V_OK : X509_STORE_CTX_get_error(store);
    ERR_clear_error();
    if (ok == 1 || (t->set && t->set->require))
        return ok == 1;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

/* ---- server contexts ---------------------------------------------------------------------------------- */

static struct tls_set *set_unref(struct tls_set *set)
{
    if (!set || --set->refs)
        return NULL;
    for (size_t i = 0; i < set->n; i++)
        SSL_CTX_free(set->ctx[i]);
    free(set->ctx);
    free(set);
    return NULL;
}

/* Does the certificate of this context serve that name? */
static bool ctx_serves(SSL_CTX *ctx, const char *name)
{
    X509 *x = SSL_CTX_get0_certificate(ctx);
    return x && X509_check_host(x, name, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1;
}

static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
    struct tls_stream *t = stream_of_ssl(ssl);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (name && t->set && t->set->choose) {
        struct tls_certificate *c = t->set->choose(t->set->choose_ctx, name);
        if (c)
            SSL_set_SSL_CTX(ssl, c->ctx); /* which takes a reference of its own */
        tls_certificate_unref(c);
        return SSL_TLSEXT_ERR_OK;
    }
    for (size_t i = 0; name && t->set && i < t->set->n; i++) {
        if (ctx_serves(t->set->ctx[i], name)) {
            SSL_set_SSL_CTX(ssl, t->set->ctx[i]);
            break;
        }
    }
    return SSL_TLSEXT_ERR_OK;
}

static int server_ctx(const struct tls_server_config *c, const struct tls_keypair *k, SSL_CTX **ret,
                      struct err *e)
{
    static const struct alpn choices[] = {{(const uint8_t *)"\x02h2\x08http/1.1", 12},
                                          {(const uint8_t *)"\x08http/1.1", 9},
                                          {(const uint8_t *)"\x02h2", 3}};
    SSL_CTX *ctx = ctx_new(TLS_server_method());
    int r = use_keypair(ctx, k, e);
    if (r == 0 && c->client_ca.n)
        r = use_ca(ctx, c->client_ca, true, e);
    if (r == 0 && c->ciphers && SSL_CTX_set_cipher_list(ctx, c->ciphers) != 1)
        r = ssl_fail(e, -EINVAL, "cipher suites");
    if (r < 0) {
        SSL_CTX_free(ctx);
        return r;
    }
    if (c->min_version > TLS1_2_VERSION)
        SSL_CTX_set_min_proto_version(ctx, c->min_version);
    int mode = c->client_auth == TLS_CLIENT_NONE      ? SSL_VERIFY_NONE
               : c->client_auth == TLS_CLIENT_REQUIRE ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                                      : SSL_VERIFY_PEER;
    SSL_CTX_set_verify(ctx, mode, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, verify_client, NULL);
    SSL_CTX_set_tlsext_servername_callback(ctx, choose_certificate);
    const struct alpn *alpn = &choices[c->h2_only ? 2 : c->no_h2];
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, (void *)(uintptr_t)alpn);
    *ret = ctx;
    return 0;
}

int tls_certificate_new(const struct tls_keypair *key, struct tls_certificate **ret, struct err *e)
{
    const struct tls_server_config plain = {0};
    SSL_CTX *ctx;
    int r = server_ctx(&plain, key, &ctx, e);
    if (r < 0)
        return r;
    *ret = NEW(struct tls_certificate);
    (*ret)->refs = 1;
    (*ret)->ctx = ctx;
    return 0;
}

struct tls_certificate *tls_certificate_ref(struct tls_certificate *c)
{
    c->refs++;
    return c;
}

struct tls_certificate *tls_certificate_unref(struct tls_certificate *c)
{
    if (c && --c->refs == 0) {
        SSL_CTX_free(c->ctx);
        free(c);
    }
    return NULL;
}

static int set_new(const struct tls_server_config *c, struct tls_set **ret, struct err *e)
{
    if (c->n_keys == 0)
        return err_set(e, -EINVAL, "TLS server without a certificate");
    struct tls_set *set = NEW(struct tls_set);
    set->refs = 1;
    set->require = c->client_auth == TLS_CLIENT_REQUIRE;
    set->choose = c->choose;
    set->choose_ctx = c->choose_ctx;
    set->ctx = xcalloc(c->n_keys, sizeof(SSL_CTX *));
    for (; set->n < c->n_keys; set->n++) {
        int r = server_ctx(c, &c->keys[set->n], &set->ctx[set->n], e);
        if (r < 0) {
            set_unref(set);
            return r;
        }
    }
    *ret = set;
    return 0;
}

int tls_server_new(const struct tls_server_config *config, struct tls_server **ret, struct err *e)
{
    struct tls_set *set;
    int r = set_new(config, &set, e);
    if (r < 0)
        return r;
    struct tls_server *t = NEW(struct tls_server);
    t->refs = 1;
    t->set = set;
    *ret = t;
    return 0;
}

int tls_server_set(struct tls_server *t, const struct tls_server_config *config, struct err *e)
{
    struct tls_set *set;
    int r = set_new(config, &set, e);
    if (r < 0)
        return r;
    set_unref(t->set);
    t->set = set;
    return 0;
}

struct tls_server *tls_server_ref(struct tls_server *t)
{
    t->refs++;
    return t;
}

struct tls_server *tls_server_unref(struct tls_server *t)
{
    if (t && --t->refs == 0) {
        set_unref(t->set);
        free(t);
    }
    return NULL;
}

/* ---- client contexts ---------------------------------------------------------------------------------- */

static int client_ctx(const struct tls_client_config *c, SSL_CTX **ret, struct err *e)
{
    SSL_CTX *ctx = ctx_new(TLS_client_method());
    int r = 0;
    if (c->ca.n)
        r = use_ca(ctx, c->ca, false, e);
    else if (!c->insecure) /* all of the system's: 15 ms and a megabyte */
        SSL_CTX_set_default_verify_paths(ctx);
    if (r == 0 && c->key.cert_pem.n)
        r = use_keypair(ctx, &c->key, e);
    if (r < 0) {
        SSL_CTX_free(ctx);
        return r;
    }
    SSL_CTX_set_verify(ctx, c->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    struct alpn alpn = alpn_choice(c->no_h2, c->h2_only);
    if (!c->no_alpn)
        SSL_CTX_set_alpn_protos(ctx, alpn.p, alpn.n);
    *ret = ctx;
    return 0;
}

int tls_client_new(const struct tls_client_config *config, struct tls_client **ret, struct err *e)
{
    SSL_CTX *ctx;
    int r = client_ctx(config, &ctx, e);
    if (r < 0)
        return r;
    struct tls_client *t = NEW(struct tls_client);
    t->refs = 1;
    t->ctx = ctx;
    t->insecure = config->insecure;
    *ret = t;
    return 0;
}

struct tls_client *tls_client_ref(struct tls_client *t)
{
    t->refs++;
    return t;
}

struct tls_client *tls_client_unref(struct tls_client *t)
{
    if (t && --t->refs == 0) {
        SSL_CTX_free(t->ctx);
        free(t);
    }
    return NULL;
}

/* ---- the stream --------------------------------------------------------------------------------------- */

static struct tls_stream *tls_of(struct stream *s)
{
    return CONTAINER_OF(s, struct tls_stream, s);
}

/* What a failed SSL call means; *wants is set for -EAGAIN. */
static ssize_t ssl_outcome(struct tls_stream *t, int r, int *wants)
{
    switch (SSL_get_error(t->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        *wants = OS_READABLE;
        return -EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        *wants = OS_WRITABLE;
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    }
    t->broken = true;
    if (t->io_error)
        return t->io_error;
    return ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING ? -ECONNRESET
                                                                                       : -EPROTO;
}

static ssize_t tls_try_read(struct stream *s, void *p, size_t n)
{
    struct tls_stream *t = tls_of(s);
    ERR_clear_error();
    int r = SSL_read(t->ssl, p, (int)MIN(n, (size_t)1 << 30));
    t->dry = r <= 0;
    if (r > 0)
        return r;
    ssize_t out = ssl_outcome(t, r, &t->read_wants);
    ERR_clear_error();
    return out;
}

static ssize_t tls_try_write(struct stream *s, const void *p, size_t n)
{
    struct tls_stream *t = tls_of(s);
    ERR_clear_error();
    t->to_write = n;
    int r = SSL_write(t->ssl, p, (int)MIN(n, (size_t)1 << 30));
    if (r > 0)
        return r;
    ssize_t out = ssl_outcome(t, r, &t->write_wants);
    ERR_clear_error();
    return out ? out : -EPIPE;
}

static int tls_wait(struct stream *s, int events, struct mono deadline)
{
    struct tls_stream *t = tls_of(s);
    if ((events & OS_READABLE) && !t->dry && SSL_has_pending(t->ssl))
        return 0;
    int wants = events & OS_READABLE ? t->read_wants : t->write_wants;
    return os_wait_fd(t->fd, wants ? wants : events, deadline);
}

static int tls_shutdown(struct stream *s)
{
    struct tls_stream *t = tls_of(s);
    if (!t->broken)
        SSL_shutdown(t->ssl);
    ERR_clear_error();
    return os_shutdown(t->fd);
}

static void tls_abort(struct stream *s)
{
    os_close(TAKE_FD(tls_of(s)->fd));
}

static void tls_free(struct stream *s)
{
    struct tls_stream *t = tls_of(s);
    if (t->fd >= 0 && !t->broken && SSL_is_init_finished(t->ssl))
        SSL_shutdown(t->ssl); /* close_notify if the socket takes it at once */
    ERR_clear_error();
    SSL_free(t->ssl);
    if (t->fd >= 0)
        os_close(t->fd);
    set_unref(t->set);
    arena_done(&t->arena);
    free(t);
}

static const struct stream_ops tls_ops = {tls_try_read, tls_try_write, tls_wait,
                                          tls_shutdown, tls_abort,     tls_free};

static struct tls_stream *tls_stream_new(SSL_CTX *ctx, int fd)
{
    struct tls_stream *t = NEW(struct tls_stream);
    t->s.ops = &tls_ops;
    t->s.tls = &t->peer;
    t->fd = fd;
    t->ssl = SSL_new(ctx);
    BIO *b = BIO_new(bio_method);
    if (!t->ssl || !b)
        panic("OpenSSL: no memory for a connection");
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b);
    SSL_set_ex_data(t->ssl, ex_index, t);
    return t;
}

/* ---- who the peer is ---------------------------------------------------------------------------------- */

static struct str der_of(struct arena *a, X509 *x)
{
    int n = i2d_X509(x, NULL);
    uint8_t *p = (uint8_t *)arena_bytes(a, n > 0 ? (size_t)n : 1), *at = p;
    return str_n((char *)p, n > 0 ? (size_t)i2d_X509(x, &at) : 0);
}

/* Subject entries of one kind as text; entries with NUL bytes are not names but attacks and are left out. */
static size_t subject_texts(struct arena *a, X509 *x, int nid, const char **ret, size_t max)
{
    X509_NAME *name = X509_get_subject_name(x);
    size_t n = 0;
    for (int i = -1; n < max && (i = X509_NAME_get_index_by_NID(name, nid, i)) >= 0;) {
        uint8_t *utf8 = NULL;
        int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
        if (len >= 0 && !memchr(utf8, '\0', (size_t)len))
            ret[n++] = arena_cstr(a, str_n((char *)utf8, (size_t)len));
        OPENSSL_free(utf8);
    }
    return n;
}

static struct wall wall_of_asn1(const ASN1_TIME *t)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return (struct wall){0};
    return (struct wall){timegm(&tm) * NSEC_PER_SEC};
}

enum { MAX_CHAIN = 16, MAX_ORGS = 256 };

static void describe_leaf(struct tls_stream *t, X509 *leaf)
{
    struct tls_peer *p = &t->peer;
    const char *cn[1];
    const char **orgs = ARENA_ARRAY(&t->arena, const char *, MAX_ORGS);
    if (subject_texts(&t->arena, leaf, NID_commonName, cn, 1))
        p->cn = cn[0];
    p->n_orgs = subject_texts(&t->arena, leaf, NID_organizationName, orgs, MAX_ORGS);
    p->orgs = orgs;
    p->not_after = wall_of_asn1(X509_get0_notAfter(leaf));
}

static void describe_chain(struct tls_stream *t, X509 *leaf, STACK_OF(X509) * chain, bool server)
{
    struct str *der = ARENA_ARRAY(&t->arena, struct str, MAX_CHAIN);
    size_t n = 0;
    der[n++] = der_of(&t->arena, leaf);
    /* The server's chain is without the leaf, the client's is with it. */
    for (int i = server ? 0 : 1; i < sk_X509_num(chain) && n < MAX_CHAIN; i++)
        der[n++] = der_of(&t->arena, sk_X509_value(chain, i));
    t->peer.chain = der;
    t->peer.n_chain = n;
}

static void describe_peer(struct tls_stream *t, bool server, bool insecure)
{
    struct tls_peer *p = &t->peer;
    const uint8_t *alpn;
    unsigned n;
    SSL_get0_alpn_selected(t->ssl, &alpn, &n);
    p->alpn = arena_cstr(&t->arena, str_n((const char *)alpn, n));
    p->version = SSL_get_version(t->ssl);
    p->cipher = SSL_get_cipher_name(t->ssl);
    const char *sni = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
    p->server_name = arena_cstr(&t->arena, str_of(sni));
    p->cn = "";
    X509 *leaf = SSL_get1_peer_certificate(t->ssl);
    if (!leaf)
        return;
    describe_leaf(t, leaf);
    describe_chain(t, leaf, SSL_get_peer_cert_chain(t->ssl), server);
    X509_free(leaf);
    int verdict = server ? (t->saw_chain ? t->verify_error : X509_V_ERR_UNSPECIFIED)
                         : (int)SSL_get_verify_result(t->ssl);
    p->verified = verdict == X509_V_OK && !insecure;
    if (verdict != X509_V_OK)
        p->why_not = X509_verify_cert_error_string(verdict);
}

/* ---- handshakes --------------------------------------------------------------------------------------- */

static int handshake_error(struct tls_stream *t, ssize_t r, struct err *e)
{
    long verdict = SSL_get_verify_result(t->ssl);
    if (r == 0 || r == -ECONNRESET)
        err_set(e, -ECONNRESET, "TLS handshake: the peer closed the connection");
    else if (verdict != X509_V_OK)
        err_set(e, -EPROTO, "TLS handshake: certificate of the peer: %s",
                X509_verify_cert_error_string(verdict));
    else if (r == -EPROTO)
        err_set(e, -EPROTO, "TLS handshake: %s", ssl_reason());
    else
        err_set(e, (int)r, "TLS handshake: %s", strerror((int)-r));
    return r ? (int)r : -ECONNRESET;
}

static int handshake(struct tls_stream *t, struct mono deadline, struct err *e)
{
    for (;;) {
        int wants = 0;
        ERR_clear_error();
        int r = SSL_do_handshake(t->ssl);
        if (r == 1)
            return 0;
        ssize_t out = ssl_outcome(t, r, &wants);
        if (out != -EAGAIN) {
            int code = handshake_error(t, out, e);
            ERR_clear_error();
            return code;
        }
        int w = os_wait_fd(t->fd, wants, deadline);
        if (w < 0)
            return err_set(e, w, "TLS handshake: %s", strerror(-w));
    }
}

int tls_accept(struct tls_server *server, int fd, struct mono deadline, struct stream **ret, struct err *e)
{
    struct tls_stream *t = tls_stream_new(server->set->ctx[0], fd);
    server->set->refs++;
    t->set = server->set;
    SSL_set_accept_state(t->ssl);
    int r = handshake(t, deadline, e);
    if (r < 0) {
        stream_free(&t->s);
        return r;
    }
    describe_peer(t, true, false);
    *ret = &t->s;
    return 0;
}

/* Names are checked against the SANs only: common names have not counted since Go 1.15. */
static void expect_name(SSL *ssl, const char *name)
{
    struct in6_addr any;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1) {
        X509_VERIFY_PARAM_set1_ip_asc(param, name);
        return;
    }
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                               X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    X509_VERIFY_PARAM_set1_host(param, name, 0);
    SSL_set_tlsext_host_name(ssl, name);
}

int tls_connect(struct tls_client *client, int fd, const char *server_name, bool alpn_h1,
                struct mono deadline, struct stream **ret, struct err *e)
{
    bool insecure = client->insecure;
    struct tls_stream *t = tls_stream_new(client->ctx, fd);
    SSL_set_connect_state(t->ssl);
    expect_name(t->ssl, server_name);
    if (alpn_h1) {
        struct alpn alpn = alpn_choice(true, false);
        SSL_set_alpn_protos(t->ssl, alpn.p, alpn.n);
    }
    int r = handshake(t, deadline, e);
    if (r < 0) {
        stream_free(&t->s);
        return r;
    }
    describe_peer(t, false, insecure);
    *ret = &t->s;
    return 0;
}
