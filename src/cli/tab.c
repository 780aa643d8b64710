/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tab.h"

struct cell {
    struct str text;
    unsigned width;
};
struct line {
    struct cell *cells; /* the last is the text after the last tab */
    size_t n;
};

struct tabber {
    struct buf *out;
    struct tab_style style;
    struct tab_widths *remember;
    struct line *lines;
    size_t n_lines;
    unsigned *widths; /* of the columns to the left of where we are */
    size_t n_widths;
};

unsigned text_width(struct str s)
{
    unsigned n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static void put_padding(struct buf *b, unsigned have, unsigned want)
{
    for (; have < want; have++)
        buf_putc(b, ' ');
}

static void put_lines(struct tabber *t, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        const struct line *l = &t->lines[i];
        for (size_t j = 0; j < l->n; j++) {
            buf_putstr(t->out, l->cells[j].text);
            if (j < t->n_widths)
                put_padding(t->out, l->cells[j].width, t->widths[j]);
        }
        if (i + 1 < t->n_lines)
            buf_putc(t->out, '\n');
    }
}

static unsigned remembered(struct tab_widths *r, size_t column, unsigned width)
{
    if (!r)
        return width;
    if (column >= r->n) {
        r->w = xrealloc(r->w, (column + 1) * sizeof(*r->w));
        memset(r->w + r->n, 0, (column + 1 - r->n) * sizeof(*r->w));
        r->n = column + 1;
    }
    return r->w[column] = MAX(r->w[column], width);
}

/* Lines [from, to) share the columns left of this one. Finds the runs that have this column, too. */
static void format(struct tabber *t, size_t from, size_t to)
{
    size_t column = t->n_widths;
    for (size_t i = from; i < to; i++) {
        if (column + 1 >= t->lines[i].n)
            continue;
        put_lines(t, from, i);
        from = i;
        unsigned width = t->style.min_width;
        for (; i < to && column + 1 < t->lines[i].n; i++) {
            unsigned cell = t->lines[i].cells[column].width + t->style.padding;
            width = MAX(width, cell);
        }
        t->widths[t->n_widths++] = remembered(t->remember, column, width);
        format(t, from, i);
        t->n_widths--;
        from = i;
        i--; /* the loop moves on; line i has no such column */
        if (from >= to)
            break;
    }
    put_lines(t, from, to);
}

static size_t count(struct str s, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == c;
    return n;
}

void tab_align(struct buf *out, struct str text, struct tab_style style, struct tab_widths *remember)
{
    size_t n_lines = count(text, '\n') + 1, n_cells = count(text, '\t') + n_lines;
    struct cell *cells = xcalloc(n_cells, sizeof(*cells)), *next = cells;
    struct line *lines = xcalloc(n_lines, sizeof(*lines));
    struct tabber t = {.out = out, .style = style, .remember = remember, .lines = lines, .n_lines = n_lines};
    t.widths = xcalloc(n_cells + 1, sizeof(*t.widths));
    for (size_t i = 0; i < n_lines; i++) {
        struct str line, cell;
        str_cut(text, '\n', &line, &text);
        lines[i].cells = next;
        for (bool more = true; more;) {
            more = str_cut(line, '\t', &cell, &line);
            *next++ = (struct cell){cell, text_width(cell)};
            lines[i].n++;
        }
    }
    format(&t, 0, n_lines);
    free(t.widths);
    free(lines);
    free(cells);
}

void tab_widths_done(struct tab_widths *w)
{
    free(w->w);
    *w = (struct tab_widths){0};
}
