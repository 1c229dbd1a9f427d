/*
 * test_thread.c - creation, end, stack and fork of host threads.
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

#include <alloca.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct _SEEN {
    PVOID Context;
    LONG ThreadId;
    ULONG Processors;
    ULONG HostProcessor;
    BOOLEAN StackContains;
    ULONG_PTR StackSize;
    char Name[16];
    SIZE_T Use;
} SEEN;

static VOID Look(PVOID Context)
{
    SEEN *Seen = Context;
    ULONG_PTR Here = (ULONG_PTR)__builtin_frame_address(0);
    ULONG_PTR Low, High;
    cpu_set_t Mask;

    Seen->Context = Context;
    Seen->ThreadId = HalCurrentThreadId();
    if (sched_getaffinity(0, sizeof(Mask), &Mask) == 0)
        Seen->Processors = (ULONG)CPU_COUNT(&Mask);
    Seen->HostProcessor = HalCurrentProcessor();
    HalCurrentStack(&Low, &High);
    Seen->StackContains = Low < Here && Here < High;
    Seen->StackSize = High - Low;
    (void)pthread_getname_np(pthread_self(), Seen->Name, sizeof(Seen->Name));
    if (Seen->Use != 0) {
        volatile char *Deep = alloca(Seen->Use);

        for (SIZE_T Byte = 0; Byte < Seen->Use; Byte += 512)
            Deep[Byte] = 1;
    }
}

static void a_thread_runs_once_with_its_context(void **State)
{
    enum { COUNT = 32 };
    HAL_THREAD Threads[COUNT];
    SEEN Seen[COUNT];

    (void)State;
    memset(Seen, 0, sizeof(Seen));
    for (ULONG Index = 0; Index < COUNT; Index++)
        assert_int_equal(HalCreateThread(&Threads[Index], Look, &Seen[Index], 0, HAL_ANY_PROCESSOR,
                                         "a name that is too long"),
                         STATUS_SUCCESS);
    for (ULONG Index = 0; Index < COUNT; Index++)
        HalJoinThread(&Threads[Index]);
    for (ULONG Index = 0; Index < COUNT; Index++) {
        assert_ptr_equal(Seen[Index].Context, &Seen[Index]);
        assert_string_equal(Seen[Index].Name, "a name that is ");
        assert_true(Seen[Index].StackContains);
        assert_true(Seen[Index].ThreadId > 0);
        assert_int_not_equal(Seen[Index].ThreadId, getpid());
    }
    assert_int_equal(HalCurrentThreadId(), getpid());
}

static void the_main_stack_is_known(void **State)
{
    ULONG_PTR Here = (ULONG_PTR)__builtin_frame_address(0);
    ULONG_PTR Low, High;

    (void)State;
    HalCurrentStack(&Low, &High);
    assert_true(Low < Here && Here < High);
}

static void a_thread_is_pinned_or_free(void **State)
{
    ULONG Count = HalInitializeProcessors();

    (void)State;
    for (ULONG Index = 0; Index < Count; Index++) {
        ULONG Host = HalProcessor(Index)->HostProcessor;
        HAL_THREAD Thread;
        SEEN Seen;

        memset(&Seen, 0, sizeof(Seen));
        assert_int_equal(HalCreateThread(&Thread, Look, &Seen, 0, Host, NULL), STATUS_SUCCESS);
        HalJoinThread(&Thread);
        assert_int_equal(Seen.Processors, 1);
        assert_int_equal(Seen.HostProcessor, Host);

        /* Its creator's pin is not its own, nor is a refused pin an error. */
        assert_true(HalPinThread(Host));
        for (ULONG Any = 0; Any < 2; Any++) {
            memset(&Seen, 0, sizeof(Seen));
            assert_int_equal(HalCreateThread(&Thread, Look, &Seen, 0, Any ? HAL_ANY_PROCESSOR : 60000, NULL),
                             STATUS_SUCCESS);
            HalJoinThread(&Thread);
            assert_int_equal(Seen.Processors, Count);
        }
        HalUnpinThread();
    }
}

