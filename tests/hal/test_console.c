/*
 * test_console.c - what reaches stderr, and that a report neither allocates nor changes errno.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

static ULONG Allocations;

#if defined(__GLIBC__) && !defined(SANITIZED)
#define COUNTS_ALLOCATIONS 1
extern void *__libc_malloc(size_t Size);

void *malloc(size_t Size)
{
    __atomic_fetch_add(&Allocations, 1, __ATOMIC_RELAXED);
    return __libc_malloc(Size);
}
#endif

static int Pipe[2];
static int RealStderr;

static VOID Capture(VOID)
{
    assert_int_equal(pipe(Pipe), 0);
    RealStderr = dup(STDERR_FILENO);
    assert_true(RealStderr >= 0);
    assert_true(dup2(Pipe[1], STDERR_FILENO) >= 0);
}

/* Returns how much came; Text holds what fits. No more than a pipe takes may have been written. */
static SIZE_T Release(char *Text, SIZE_T Size)
{
    SIZE_T Total = 0;
    ssize_t Length;

    dup2(RealStderr, STDERR_FILENO);
    close(RealStderr);
    close(Pipe[1]);
    while (Total < Size - 1 && (Length = read(Pipe[0], Text + Total, Size - 1 - Total)) > 0)
        Total += (SIZE_T)Length;
    close(Pipe[0]);
    Text[Total] = 0;
    return Total;
}

static void print_formats_like_printf(void **State)
{
    char Text[4096];

    (void)State;
    Capture();
    errno = 77;
    HalPrint("%s %d %08x|%c\n", "irql", -2, 0xABCu, 'x');
    HalPrint("%s", "");
    HalPrint("next");
    Release(Text, sizeof(Text));
    assert_int_equal(errno, 77);
    assert_string_equal(Text, "irql -2 00000abc|x\nnext");
}

static void print_ends_at_1_KiB_with_a_line(void **State)
{
    char Long[3000];
    char Text[4096];

    (void)State;
    memset(Long, 'a', sizeof(Long));
    Long[1024] = 0;
    Capture();
    HalPrint("%s", Long);
    assert_int_equal(Release(Text, sizeof(Text)), 1024);
    assert_string_equal(Text, Long);

    Long[1024] = 'a';
    Long[sizeof(Long) - 1] = 0;
    Capture();
    HalPrint("%s", Long);
    assert_int_equal(Release(Text, sizeof(Text)), 1024);
    assert_memory_equal(Text, Long, 1023);
    assert_int_equal(Text[1023], '\n');
}

enum { FLOOD_LINES = 400, FLOOD_LENGTH = 1000 };

static VOID Flood(PVOID Context)
{
    char Line[FLOOD_LENGTH + 1];

    UNREFERENCED_PARAMETER(Context);
    memset(Line, 'b', FLOOD_LENGTH);
    Line[FLOOD_LENGTH] = 0;
    for (ULONG Index = 0; Index < FLOOD_LINES; Index++)
        HalPrint("%s", Line);
    close(Pipe[1]);
    dup2(RealStderr, STDERR_FILENO);
}

