/* SPDX-License-Identifier: Apache-2.0 */
/* The API server's files (audit policy, encryption, ABAC) and sealed values. The first byte chooses. */
#include "apiserver/abac.h"
#include "apiserver/audit_policy.h"
#include "apiserver/encryption.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *file_of(struct str text)
{
    static char path[32];
    static int fd = -1;
    if (fd < 0)
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd = memfd_create("config", MFD_CLOEXEC));
    if (fd < 0 || ftruncate(fd, 0) < 0 || pwrite(fd, text.p, text.n, 0) != (ssize_t)text.n)
        __builtin_trap();
    return path;
}

/* A request as the text's last lines have it, so that rules are looked at with words that stand in them. */
static struct attributes request_of(struct arena *a, struct str text, struct user *u)
{
    struct str words[6] = {STR("get"), STR("pods"), STR("default"), STR("x"), STR("/healthz"), STR("alice")};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        str_next(&text, '\n', &words[i]);
    u->name = words[5];
    return (struct attributes){.user = u, .verb = words[0], .resource_request = words[1].n, .resource = words[1], .ns = words[2],
                               .name = words[3], .path = words[4], .version = STR("v1")};
}

static void audit(struct arena *a, struct str text, const struct attributes *at)
{
    const struct val *policy = NULL;
    struct str warning = STR_NULL;
    struct err e = {0};
    if (audit_policy_read(a, text, &policy, &warning, &e) < 0)
        ASSERT(e.text[0]);
    else
        ASSERT(audit_policy_choose(policy, at).level < AUDIT_LEVELS);
}

static void encryption(struct str text)
{
    struct encryption *c = NULL;
    struct err e = {0};
    int r = encryption_load(file_of(text), "fuzz", &c, &e);
    ASSERT(r == 0 || e.text[0]);
    if (r == 0)
        encryption_free(c);
}

static void abac(struct arena *a, struct str text, const struct attributes *at)
{
    struct abac *b = NULL;
    struct err e = {0};
    struct val *list = val_new(a, VAL_LIST);
    int r = abac_load(file_of(text), &b, &e);
    ASSERT(r == 0 || e.text[0]);
    if (r < 0)
        return;
    abac_allows(b, at);
    abac_rules(b, a, at->user, at->ns, list);
    abac_free(b);
}

static void sealed(struct str text)
{
    struct seal_key keys[] = {{.kind = SEAL_AESGCM, .name = "a", .secret = STR("0123456789abcdef")},
                              {.kind = SEAL_AESCBC, .name = "b", .secret = STR("0123456789abcdef")},
                              {.kind = SEAL_SECRETBOX, .name = "c", .secret = STR("0123456789abcdef0123456789abcdef")},
                              {.kind = SEAL_IDENTITY, .name = ""}};
    struct seal s = {keys, ARRAY_SIZE(keys)};
    CLEANUP_BUF struct buf there = BUF_INIT, back = BUF_INIT;
    struct err e = {0};
    bool stale;
    seal_decrypt(&s, STR("/path"), text, &there, &stale, &e);
    for (size_t i = 0; i + 1 < ARRAY_SIZE(keys); i++) {
        struct seal one = {keys + i, 1};
        buf_clear(&there);
        buf_clear(&back);
        ASSERT(seal_encrypt(&one, STR("/path"), text, &there, &e) == 0);
        ASSERT(seal_decrypt(&s, STR("/path"), buf_str(&there), &back, &stale, &e) == 0 && str_eq(buf_str(&back), text) && stale == (i > 0));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct user u = {0};
    if (!size || size > 4096)
        return 0;
    struct str text = str_n((const char *)data + 1, size - 1), head, tail;
    if (!str_cut(text, '\f', &head, &tail)) /* what follows is the request */
        head = text, tail = STR_NULL;
    struct attributes at = request_of(&a, tail, &u);
    switch (data[0]) {
    case 'a':
        audit(&a, head, &at);
        break;
    case 'e':
        encryption(head);
        break;
    case 'b':
        abac(&a, head, &at);
        break;
    case 's':
        sealed(text);
        break;
    default:
        break;
    }
    return 0;
}
