/*
 * test_driver.c - driver code as it is written for Microsoft's compiler, compiled and run: annotations, __declspec,
 * pragmas, inline without static, tags, pointer types that only that compiler lets pass.
 */
#include <ntifs.h>
#include <driverspecs.h>
#include <intrin.h>

#pragma warning(disable : 4127)
#pragma alloc_text(PAGE, SampleQuery)
#pragma code_seg("PAGE")

#define SAMPLE_TAG 'pmaS'

__drv_requiresIRQL(PASSIVE_LEVEL)
_IRQL_requires_max_(APC_LEVEL)
_Must_inspect_result_
_Success_(return >= 0)
NTSTATUS NTAPI SampleQuery(_In_reads_bytes_(Length) PVOID Buffer, IN ULONG Length, OUT PULONG Needed OPTIONAL);

KDEFERRED_ROUTINE SampleDpc;

typedef __declspec(align(64)) struct _SAMPLE_LINE {
    _Guarded_by_(Lock) volatile LONG Count;
    UCHAR Rest[3];
} SAMPLE_LINE;

typedef struct DECLSPEC_ALIGN(64) _SAMPLE_SLOT {
    LONG Count;
} SAMPLE_SLOT;

typedef struct _SAMPLE_EXTENSION {
    KSPIN_LOCK Lock;
    _Guarded_by_(Lock) LIST_ENTRY Queue;
    KDPC Dpc;
    PKTHREAD Owner;
    volatile ULONG References;
    ULONG Flags;
    __int64 Total;
    UNICODE_STRING Name;
} SAMPLE_EXTENSION, *PSAMPLE_EXTENSION;

typedef struct _SAMPLE_REQUEST {
    LIST_ENTRY Links;
    ULONG Tag;
    unsigned __int64 Bytes;
} SAMPLE_REQUEST, *PSAMPLE_REQUEST;

__declspec(selectany) ULONG SampleGlobal = 3;
__declspec(deprecated) VOID SampleOld(VOID);
__declspec(deprecated("use SampleNew")) VOID SampleOlder(VOID);

C_ASSERT(FIELD_OFFSET(SAMPLE_REQUEST, Links) == 0);
C_ASSERT(sizeof(SAMPLE_SLOT) == 64);
/* gcc leaves the size unrounded, which kprcb_compiler.h warns of. */
#ifdef __clang__
C_ASSERT(sizeof(SAMPLE_LINE) == 64);
#endif

inline ULONG SampleAdd(ULONG a, ULONG b)
{
    return a + b;
}

/* A bare __inline is inlined, or it is not found: without optimisation drivers must say static as well. */
#ifndef __OPTIMIZE__
static
#endif
__inline ULONG SampleTwice(ULONG a)
{
    return SampleAdd(a, a);
}

__forceinline BOOLEAN __fastcall SampleIsOdd(ULONG a)
{
    return BooleanFlagOn(a, 1);
}

FORCEINLINE VOID SampleReference(_Inout_ PSAMPLE_EXTENSION Extension)
{
    LONG Count = InterlockedIncrement((volatile long *)&Extension->References);

    NT_ASSERT(Count > 1);
    UNREFERENCED_PARAMETER(Count);
}

__declspec(noinline) static LONG __cdecl SampleDereference(PSAMPLE_EXTENSION Extension)
{
    return InterlockedDecrement((LONG *)&Extension->References);
}

_Use_decl_annotations_
NTSTATUS NTAPI SampleQuery(PVOID Buffer, ULONG Length, PULONG Needed)
{
    PAGED_CODE();
    if (ARGUMENT_PRESENT(Needed)) {
        *Needed = sizeof(ULONG);
    }
    if (Length < sizeof(ULONG)) {
        return STATUS_BUFFER_TOO_SMALL;
    }
    RtlCopyMemory(Buffer, &SampleGlobal, sizeof(ULONG));
    KdPrint(("SampleQuery: %x\n", SampleGlobal));
    return STATUS_SUCCESS;
}

_Function_class_(KDEFERRED_ROUTINE)
_IRQL_requires_(DISPATCH_LEVEL)
VOID SampleDpc(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    PSAMPLE_EXTENSION Extension = DeferredContext;
    KLOCK_QUEUE_HANDLE Handle;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(SystemArgument2);
    KeAcquireInStackQueuedSpinLockAtDpcLevel(&Extension->Lock, &Handle);
    while (!IsListEmpty(&Extension->Queue)) {
        PSAMPLE_REQUEST Request = CONTAINING_RECORD(RemoveHeadList(&Extension->Queue), SAMPLE_REQUEST, Links);

        Extension->Total += Request->Bytes;
    }
    KeReleaseInStackQueuedSpinLockFromDpcLevel(&Handle);
    InterlockedExchangePointer(&Extension->Owner, SystemArgument1);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void RunsRequestsInTheDpc(void **State)
{
    static SAMPLE_EXTENSION Extension;
    SAMPLE_REQUEST Requests[2] = {{.Tag = SAMPLE_TAG, .Bytes = 5}, {.Tag = SAMPLE_TAG, .Bytes = 7}};
    KLOCK_QUEUE_HANDLE Handle;

    (void)State;
    KeInitializeSpinLock(&Extension.Lock);
    InitializeListHead(&Extension.Queue);
    KeInitializeDpc(&Extension.Dpc, SampleDpc, &Extension);
    KeAcquireInStackQueuedSpinLock(&Extension.Lock, &Handle);
    InsertTailList(&Extension.Queue, &Requests[0].Links);
    InsertTailList(&Extension.Queue, &Requests[1].Links);
    KeReleaseInStackQueuedSpinLock(&Handle);
    assert_true(KeInsertQueueDpc(&Extension.Dpc, KeGetCurrentThread(), NULL));
    KeFlushQueuedDpcs();
    assert_true(ReadNoFence64(&Extension.Total) == 12);
    assert_ptr_equal(ReadPointerAcquire(&Extension.Owner), KeGetCurrentThread());
    assert_ptr_equal(InterlockedCompareExchangePointer(&Extension.Owner, NULL, KeGetCurrentThread()),
                     KeGetCurrentThread());
    assert_null(Extension.Owner);
}

static void CountsReferences(void **State)
{
    SAMPLE_EXTENSION Extension = {.References = 1};

    (void)State;
    SampleReference(&Extension);
    assert_int_equal(SampleDereference(&Extension), 1);
    assert_int_equal(SampleDereference(&Extension), 0);
}

static void QueriesAtPassiveLevel(void **State)
{
    ULONG Value = 0;
    ULONG Needed = 0;

    (void)State;
    assert_int_equal(SampleQuery(&Value, 2, &Needed), STATUS_BUFFER_TOO_SMALL);
    assert_int_equal(Needed, 4);
    assert_int_equal(SampleQuery(&Value, 4, NULL), STATUS_SUCCESS);
    assert_int_equal(Value, 3);
    assert_int_equal(SampleTwice(Value), 6);
    assert_true(SampleIsOdd(Value));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(RunsRequestsInTheDpc),
        cmocka_unit_test(CountsReferences),
        cmocka_unit_test(QueriesAtPassiveLevel),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
