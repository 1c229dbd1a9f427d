/*
 * thread.c - host threads: creation, end, stack, and the child of a fork.
 *
 * Signals: a thread of the library blocks all that the program may have its own handlers for, so that none runs on
 * it; the interrupt stays open, and so do the signals of a fault of the thread itself (SIGSEGV and the like):
 * blocked, they would kill the process past a sanitizer's or a debugger's report.
 *
 * End of a thread: the exit routine runs as destructor of a pthread key. glibc first runs C++ thread_local
 * destructors, then the destructors of keys in up to four rounds, in each the keys with a value in the order of their
 * creation; __thread variables are there throughout. The destructor here sets its value again in the first round and
 * calls the routine in the second, so a key destructor of the program that calls the library in the first still finds
 * the thread as it was. HalSetThreadExit from a later destructor is honoured in the third and the fourth round; after
 * that, the host calls nothing any more. (ThreadSanitizer lets go of a thread in the fourth, so the routine had
 * better not run first there.) exit() and a return from main run no key destructors.
 *
 * No locks. Test: tests/hal/test_thread.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hal.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Sanitizers put red zones and shadow frames on the stack. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HALP_STACK_FACTOR 4
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HALP_STACK_FACTOR 4
#endif
#endif
#ifndef HALP_STACK_FACTOR
#define HALP_STACK_FACTOR 1
#endif

/* As in signal.c. */
#define HALP_INTERRUPT_SIGNAL SIGURG

#define HALP_EXIT_ROUND 2

/* As in cpu.c. */
#define HALP_MASK_CPUS (16 * CPU_SETSIZE)

/* Written by the creator before the thread starts, read by the thread, freed by the one that joins. */
typedef struct _HALP_START {
    HAL_THREAD_ROUTINE *Routine;
    PVOID Context;
    ULONG HostProcessor;
    char Name[16];
} HALP_START, *PHALP_START;

KPRCB_STATIC_ASSERT(sizeof(pthread_t) <= sizeof(ULONG_PTR), "HAL_THREAD holds a pthread_t");

static pthread_once_t HalpExitOnce = PTHREAD_ONCE_INIT;
static pthread_key_t HalpExitKey;
static BOOLEAN HalpExitKeyValid;
/* Written by HalSetThreadExit (release), read by ending threads (acquire). */
static VOID (*HalpExitRoutine)(PVOID Context);
static __thread ULONG HalpExitRound;

static pthread_once_t HalpForkOnce = PTHREAD_ONCE_INIT;
static VOID (*HalpForkRoutine)(VOID); /* written by HalSetForkChild, read by the child */

static void *HalpThreadStart(void *Argument)
{
    PHALP_START Start = Argument;

    if (Start->Name[0] != 0) {
        (void)pthread_setname_np(pthread_self(), Start->Name);
    }
    /* A thread without a place of its own is born with the mask of its creator, which may be pinned. */
    if (Start->HostProcessor == HAL_ANY_PROCESSOR) {
        HalUnpinThread();
    }
    Start->Routine(Start->Context);
    return NULL;
}

static VOID HalpThreadSignals(sigset_t *Blocked)
{
    static const int Open[] = {HALP_INTERRUPT_SIGNAL, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};

    sigfillset(Blocked);
    for (ULONG Index = 0; Index < ARRAYSIZE(Open); Index++) {
        sigdelset(Blocked, Open[Index]);
    }
}

/* EINVAL: the place is refused, or no stack size is accepted. */
static int HalpStart(pthread_t *Host, pthread_attr_t *Attributes, SIZE_T StackSize, PHALP_START Start)
{
    SIZE_T Page = (SIZE_T)sysconf(_SC_PAGESIZE);
    SIZE_T Size = StackSize;
    int Error = EINVAL;

    if (StackSize == 0) {
        return pthread_create(Host, Attributes, HalpThreadStart, Start);
    }
    /* The C library takes its guard, its minimum and the static TLS out of the size; it does not tell the last. */
    if (Size <= SSIZE_MAX / 16) {
        Size = (Size * HALP_STACK_FACTOR + (SIZE_T)PTHREAD_STACK_MIN + 2 * Page - 1) & ~(Page - 1);
    }
    for (ULONG Try = 0; Try < 10 && Error == EINVAL && Size <= SSIZE_MAX / 2; Try++, Size *= 2) {
        if (pthread_attr_setstacksize(Attributes, Size) == 0) {
            Error = pthread_create(Host, Attributes, HalpThreadStart, Start);
        }
    }
    return Error;
}

