/* SPDX-License-Identifier: Apache-2.0 */
/* Corefiles from whoever may write the ConfigMap: read, and when they make sense asked a question. */
#include "dns/chain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* "x.a.test", with an EDNS option of code 0xffee. */
static void ask(struct config *config, uint16_t type, const char *peer)
{
    static struct zone *zone;
    static const char wire[] = "\1\2\1\0\0\1\0\0\0\0\0\1\1x\1a\4test\0\0\1\0\1\0\0\x29\x04\xd0\0\0\0\0\0\6\xff\xee\0\2ab";
    char text[sizeof(wire)];
    struct dns_query q;
    struct dns_reply reply = {0};
    zone = zone ? zone : zone_new();
    memcpy(text, wire, sizeof(wire));
    dns_set16(text + DNS_HEADER + 10, type);
    struct chain c = {.config = config, .zone = zone, .ready = true};
    struct chain_ask a = {.q = &q, .port = 53, .peer = peer, .local = "10.0.0.2", .v6 = strchr(peer, ':') != NULL, .may_wait = true, .limit = 512};
    ASSERT(dns_parse(str_n(text, sizeof(text) - 1), &q) == 0 && q.options.n == 6);
    if (chain_answer(&c, &a, &reply) == CHAIN_ANSWERED) {
        size_t at;
        struct str options;
        ASSERT(reply.out.n >= DNS_HEADER && dns_get16(reply.out.p) == 0x0102 && dns_find_opt(buf_str(&reply.out), &at, &options));
    }
    dns_reply_done(&reply);
}

static void ask_all(struct config *config)
{
    for (size_t i = 0; i < config->n; i++) /* nobody is asked from here */
        if (config->blocks[i].n_forwards)
            return;
    ask(config, DNS_A, "10.0.0.1");
    ask(config, DNS_AAAA, "fd00::1");
    ask(config, DNS_CNAME, "10.0.0.1");
}

static struct str text_of_file(void *ctx UNUSED, struct arena *a UNUSED, const char *path UNUSED)
{
    return STR("search a.test test b.test\n10.0.0.1 x.test one\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config = NULL;
    struct config_world w = {.file = text_of_file};
    struct err e = {0};
    if (config_parse("Corefile", str_n((const char *)data, size), &w, &config, &e) == 0)
        ask_all(config);
    else
        ASSERT(e.text[0]);
    config_unref(config);
    return 0;
}
