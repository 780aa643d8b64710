/* SPDX-License-Identifier: Apache-2.0 */
#include "adm/tar.h"

#include <stdio.h>

enum { BLOCK = 512 };

struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
    char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a ustar header is one block");

static void put_header(struct buf *b, const char *name, unsigned mode, char type, size_t size)
{
    struct header h = {0};
    ASSERT(strlen(name) < sizeof(h.name));
    memcpy(h.name, name, strlen(name));
    snprintf(h.mode, sizeof(h.mode), "%07o", mode);
    memcpy(h.uid, "0000000", 8);
    memcpy(h.gid, "0000000", 8);
    snprintf(h.size, sizeof(h.size), "%011zo", size);
    memcpy(h.mtime, "00000000000", 12); /* fixed: the same content gives the same digest */
    memset(h.checksum, ' ', sizeof(h.checksum));
    h.type = type;
    memcpy(h.magic, "ustar", 6);
    memcpy(h.version, "00", 2);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof(h); i++)
        sum += ((const unsigned char *)&h)[i];
    snprintf(h.checksum, sizeof(h.checksum), "%06o", sum);
    buf_put(b, &h, sizeof(h));
}

void tar_dir(struct buf *b, const char *name, unsigned mode)
{
    put_header(b, name, mode, '5', 0);
}

void tar_file(struct buf *b, const char *name, unsigned mode, struct str content)
{
    static const char zeros[BLOCK];
    put_header(b, name, mode, '0', content.n);
    buf_putstr(b, content);
    if (content.n % BLOCK)
        buf_put(b, zeros, BLOCK - content.n % BLOCK);
}

void tar_end(struct buf *b)
{
    static const char zeros[2 * BLOCK];
    buf_put(b, zeros, sizeof(zeros));
}