NTSTATUS HalCreateThread(PHAL_THREAD Thread, HAL_THREAD_ROUTINE *Routine, PVOID Context, SIZE_T StackSize,
                         ULONG HostProcessor, const char *Name)
{
    PHALP_START Start = malloc(sizeof(*Start));
    pthread_attr_t Attributes;
    pthread_t Host;
    sigset_t Blocked, Before;
    int Error;

    if (Start == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (pthread_attr_init(&Attributes) != 0) {
        free(Start);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    memset(Start, 0, sizeof(*Start));
    Start->Routine = Routine;
    Start->Context = Context;
    Start->HostProcessor = HostProcessor;
    if (Name != NULL) {
        memcpy(Start->Name, Name, strnlen(Name, sizeof(Start->Name) - 1));
    }

    HalpThreadSignals(&Blocked);
    pthread_sigmask(SIG_SETMASK, &Blocked, &Before);
    Error = EINVAL;
    /* Placed before it runs: moving a running thread costs more. */
    if (HostProcessor != HAL_ANY_PROCESSOR && HostProcessor < HALP_MASK_CPUS) {
        cpu_set_t Mask[HALP_MASK_CPUS / CPU_SETSIZE];
        SIZE_T Bytes = (HostProcessor / CPU_SETSIZE + 1) * sizeof(cpu_set_t);

        memset(Mask, 0, Bytes);
        CPU_SET_S(HostProcessor, Bytes, Mask);
        if (pthread_attr_setaffinity_np(&Attributes, Bytes, Mask) == 0) {
            Error = HalpStart(&Host, &Attributes, StackSize, Start);
        }
    }
    if (Error == EINVAL) {
        pthread_attr_destroy(&Attributes);
        pthread_attr_init(&Attributes);
        Start->HostProcessor = HAL_ANY_PROCESSOR;
        Error = HalpStart(&Host, &Attributes, StackSize, Start);
    }
    pthread_sigmask(SIG_SETMASK, &Before, NULL);
    pthread_attr_destroy(&Attributes);

    if (Error != 0) {
        free(Start);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Thread->Opaque[0] = (ULONG_PTR)Host;
    Thread->Opaque[1] = (ULONG_PTR)Start;
    return STATUS_SUCCESS;
}

VOID HalJoinThread(PHAL_THREAD Thread)
{
    (void)pthread_join((pthread_t)Thread->Opaque[0], NULL);
    free((PVOID)Thread->Opaque[1]);
    Thread->Opaque[1] = 0;
}

LONG HalCurrentThreadId(VOID)
{
    return (LONG)syscall(SYS_gettid);
}

VOID HalCurrentStack(ULONG_PTR *Low, ULONG_PTR *High)
{
    pthread_attr_t Attributes;
    void *Base = NULL;
    size_t Size = 0;

    *Low = 0;
    *High = ~(ULONG_PTR)0;
    if (pthread_getattr_np(pthread_self(), &Attributes) != 0) {
        return;
    }
    if (pthread_attr_getstack(&Attributes, &Base, &Size) == 0 && Size != 0) {
        *Low = (ULONG_PTR)Base;
        *High = (ULONG_PTR)Base + Size;
    }
    pthread_attr_destroy(&Attributes);
}

static void HalpThreadExit(void *Context)
{
    VOID (*Routine)(PVOID Context);

    if (HalpExitRound < HALP_EXIT_ROUND) {
        HalpExitRound++;
    }
    if (HalpExitRound < HALP_EXIT_ROUND && pthread_setspecific(HalpExitKey, Context) == 0) {
        return;
    }
    Routine = __atomic_load_n(&HalpExitRoutine, __ATOMIC_ACQUIRE);
    if (Routine != NULL) {
        Routine(Context);
    }
}

static void HalpCreateExitKey(void)
{
    HalpExitKeyValid = pthread_key_create(&HalpExitKey, HalpThreadExit) == 0;
}

VOID HalSetThreadExit(VOID (*Routine)(PVOID Context), PVOID Context)
{
    __atomic_store_n(&HalpExitRoutine, Routine, __ATOMIC_RELEASE);
    (void)pthread_once(&HalpExitOnce, HalpCreateExitKey);
    if (!HalpExitKeyValid || pthread_setspecific(HalpExitKey, Context) != 0) {
        if (Context != NULL) {
            HalPrint("kprcb: the host has no thread-specific data left\n");
            HalAbort();
        }
    }
}

static void HalpForkChild(void)
{
    VOID (*Routine)(VOID) = __atomic_load_n(&HalpForkRoutine, __ATOMIC_ACQUIRE);

    if (Routine != NULL) {
        Routine();
    }
}

static void HalpRegisterFork(void)
{
    if (pthread_atfork(NULL, NULL, HalpForkChild) != 0) {
        HalPrint("kprcb: the host refuses a fork handler\n");
        HalAbort();
    }
}

VOID HalSetForkChild(VOID (*Routine)(VOID))
{
    __atomic_store_n(&HalpForkRoutine, Routine, __ATOMIC_RELEASE);
    (void)pthread_once(&HalpForkOnce, HalpRegisterFork);
}
