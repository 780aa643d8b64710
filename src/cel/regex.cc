// SPDX-License-Identifier: Apache-2.0
// The bridge to RE2, the one file that is C++: patterns of its syntax in linear time (docs/dependencies.md).
#include <re2/re2.h>

extern "C" {

struct cel_regex_str { // struct str of base/str.h
    const char *p;
    size_t n;
};
struct cel_regex;

cel_regex *cel_regex_new(cel_regex_str pattern);
void cel_regex_free(cel_regex *re);
bool cel_regex_find(const cel_regex *re, cel_regex_str text, size_t from, size_t *ret_start, size_t *ret_end);
}

cel_regex *cel_regex_new(cel_regex_str pattern)
{
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(2 << 20); // of one pattern's automata; beyond it RE2 is slower, not wrong
    RE2 *re = new RE2(re2::StringPiece(pattern.p ? pattern.p : "", pattern.n), options);
    if (re->ok())
        return reinterpret_cast<cel_regex *>(re);
    delete re;
    return nullptr;
}

void cel_regex_free(cel_regex *re)
{
    delete reinterpret_cast<RE2 *>(re);
}

bool cel_regex_find(const cel_regex *re, cel_regex_str text, size_t from, size_t *ret_start, size_t *ret_end)
{
    const char *p = text.p ? text.p : "";
    re2::StringPiece all(p, text.n), hit;
    if (from > text.n || !reinterpret_cast<const RE2 *>(re)->Match(all, from, text.n, RE2::UNANCHORED, &hit, 1))
        return false;
    *ret_start = static_cast<size_t>(hit.data() - p);
    *ret_end = *ret_start + hit.size();
    return true;
}
