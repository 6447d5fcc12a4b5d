/* probe.h - asks a running server whether it is ready: what a container's health check calls.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_H
#define PROBE_H

#include <stddef.h>

/* GETs `url`/readyz. 0: it answered 200; 1: it did not, and `error` says why. */
int srv_probe(const char *url, char *error, size_t size);

#endif
