/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole server with real sockets, in a network namespace of the test's own (root, else skipped): UDP, TCP, TLS, questions
 * passed on over TLS, and a Corefile that changes.
 */
#include "asking.h"

#include "auth/x509.h"
#include "base/log.h"
#include "base/os.h"
#include "dns/dns.h"
#include "net/stream.h"
#include "net/tls.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

struct world {
    char dir[64];
    char corefile[96];
    struct dns_config config;
    struct group g;
};

static void run(void *arg)
{
    struct world *w = arg;
    struct err e = {0};
    int r = dns_run(&w->config, &e);
    if (r != -ECANCELED)
        fail_msg("%s", err_text(&e, r));
}

static void shell(const char *command)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    assert_int_equal(os_run(&a, (const char *const[]){"sh", "-c", command, NULL}, NULL, NULL, mono_add(os_mono(), SECONDS(10))), 0);
}

static void put_file(const struct world *w, const char *name, struct str text)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    assert_int_equal(os_write_file(arena_printf(&a, "%s/%s", w->dir, name).p, text, 0600), 0);
}

/* A certificate that is its own CA. */
static void put_certificate(const struct world *w, const char *host)
{
    struct wall now = os_wall();
    const char *const dns[] = {host, NULL};
    struct x509_spec spec = {.names = {.cn = host, .dns = dns}, .usages = X509_SERVER_AUTH | X509_CLIENT_AUTH | X509_DIGITAL_SIGNATURE,
                             .not_before = {now.ns - SECONDS(60)}, .not_after = {now.ns + SECONDS(86400)}};
    struct x509_key *key;
    struct x509_cert *cert;
    struct buf cert_pem CLEANUP_BUF = BUF_INIT, key_pem CLEANUP_BUF = BUF_INIT;
    struct err e;
    assert_int_equal(x509_key_generate(&key) | x509_issue(&spec, key, NULL, NULL, &cert, &e), 0);
    x509_cert_pem(cert, &cert_pem);
    x509_key_pem(key, &key_pem);
    put_file(w, "crt.pem", buf_str(&cert_pem));
    put_file(w, "key.pem", buf_str(&key_pem));
    x509_cert_unref(cert);
    x509_key_unref(key);
}

/* %D is the folder. */
static void put_corefile(const struct world *w, const char *text)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (; *text; text++)
        if (text[0] == '%' && text[1] == 'D')
            buf_puts(&b, w->dir), text++;
        else
            buf_putc(&b, *text);
    put_file(w, "Corefile", buf_str(&b));
}

static void begin(struct world *w, const char *corefile)
{
    static const char *const listen[] = {"127.0.0.1:5300", NULL};
    *w = (struct world){.dir = "/tmp/cube-test-dns-XXXXXX"};
    assert_non_null(mkdtemp(w->dir));
    put_certificate(w, "dot.test");
    put_corefile(w, corefile);
    snprintf(w->corefile, sizeof(w->corefile), "%s/Corefile", w->dir);
    w->config = (struct dns_config){.listen = listen, .corefile = w->corefile, .threads = 2};
    group_spawn(&w->g, "dns", run, w);
}

static void end(struct world *w)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    group_stop(&w->g);
    shell(arena_printf(&a, "rm -rf %s", w->dir).p);
}

/* The answer's text; "" when there is none. */
static struct str ask_udp(struct arena *a, const char *to, const char *name)
{
    struct buf q CLEANUP_BUF = BUF_INIT;
    char wire[2048], peer[80];
    int fd = os_udp_bind("127.0.0.1:0", NULL);
    make_question(name, DNS_A, false, &q);
    assert_true(fd >= 0);
    ssize_t n = os_sendto(fd, q.p, q.n, to);
    if (n >= 0)
        n = os_recvfrom(fd, wire, sizeof(wire), peer, sizeof(peer), mono_add(os_mono(), SECONDS(5)));
    os_close(fd);
    return n < DNS_HEADER ? STR("") : print_reply(a, str_n(wire, (size_t)n));
}

static void expect(const char *to, const char *name, const char *want)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(10));
    for (;;) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct str is = ask_udp(&a, to, name);
        if (str_is(is, want))
            return;
        if (os_mono().ns > deadline.ns)
            fail_msg("%s at %s: \"" STR_FMT "\" instead of \"%s\"", name, to, STR_ARG(is), want);
        fiber_sleep(MILLISECONDS(20));
    }
}

static int put_question(struct stream *s, const char *name)
{
    struct buf q CLEANUP_BUF = BUF_INIT, b CLEANUP_BUF = BUF_INIT;
    char length[2];
    make_question(name, DNS_A, false, &q);
    dns_set16(length, (uint16_t)q.n);
    buf_put(&b, length, 2);
    buf_putstr(&b, buf_str(&q));
    return stream_write(s, b.p, b.n, mono_add(os_mono(), SECONDS(5)));
}

