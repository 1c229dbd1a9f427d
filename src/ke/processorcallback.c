/*
 * processorcallback.c - KeRegisterProcessorChangeCallback: who is told of processors that are added.
 *
 * The list, and all of its entries, belong to the holder of the addition lock (addprocessor.c), which is held while
 * callbacks run: processors come one at a time, a registration sees a count that stands still, and a deregistration
 * waits for callbacks that run. A callback may register and deregister, since its thread holds the lock already; what
 * is deregistered so is marked, passed over from then on, and freed before the lock is released. So is what a bug check
 * has unwound while it was being registered: nobody has its handle.
 *
 * Told of the start, in the order of registration, are all until one sets an error; told of the end are those that
 * were told of the start, but for the one with the error, after the sentence on existing processors in the WDK.
 *
 * Tests: tests/ke/test_processorcallback.c.
 */
#include "ki.h"

#define KI_CORRUPT_LIST_ENTRY 3 /* FAST_FAIL_CORRUPT_LIST_ENTRY, the first parameter of the bug check */

typedef struct _KI_CALLBACK {
    LIST_ENTRY ListEntry;
    PPROCESSOR_CALLBACK_FUNCTION Function;
    PVOID Context;
    BOOLEAN Told;    /* of the start of the processor that is being added */
    BOOLEAN Removed; /* by a callback */
    BOOLEAN Registering;
} KI_CALLBACK, *PKI_CALLBACK;

static LIST_ENTRY KiCallbackListHead = {&KiCallbackListHead, &KiCallbackListHead};

static PKI_CALLBACK KiCallbackOf(PLIST_ENTRY Entry)
{
    return CONTAINING_RECORD(Entry, KI_CALLBACK, ListEntry);
}

static VOID KiFreeCallback(PKI_CALLBACK Callback)
{
    Callback->ListEntry.Blink->Flink = Callback->ListEntry.Flink;
    Callback->ListEntry.Flink->Blink = Callback->ListEntry.Blink;
    HalFreePages(Callback, sizeof(*Callback));
}

static VOID KiFreeCallbacks(BOOLEAN All)
{
    PLIST_ENTRY Next;

    for (PLIST_ENTRY Entry = KiCallbackListHead.Flink; Entry != &KiCallbackListHead; Entry = Next) {
        Next = Entry->Flink;
        if (All || KiCallbackOf(Entry)->Removed || KiCallbackOf(Entry)->Registering) {
            KiFreeCallback(KiCallbackOf(Entry));
        }
    }
}

VOID KiFreeRemovedCallbacks(VOID)
{
    KiFreeCallbacks(FALSE);
}

VOID KiFreeAllCallbacks(VOID)
{
    KiFreeCallbacks(TRUE);
}

VOID KiAbandonCallbacks(VOID)
{
    KiCallbackListHead.Flink = KiCallbackListHead.Blink = &KiCallbackListHead;
}

/* Reason: why the addition failed, for KeProcessorAddFailureNotify. Returns what the callback made of OperationStatus. */
static NTSTATUS KiTell(PKI_CALLBACK Callback, ULONG Index, KE_PROCESSOR_CHANGE_NOTIFY_STATE State, NTSTATUS Reason)
{
    KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change = {.State = State, .NtNumber = Index, .Status = Reason};
    NTSTATUS OperationStatus = STATUS_SUCCESS;
    KIRQL Irql;

    Change.ProcNumber.Group = (USHORT)(Index / KiMachine.GroupSize);
    Change.ProcNumber.Number = (UCHAR)(Index % KiMachine.GroupSize);
    Callback->Function(Callback->Context, &Change, &OperationStatus);
    Irql = KprcbThread.Irql;
    if (Irql != PASSIVE_LEVEL) {
        KeBugCheckEx(IRQL_UNEXPECTED_VALUE, (ULONG_PTR)Irql << 16 | PASSIVE_LEVEL << 8, (ULONG_PTR)Callback->Function,
                     (ULONG_PTR)Callback->Context, 0);
    }
    return OperationStatus;
}

NTSTATUS KiTellStart(ULONG Index)
{
    NTSTATUS Status = STATUS_SUCCESS;

    for (PLIST_ENTRY Entry = KiCallbackListHead.Flink; Entry != &KiCallbackListHead && NT_SUCCESS(Status);
         Entry = Entry->Flink) {
        PKI_CALLBACK Callback = KiCallbackOf(Entry);

        if (!Callback->Removed && !Callback->Registering) {
            Status = KiTell(Callback, Index, KeProcessorAddStartNotify, STATUS_SUCCESS);
            Callback->Told = NT_SUCCESS(Status);
        }
    }
    return Status;
}

