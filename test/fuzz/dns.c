/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages from anybody: parsed, answered from an empty zone, and read as an answer. */
#include "dns/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool count_ttl(void *arg, const struct dns_record *r)
{
    *(size_t *)arg += r->ttl_at;
    return true;
}

/* Every record of a message into a message of ours, which must then be readable. */
static bool copy_record(void *arg, const struct dns_record *r)
{
    struct dns_reply *to = ((struct dns_reply **)arg)[0];
    struct str wire = *((struct str **)arg)[1];
    char name[DNS_NAME_MAX];
    size_t at = r->name_at;
    if (!dns_read_name(wire, &at, name))
        return false;
    dns_put_record(to, r->section, name, r, wire, NULL, NULL);
    return true;
}

static void copy_records(struct str wire)
{
    static struct dns_reply to;
    static const struct dns_query none;
    size_t sum = 0;
    void *arg[2] = {&to, &wire};
    dns_reply_start(&to, &none, 65535);
    bool whole = dns_each_record(wire, copy_record, arg);
    dns_reply_end(&to, DNS_NOERROR, false);
    ASSERT(!whole || dns_each_record(buf_str(&to.out), count_ttl, &sum));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct zone *zone;
    static const char *const zones[] = {"cluster.local", "in-addr.arpa", "ip6.arpa"};
    static const struct zone_options options = {.zones = zones, .n_zones = 3, .primary = "cluster.local", .ttl = 30,
                                                .pods = ZONE_PODS_INSECURE};
    struct str wire = str_n((const char *)data, size);
    struct dns_query q;
    static struct dns_reply reply;
    enum dns_code code;
    char alias[DNS_NAME_MAX];
    size_t sum = 0;
    if (!zone)
        zone = zone_new();
    dns_each_record(wire, count_ttl, &sum);
    copy_records(wire);
    if (dns_parse(wire, &q) != 0)
        return 0;
    dns_reply_start(&reply, &q, 512);
    if (zone_answer(zone, &options, &q, 1, &reply, &code, alias) == ZONE_ANSWERED) {
        dns_reply_end(&reply, code, true);
        ASSERT(reply.out.n <= 512 || q.question.n > 400);
        ASSERT(dns_each_record(buf_str(&reply.out), count_ttl, &sum));
    }
    return 0;
}
