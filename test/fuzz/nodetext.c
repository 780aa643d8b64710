/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that the node agent takes from containers, images and people: log lines, image names, credentials, resolv.conf. */
#include "node/crilog.h"
#include "node/dns.h"
#include "node/env.h"
#include "node/imageref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = ARENA_INIT;
    struct str text = arena_str(&a, str_n((const char *)data, size)), value;
    struct crilog_line line;
    struct resolv_conf rc;
    struct buf b = BUF_INIT;
    struct err e;
    if (size > 65536)
        return 0;
    if (crilog_parse(text, &line) == 0 && (line.text.n > text.n || line.stamp.n > text.n))
        abort();
    for (int64_t n = 0; n < 5; n++)
        if (crilog_tail(text, n) > text.n)
            abort();
    crilog_last(text, 64, 3, &b);
    if (b.n > 64)
        abort();
    buf_done(&b);
    if (image_check(text, &e) == 0 && image_check(image_with_tag(&a, text), &e) != 0 && text.n < 200)
        abort();
    image_repository(&a, text);
    image_credentials(&a, text, false, STR("r.example.com/x"), val_new(&a, VAL_LIST), &e);
    image_credentials(&a, text, true, STR("busybox"), val_new(&a, VAL_LIST), &e);
    resolv_conf_parse(&a, text, &rc);
    env_file_value(&a, text, STR("A"), &value, &e);
    struct env_var var = {STR("A"), STR("$(A)")};
    struct env_list list = {&var, 1, 1};
    env_expand(&a, text, &list);
    arena_done(&a);
    return 0;
}
