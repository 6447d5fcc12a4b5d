/* confine.h - after the start the process gives up what it will never need again: a seccomp filter, for all its threads, until its end.
 *
 * What stays: memory that is not executable, reading files, the sockets there are, time, and signals to itself. What goes, with EPERM: other programs, tracing,
 * connections to anywhere, writing or creating files, new processes, new executable memory. New threads stay, for jobs that step aside (jobs.h), and are as
 * confined as the others. EPERM and not death: a call that a library makes one day and that we overlooked fails like any other, and the service lives.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CONFINE_H
#define CONFINE_H

#include <stdbool.h>
#include <stddef.h>

/* Call it once all threads run. `may_unlink`: files may be removed (the socket's, at the end). False: nothing is confined, and `why` says why; always so under
 * a sanitizer, which needs more than that. */
bool srv_confine(bool may_unlink, char *why, size_t size);

#endif
