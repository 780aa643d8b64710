/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links of pages that come through the API server's proxies: those that lead to the page's own host get the proxy's path
 * before them, so that a browser stays within the proxy. The page is rewritten as it streams by.
 */
#pragma once

#include "base/arena.h"

/* Texts must outlive the rewriting. */
struct link_base {
    struct str prefix;  /* "/api/v1/namespaces/n/services/s/proxy", without a slash at the end */
    struct str backend; /* "10.0.0.1:8080": where the page came from */
    struct str host;    /* "localhost:8001": what the client asked */
};

/* The link as the client has to see it, from the arena when it is another. */
struct str link_rewrite(const struct link_base *b, struct arena *a, struct str link);

struct html_links {
    const struct link_base *base; /* NULL: pieces pass as they are */
    int state;            /* private */
    char raw_element[16]; /* whose text holds no tags: "script" */
    struct buf held;      /* the beginning of a tag whose end has not come yet; bounded */
};

/* Appends what the piece becomes; end: nothing will follow. */
void html_links_feed(struct html_links *h, struct str piece, bool end, struct buf *ret);
void html_links_done(struct html_links *h);