static struct str take_answer(struct arena *a, struct stream *s)
{
    char length[2];
    struct mono deadline = mono_add(os_mono(), SECONDS(8));
    if (stream_read_full(s, length, 2, deadline) < 0)
        return STR("");
    size_t n = dns_get16(length);
    char *wire = arena_bytes(a, n);
    return stream_read_full(s, wire, n, deadline) < 0 ? STR("") : print_reply(a, str_n(wire, n));
}

static struct str ask_stream(struct arena *a, struct stream *s, const char *name)
{
    return put_question(s, name) < 0 ? STR("") : take_answer(a, s);
}

static const char corefile[] =
    "tls://.:5853 {\n bind 127.0.0.1\n tls %D/crt.pem %D/key.pem\n template IN A . {\n  answer \"{{ .Name }} 60 IN A 192.0.2.7\"\n }\n}\n"
    "tls://.:5854 {\n bind 127.0.0.1\n tls %D/crt.pem %D/key.pem %D/crt.pem {\n  client_auth require_and_verify\n }\n template IN A . {\n  answer \"{{ .Name }} 60 IN A 192.0.2.8\"\n }\n}\n"
    "good.test {\n forward . tls://127.0.0.1:5853 {\n  tls %D/crt.pem\n  tls_servername dot.test\n }\n}\n"
    "bad.test {\n forward . tls://127.0.0.1:5853 {\n  tls %D/crt.pem\n  tls_servername other.test\n }\n}\n"
    "stranger.test {\n forward . tls://127.0.0.1:5854 {\n  tls %D/crt.pem\n  tls_servername dot.test\n }\n}\n"
    "known.test {\n forward . tls://127.0.0.1:5854 {\n  tls %D/crt.pem %D/key.pem %D/crt.pem\n  tls_servername dot.test\n }\n}\n"
    "new.test {\n forward . tls://127.0.0.1:5853 {\n  tls %D/crt.pem\n  tls_servername new.test\n }\n}\n"
    ". {\n reload 100ms\n template IN A plain.test {\n  answer \"{{ .Name }} 60 IN A 192.0.2.1\"\n }\n}\n";

FIBER_TEST(over_tls)
{
    struct world w;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    begin(&w, corefile);
    expect("127.0.0.1:5300", "plain.test", "0 aa | plain.test A 192.0.2.1; | |");
    expect("127.0.0.1:5300", "a.good.test", "0 aa | a.good.test A 192.0.2.7; | |");
    expect("127.0.0.1:5300", "b.good.test", "0 aa | b.good.test A 192.0.2.7; | |"); /* by the same connection */
    expect("127.0.0.1:5300", "a.bad.test", "2 | | |");
    expect("127.0.0.1:5300", "a.known.test", "0 aa | a.known.test A 192.0.2.8; | |");
    expect("127.0.0.1:5300", "a.stranger.test", "2 | | |");
    struct tls_client *t;
    struct stream *s;
    struct err e;
    assert_int_equal(tls_client_new(&(struct tls_client_config){.insecure = true, .no_alpn = true}, &t, &e), 0);
    int fd = os_connect("127.0.0.1:5853", mono_add(os_mono(), SECONDS(5)));
    assert_int_equal(tls_connect(t, fd, "dot.test", false, mono_add(os_mono(), SECONDS(5)), &s, &e), 0);
    assert_string_equal(s->tls->cn, "dot.test");
    assert_string_equal(ask_stream(&a, s, "x.test").p, "0 aa | x.test A 192.0.2.7; | |");
    assert_string_equal(ask_stream(&a, s, "y.test").p, "0 aa | y.test A 192.0.2.7; | |");
    stream_free(s);
    fd = os_connect("127.0.0.1:5854", mono_add(os_mono(), SECONDS(5))); /* nobody that it knows */
    if (tls_connect(t, fd, "dot.test", false, mono_add(os_mono(), SECONDS(5)), &s, &e) == 0) {
        assert_str(ask_stream(&a, s, "x.test"), "");
        stream_free(s);
    }
    tls_client_unref(t);
    assert_int_equal(os_connect("127.0.0.1:853", mono_add(os_mono(), SECONDS(1))), -ECONNREFUSED);
    /* a new certificate with the next Corefile, without listening anew */
    put_certificate(&w, "new.test");
    struct buf changed CLEANUP_BUF = BUF_INIT;
    buf_printf(&changed, "%s# changed\n", corefile);
    buf_putc(&changed, '\0');
    put_corefile(&w, changed.p);
    expect("127.0.0.1:5300", "a.new.test", "0 aa | a.new.test A 192.0.2.7; | |");
    expect("127.0.0.1:5300", "c.good.test", "2 | | |");
    end(&w);
}

