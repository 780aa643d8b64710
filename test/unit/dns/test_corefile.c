/* SPDX-License-Identifier: Apache-2.0 */
/* Corefiles: their syntax, what the plug-ins take and refuse. */
#include "../testing.h"

#include "dns/config.h"

static struct str variable(void *ctx UNUSED, struct arena *a UNUSED, struct str name)
{
    return str_is(name, "ZONE") ? STR("env.test") : STR_NULL;
}

static int files(void *ctx UNUSED, struct arena *a, const char *pattern, struct str **ret, size_t *ret_n)
{
    if (strcmp(pattern, "part") != 0 && strcmp(pattern, "self") != 0)
        return -ENOENT;
    *ret = ARENA_NEW(a, struct str);
    **ret = !strcmp(pattern, "part") ? STR("errors\ncache 7\n") : STR("import self\n");
    *ret_n = 1;
    return 0;
}

static struct str text_of_file(void *ctx UNUSED, struct arena *a UNUSED, const char *path)
{
    if (!strcmp(path, "/etc/resolv.conf"))
        return STR("# resolvers\nnameserver 9.9.9.9\nnameserver\t8.8.8.8\nnameserver 10.96.0.10\nnameserver x\nsearch a\n");
    return !strcmp(path, "/etc/hosts") ? STR("10.0.0.1 One one.test. # c\n\n::1 six.test\nbad line\n10.0.0.2 one\n") : STR_NULL;
}

static const struct str own[] = {{"10.96.0.10", 10}};
static const struct config_world world = {.corefile = {variable, files, NULL}, .file = text_of_file, .own = own, .n_own = 1};

static struct corefile parse(struct arena *a, const char *text)
{
    struct corefile c;
    struct err e = {0};
    if (corefile_parse(a, "Corefile", str_of(text), &world.corefile, &c, &e) < 0)
        fail_msg("%s: %s", text, e.text);
    return c;
}

static void blocks_and_directives(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct corefile c = parse(&a, "# comment\n(snip) {\n  cache 30 {\n    success 1\n  }\n}\n"
                                  "a.test:53 b.test {\n import snip\n log \"two words\" # not this\n}\n"
                                  ". {\n import part\n}\n");
    assert_int_equal(c.n, 2);
    assert_int_equal(c.blocks[0].n_keys, 2);
    assert_int_equal(c.blocks[0].n_directives, 2);
    assert_str(c.blocks[0].directives[0].name, "cache");
    assert_str(c.blocks[0].directives[0].body[0].name, "success");
    assert_int_equal(c.blocks[0].directives[1].n_args, 1);
    assert_int_equal(c.blocks[1].n_directives, 2);
    assert_str(c.blocks[1].directives[1].args[0], "7");
    c = parse(&a, "a.test,\n{%ZONE%} {\n log \"a \\\"b\\\" {\"\n}\n");
    assert_int_equal(c.n, 1);
    assert_str(c.blocks[0].keys[1], "env.test");
    assert_str(c.blocks[0].directives[0].args[0], "a \"b\" {");
    c = parse(&a, "one.test\nerrors\ncache 5 {\n denial 1 2\n}\n");
    assert_int_equal(c.blocks[0].n_directives, 2);
    assert_true(c.blocks[0].directives[1].has_body);
    assert_str(c.blocks[0].directives[1].body[0].args[1], "2");
}

