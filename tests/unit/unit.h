/* unit.h - runs a Check suite with an honest exit status. Under sanitizers CK_FORK=no is set by tests/run.sh.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef UNIT_H
#define UNIT_H

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>

/* Such a build is many times slower, and keeps what is freed. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* By qemu-user (tests/container/arm64_units.sh), which has memory of its own within the process, keeps no limit on its size, and has no seccomp. */
static inline bool is_emulated(void)
{
    return getenv("ATTND_EMULATED") != NULL;
}

static inline int unit_main(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    int ran = srunner_ntests_run(runner);
    srunner_free(runner);
    return failed == 0 && ran > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
