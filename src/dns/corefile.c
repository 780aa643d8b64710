/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/corefile.h"

/* A Corefile comes from whoever may write the ConfigMap: everything in it is bounded. */
enum { MAX_TOKENS = 100000, MAX_DEPTH = 8, MAX_IMPORTS = 16, MAX_TEXT = 1 << 20 };

struct token {
    struct str text;
    unsigned line;
    bool quoted; /* braces in it are text */
    const char *file;
};

struct tokens {
    struct token *items;
    size_t n, cap;
};

struct snippet {
    struct str name;
    struct tokens tokens;
};

struct parser {
    struct arena *a;
    const struct corefile_world *world;
    struct err *e;
    struct snippet *snippets;
    size_t n_snippets, n_tokens;
    unsigned imports; /* one within another */
};

/* ---- words ---------------------------------------------------------------------------------------------- */

static int refuse(struct parser *p, const struct token *t, const char *what, struct str about)
{
    return err_set(p->e, -EINVAL, "%s:%u: %s%s" STR_FMT "%s", t->file, t->line, what, about.n ? " \"" : "", STR_ARG(about),
                   about.n ? "\"" : "");
}

static int add_token(struct parser *p, struct tokens *list, struct token t)
{
    if (++p->n_tokens > MAX_TOKENS)
        return refuse(p, &t, "too many words", STR_NULL);
    list->items = arena_grow(p->a, list->items, list->n, sizeof(*list->items));
    list->items[list->n++] = t;
    return 0;
}

/* "{$NAME}" and "{%NAME%}" anywhere in a word. */
static struct str with_variables(struct parser *p, struct str s)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (!str_contains(s, STR("{$")) && !str_contains(s, STR("{%")))
        return s;
    while (s.n) {
        bool dollar = str_starts(s, STR("{$")), percent = str_starts(s, STR("{%"));
        const char *end = dollar    ? memchr(s.p, '}', s.n)
                          : percent ? memmem(s.p + 2, s.n - 2, "%}", 2)
                                    : NULL;
        if (!end) {
            buf_putc(&b, *s.p);
            s = str_from(s, 1);
            continue;
        }
        struct str name = str_slice(s, 2, (size_t)(end - s.p) - 2);
        if (p->world && p->world->variable)
            buf_putstr(&b, p->world->variable(p->world->ctx, p->a, name));
        s = str_from(s, (size_t)(end - s.p) + (dollar ? 1 : 2));
    }
    return arena_str(p->a, buf_str(&b));
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A quoted word from behind its quote on; a backslash keeps a quote. */
static size_t read_quoted(struct str s, size_t at, unsigned *line, struct buf *b, bool *ret_closed)
{
    *ret_closed = false;
    while (at < s.n) {
        char c = s.p[at++];
        if (c == '"') {
            *ret_closed = true;
            break;
        }
        if (c == '\\' && at < s.n && s.p[at] == '"')
            c = s.p[at++];
        *line += c == '\n';
        buf_putc(b, c);
    }
    return at;
}

static size_t skip_comment(struct str s, size_t at)
{
    while (at < s.n && s.p[at] != '\n')
        at++;
    return at;
}