static void broken_files_are_refused_with_their_line(void **state UNUSED)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {". {\n errors\n", "Corefile:1: a brace is not closed"},
        {". {\n}\n}\n", "Corefile:3: a closing brace too much"},
        {". {\n log \"x\n}\n", "Corefile:2: a quote is not closed"},
        {". {\n import nothing\n}\n", "Corefile:2: cannot import \"nothing\""},
        {". {\n import self\n}\n", "self:1: imports go in circles \"self\""},
        {"(a) {\n errors\n}\n. {\n import a b\n}\n", "Corefile:5: import takes one name"},
        {". {\n import\n}\n", "Corefile:2: import wants the name of a snippet or file"},
        {". {\n {\n}\n}\n", "Corefile:2: a block without a name"},
        {". {\n frobnicate\n}\n", "Corefile:2: frobnicate: this server has no such plug-in"},
        {". {\n cache x y {\n  nope\n }\n}\n", "Corefile:3: nope: is no option of cache that is known here"},
        {". {\n cache 0\n}\n", "Corefile:2: cache: \"0\" is no time to keep answers"},
        {". {\n forward .\n}\n", "Corefile:2: forward: wants a zone and servers"},
        {". {\n forward . quic://1.1.1.1\n}\n", "Corefile:2: forward: \"quic://1.1.1.1\": this server asks over UDP, TCP and TLS only"},
        {". {\n forward . 1.1.1.1 {\n  policy best\n }\n}\n", "Corefile:3: policy: wants one of random, round_robin, sequential"},
        {". {\n kubernetes in-addr.arpa\n}\n", "Corefile:2: kubernetes: wants a zone that is no reverse one"},
        {". {\n kubernetes c {\n  ttl 3601\n }\n}\n", "Corefile:3: ttl: \"3601\" is no number from 0 to 3600"},
        {". {\n kubernetes c {\n  pods some\n }\n}\n", "Corefile:3: pods: wants one of disabled, insecure, verified"},
        {"quic://. {\n}\n", "Corefile:1: quic://.: this server answers over UDP, TCP and TLS only"},
        {"tls://. {\n}\n", "Corefile:1: tls://.: a server of TLS wants `tls CERT KEY`"},
        {"tls://. {\n tls /nowhere /nowhere\n}\n", "Corefile:2: tls: \"/nowhere\" cannot be read"},
        {"tls://a:53 {\n tls a\n}\n", "Corefile:2: tls: wants a certificate's file, its key's, and possibly a CA's"},
        {"a:53 tls://b:53 {\n}\n", "Corefile:1: a:53: port 53 cannot be one with TLS and one without"},
        {". {\n autopath @etcd\n}\n", "Corefile:2: autopath: \"@etcd\" has no search list: @kubernetes has"},
        {". {\n autopath @kubernetes\n}\n", "Corefile:1: .: autopath @kubernetes without kubernetes"},
        {". {\n autopath /nowhere\n}\n", "Corefile:2: autopath: \"/nowhere\" cannot be read"},
        {". {\n dns64 64:ff9b::/97\n}\n", "Corefile:2: dns64: \"64:ff9b::/97\" is no IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits"},
        {". {\n dns64 {\n  prefix 10.0.0.0/32\n }\n}\n", "Corefile:3: prefix: \"10.0.0.0/32\" is no IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits"},
        {". {\n rewrite edns0 local add 1 a\n}\n", "Corefile:2: rewrite: \"add\" is none of set, append, replace, unset"},
        {". {\n rewrite edns0 local set 0x10000 a\n}\n", "Corefile:2: rewrite: edns0 wants local with a code, nsid or subnet"},
        {". {\n rewrite edns0 local set 1 0xabc\n}\n", "Corefile:2: rewrite: \"0xabc\" is no hexadecimal text"},
        {". {\n rewrite edns0 local set 1 {nothing}\n}\n", "Corefile:2: rewrite: \"{nothing}\" is no data of an option that is known here"},
        {". {\n rewrite edns0 subnet set 33 1\n}\n", "Corefile:2: rewrite: \"33\" is no number from 0 to 32"},
        {". {\n rewrite cname a\n}\n", "Corefile:2: rewrite: this rule wants a name and what becomes of it"},
        {"(s) {\n errors\n errors\n errors\n errors\n}\n(a) {\n import s\n import s\n import s\n import s\n import s\n import s\n import s\n import s\n}\n"
         "(b) {\n import a\n import a\n import a\n import a\n import a\n import a\n import a\n import a\n}\n"
         "(c) {\n import b\n import b\n import b\n import b\n import b\n import b\n import b\n import b\n}\n"
         "(d) {\n import c\n import c\n import c\n import c\n import c\n import c\n import c\n import c\n}\n"
         "(e) {\n import d\n import d\n import d\n import d\n import d\n import d\n import d\n import d\n}\n"
         ". {\n import e\n import e\n import e\n import e\n import e\n import e\n import e\n import e\n}\n",
         "Corefile:28: too many words by import of \"b\""},
        {". {\n}\n. {\n}\n", "Corefile:3: .: the zone \".\" has two server blocks at port 53"},
        {". {\n rewrite name regex (a b\n}\n", "Corefile:2: rewrite: error parsing regexp: missing closing ): `(a`"},
        {". {\n template IN A {\n  answer \"{{ .Foo }} 1 IN A 1.1.1.1\"\n }\n}\n", "Corefile:3: answer: the template action \".Foo\" is not known here"},
        {"", "it has no server block"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct config *c = NULL;
        struct err e = {0};
        assert_int_equal(config_parse("Corefile", str_of(cases[i].text), &world, &c, &e), -EINVAL);
        assert_null(c);
        assert_string_equal(e.text, cases[i].want);
    }
}