/* More than a pipe holds, through a descriptor that does not block. */
static void nothing_is_lost_on_a_slow_pipe(void **State)
{
    char Text[700];
    SIZE_T Total = 0;
    HAL_THREAD Thread;
    ssize_t Length;

    (void)State;
    Capture();
    assert_int_equal(fcntl(Pipe[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(HalCreateThread(&Thread, Flood, NULL, 0, HAL_ANY_PROCESSOR, "flood"), STATUS_SUCCESS);
    while ((Length = read(Pipe[0], Text, sizeof(Text))) > 0) {
        for (ssize_t Index = 0; Index < Length; Index++)
            Total += Text[Index] == 'b';
    }
    HalJoinThread(&Thread);
    close(RealStderr);
    close(Pipe[0]);
    assert_int_equal(Total, (SIZE_T)FLOOD_LINES * FLOOD_LENGTH);
}

static ULONG Lines(const char *Text)
{
    ULONG Count = 0;

    for (; *Text != 0; Text++)
        Count += *Text == '\n';
    return Count;
}

static __attribute__((noinline)) VOID PrintStackHere(ULONG Skip)
{
    HalPrintStack(Skip);
    __asm__ __volatile__("" ::: "memory"); /* no tail call: the frame of this routine must exist */
}

static void stack_leaves_out_the_innermost_frames(void **State)
{
    static char Text[4][32768];
    const ULONG Skips[] = {0, 1, 2, 0xFFFFFFFF};
    ULONGLONG Innermost;

    (void)State;
    (void)HalInitializeProcessors();
    /* volatile: unrolled, each round would have a return address of its own. */
    for (ULONG volatile Index = 0; Index < ARRAYSIZE(Skips); Index++) {
        Capture();
        errno = 77;
        PrintStackHere(Skips[Index]);
        assert_int_equal(errno, 77);
        Release(Text[Index], sizeof(Text[Index]));
    }
    if (Lines(Text[0]) == 0)
        skip(); /* a host without backtrace() */
    assert_true(Lines(Text[0]) >= 3);
    assert_int_equal(Lines(Text[1]), Lines(Text[0]) - 1);
    assert_string_equal(strchr(Text[0], '\n') + 1, Text[1]);
    assert_string_equal(strchr(Text[1], '\n') + 1, Text[2]);
    assert_int_equal(Lines(Text[3]), 0);

    /* The innermost frame is the caller's, not that of HalPrintStack. */
    assert_non_null(strstr(Text[0], "[0x"));
    Innermost = strtoull(strstr(Text[0], "[0x") + 1, NULL, 16);
    assert_true(Innermost > (ULONG_PTR)PrintStackHere);
    assert_false((ULONG_PTR)HalPrintStack > (ULONG_PTR)PrintStackHere && (ULONG_PTR)HalPrintStack <= Innermost);
}

static void reports_do_not_allocate(void **State)
{
    char Text[32768];
    ULONG Before;
    ULONG After;

    (void)State;
#ifndef COUNTS_ALLOCATIONS
    skip();
#endif
    free(malloc(1));
    assert_int_not_equal(Allocations, 0);
    (void)HalInitializeProcessors();
    Capture();
    Before = Allocations;
    HalPrint("%s %u %p\n", "text", 5u, (void *)&Before);
    HalPrintStack(0);
    After = Allocations;
    Release(Text, sizeof(Text));
    assert_int_equal(After, Before);
}

static void abort_aborts(void **State)
{
    int Status;
    pid_t Child = fork();

    (void)State;
    assert_true(Child >= 0);
    if (Child == 0) {
        signal(SIGABRT, SIG_DFL);
        HalAbort();
    }
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    assert_true(WIFSIGNALED(Status));
    assert_int_equal(WTERMSIG(Status), SIGABRT);
}

static void environment(void **State)
{
    (void)State;
    assert_int_equal(setenv("KPRCB_TEST_CONSOLE", "12", 1), 0);
    assert_string_equal(HalEnvironment("KPRCB_TEST_CONSOLE"), "12");
    assert_int_equal(unsetenv("KPRCB_TEST_CONSOLE"), 0);
    assert_null(HalEnvironment("KPRCB_TEST_CONSOLE"));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(reports_do_not_allocate), /* first: before anything else has loaded the unwinder */
        cmocka_unit_test(print_formats_like_printf),
        cmocka_unit_test(print_ends_at_1_KiB_with_a_line),
        cmocka_unit_test(nothing_is_lost_on_a_slow_pipe),
        cmocka_unit_test(stack_leaves_out_the_innermost_frames),
        cmocka_unit_test(abort_aborts),
        cmocka_unit_test(environment),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
