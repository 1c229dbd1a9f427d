/*
 * nt_driver.c - a piece of a driver through wdm.h, and a main that plays its device. Link with kprcb::nt.
 *
 * The device completes packets; the interrupt's DPC moves them to a queue, from which readers take them.
 */
#include <wdm.h>
#include <stdio.h>

typedef struct _PACKET {
    LIST_ENTRY Links;
    ULONG Number;
} PACKET, *PPACKET;

typedef struct _DEVICE_EXTENSION {
    KSPIN_LOCK Lock;
    _Guarded_by_(Lock) LIST_ENTRY Completed;
    KDPC Dpc;
    volatile LONG Outstanding;
} DEVICE_EXTENSION, *PDEVICE_EXTENSION;

KDEFERRED_ROUTINE DeviceDpc;

_Use_decl_annotations_
VOID DeviceDpc(PKDPC Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2)
{
    PDEVICE_EXTENSION Extension = (PDEVICE_EXTENSION)DeferredContext;
    PPACKET Packets = (PPACKET)SystemArgument1;
    ULONG Count = PtrToUlong(SystemArgument2);
    ULONG i;

    UNREFERENCED_PARAMETER(Dpc);
    NT_ASSERT(KeGetCurrentIrql() == DISPATCH_LEVEL);

    KeAcquireSpinLockAtDpcLevel(&Extension->Lock);
    for (i = 0; i < Count; i++) {
        InsertTailList(&Extension->Completed, &Packets[i].Links);
        InterlockedIncrement(&Extension->Outstanding);
    }
    KeReleaseSpinLockFromDpcLevel(&Extension->Lock);
}

VOID DeviceInitialize(_Out_ PDEVICE_EXTENSION Extension)
{
    PAGED_CODE();

    RtlZeroMemory(Extension, sizeof(*Extension));
    KeInitializeSpinLock(&Extension->Lock);
    InitializeListHead(&Extension->Completed);
    KeInitializeDpc(&Extension->Dpc, DeviceDpc, Extension);
}

_IRQL_requires_max_(DISPATCH_LEVEL)
_Must_inspect_result_
NTSTATUS DeviceRead(_Inout_ PDEVICE_EXTENSION Extension, _Out_ PULONG Number)
{
    NTSTATUS Status = STATUS_NO_MORE_ENTRIES;
    KIRQL OldIrql;

    KeAcquireSpinLock(&Extension->Lock, &OldIrql);
    if (!IsListEmpty(&Extension->Completed)) {
        PPACKET Packet = CONTAINING_RECORD(RemoveHeadList(&Extension->Completed), PACKET, Links);

        *Number = Packet->Number;
        InterlockedDecrement(&Extension->Outstanding);
        Status = STATUS_SUCCESS;
    }
    KeReleaseSpinLock(&Extension->Lock, OldIrql);
    return Status;
}

int main(void)
{
    DEVICE_EXTENSION Extension;
    PACKET Packets[3];
    ULONG Number = 0;
    ULONG Read = 0;

    DeviceInitialize(&Extension);
    for (ULONG i = 0; i < ARRAYSIZE(Packets); i++) {
        Packets[i].Number = 100 + i;
    }
    KeInsertQueueDpc(&Extension.Dpc, Packets, ULongToPtr(ARRAYSIZE(Packets)));
    KeFlushQueuedDpcs();
    printf("outstanding: %d\n", (int)Extension.Outstanding);

    while (NT_SUCCESS(DeviceRead(&Extension, &Number))) {
        printf("read packet %u\n", (unsigned)Number);
        Read++;
    }
    printf("outstanding: %d\n", (int)Extension.Outstanding);
    return Read != ARRAYSIZE(Packets) || Extension.Outstanding != 0;
}
