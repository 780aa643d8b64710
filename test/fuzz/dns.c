/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages from anybody: parsed, answered from an empty zone, and read as an answer. */
#include "dns/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count_ttl(void *arg, size_t at, uint16_t type UNUSED, uint32_t ttl UNUSED)
{
    *(size_t *)arg += at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct zone *zone;
    struct str wire = str_n((const char *)data, size);
    struct dns_query q;
    struct dns_reply reply;
    enum dns_code code;
    char alias[DNS_NAME_MAX];
    size_t sum = 0;
    if (!zone)
        zone = zone_new("cluster.local", 30);
    dns_each_ttl(wire, count_ttl, &sum);
    if (dns_parse(wire, &q) != 0)
        return 0;
    dns_reply_start(&reply, &q, 512);
    if (zone_answer(zone, &q, 1, &reply, &code, alias) == ZONE_ANSWERED) {
        dns_reply_end(&reply, code, true);
        ASSERT(reply.out.n <= 512 || q.question.n > 400);
        ASSERT(dns_each_ttl(buf_str(&reply.out), count_ttl, &sum));
    }
    dns_reply_done(&reply);
    return 0;
}
