/* main.c - the program: options, models, serving, signals, draining.
 *
 * SIGTERM, SIGINT and SIGHUP are taken by this thread alone, with sigtimedwait, so that nothing happens inside a signal handler. Before serving they end the program
 * as usual (also where the program is process 1), SIGHUP excepted, which waits for the server. The first one drains, a second one ends the program at once.
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "probe.h"
#include "server.h"

extern char **environ;

enum {
    LOOK_MS = 10,              /* how often a draining server looks whether it is done */
    CANCELLED_GRACE_MS = 5000, /* what cancelled work may still take */
    MAPPED_BYTES = 4 << 20     /* blocks of memory from here on go back to the system as soon as they are freed */
};

/* A standard stream that was closed would be the number of the first socket opened, and log lines would be written into it. */
static void hold_standard_streams(void)
{
    int fd = 0;
    while (fd >= 0 && fd <= STDERR_FILENO)
        fd = open("/dev/null", O_RDWR);
    if (fd >= 0)
        close(fd);
}

static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    pthread_sigmask(SIG_BLOCK, set, NULL);
}

static void end_at_once(int number)
{
    _exit(128 + number);
}

/* The first process of a container: for it the kernel leaves out what a signal does by itself, and one that came while models are loaded would be lost. */
static void end_on_signals(void)
{
    if (getpid() != 1)
        return;
    signal(SIGTERM, end_at_once);
    signal(SIGINT, end_at_once);
}

/* One that comes while models are loaded is not lost, and no reason to end. */
static void block_reload(void)
{
    sigset_t reload;
    sigemptyset(&reload);
    sigaddset(&reload, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &reload, NULL);
}

/* The next signal that is no SIGHUP; for each of those, keys and certificate are read again. */
static int wait_for_end(srv_server *server, const sigset_t *ends)
{
    sigset_t all = *ends;
    sigaddset(&all, SIGHUP);
    for (;;) {
        int number = 0;
        if (sigwait(&all, &number) == 0 && number != SIGHUP)
            return number;
        if (number == SIGHUP)
            srv_server_reload(server);
    }
}

/* Waits until no exchange is left. False: the time is over. A signal ends the program. */
static bool wait_until_idle(srv_server *server, const sigset_t *signals, uint64_t ms)
{
    uint64_t until = attn_clock_ns() + ms * 1000000;
    struct timespec look = { 0, (long)LOOK_MS * 1000000 };
    while (!srv_server_is_idle(server)) {
        if (attn_clock_ns() >= until)
            return false;
        int again = sigtimedwait(signals, NULL, &look);
        if (again > 0)
            _exit(128 + again);
    }
    return true;
}

/* No new work; what runs has so many milliseconds, and what ignores that it is cancelled then ends the program with `status`. */
static void end_work(srv_server *server, const sigset_t *signals, uint64_t ms, int status)
{
    srv_server_drain(server);
    if (wait_until_idle(server, signals, ms))
        return;
    srv_log_message(SRV_WARN, "drain", "the time to drain is over: what still runs is cancelled");
    srv_server_cancel(server);
    if (wait_until_idle(server, signals, CANCELLED_GRACE_MS))
        return;
    srv_log_message(SRV_ERROR, "drain", "some work does not end: leaving without it");
    _exit(status);
}

static int serve(srv_server *server, const srv_options *options)
{
    sigset_t signals;
    block_signals(&signals);
    if (!srv_server_start(server)) {
        end_work(server, &signals, 0, EXIT_FAILURE); /* one of its doors may have been open for a moment */
        srv_server_stop(server);
        return EXIT_FAILURE;
    }
    int first = wait_for_end(server, &signals);
    srv_log_message(SRV_INFO, "drain", "%s: no new work, what runs is finished within %llu ms", first == SIGTERM ? "SIGTERM" : "SIGINT",
                    (unsigned long long)options->drain_timeout_ms);
    end_work(server, &signals, options->drain_timeout_ms, EXIT_SUCCESS);
    srv_server_stop(server);
    srv_log_message(SRV_INFO, "stop", "all is done");
    return EXIT_SUCCESS;
}

static int run(const srv_options *options)
{
    srv_server server;
    int result = EXIT_FAILURE;
    block_reload();
    if (srv_server_open(&server, options)) {
        if (options->check) {
            puts("configuration and models are fine");
            result = EXIT_SUCCESS;
        } else {
            result = serve(&server, options);
        }
    }
    srv_server_close(&server);
    return result;
}

static int probe(const srv_options *options)
{
    char error[1200];
    int result = srv_probe(options->probe, options->tls_cert, error, sizeof error);
    if (result != 0)
        srv_log_plain("attnd: %s", error);
    return result;
}

static int act(const srv_options *options)
{
    if (options->help) {
        srv_options_help(stdout);
        return EXIT_SUCCESS;
    }
    if (options->version) {
        puts("attnd " SRV_VERSION);
        return EXIT_SUCCESS;
    }
    return options->probe ? probe(options) : run(options);
}

int main(int argc, char **argv)
{
    srv_options options;
    char error[512];
    int result = 2; /* the usual status for a wrong command line */
    hold_standard_streams();
    signal(SIGPIPE, SIG_IGN);
    end_on_signals();
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES); /* by itself glibc raises it to 32 MiB, and then keeps large bodies for each of its arenas */
    if (srv_options_read(&options, argc, argv, environ, error, sizeof error)) {
        srv_level level = SRV_INFO;
        srv_level_from_name(options.log_level, &level);
        srv_log_setup(level, strcmp(options.log_format, "json") == 0);
        result = act(&options);
    } else {
        srv_log_plain("attnd: %s", error);
    }
    srv_options_free(&options);
    return result;
}
