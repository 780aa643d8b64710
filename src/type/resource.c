/* SPDX-License-Identifier: Apache-2.0 */
#include "type/resource.h"

#include <pthread.h>
#include <stdio.h>

#include "base/map.h"

/* Two indices over the compiled-in resources, made once: by plural and by kind. Keys are group/version/name.
 */
static struct map by_name, by_kind;
static pthread_once_t index_once = PTHREAD_ONCE_INIT;

static struct str key_of(char *buf, size_t size, struct str group, struct str version, struct str name)
{
    const struct str parts[] = {group, version, name};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (n + parts[i].n + 1 > size)
            return STR_NULL;
        if (parts[i].n)
            memcpy(buf + n, parts[i].p, parts[i].n);
        n += parts[i].n;
        buf[n++] = '/';
    }
    return str_n(buf, n);
}

static void index_add(struct map *m, const struct resource *r, const char *name)
{
    char buf[512];
    struct str key = key_of(buf, sizeof(buf), str_of(r->group), str_of(r->version), str_of(name));
    if (!map_has(m, key))
        map_put(m, key, (void *)(uintptr_t)r);
}

static void index_make(void)
{
    for (unsigned i = 1; i < n_resources; i++) {
        index_add(&by_name, &resources[i], resources[i].name);
        index_add(&by_kind, &resources[i], resources[i].kind);
    }
}

static const struct resource *find(const struct map *m, struct str group, struct str version, struct str name)
{
    char buf[512];
    struct str key = key_of(buf, sizeof(buf), group, version, name);
    pthread_once(&index_once, index_make);
    return key.n ? map_get(m, key) : NULL;
}

const struct resource *resource_find(struct str group, struct str version, struct str plural)
{
    return find(&by_name, group, version, plural);
}

const struct resource *resource_find_kind(struct str group, struct str version, struct str kind)
{
    return find(&by_kind, group, version, kind);
}

const struct subresource *resource_subresource(const struct resource *r, struct str name)
{
    for (unsigned i = 0; i < r->n_subresources; i++)
        if (str_is(name, r->subresources[i].name))
            return &r->subresources[i];
    return NULL;
}

const char *resource_api_version(const struct resource *r, char *buf, size_t size)
{
    snprintf(buf, size, "%s%s%s", r->group, r->group[0] ? "/" : "", r->version);
    return buf;
}