static struct config *config(const char *text)
{
    struct config *c = NULL;
    struct err e = {0};
    if (config_parse("Corefile", str_of(text), &world, &c, &e) < 0)
        fail_msg("%s", e.text);
    return c;
}

static void a_configuration_means_what_it_says(void *arg UNUSED)
{
    struct config *c = config("cluster.local:53 10.0.0.0/16 {\n kubernetes cluster.local 10.0.0.0/16 {\n pods verified\n ttl 9\n namespaces a b\n"
                              " fallthrough in-addr.arpa\n labels app=x,tier!=y\n}\n}\n"
                              ".:53 .:1053 {\n forward . /etc/resolv.conf 1.1.1.1:5353 {\n max_fails 3\n except a.test b.test\n policy sequential\n}\n"
                              " cache 20 b.test {\n success 500 60 2\n serve_stale 5m verify\n prefetch 3 1m 20%\n disable denial a.test\n}\n"
                              " hosts\n health :1\n ready\n prometheus :3\n reload 5s\n}\n");
    assert_int_equal(c->n, 3);
    const struct block *b = config_block(c, 53, STR("web.a.svc.cluster.local"));
    assert_ptr_equal(b, &c->blocks[0]);
    assert_ptr_equal(config_block(c, 53, STR("4.3.0.10.in-addr.arpa")), &c->blocks[0]);
    assert_ptr_equal(config_block(c, 53, STR("xcluster.local")), &c->blocks[1]);
    assert_int_equal(config_block(c, 1053, STR("x"))->port, 1053);
    assert_null(config_block(c, 54, STR("x")));
    const struct zone_options *k = &b->kubernetes[0].options;
    assert_int_equal(k->ttl, 9);
    assert_int_equal(k->pods, ZONE_PODS_VERIFIED);
    assert_true(c->pods_verified);
    assert_int_equal(k->n_namespaces, 2);
    assert_string_equal(k->zones[1], "0.10.in-addr.arpa");
    assert_string_equal(k->fall[0], "in-addr.arpa");
    assert_int_equal(k->labels->n, 2);
    struct forward_figures f[8];
    assert_int_equal(forwarder_figures(c->blocks[1].forwards[0], f, 8), 3); /* our own address is left out */
    assert_string_equal(f[0].server, "9.9.9.9:53");
    assert_string_equal(f[1].server, "8.8.8.8:53");
    assert_string_equal(f[2].server, "1.1.1.1:5353");
    assert_true(forwarder_takes(c->blocks[1].forwards[0], "c.test"));
    assert_false(forwarder_takes(c->blocks[1].forwards[0], "x.b.test"));
    assert_true(dns_cache_verifies(c->blocks[1].cache));
    assert_string_equal(c->health, ":1");
    assert_string_equal(c->ready, ":8181");
    assert_int_equal(c->reload, SECONDS(5));
    config_unref(c);
}

static void configurations(void **state UNUSED)
{
    loop_run(a_configuration_means_what_it_says, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_and_directives),
        cmocka_unit_test(broken_files_are_refused_with_their_line),
        cmocka_unit_test(configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
