// SPDX-License-Identifier: Apache-2.0
// The bridge to RE2, the one file that is C++: patterns of its syntax in linear time (docs/dependencies.md).
#include <re2/re2.h>

#include <cstdio>
#include <string>

extern "C" {

struct cel_regex_str { // struct str of base/str.h
    const char *p;
    size_t n;
};
struct cel_regex;

cel_regex *cel_regex_new(cel_regex_str pattern, char *ret_fault, size_t size);
void cel_regex_free(cel_regex *re);
bool cel_regex_find(const cel_regex *re, cel_regex_str text, size_t from, size_t *ret_start, size_t *ret_end);
bool cel_regex_match(const cel_regex *re, cel_regex_str text, cel_regex_str *ret_groups, size_t n);
size_t cel_regex_groups(const cel_regex *re);
int cel_regex_group(const cel_regex *re, cel_regex_str name);
}

// What Go's parser says of it: its sentences, the same for each kind of fault.
static const char *sentence(RE2::ErrorCode code)
{
    switch (code) {
    case RE2::ErrorBadEscape:
        return "invalid escape sequence";
    case RE2::ErrorBadCharClass:
        return "invalid character class";
    case RE2::ErrorBadCharRange:
        return "invalid character class range";
    case RE2::ErrorMissingBracket:
        return "missing closing ]";
    case RE2::ErrorMissingParen:
        return "missing closing )";
    case RE2::ErrorUnexpectedParen:
        return "unexpected )";
    case RE2::ErrorTrailingBackslash:
        return "trailing backslash at end of expression";
    case RE2::ErrorRepeatArgument:
        return "missing argument to repetition operator";
    case RE2::ErrorRepeatSize:
        return "invalid repeat count";
    case RE2::ErrorRepeatOp:
        return "invalid nested repetition operator";
    case RE2::ErrorBadPerlOp:
        return "invalid or unsupported Perl syntax";
    case RE2::ErrorBadUTF8:
        return "invalid UTF-8";
    case RE2::ErrorBadNamedCapture:
        return "invalid named capture";
    case RE2::ErrorPatternTooLarge:
        return "expression too large";
    case RE2::NoError:
    case RE2::ErrorInternal:
        break;
    }
    return "internal error";
}

// (?<name>...), which Go reads since 1.22, as (?P<name>...).
static std::string with_p(re2::StringPiece in)
{
    std::string out;
    bool in_class = false;
    for (size_t i = 0; i < in.size(); i++) {
        out += in[i];
        if (in[i] == '\\' && i + 1 < in.size()) {
            out += in[++i];
        } else if (in_class) {
            in_class = in[i] != ']';
        } else if (in[i] == '[') {
            in_class = true;
            for (; i + 1 < in.size() && (in[i + 1] == ']' || (in[i] == '[' && in[i + 1] == '^')); i++)
                out += in[i + 1];
        } else if (in.substr(i, 3) == "(?<" && i + 3 < in.size() && in[i + 3] != '=' && in[i + 3] != '!') {
            out += "?P";
            i++;
        }
    }
    return out;
}

static RE2 *compile(const std::string &pattern, int64_t max_mem)
{
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(max_mem); // of one pattern's automata; beyond it RE2 is slower, not wrong
    return new RE2(pattern, options);
}

cel_regex *cel_regex_new(cel_regex_str pattern, char *ret_fault, size_t size)
{
    std::string text = with_p(re2::StringPiece(pattern.p ? pattern.p : "", pattern.n));
    RE2 *re = compile(text, 2 << 20);
    if (re->error_code() == RE2::ErrorPatternTooLarge) { // \p{L}{1,253}: Go takes it
        delete re;
        re = compile(text, 64 << 20);
    }
    if (re->ok())
        return reinterpret_cast<cel_regex *>(re);
    if (size)
        snprintf(ret_fault, size, "error parsing regexp: %s: `%s`", sentence(re->error_code()), re->error_arg().c_str());
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

bool cel_regex_match(const cel_regex *re, cel_regex_str text, cel_regex_str *ret_groups, size_t n)
{
    enum { MOST = 32 };
    re2::StringPiece all(text.p ? text.p : "", text.n), groups[MOST];
    size_t held = cel_regex_groups(re) + 1, asked = n < held ? n : held;
    if (asked > MOST)
        asked = MOST;
    if (!reinterpret_cast<const RE2 *>(re)->Match(all, 0, text.n, RE2::UNANCHORED, groups, static_cast<int>(asked)))
        return false;
    for (size_t i = 0; i < n; i++)
        ret_groups[i] = i < asked ? cel_regex_str{groups[i].data(), groups[i].size()} : cel_regex_str{nullptr, 0};
    return true;
}

size_t cel_regex_groups(const cel_regex *re)
{
    return static_cast<size_t>(reinterpret_cast<const RE2 *>(re)->NumberOfCapturingGroups());
}

int cel_regex_group(const cel_regex *re, cel_regex_str name)
{
    const auto &names = reinterpret_cast<const RE2 *>(re)->NamedCapturingGroups();
    auto it = names.find(std::string(name.p ? name.p : "", name.n));
    return it == names.end() ? -1 : it->second;
}