static void the_stack_is_as_large_as_asked(void **State)
{
    static const SIZE_T Sizes[] = {1, 4096, 20000, 65536, 262144, 4 << 20};

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Sizes); Index++) {
        HAL_THREAD Thread;
        SEEN Seen;

        memset(&Seen, 0, sizeof(Seen));
        Seen.Use = Sizes[Index] / 4 * 3;
        assert_int_equal(HalCreateThread(&Thread, Look, &Seen, Sizes[Index], HAL_ANY_PROCESSOR, "stack"),
                         STATUS_SUCCESS);
        HalJoinThread(&Thread);
        assert_ptr_equal(Seen.Context, &Seen);
        assert_true(Seen.StackSize >= Sizes[Index]);
        /* Not simply the default of the host, which is 8 MiB most of the time. */
        if (Sizes[Index] <= 65536)
            assert_true(Seen.StackSize < (4 << 20));
    }
}

static void a_stack_that_cannot_be_is_refused(void **State)
{
    HAL_THREAD Thread;
    SEEN Seen;

    (void)State;
    assert_int_equal(HalCreateThread(&Thread, Look, &Seen, ~(SIZE_T)0, HAL_ANY_PROCESSOR, "none"),
                     STATUS_INSUFFICIENT_RESOURCES);
    assert_int_equal(HalCreateThread(&Thread, Look, &Seen, ~(SIZE_T)0 / 2 - 65536, HAL_ANY_PROCESSOR, "none"),
                     STATUS_INSUFFICIENT_RESOURCES);
}

static void creation_leaves_the_callers_signals_alone(void **State)
{
    sigset_t Set, Original, After;
    HAL_THREAD Thread;
    SEEN Seen;

    (void)State;
    memset(&Seen, 0, sizeof(Seen));
    sigemptyset(&Set);
    sigaddset(&Set, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &Set, &Original);
    assert_int_equal(HalCreateThread(&Thread, Look, &Seen, 0, HAL_ANY_PROCESSOR, "signals"), STATUS_SUCCESS);
    HalJoinThread(&Thread);
    pthread_sigmask(SIG_SETMASK, &Original, &After);
    for (int Signal = 1; Signal < 32; Signal++)
        assert_int_equal(sigismember(&After, Signal), Signal == SIGUSR2);
}

/* --- the end of a thread --- */

typedef struct _ENDING {
    ULONG Calls;
    LONG ThreadId;
    LONG ExitThreadId;
    ULONG TlsAtExit;
    ULONG KeyDestructors;
    ULONG KeyDestructorsAtExit;
    ULONG Again;
    ULONG Want;
} ENDING;

static __thread ULONG Tls;
static __thread ENDING *TlsEnding;

static VOID Ended(PVOID Context)
{
    ENDING *Ending = Context;

    Ending->Calls++;
    Ending->ExitThreadId = HalCurrentThreadId();
    Ending->TlsAtExit = TlsEnding == Ending ? Tls : 0;
    Ending->KeyDestructorsAtExit = Ending->KeyDestructors;
    if (Ending->Again != 0) {
        Ending->Again--;
        HalSetThreadExit(Ended, Ending);
    }
}

static VOID RunEnding(PVOID Context)
{
    ENDING *Ending = Context;

    Tls = 4711;
    TlsEnding = Ending;
    Ending->ThreadId = HalCurrentThreadId();
    HalSetThreadExit(Ended, Ending);
    if (Ending->Want == 0)
        HalSetThreadExit(Ended, NULL);
}

static void *RunForeign(void *Context)
{
    RunEnding(Context);
    return NULL;
}

static void the_exit_routine_runs_with_the_tls_alive(void **State)
{
    ENDING Ending = {.Want = 1};
    HAL_THREAD Thread;

    (void)State;
    assert_int_equal(HalCreateThread(&Thread, RunEnding, &Ending, 0, HAL_ANY_PROCESSOR, "end"), STATUS_SUCCESS);
    HalJoinThread(&Thread);
    assert_int_equal(Ending.Calls, 1);
    assert_int_equal(Ending.TlsAtExit, 4711);
    assert_int_equal(Ending.ExitThreadId, Ending.ThreadId);
}

static void a_thread_of_the_program_has_one_too(void **State)
{
    ENDING Ending = {.Want = 1};
    pthread_t Thread;

    (void)State;
    assert_int_equal(pthread_create(&Thread, NULL, RunForeign, &Ending), 0);
    assert_int_equal(pthread_join(Thread, NULL), 0);
    assert_int_equal(Ending.Calls, 1);
    assert_int_equal(Ending.TlsAtExit, 4711);
}

