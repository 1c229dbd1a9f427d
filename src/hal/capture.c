/*
 * capture.c - the stack of the calling thread as addresses, for whoever prints it later.
 *
 * Called in an interrupt, which may have come anywhere: backtrace() allocates and takes the loader's lock only in its
 * first call, which HalInitializeProcessors makes (console.c). Unwinders that look modules up under that lock, as
 * those before glibc 2.35 do, wait for another thread that loads a module; the lock is recursive.
 *
 * If the interrupted address is not among those that the unwinder finds (it cannot pass the interrupt, or a sanitizer has
 * held that back), all it finds follows behind it.
 *
 * Test: tests/hal/test_capture.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "hal.h"

#include <errno.h>
#include <ucontext.h>

#if defined(__has_include)
#if __has_include(<execinfo.h>)
#include <execinfo.h>
#define HALP_BACKTRACE 1
#endif
#endif

#define HALP_CAPTURE_FRAMES 96 /* those of the interrupt among them */

/* NULL: not known on this CPU. */
static PVOID HalpInterruptedAddress(PVOID Frame)
{
#if defined(__x86_64__)
    return (PVOID)(ULONG_PTR)((ucontext_t *)Frame)->uc_mcontext.gregs[REG_RIP];
#elif defined(__i386__)
    return (PVOID)(ULONG_PTR)((ucontext_t *)Frame)->uc_mcontext.gregs[REG_EIP];
#elif defined(__aarch64__)
    return (PVOID)(ULONG_PTR)((ucontext_t *)Frame)->uc_mcontext.pc;
#else
    UNREFERENCED_PARAMETER(Frame);
    return NULL;
#endif
}

static ULONG HalpStore(PVOID *Addresses, ULONG Stored, ULONG Count, PVOID Address)
{
    if (Stored < Count && Address != NULL) {
        Addresses[Stored] = Address;
        Stored += 1;
    }
    return Stored;
}

ULONG HalCaptureStack(PVOID Frame, PVOID *Addresses, ULONG Count)
{
    PVOID Innermost = HalpInterruptedAddress(Frame);
    ULONG Captured = 0;
#ifdef HALP_BACKTRACE
    PVOID Frames[HALP_CAPTURE_FRAMES];
    int Saved = errno;
    ULONG Total = (ULONG)backtrace(Frames, HALP_CAPTURE_FRAMES);
    ULONG First = 0;

    errno = Saved;
    while (First < Total && Frames[First] != Innermost) {
        First += 1;
    }
    if (First == Total) {
        First = 0;
        Captured = HalpStore(Addresses, Captured, Count, Innermost);
    }
    for (; First < Total; First += 1) {
        Captured = HalpStore(Addresses, Captured, Count, Frames[First]);
    }
#else
    Captured = HalpStore(Addresses, Captured, Count, Innermost);
#endif
    return Captured;
}
