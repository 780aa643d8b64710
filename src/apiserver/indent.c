/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/indent.h"

static void line(struct buf *b, int depth)
{
    buf_putc(b, '\n');
    for (int i = 0; i < depth; i++)
        buf_puts(b, "  ");
}

static size_t put_string(struct buf *b, struct str s, size_t i)
{
    size_t from = i++;
    while (i < s.n && s.p[i] != '"')
        i += s.p[i] == '\\' ? 2 : 1;
    i = MIN(i, s.n - 1);
    buf_put(b, s.p + from, i - from + 1);
    return i;
}

void json_indent(struct buf *b, struct str s)
{
    int depth = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool empty = i + 1 < s.n && (s.p[i + 1] == '}' || s.p[i + 1] == ']');
        if (c == '"') {
            i = put_string(b, s, i);
        } else if (c == '{' || c == '[') {
            buf_putc(b, c);
            if (empty)
                buf_putc(b, s.p[++i]);
            else
                line(b, ++depth);
        } else if (c == '}' || c == ']') {
            line(b, --depth);
            buf_putc(b, c);
        } else if (c == ',') {
            buf_putc(b, c);
            line(b, depth);
        } else {
            buf_putc(b, c);
            if (c == ':')
                buf_putc(b, ' ');
        }
    }
    buf_putc(b, '\n');
}