VOID KiTellEnd(ULONG Index, NTSTATUS Status)
{
    for (PLIST_ENTRY Entry = KiCallbackListHead.Flink; Entry != &KiCallbackListHead; Entry = Entry->Flink) {
        PKI_CALLBACK Callback = KiCallbackOf(Entry);

        if (Callback->Told && !Callback->Removed) {
            Callback->Told = FALSE;
            (VOID) KiTell(Callback, Index,
                          NT_SUCCESS(Status) ? KeProcessorAddCompleteNotify : KeProcessorAddFailureNotify, Status);
        }
    }
}

VOID KiForgetTold(VOID)
{
    for (PLIST_ENTRY Entry = KiCallbackListHead.Flink; Entry != &KiCallbackListHead; Entry = Entry->Flink) {
        KiCallbackOf(Entry)->Told = FALSE;
    }
}

/* Of the processors that are there: the start of all, then the end of all. */
static NTSTATUS KiTellExisting(PKI_CALLBACK Callback)
{
    ULONG Count = KiProcessorCount();
    NTSTATUS Status = STATUS_SUCCESS;
    ULONG Started = 0;

    while (Started < Count && NT_SUCCESS(Status) && !Callback->Removed) {
        Status = KiTell(Callback, Started, KeProcessorAddStartNotify, STATUS_SUCCESS);
        Started += NT_SUCCESS(Status) ? 1 : 0;
    }
    for (ULONG Index = 0; Index < Started && !Callback->Removed; Index += 1) {
        (VOID) KiTell(Callback, Index, NT_SUCCESS(Status) ? KeProcessorAddCompleteNotify : KeProcessorAddFailureNotify,
                      Status);
    }
    return Status;
}

typedef struct _KI_REGISTRATION {
    PPROCESSOR_CALLBACK_FUNCTION Function;
    PVOID Context;
    ULONG Flags;
    PKI_CALLBACK Callback; /* out */
} KI_REGISTRATION;

static NTSTATUS KiRegister(PVOID Context)
{
    KI_REGISTRATION *Registration = Context;
    PKI_CALLBACK Callback = HalAllocatePages(sizeof(*Callback));
    NTSTATUS Status = STATUS_SUCCESS;

    if (Callback == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    Callback->Function = Registration->Function;
    Callback->Context = Registration->Context;
    Callback->ListEntry.Flink = &KiCallbackListHead;
    Callback->ListEntry.Blink = KiCallbackListHead.Blink;
    KiCallbackListHead.Blink->Flink = &Callback->ListEntry;
    KiCallbackListHead.Blink = &Callback->ListEntry;
    if ((Registration->Flags & KE_PROCESSOR_CHANGE_ADD_EXISTING) != 0) {
        Callback->Registering = TRUE;
        Status = KiTellExisting(Callback);
        Callback->Registering = FALSE;
    }
    if (NT_SUCCESS(Status) && !Callback->Removed) {
        Registration->Callback = Callback;
    } else {
        Callback->Removed = TRUE;
    }
    return Status;
}

static NTSTATUS KiDeregister(PVOID Context)
{
    PLIST_ENTRY Entry = KiCallbackListHead.Flink;

    while (Entry != &KiCallbackListHead && (KiCallbackOf(Entry) != Context || KiCallbackOf(Entry)->Removed)) {
        Entry = Entry->Flink;
    }
    if (Entry == &KiCallbackListHead) {
        return STATUS_NOT_FOUND;
    }
    KiCallbackOf(Entry)->Removed = TRUE;
    return STATUS_SUCCESS;
}

static KPRCB_THREAD_BLOCK *KiEnterPassive(ULONG_PTR Caller)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    if (Block->Irql != PASSIVE_LEVEL) {
        KeBugCheckEx(IRQL_NOT_LESS_OR_EQUAL, Block->Irql, PASSIVE_LEVEL, 0, Caller);
    }
    return Block;
}

PVOID KeRegisterProcessorChangeCallback(PPROCESSOR_CALLBACK_FUNCTION CallbackFunction, PVOID CallbackContext,
                                        ULONG Flags)
{
    KPRCB_THREAD_BLOCK *Block = KiEnterPassive((ULONG_PTR)__builtin_return_address(0));
    KI_REGISTRATION Registration = {.Function = CallbackFunction, .Context = CallbackContext, .Flags = Flags};

    if (CallbackFunction == NULL || (Flags & ~(ULONG)KE_PROCESSOR_CHANGE_ADD_EXISTING) != 0) {
        return NULL;
    }
    (VOID) KiHoldingAdditions(Block, KiRegister, &Registration);
    return Registration.Callback;
}

VOID KeDeregisterProcessorChangeCallback(PVOID CallbackHandle)
{
    KPRCB_THREAD_BLOCK *Block = KiEnterPassive((ULONG_PTR)__builtin_return_address(0));

    if (!NT_SUCCESS(KiHoldingAdditions(Block, KiDeregister, CallbackHandle))) {
        KeBugCheckEx(KERNEL_SECURITY_CHECK_FAILURE, KI_CORRUPT_LIST_ENTRY, 0, 0, (ULONG_PTR)CallbackHandle);
    }
}
