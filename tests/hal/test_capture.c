/*
 * test_capture.c - what an interrupt captures of the stack that it has interrupted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hal.h"

#include <errno.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HOLDS_BACK 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define HOLDS_BACK 1
#endif

#define MOST 64

static PVOID Addresses[MOST];
static PVOID Handler; /* where the interrupt's routine returns to */
static ULONG Count, Room;

static VOID Interrupt(PVOID Frame)
{
    Handler = __builtin_extract_return_addr(__builtin_return_address(0));
    errno = 77;
    Count = HalCaptureStack(Frame, Addresses, Room);
    if (errno != 77) {
        Count = MOST + 1;
    }
}

/* Returns where it returns to. */
static __attribute__((noinline)) PVOID Interrupted(ULONG Most)
{
    for (ULONG Index = 0; Index < MOST; Index++) {
        Addresses[Index] = NULL;
    }
    Handler = NULL;
    Room = Most;
    HalInterruptThread(HalCurrentThreadId());
    while (__atomic_load_n(&Handler, __ATOMIC_RELAXED) == NULL) {
        (void)HalMonotonicTime(); /* where ThreadSanitizer lets it in */
    }
    return __builtin_extract_return_addr(__builtin_return_address(0));
}

static BOOLEAN Captured(PVOID Address)
{
    for (ULONG Index = 0; Index < Count; Index++) {
        if (Addresses[Index] == Address) {
            return TRUE;
        }
    }
    return FALSE;
}

static void callers_of_the_interrupted_code_are_captured(void **State)
{
    PVOID Caller;

    (void)State;
    (void)HalInitializeProcessors();
    assert_true(HalInstallInterrupt(Interrupt));
    Caller = Interrupted(MOST);
    assert_true(Count > 1 && Count <= MOST);
    assert_true(Captured(Caller));
    assert_null(Count < MOST ? Addresses[Count] : NULL);
#ifndef HOLDS_BACK
    assert_false(Captured(Handler));
#endif
}

static void no_more_than_there_is_room_for(void **State)
{
    PVOID First;

    (void)State;
    (void)Interrupted(2);
    assert_int_equal(Count, 2);
    assert_null(Addresses[2]);
    First = Addresses[0];
    assert_non_null(First);
    (void)Interrupted(1);
    assert_int_equal(Count, 1);
    assert_null(Addresses[1]);
    (void)Interrupted(0);
    assert_int_equal(Count, 0);
    assert_null(Addresses[0]);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(callers_of_the_interrupted_code_are_captured),
        cmocka_unit_test(no_more_than_there_is_room_for),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