static void a_withdrawn_exit_routine_does_not_run(void **State)
{
    ENDING Ending = {.Want = 0};
    HAL_THREAD Thread;

    (void)State;
    assert_int_equal(HalCreateThread(&Thread, RunEnding, &Ending, 0, HAL_ANY_PROCESSOR, "end"), STATUS_SUCCESS);
    HalJoinThread(&Thread);
    assert_int_equal(Ending.Calls, 0);
}

static void a_late_registration_is_honoured_once_more(void **State)
{
    ENDING Ending = {.Want = 1, .Again = 1};
    HAL_THREAD Thread;

    (void)State;
    assert_int_equal(HalCreateThread(&Thread, RunEnding, &Ending, 0, HAL_ANY_PROCESSOR, "end"), STATUS_SUCCESS);
    HalJoinThread(&Thread);
    assert_int_equal(Ending.Calls, 2);
}

static pthread_key_t ProgramKey;

static void ProgramDestructor(void *Context)
{
    ENDING *Ending = Context;

    Ending->KeyDestructors++;
}

/* The key is younger than the library's: in the same round, its destructor comes later. */
static VOID RunWithKey(PVOID Context)
{
    pthread_setspecific(ProgramKey, Context);
    RunEnding(Context);
}

static void destructors_of_the_program_come_before(void **State)
{
    ENDING Ending = {.Want = 1};
    HAL_THREAD Thread;

    (void)State;
    assert_int_equal(pthread_key_create(&ProgramKey, ProgramDestructor), 0);
    assert_int_equal(HalCreateThread(&Thread, RunWithKey, &Ending, 0, HAL_ANY_PROCESSOR, "end"), STATUS_SUCCESS);
    HalJoinThread(&Thread);
    assert_int_equal(Ending.Calls, 1);
    assert_int_equal(Ending.KeyDestructorsAtExit, 1);
    pthread_key_delete(ProgramKey);
}

/* --- fork --- */

static ULONG OldRoutineCalls;
static ULONG ChildRoutineCalls;

static VOID OldRoutine(VOID)
{
    OldRoutineCalls++;
}

static VOID ChildRoutine(VOID)
{
    ChildRoutineCalls++;
}

static void the_fork_routine_runs_once_in_the_child_only(void **State)
{
    (void)State;
    HalSetForkChild(OldRoutine);
    HalSetForkChild(ChildRoutine);
    for (ULONG Round = 0; Round < 3; Round++) {
        int Status;
        pid_t Child = fork();

        assert_true(Child >= 0);
        if (Child == 0) {
            pid_t GrandChild;

            if (ChildRoutineCalls != 1 || OldRoutineCalls != 0)
                _exit(1);
            GrandChild = fork();
            if (GrandChild == 0)
                _exit(ChildRoutineCalls == 2 ? 0 : 2);
            if (GrandChild < 0 || waitpid(GrandChild, &Status, 0) != GrandChild || Status != 0)
                _exit(3);
            _exit(0);
        }
        assert_int_equal(waitpid(Child, &Status, 0), Child);
        assert_true(WIFEXITED(Status));
        assert_int_equal(WEXITSTATUS(Status), 0);
        assert_int_equal(ChildRoutineCalls, 0);
    }
    HalSetForkChild(NULL);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(a_thread_runs_once_with_its_context),
        cmocka_unit_test(the_main_stack_is_known),
        cmocka_unit_test(a_thread_is_pinned_or_free),
        cmocka_unit_test(the_stack_is_as_large_as_asked),
        cmocka_unit_test(a_stack_that_cannot_be_is_refused),
        cmocka_unit_test(creation_leaves_the_callers_signals_alone),
        cmocka_unit_test(the_exit_routine_runs_with_the_tls_alive),
        cmocka_unit_test(a_thread_of_the_program_has_one_too),
        cmocka_unit_test(a_withdrawn_exit_routine_does_not_run),
        cmocka_unit_test(a_late_registration_is_honoured_once_more),
        cmocka_unit_test(destructors_of_the_program_come_before),
        cmocka_unit_test(the_fork_routine_runs_once_in_the_child_only),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
