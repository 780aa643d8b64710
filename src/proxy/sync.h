/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From items wanted to nft text: remembers what each Service has in the kernel and says what must change. Pure: no
 * kernel here.
 */
#pragma once

#include "proxy/rules.h"

struct sync {
    struct map services; /* "ns/name" -> struct kept * */
    struct map owners;   /* element or chain name -> key of the Service that has it: two Services cannot share one */
};

void sync_done(struct sync *s);
/* Appends to the four parts of a transaction what brings the kernel from what service `key` had to `want`. */
struct sync_text {
    struct buf add_sets, drop_elements, add_chains, add_elements, drop_chains, drop_sets;
    size_t changes;
};
void sync_text_done(struct sync_text *t);
void sync_service(struct sync *s, const char *family, const char *table, struct str key, const struct items *want,
                  struct sync_text *t);
/* The parts in the order in which they must stand. */
void sync_text_join(const struct sync_text *t, struct buf *b);
