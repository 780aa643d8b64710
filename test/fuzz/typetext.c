/* SPDX-License-Identifier: Apache-2.0 */
/* Texts inside of objects that have a form of their own: schedules, image names, paths. The first byte says
 * which. */
#include "type/check.h"
#include "type/cron.h"
#include "type/image.h"
#include "type/path.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void schedule(struct str s)
{
    struct cron c;
    struct wall now = {1700000000 * NSEC_PER_SEC};
    if (cron_parse(s, &c, NULL))
        return;
    struct wall next = cron_next(&c, now, NULL);
    ASSERT(next.ns == 0 || next.ns > now.ns);
}

static bool inside(struct str part, struct str whole)
{
    return !part.n || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void image(struct str s)
{
    struct image_name n;
    image_tag(s);
    if (image_parse(s, &n))
        ASSERT(n.path.n && inside(n.path, s) && inside(n.registry, s) && inside(n.tag, s) &&
               inside(n.digest, s));
}

static void path(struct str s)
{
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    struct path_hits hits;
    struct val *doc;
    const char json[] = "{\"a\":[{\"b\":1,\"type\":\"x\"},{\"b\":2,\"type\":\"y\"}],\"c\":{\"d.e\":\"f\"}}";
    if (json_decode(&a, NULL, str_of(json), 0, NULL, &doc, NULL) == 0)
        path_find(&a, doc, s, &hits);
}

static void formats(struct str s)
{
    static check_fn *const fns[] = {check_label_of_dns, check_subdomain,  check_wildcard_subdomain,
                                    check_label_key,    check_label_text, check_env_name,
                                    check_config_key,   check_port_name,  check_percent,
                                    check_ip,           check_cidr,       check_http_header};
    for (size_t i = 0; i < ARRAY_SIZE(fns); i++) {
        struct check c = {0};
        fns[i](&c, s);
        ASSERT(c.n <= CHECK_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(struct str) = {schedule, image, path, formats};
    if (size)
        readers[data[0] % ARRAY_SIZE(readers)](str_n((const char *)data + 1, size - 1));
    return 0;
}
