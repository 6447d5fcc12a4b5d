/* log.h - one line on standard error for one event, as text or JSON. Nothing else in the program writes there.
 *
 * Values are escaped, so that no request can begin a line of its own or fake a field. Contents of requests are never logged.
 * Any thread may log: a line is one write.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attn_base.h"

typedef enum srv_level { SRV_DEBUG, SRV_INFO, SRV_WARN, SRV_ERROR } srv_level;

/* A value is a text, or a number (text NULL): a whole one, or thousandths printed as "1.234". */
typedef struct srv_field {
    const char *name;
    const char *text;
    uint64_t number;
    bool thousandths;
} srv_field;

/* Once, before other threads start. */
void srv_log_setup(srv_level level, bool json);
bool srv_level_from_name(const char *name, srv_level *);

void srv_log(srv_level, const char *event, const srv_field *fields, size_t count);
void srv_log_message(srv_level, const char *event, const char *fmt, ...) ATTN_PRINTF(3, 4);
/* The line as it is, whatever level and format: what scripts wait for. */
void srv_log_plain(const char *fmt, ...) ATTN_PRINTF(1, 2);

/* Is standard error a terminal that reads text lines of what goes on? */
bool srv_log_is_terminal(void);
/* On a terminal: rewrites the line the cursor is in, and stays there. Empty: takes it away, which is to be done before anything else is logged. */
void srv_log_status(const char *fmt, ...) ATTN_PRINTF(1, 2);

/* The line with its newline, at most `size` bytes; returns its length. `unix_ms` is the time. For srv_log and its test. */
size_t srv_log_format(char *dst, size_t size, bool json, uint64_t unix_ms, srv_level, const char *event, const srv_field *fields, size_t count);

#endif
