/*
 * console.c - reports to stderr that work while the program is broken: no allocation, no locks, no stdio streams.
 *
 * The first call of backtrace() loads the unwinder and allocates. HalInitializeProcessors makes that call
 * (HalPrintStack with all frames left out), so a report after the machine's start does neither. Reports do not change
 * errno.
 *
 * Test: tests/hal/test_console.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hal.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<execinfo.h>)
#include <execinfo.h>
#define HALP_BACKTRACE 1
#endif
#endif

#define HALP_PRINT_BYTES 1024
#define HALP_STACK_FRAMES 64

static VOID HalpWrite(const char *Text, SIZE_T Length)
{
    while (Length != 0) {
        ssize_t Written = write(STDERR_FILENO, Text, Length);

        if (Written > 0) {
            Text += Written;
            Length -= (SIZE_T)Written;
        } else if (Written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            /* A pipe that nobody empties must not hang a report for ever. */
            struct pollfd Ready = {STDERR_FILENO, POLLOUT, 0};

            if (poll(&Ready, 1, 1000) == 0) {
                return;
            }
        } else if (Written == 0 || errno != EINTR) {
            return;
        }
    }
}

VOID HalPrint(const char *Format, ...)
{
    char Text[HALP_PRINT_BYTES + 1];
    int Saved = errno;
    va_list Arguments;
    int Length;

    va_start(Arguments, Format);
    Length = vsnprintf(Text, sizeof(Text), Format, Arguments);
    va_end(Arguments);
    if (Length > HALP_PRINT_BYTES) {
        Length = HALP_PRINT_BYTES;
        Text[HALP_PRINT_BYTES - 1] = '\n';
    }
    if (Length > 0) {
        HalpWrite(Text, (SIZE_T)Length);
    }
    errno = Saved;
}

/* Never inlined, so that it has a frame. Under a sanitizer, frames of its runtime come before it. */
__attribute__((noinline)) VOID HalPrintStack(ULONG Skip)
{
#ifdef HALP_BACKTRACE
    void *Caller = __builtin_extract_return_addr(__builtin_return_address(0));
    void *Frames[HALP_STACK_FRAMES];
    int Saved = errno;
    int Count = backtrace(Frames, HALP_STACK_FRAMES);
    int First = 0;

    while (First < Count && Frames[First] != Caller) {
        First++;
    }
    if (First == Count) {
        First = Count < 1 ? Count : 1;
    }
    if (Skip < (ULONG)(Count - First)) {
        backtrace_symbols_fd(Frames + First + Skip, Count - First - (int)Skip, STDERR_FILENO);
    }
    errno = Saved;
#else
    UNREFERENCED_PARAMETER(Skip);
#endif
}

VOID HalPrintAddresses(PVOID *Addresses, ULONG Count)
{
#ifdef HALP_BACKTRACE
    int Saved = errno;

    backtrace_symbols_fd(Addresses, (int)Count, STDERR_FILENO);
    errno = Saved;
#else
    for (ULONG Index = 0; Index < Count; Index += 1) {
        HalPrint("[%p]\n", Addresses[Index]);
    }
#endif
}

DECLSPEC_NORETURN VOID HalAbort(VOID)
{
    abort();
}

const char *HalEnvironment(const char *Name)
{
    /* A program that runs with another's rights takes no orders from the environment. */
    return secure_getenv(Name);
}
