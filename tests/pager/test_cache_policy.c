/* SPDX-License-Identifier: Apache-2.0 */
/* What every policy of a cache owes it, and what tells them from one another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "pager/cache_policy.h"

#define CAPACITY 50u
#define NAMES    200u

static const struct cache_policy_ops *const policies[] = {&policy_lru, &policy_clock,
                                                          &policy_s3_fifo};

struct item {
    struct policy_entry entry;
    bool in, pinned;
};

struct model {
    const struct cache_policy_ops *ops;
    struct cache_policy *policy;
    struct item items[NAMES];
    unsigned count;
};

static struct item *item_of(const struct policy_entry *entry)
{
    return CONTAINER_OF((struct policy_entry *)entry, struct item, entry);
}

static bool may_go(const struct policy_entry *entry, void *context)
{
    return !item_of(entry)->pinned;
}

static void model_begin(struct model *model, const struct cache_policy_ops *ops)
{
    *model = (struct model){.ops = ops, .policy = ops->create(CAPACITY)};
    assert_non_null(model->policy);
    for (unsigned i = 0; i < NAMES; i++)
        model->items[i].entry.name = i * 7919ull;
}

static bool give_way(struct model *model)
{
    struct policy_entry *entry = model->ops->evict(model->policy, may_go, NULL);
    if (!entry)
        return false;
    assert_true(item_of(entry)->in && !item_of(entry)->pinned);
    item_of(entry)->in = false;
    model->count--;
    return true;
}

static void touch(struct model *model, unsigned number)
{
    struct item *item = &model->items[number];
    if (item->in) {
        model->ops->used(model->policy, &item->entry);
        return;
    }
    if (model->count == CAPACITY)
        assert_true(give_way(model));
    model->ops->insert(model->policy, &item->entry);
    item->in = true;
    model->count++;
}

static void model_end(struct model *model)
{
    for (unsigned i = 0; i < NAMES; i++)
        model->items[i].pinned = false;
    for (unsigned left = model->count; left > 0; left--)
        assert_true(give_way(model));
    assert_false(give_way(model));
    for (unsigned i = 0; i < NAMES; i++)
        assert_false(model->items[i].in);
    model->ops->destroy(model->policy);
}

/* Every entry is in once, none is lost, and who may not go stays. */
static void test_nothing_is_lost(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
        struct model model;
        unsigned seed = 1;
        model_begin(&model, policies[i]);
        for (unsigned step = 0; step < 20000; step++) {
            seed = seed * 1103515245u + 12345u;
            unsigned number = (seed >> 16) % NAMES;
            struct item *item = &model.items[number];
            if (step % 11 == 0 && item->in && !item->pinned) {
                model.ops->remove(model.policy, &item->entry);
                item->in = false;
                model.count--;
                continue;
            }
            touch(&model, number);
            item->pinned = number < CAPACITY / 2 && step % 3 > 0;
        }
        model_end(&model);
    }
}

static void test_all_are_in_use(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
        struct model model;
        model_begin(&model, policies[i]);
        for (unsigned k = 0; k < CAPACITY; k++) {
            touch(&model, k);
            model.items[k].pinned = true;
        }
        assert_false(give_way(&model));
        model.items[31].pinned = false;
        assert_true(give_way(&model));
        assert_false(model.items[31].in);
        model_end(&model);
    }
}

static unsigned kept(const struct model *model, unsigned first, unsigned end)
{
    unsigned count = 0;
    for (unsigned i = first; i < end; i++)
        count += model->items[i].in;
    return count;
}

/* A working set that is used over and over, and then a long row of what is used once. */
static unsigned kept_after_a_scan(const struct cache_policy_ops *ops)
{
    struct model model;
    model_begin(&model, ops);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < CAPACITY / 2; i++)
            touch(&model, i);
    }
    for (unsigned i = CAPACITY; i < NAMES; i++)
        touch(&model, i);
    unsigned count = kept(&model, 0, CAPACITY / 2);
    model_end(&model);
    return count;
}

static void test_a_scan(void **state)
{
    assert_int_equal(kept_after_a_scan(&policy_lru), 0);
    assert_int_equal(kept_after_a_scan(&policy_s3_fifo), CAPACITY / 2);
}

/* In the order of the last use; CLOCK spares who was used at all. */
static void test_order(void **state)
{
    for (size_t i = 0; i < 2; i++) {
        struct model model;
        model_begin(&model, policies[i]);
        for (unsigned k = 0; k < CAPACITY; k++)
            touch(&model, k);
        touch(&model, 0);
        assert_true(give_way(&model));
        assert_true(model.items[0].in);
        assert_false(model.items[1].in);
        model_end(&model);
    }
}

/* Who was given up and comes back is known again: it outlives what is new. */
static void test_ghosts(void **state)
{
    struct model model;
    model_begin(&model, &policy_s3_fifo);
    for (unsigned i = 0; i < CAPACITY + 1; i++)
        touch(&model, i);
    assert_false(model.items[0].in);
    touch(&model, 0);
    for (unsigned i = CAPACITY + 1; i < NAMES; i++)
        touch(&model, i);
    assert_true(model.items[0].in);
    model_end(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_lost), cmocka_unit_test(test_all_are_in_use),
        cmocka_unit_test(test_a_scan),          cmocka_unit_test(test_order),
        cmocka_unit_test(test_ghosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
