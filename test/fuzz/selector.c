/* SPDX-License-Identifier: Apache-2.0 */
/* Label and field selectors: parsing never fails badly, and what is printed means the same again. */
#include "type/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(struct str text, int (*parse)(struct arena *, struct str, struct selector *, struct err *))
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct selector once, twice;
    if (parse(&a, text, &once, NULL) < 0)
        return;
    struct str printed = selector_print(&a, &once);
    ASSERT(parse(&a, printed, &twice, NULL) == 0);
    ASSERT(str_eq(printed, selector_print(&a, &twice)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *labels = val_new(&a, VAL_MAP);
    struct selector s;
    struct str text = str_n((const char *)data, size);
    val_put_str(&a, labels, STR("app"), STR("web"));
    val_put_str(&a, labels, STR("n"), STR("5"));
    if (selector_parse(&a, text, &s, NULL) == 0)
        selector_matches(&s, labels);
    round_trip(text, selector_parse);
    field_selector_parse(&a, text, &s, NULL);
    return 0;
}
