/* SPDX-License-Identifier: Apache-2.0 */
/* Corefiles from whoever may write the ConfigMap: read, and when they make sense asked a question. */
#include "dns/chain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(struct config *config)
{
    static struct zone *zone;
    static const char wire[] = "\1\2\1\0\0\1\0\0\0\0\0\0\1a\4test\0\0\1\0\1";
    struct dns_query q;
    struct dns_reply reply = {0};
    zone = zone ? zone : zone_new();
    struct chain c = {.config = config, .zone = zone, .ready = true};
    struct chain_ask a = {.q = &q, .port = 53, .peer = "10.0.0.1", .may_wait = true, .limit = 512};
    ASSERT(dns_parse(str_n(wire, sizeof(wire) - 1), &q) == 0);
    bool world = false;
    for (size_t i = 0; i < config->n; i++)
        world = world || config->blocks[i].n_forwards;
    if (!world) /* nobody is asked from here */
        chain_answer(&c, &a, &reply);
    dns_reply_done(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config = NULL;
    struct config_world w = {0};
    struct err e = {0};
    if (config_parse("Corefile", str_n((const char *)data, size), &w, &config, &e) == 0)
        ask(config);
    else
        ASSERT(e.text[0]);
    config_unref(config);
    return 0;
}
