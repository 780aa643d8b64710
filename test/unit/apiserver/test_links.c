/* SPDX-License-Identifier: Apache-2.0 */
/* Links of pages behind the API server's proxies: which are rewritten, and that a page may come in any pieces. */
#include "../testing.h"

#include "apiserver/html_links.h"

static const struct link_base base = {STR("/api/v1/ns/proxy"), STR("10.0.0.1:80"), STR("localhost:8001")};

static void links(void **state)
{
    (void)state;
    static const struct {
        const char *link, *want;
    } cases[] = {
        {"/x", "/api/v1/ns/proxy/x"},
        {"/", "/api/v1/ns/proxy/"},
        {"/x?a=/b#c", "/api/v1/ns/proxy/x?a=/b#c"},
        {"x/y", "x/y"},
        {"#top", "#top"},
        {"", ""},
        {"?q", "?q"},
        {"mailto:a@b", "mailto:a@b"},
        {"http://10.0.0.1:80/x", "/api/v1/ns/proxy/x"},
        {"https://10.0.0.1:80/x", "/api/v1/ns/proxy/x"},
        {"//10.0.0.1:80/x", "/api/v1/ns/proxy/x"},
        {"http://localhost:8001/x", "http://localhost:8001/api/v1/ns/proxy/x"},
        {"http://10.0.0.2:80/x", "http://10.0.0.2:80/x"},
        {"http://elsewhere/x", "http://elsewhere/x"},
        {"http://10.0.0.1:80", "http://10.0.0.1:80"},
        {"/api/v1/ns/proxy/x", "/api/v1/ns/proxy/x"},
    };
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_str(link_rewrite(&base, &a, str_of(cases[i].link)), cases[i].want);
}

static const struct {
    const char *page, *want;
} pages[] = {
    {"<a href=\"/x\">t</a>", "<a href=\"/api/v1/ns/proxy/x\">t</a>"},
    {"<A class='k' HREF = '/x' >t", "<A class='k' HREF = '/api/v1/ns/proxy/x' >t"},
    {"<a href=/x>t", "<a href=/api/v1/ns/proxy/x>t"},
    {"<img src=\"/a\" alt=\"/b\" longdesc=\"/c\"/>",
     "<img src=\"/api/v1/ns/proxy/a\" alt=\"/b\" longdesc=\"/api/v1/ns/proxy/c\"/>"},
    {"<a title=\"a>b\" href=\"/x\">", "<a title=\"a>b\" href=\"/api/v1/ns/proxy/x\">"},
    {"<p href=\"/x\">", "<p href=\"/x\">"},
    {"<a hrefs=\"/x\">", "<a hrefs=\"/x\">"},
    {"<!-- <a href=\"/x\"> --><a href=\"/x\">", "<!-- <a href=\"/x\"> --><a href=\"/api/v1/ns/proxy/x\">"},
    {"<script src=\"/s\">if (a<b) '<a href=\"/x\">'</script><a href=\"/x\">",
     "<script src=\"/api/v1/ns/proxy/s\">if (a<b) '<a href=\"/x\">'</script><a href=\"/api/v1/ns/proxy/x\">"},
    {"a < b <3 <", "a < b <3 <"},
    {"<a href=\"/never closed", "<a href=\"/never closed"},
    {"<a", "<a"},
    {"<a href", "<a href"},
    {"<a href=>x", "<a href=>x"},
    {"", ""},
};

static void whole_and_in_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
        for (size_t size = 1; size < 40; size += 3) {
            struct html_links h = {.base = &base};
            struct buf out CLEANUP_BUF = BUF_INIT;
            struct str page = str_of(pages[i].page);
            for (size_t at = 0; at < page.n; at += size)
                html_links_feed(&h, str_slice(page, at, size), false, &out);
            html_links_feed(&h, STR(""), true, &out);
            assert_str(buf_str(&out), pages[i].want);
            html_links_done(&h);
        }
}

static void what_is_held_is_bounded(void **state)
{
    (void)state;
    struct html_links h = {.base = &base};
    struct buf out CLEANUP_BUF = BUF_INIT, page CLEANUP_BUF = BUF_INIT;
    buf_puts(&page, "<a href=\"");
    for (int i = 0; i < 200; i++) {
        memset(buf_grow(&page, 1000), 'x', 1000);
        page.n += 1000;
        html_links_feed(&h, i ? str_from(buf_str(&page), page.n - 1000) : buf_str(&page), false, &out);
        assert_true(h.held.n < 70000);
    }
    html_links_feed(&h, STR(""), true, &out);
    assert_int_equal(out.n, page.n);
    assert_memory_equal(out.p, page.p, page.n);
    html_links_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links),
        cmocka_unit_test(whole_and_in_pieces),
        cmocka_unit_test(what_is_held_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