FIBER_TEST(one_peer_does_not_take_all_connections)
{
    enum { MOST = 100 };
    struct world w;
    struct stream *held[MOST], *s;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    begin(&w, ". {\n template IN A . {\n  answer \"{{ .Name }} 60 IN A 192.0.2.1\"\n }\n}\n");
    expect("127.0.0.1:5300", "x.test", "0 aa | x.test A 192.0.2.1; | |");
    for (int i = 0; i < MOST; i++)
        assert_int_equal(stream_connect("127.0.0.1:5300", mono_add(os_mono(), SECONDS(5)), &held[i]), 0);
    assert_string_equal(ask_stream(&a, held[MOST - 1], "x.test").p, "0 aa | x.test A 192.0.2.1; | |");
    assert_int_equal(stream_connect("127.0.0.1:5300", mono_add(os_mono(), SECONDS(5)), &s), 0);
    assert_str(ask_stream(&a, s, "x.test"), "");
    stream_free(s);
    stream_free(held[0]);
    fiber_sleep(MILLISECONDS(50));
    assert_int_equal(stream_connect("127.0.0.1:5300", mono_add(os_mono(), SECONDS(5)), &held[0]), 0);
    assert_string_equal(ask_stream(&a, held[0], "x.test").p, "0 aa | x.test A 192.0.2.1; | |");
    for (int i = 0; i < MOST; i++)
        stream_free(held[i]);
    end(&w);
}

/* A question that waits does not hold up those behind it, and gets its answer also when its asker has said all. */
FIBER_TEST(many_questions_at_a_time)
{
    struct world w;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct stream *s;
    int silent = os_udp_bind("127.0.0.1:5999", NULL);
    begin(&w, "slow.test {\n forward . 127.0.0.1:5999 {\n prefer_udp\n}\n}\n. {\n template IN A . {\n  answer \"{{ .Name }} 60 IN A 192.0.2.1\"\n }\n}\n");
    expect("127.0.0.1:5300", "x.test", "0 aa | x.test A 192.0.2.1; | |");
    assert_int_equal(stream_connect("127.0.0.1:5300", mono_add(os_mono(), SECONDS(5)), &s), 0);
    put_question(s, "a.slow.test");
    for (int i = 0; i < 40; i++) /* more than are answered at a time */
        put_question(s, "x.test");
    assert_int_equal(stream_shutdown(s), 0);
    for (int i = 0; i < 40; i++)
        assert_string_equal(take_answer(&a, s).p, "0 aa | x.test A 192.0.2.1; | |");
    assert_string_equal(take_answer(&a, s).p, "2 | | |");
    assert_str(take_answer(&a, s), "");
    stream_free(s);
    os_close(silent);
    end(&w);
}

/* Whole blocks, snippets and single directives, from files beside the Corefile. */
FIBER_TEST(what_is_imported)
{
    struct world w;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    begin(&w, ". {\n whoami\n}\n");
    group_stop(&w.g);
    put_corefile(&w, "import parts/*.conf\nimport none/*\n. {\n import one\n}\n");
    assert_int_equal(os_mkdir(arena_printf(&a, "%s/parts", w.dir).p, 0700), 0);
    put_file(&w, "parts/a.conf", STR("a.test {\n import answer\n}\n"));
    put_file(&w, "parts/a.con", STR("broken {\n"));
    put_file(&w, "parts/b.conf", STR("b.test {\n template IN A b.test {\n  answer \"{{ .Name }} 60 IN A 192.0.2.2\"\n }\n}\n"));
    put_file(&w, "answer", STR("template IN A a.test {\n answer \"{{ .Name }} 60 IN A 192.0.2.1\"\n}\n"));
    put_file(&w, "one", STR("template IN A one.test {\n answer \"{{ .Name }} 60 IN A 192.0.2.3\"\n}\n"));
    assert_int_equal(os_mkdir(arena_printf(&a, "%s/none", w.dir).p, 0700), 0);
    group_spawn(&w.g, "dns", run, &w);
    expect("127.0.0.1:5300", "a.test", "0 aa | a.test A 192.0.2.1; | |");
    expect("127.0.0.1:5300", "b.test", "0 aa | b.test A 192.0.2.2; | |");
    expect("127.0.0.1:5300", "one.test", "0 aa | one.test A 192.0.2.3; | |");
    end(&w);
}

static void bring_up(void *arg UNUSED)
{
    shell("ip link set lo up");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_tls),
        cmocka_unit_test(many_questions_at_a_time),
        cmocka_unit_test(what_is_imported),
        cmocka_unit_test(one_peer_does_not_take_all_connections),
    };
    log_set_level(LOG_ERROR);
    if (geteuid() || unshare(CLONE_NEWNET) < 0)
        return 0;
    loop_run(bring_up, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
