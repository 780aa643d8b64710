/* SPDX-License-Identifier: Apache-2.0 */
#include "node/crilog.h"

int crilog_parse(struct str line, struct crilog_line *ret)
{
    struct crilog_line l = {0};
    struct str rest, stream, tags;
    if (!str_cut(line, ' ', &l.stamp, &rest) || time_parse(l.stamp, &l.time) < 0 || !str_cut(rest, ' ', &stream, &rest))
        return -EINVAL;
    l.from_stderr = str_is(stream, "stderr");
    if (!l.from_stderr && !str_is(stream, "stdout"))
        return -EINVAL;
    if (!str_cut(rest, ' ', &tags, &l.text))
        tags = rest; /* an empty line may lack the last blank */
    struct str first = tags, more;
    str_cut(tags, ':', &first, &more); /* further tags have no meaning yet */
    l.partial = str_is(first, "P");
    if (!l.partial && !str_is(first, "F"))
        return -EINVAL;
    *ret = l;
    return 0;
}

size_t crilog_tail(struct str text, int64_t lines)
{
    size_t at = text.n;
    if (lines <= 0)
        return text.n;
    if (at && text.p[at - 1] == '\n')
        at--;
    for (; at > 0; at--)
        if (text.p[at - 1] == '\n' && --lines == 0)
            break;
    return at;
}

void crilog_last(struct str text, size_t max, unsigned lines, struct buf *b)
{
    struct str rest = str_from(text, crilog_tail(text, lines)), line;
    size_t start = b->n;
    while (str_next(&rest, '\n', &line)) {
        struct crilog_line l;
        if (crilog_parse(line, &l) < 0)
            continue;
        buf_putstr(b, l.text);
        if (!l.partial)
            buf_putc(b, '\n');
    }
    size_t n = b->n - start;
    if (n > max) {
        memmove(b->p + start, b->p + start + (n - max), max);
        b->n = start + max;
    }
}
