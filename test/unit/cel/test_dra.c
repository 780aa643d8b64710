/* SPDX-License-Identifier: Apache-2.0 */
/* Device selectors: what they see of a device, what compilation and evaluation refuse. */
#include "../testing.h"
#include "cel/dra.h"
#include "wire/json.h"

static const char device_json[] =
    "{\"name\": \"gpu-0\", \"allowMultipleAllocations\": true, \"attributes\": {"
    "  \"model\": {\"string\": \"A100\"}, \"index\": {\"int\": 3}, \"ready\": {\"bool\": true},"
    "  \"dra.example.com/driverVersion\": {\"version\": \"1.12.3\"}, \"other.example.com/numa\": {\"int\": 1}},"
    " \"capacity\": {\"memory\": {\"value\": \"80Gi\"}, \"other.example.com/lanes\": {\"value\": \"16\"}}}";

static int run(const char *expr, bool *ret, struct err *e)
{
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    struct dra_selector *s = NULL;
    struct val *device;
    assert_int_equal(json_decode(&a, type_find(STR("resource.v1.Device")), str_of(device_json), 0, NULL, &device, e), 0);
    int r = dra_selector_compile(str_of(expr), &s, e);
    if (r == 0)
        r = dra_selector_match(s, STR("dra.example.com"), device, ret, e);
    dra_selector_unref(s);
    return r;
}

static void test_match(void **state)
{
    static const struct {
        const char *expr;
        bool match;
    } cases[] = {
        {"device.driver == 'dra.example.com'", true},
        {"device.allowMultipleAllocations", true},
        {"device.attributes['dra.example.com'].model == 'A100'", true},
        {"device.attributes['dra.example.com'].index > 3", false},
        {"device.attributes['dra.example.com'].ready", true},
        {"device.attributes['other.example.com'].numa == 1", true},
        {"device.attributes['dra.example.com'].driverVersion.isGreaterThan(semver('1.2.0'))", true},
        {"device.attributes['dra.example.com'].driverVersion.major() == 1", true},
        {"device.capacity['dra.example.com'].memory.compareTo(quantity('40Gi')) >= 0", true},
        {"device.capacity['dra.example.com'].memory == quantity('81920Mi')", true},
        {"device.capacity['other.example.com'].lanes.isLessThan(quantity('16'))", false},
        {"cel.bind(dra, device.attributes['dra.example.com'], dra.ready && dra.model.startsWith('A'))", true},
        {"has(device.attributes['dra.example.com'].model)", true},
        {"has(device.attributes['nobody.example.com'].model)", false},
        {"'dra.example.com' in device.attributes", true},
        {"device.attributes['dra.example.com'].?none.orValue('x') == 'x'", true},
        {"device.attributes['dra.example.com'].model.matches('^A[0-9]+$')", true},
        {"device.attributes.size() == 2 && device.capacity.size() == 2", true},
        {"device.attributes.exists(d, d.startsWith('other'))", true},
        {"sets.contains(['A100', 'H100'], [device.attributes['dra.example.com'].model])", true},
        {"device.attributes['dra.example.com'].model in ['A100', 'H100']", true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool match = !cases[i].match;
        struct err e = {0};
        if (run(cases[i].expr, &match, &e))
            fail_msg("%s: %s", cases[i].expr, e.text);
        if (match != cases[i].match)
            fail_msg("%s is %d", cases[i].expr, match);
    }
}

static void refuses(const char *expr, const char *text)
{
    bool match;
    struct err e = {0};
    assert_int_equal(run(expr, &match, &e), -EINVAL);
    if (!strstr(e.text, text))
        fail_msg("%s: %s", expr, e.text);
}

static void test_refused(void **state)
{
    refuses("device.nothing", "compilation failed: ERROR: <input>:1:7: undefined field 'nothing'\n | device.nothing\n | ......^");
    refuses("device.driver", "must evaluate to bool or the unknown type, not string");
    refuses("1 +", "Syntax error: mismatched input '<EOF>' expecting");
    refuses("x", "undeclared reference to 'x' (in container '')");
    refuses("device.driver == 1", "found no matching overload for '_==_' applied to '(string, int)'");
    refuses("device.attributes['dra.example.com'].none == 1", "no such key: none");
    refuses("device.attributes['nobody.example.com'].none == 1", "no such key: none");
    refuses("device.attributes['dra.example.com'].model", "could not be converted to bool");
    refuses("lists.range(2000).all(x, lists.range(2000).all(y, x < 10000))", "cost limit exceeded");
}

/* The figures are those of upstream's own tests. */
static void test_max_cost(void **state)
{
    static const struct {
        const char *expr;
        uint64_t cost;
    } cases[] = {
        {"device.attributes[\"no-such-domain\"].noSuchAttr.isGreaterThan(quantity(\"0\"))", 6},
        {"\"no-such-domain\" in device.attributes", 3},
        {"device.driver == \"\"", 2},
        {"device.driver == \"dra.example.com\"", 4},
        {"device.attributes[\"dra.example.com\"].name", 4},
        {"cel.bind(dra, device.attributes[\"dra.example.com\"], dra.name)", 15},
        {"device.attributes[\"dra.example.com\"].name == \"fish\"", 5},
        {"device.attributes[\"dra.example.com\"].name.exists(x, x > 0)", 5 + 6 * 64},
        {"device.attributes[\"dra.example.com\"].names.all(x, x.isGreaterThan(semver(\"0.0.1\")))", 5 + 6 * 64},
        {"device.attributes[\"dra.example.com\"].name.includes(\"fish\")", 4 + 64},
        {"1 in device.attributes[\"dra.example.com\"].names", 4 + 64},
        {"device.attributes[\"dra.example.com\"].name.isGreaterThan(semver(\"v0.0.1\", true)) && isSemver(\"v1.0.0\", true)", 7},
        {"device.capacity[\"dra.example.com\"].name.isGreaterThan(quantity(\"1Ki\"))", 6},
        {"\"name\" in device.capacity[\"dra.example.com\"] && "
         "device.capacity[\"dra.example.com\"].name.isGreaterThan(quantity(\"1Ki\"))", 10},
        {"device.attributes.exists_one(x, x == \"dra.example.com\")", 164},
        {"device.attributes[\"dra.example.com\"].exists_one(x, x == \"services\")", 133},
        {"device.attributes[\"dra.example.com\"].services.split(\"example\").size() >= 2", 19},
        {"device.attributes[\"dra.example.com\"].services.matches(\"[^a]?sym\")", 18},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct dra_selector *s;
        struct err e = {0};
        if (dra_selector_compile(str_of(cases[i].expr), &s, &e) < 0) { /* upstream's test of what is no bool counts cost, too */
            if (!strstr(e.text, "must evaluate to bool"))
                fail_msg("%s: %s", cases[i].expr, e.text);
            continue;
        }
        if (dra_selector_max_cost(s) != cases[i].cost)
            fail_msg("%s: %llu, not %llu", cases[i].expr, (unsigned long long)dra_selector_max_cost(s),
                     (unsigned long long)cases[i].cost);
        dra_selector_unref(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_max_cost),
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
