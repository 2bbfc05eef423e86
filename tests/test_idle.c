/*
 * What an idle connection of `lintel serve` costs: measured as the bench does, of the program's own
 * server in a process of its own, by the allocator's count.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/idle.h"

enum { WATCHDOG_SECONDS = 300, CONNECTIONS = 1000, LIMIT = 512 };

static void idle_connections_are_cheap_before_and_after_a_burst(void **state)
{
    const char *preload = getenv("LD_PRELOAD");
    struct idle idle;
    int rc;

    (void)state;
    if (preload != NULL && strstr(preload, "vgpreload") != NULL)
        skip();
    alarm(WATCHDOG_SECONDS);
    rc = idle_measure(CONNECTIONS, 0, &idle);
    if (rc > 0)
        skip();
    assert_int_equal(rc, 0);
    print_message("%.1f bytes a connection, %.1f after a burst\n", idle.fresh, idle.again);
    assert_true(idle.fresh > 160); /* libuv's own */
    assert_true(idle.fresh <= LIMIT);
    assert_true(idle.again <= LIMIT);
    alarm(0);
}

static void a_seal_adds_little_to_an_idle_connection(void **state)
{
    const char *preload = getenv("LD_PRELOAD");
    struct idle plain, sealed;

    (void)state;
    if (preload != NULL && strstr(preload, "vgpreload") != NULL)
        skip();
    alarm(WATCHDOG_SECONDS);
    if (idle_measure(CONNECTIONS, 0, &plain) > 0 || idle_measure(CONNECTIONS, 1, &sealed) > 0)
        skip();
    print_message("a seal adds %.1f bytes a connection, %.1f after a burst\n",
                  sealed.fresh - plain.fresh, sealed.again - plain.again);
    assert_true(sealed.fresh - plain.fresh > 64); /* two keys */
    assert_true(sealed.fresh - plain.fresh <= LIMIT);
    assert_true(sealed.again - plain.again <= LIMIT);
    alarm(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_connections_are_cheap_before_and_after_a_burst),
        cmocka_unit_test(a_seal_adds_little_to_an_idle_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