static int lex(struct parser *p, const char *file, struct str s, struct tokens *ret)
{
    unsigned line = 1;
    struct buf word CLEANUP_BUF = BUF_INIT;
    for (size_t at = 0; at < s.n;) {
        struct token t = {.line = line, .file = file};
        char c = s.p[at];
        if (is_space(c)) {
            line += c == '\n';
            at++;
            continue;
        }
        if (c == '#') {
            at = skip_comment(s, at);
            continue;
        }
        buf_clear(&word);
        if (c == '"') {
            t.quoted = true;
            bool closed;
            at = read_quoted(s, at + 1, &line, &word, &closed);
            if (!closed)
                return refuse(p, &t, "a quote is not closed", STR_NULL);
        }
        while (!t.quoted && at < s.n && !is_space(s.p[at])) {
            if (s.p[at] == '\\' && at + 1 < s.n && s.p[at + 1] == '\n') { /* the line goes on */
                at += 2;
                line++;
                continue;
            }
            buf_putc(&word, s.p[at++]);
        }
        t.text = with_variables(p, arena_str(p->a, buf_str(&word)));
        int r = add_token(p, ret, t);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- directives ------------------------------------------------------------------------------------------ */

struct cursor {
    const struct tokens *t;
    size_t at;
};

static const struct token *peek(const struct cursor *c)
{
    return c->at < c->t->n ? &c->t->items[c->at] : NULL;
}

static bool is_brace(const struct token *t, const char *brace)
{
    return t && !t->quoted && str_is(t->text, brace);
}

struct directives {
    struct directive *items;
    size_t n;
};

static int read_body(struct parser *p, struct cursor *c, unsigned depth, bool until_brace, struct directives *ret);

static const struct snippet *snippet_named(const struct parser *p, struct str name)
{
    for (size_t i = 0; i < p->n_snippets; i++)
        if (str_eq(p->snippets[i].name, name))
            return &p->snippets[i];
    return NULL;
}

/* The words that `import` stands for: a snippet's, or those of the files that a pattern names. */
static int imported(struct parser *p, const struct token *what, struct tokens *ret)
{
    const struct snippet *s = snippet_named(p, what->text);
    struct str *texts;
    size_t n;
    if (s) { /* counted again each time: snippets of snippets multiply */
        p->n_tokens += s->tokens.n;
        *ret = s->tokens;
        return p->n_tokens > MAX_TOKENS ? refuse(p, what, "too many words by import of", what->text) : 0;
    }
    if (!p->world || !p->world->files)
        return refuse(p, what, "there is no snippet", what->text);
    int r = p->world->files(p->world->ctx, p->a, arena_cstr(p->a, what->text), &texts, &n);
    if (r < 0)
        return refuse(p, what, "cannot import", what->text);
    for (size_t i = 0; i < n; i++)
        if ((r = lex(p, what->text.p, texts[i], ret)) < 0)
            return r;
    return 0;
}

static int read_import(struct parser *p, struct cursor *c, unsigned depth, struct directives *ret)
{
    const struct token *word = peek(c);
    c->at++;
    const struct token *what = peek(c);
    if (!what || what->line != word->line)
        return refuse(p, word, "import wants the name of a snippet or file", STR_NULL);
    c->at++;
    if (peek(c) && peek(c)->line == word->line && !is_brace(peek(c), "}"))
        return refuse(p, word, "import takes one name", STR_NULL);
    if (++p->imports > MAX_IMPORTS)
        return refuse(p, what, "imports go in circles", what->text);
    struct tokens t = {0};
    int r = imported(p, what, &t);
    if (r == 0)
        r = read_body(p, &(struct cursor){.t = &t}, depth, false, ret);
    p->imports--;
    return r;
}

static int read_directive(struct parser *p, struct cursor *c, unsigned depth, struct directives *ret)
{
    const struct token *first = peek(c);
    struct directive d = {.name = first->text, .file = first->file, .line = first->line};
    c->at++;
    for (const struct token *t = peek(c); t && t->line == first->line && !is_brace(t, "}"); t = peek(c)) {
        c->at++;
        if (is_brace(t, "{")) {
            struct directives body = {0};
            d.has_body = true;
            int r = depth >= MAX_DEPTH ? refuse(p, t, "blocks stand too deep", STR_NULL)
                                       : read_body(p, c, depth + 1, true, &body);
            if (r < 0)
                return r;
            d.body = body.items;
            d.n_body = body.n;
            break;
        }
        d.args = arena_grow(p->a, d.args, d.n_args, sizeof(*d.args));
        d.args[d.n_args++] = t->text;
    }
    ret->items = arena_grow(p->a, ret->items, ret->n, sizeof(*ret->items));
    ret->items[ret->n++] = d;
    return 0;
}

/* Directives until the end or the closing brace. */
static int read_body(struct parser *p, struct cursor *c, unsigned depth, bool until_brace, struct directives *ret)
{
    const struct token *start = c->at ? &c->t->items[c->at - 1] : peek(c);
    for (;;) {
        const struct token *t = peek(c);
        if (!t)
            return until_brace ? refuse(p, start, "a brace is not closed", STR_NULL) : 0;
        if (is_brace(t, "}")) {
            if (!until_brace)
                return refuse(p, t, "a closing brace too much", STR_NULL);
            c->at++;
            return 0;
        }
        if (is_brace(t, "{"))
            return refuse(p, t, "a block without a name", STR_NULL);
        int r = !t->quoted && str_is(t->text, "import") ? read_import(p, c, depth, ret) : read_directive(p, c, depth, ret);
        if (r < 0)
            return r;
    }
}

/* ---- server blocks ---------------------------------------------------------------------------------------- */

static bool is_snippet(const struct server_block *b)
{
    return b->n_keys == 1 && b->keys[0].n > 2 && b->keys[0].p[0] == '(' && str_ends(b->keys[0], STR(")"));
}

/* The words up to the brace that closes what is open. */
static int read_snippet(struct parser *p, struct cursor *c, struct str key)
{
    struct snippet s = {.name = str_slice(key, 1, key.n - 2)};
    const struct token *start = peek(c);
    for (unsigned open = 1;; c->at++) {
        const struct token *t = peek(c);
        if (!t)
            return refuse(p, start ? start : &c->t->items[c->at - 1], "a brace is not closed", STR_NULL);
        open += is_brace(t, "{");
        open -= is_brace(t, "}");
        if (!open)
            break;
        int r = add_token(p, &s.tokens, *t);
        if (r < 0)
            return r;
    }
    c->at++;
    p->snippets = arena_grow(p->a, p->snippets, p->n_snippets, sizeof(*p->snippets));
    p->snippets[p->n_snippets++] = s;
    return 0;
}

static void add_key(struct parser *p, struct server_block *b, struct str key)
{
    struct str one;
    while (str_next(&key, ',', &one)) {
        if (!one.n)
            continue;
        b->keys = arena_grow(p->a, b->keys, b->n_keys, sizeof(*b->keys));
        b->keys[b->n_keys++] = one;
    }
}

/* Keys stand on one line, or go on behind a comma; a brace opens the block. *ret_open: there was one. */
static int read_keys(struct parser *p, struct cursor *c, struct server_block *b, bool *ret_open)
{
    const struct token *t = peek(c);
    unsigned line = t->line;
    bool goes_on = false;
    *b = (struct server_block){.file = t->file, .line = t->line};
    *ret_open = false;
    for (; (t = peek(c)); c->at++) {
        if (is_brace(t, "}"))
            return refuse(p, t, "a closing brace too much", STR_NULL);
        if (is_brace(t, "{")) {
            *ret_open = true;
            c->at++;
            break;
        }
        if (t->line != line && !goes_on)
            break;
        line = t->line;
        goes_on = str_ends(t->text, STR(","));
        add_key(p, b, t->text);
    }
    return b->n_keys ? 0 : refuse(p, &c->t->items[c->at - 1], "a server block without a zone", STR_NULL);
}

static int read_blocks(struct parser *p, struct cursor *c, struct corefile *ret);

static int import_blocks(struct parser *p, const struct server_block *b, struct corefile *ret)
{
    struct token what = {.text = b->n_keys > 1 ? b->keys[1] : STR_NULL, .line = b->line, .file = b->file};
    struct tokens t = {0};
    if (b->n_keys != 2)
        return refuse(p, &what, "import wants the name of a snippet or file", STR_NULL);
    if (++p->imports > MAX_IMPORTS)
        return refuse(p, &what, "imports go in circles", what.text);
    int r = imported(p, &what, &t);
    if (r == 0)
        r = read_blocks(p, &(struct cursor){.t = &t}, ret);
    p->imports--;
    return r;
}

static int read_blocks(struct parser *p, struct cursor *c, struct corefile *ret)
{
    while (peek(c)) {
        struct server_block b;
        struct directives list = {0};
        bool open;
        int r = read_keys(p, c, &b, &open);
        if (r < 0)
            return r;
        if (!open && str_is(b.keys[0], "import"))
            r = import_blocks(p, &b, ret);
        else if (open && is_snippet(&b))
            r = read_snippet(p, c, b.keys[0]);
        else {
            r = read_body(p, c, 0, open, &list); /* a single block needs no braces */
            b.directives = list.items;
            b.n_directives = list.n;
            ret->blocks = arena_grow(p->a, ret->blocks, ret->n, sizeof(*ret->blocks));
            ret->blocks[ret->n++] = b;
        }
        if (r < 0)
            return r;
    }
    return 0;
}

int corefile_parse(struct arena *a, const char *file, struct str text, const struct corefile_world *w, struct corefile *ret,
                   struct err *e)
{
    struct parser p = {.a = a, .world = w, .e = e};
    struct tokens t = {0};
    struct corefile c = {0};
    file = arena_cstr(a, str_of(file));
    if (text.n > MAX_TEXT)
        return err_set(e, -EINVAL, "%s is too large", file);
    int r = lex(&p, file, text, &t);
    if (r == 0)
        r = read_blocks(&p, &(struct cursor){.t = &t}, &c);
    if (r < 0)
        return r;
    *ret = c;
    return 0;
}
