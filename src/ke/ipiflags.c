/*
 * ipiflags.c - the protocol of NT 3.10 to 3.51: a flag for each request, one packet at a time on the whole machine.
 *
 *   word             written by                                             read by        ordering
 *   IpiCommands      senders store TRUE; the target takes by exchange       the target     release / acquire; Request's IPI bit
 *                                                                                          comes after the store
 *   Sender           NULL -> a sender, by compare-exchange; -> NULL by the  senders        acquire / release: the packet's lock
 *                    target that is done last (or by a sender whose packet
 *                    has no targets)
 *   Packet,          the sender, while Sender is itself and before the      the targets    Done's release / acquire
 *   Sequence,        first of Done
 *   Pending
 *   Done[N]          the sender, FALSE: N is a target; N, TRUE as its       N; the sender  release / acquire
 *                    worker is done
 *   Pending          each target subtracts itself, after Done               the targets    acq_rel: the last one frees the lock
 *                                                                                          for all
 *   IpiLastPacket    the owner of the processor, interrupts masked          its owner
 *
 * A target may be interrupted for another request while its packet is not done. It knows by IpiLastPacket, the sequence
 * number of the packet that it began last, that it has begun this one.
 *
 * Deviation: NT's sender holds the lock until it has seen all of Done. Here the last target frees the lock for it, so
 * that a sender need not wait, and one that does not keeps nobody from sending. NT has 32 of Done, and in 3.50 a fourth
 * parameter. Nobody sends the clock's request.
 *
 * Tests: tests/ke/test_ipi.c, tests/ke/test_ipiprotocol.c, tests/stress/stress_ipi.c.
 */
#include "ipiprotocol.h"

#include <string.h>

/* PacketContext of 3.51 is the address of one structure, too. */
static struct {
    KREQUEST_PACKET Packet;
    ULONG Sequence;
    PKPRCB volatile Sender;
    LONG volatile Pending;
    BOOLEAN volatile Done[KPRCB_MAXIMUM_PROCESSORS];
} KiPacket;

static const struct {
    ULONG Bit;
    ULONG Command;
} KiCommands[] = {{IPI_APC, IPI_COMMAND_APC}, {IPI_DPC, IPI_COMMAND_DPC}, {IPI_FREEZE, IPI_COMMAND_FREEZE}};

static NTSTATUS KiInitializeFlags(VOID)
{
    KiPacket.Sender = NULL;
    KiPacket.Sequence = 0;
    memset((PVOID)KiPacket.Done, TRUE, sizeof(KiPacket.Done));
    return STATUS_SUCCESS;
}

static VOID KiPostCommands(PKPRCB Target, ULONG Bits)
{
    for (ULONG Index = 0; Index < ARRAYSIZE(KiCommands); Index += 1) {
        if ((Bits & KiCommands[Index].Bit) != 0) {
            __atomic_store_n(&Target->IpiCommands[KiCommands[Index].Command], TRUE, __ATOMIC_RELEASE);
        }
    }
}

static ULONG KiTakeCommands(PKPRCB Prcb, ULONG Bits)
{
    ULONG Taken = 0;

    for (ULONG Index = 0; Index < ARRAYSIZE(KiCommands); Index += 1) {
        BOOLEAN volatile *Command = &Prcb->IpiCommands[KiCommands[Index].Command];

        if ((Bits & KiCommands[Index].Bit) != 0 && __atomic_load_n(Command, __ATOMIC_RELAXED) &&
            __atomic_exchange_n(Command, FALSE, __ATOMIC_ACQUIRE)) {
            Taken |= KiCommands[Index].Bit;
        }
    }
    return Taken;
}

static BOOLEAN KiTakePacketLock(PKPRCB Sender)
{
    PKPRCB Nobody = NULL;

    return __atomic_load_n(&KiPacket.Sender, __ATOMIC_RELAXED) == NULL &&
           __atomic_compare_exchange_n(&KiPacket.Sender, &Nobody, Sender, FALSE, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static BOOLEAN KiIsPacketLockLost(PKPRCB Sender)
{
    return __atomic_load_n(&KiPacket.Sender, __ATOMIC_ACQUIRE) != Sender;
}

static VOID KiFreePacketLock(VOID)
{
    __atomic_store_n(&KiPacket.Sender, NULL, __ATOMIC_RELEASE);
}

static VOID KiSendByFlags(KPRCB_THREAD_BLOCK *Block, const KREQUEST_PACKET *Packet, const KI_TARGETS *Targets)
{
    UNREFERENCED_PARAMETER(Block);
    if (Targets->Count == 0) {
        KiFreePacketLock();
        return;
    }
    KiPacket.Packet = *Packet;
    KiPacket.Sequence += 1;
    __atomic_store_n(&KiPacket.Pending, Targets->Count, __ATOMIC_RELAXED);
    for (ULONG Group = 0; Group < Targets->Groups; Group += 1) {
        for (KAFFINITY Mask = Targets->Sets[Group]; Mask != 0;) {
            PKPCR Target = KiNextTarget(Group, &Mask);

            __atomic_store_n(&KiPacket.Done[KiNumberOfTarget(Target)], FALSE, __ATOMIC_RELEASE);
            KiRequest(Target, KPCR_REQUEST_IPI);
        }
    }
}

static BOOLEAN KiIsTarget(PKPRCB Prcb)
{
    return !__atomic_load_n(&KiPacket.Done[Prcb->Number], __ATOMIC_ACQUIRE);
}

static BOOLEAN KiTakeBySequence(PKPRCB Prcb, BOOLEAN New, PKI_TAKEN_PACKET Taken)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    BOOLEAN Any;

    KiMaskInterrupts(Block); /* an interrupt takes packets, too */
    Any = New && KiIsTarget(Prcb) && Prcb->IpiLastPacket != KiPacket.Sequence;
    if (Any) {
        Prcb->IpiLastPacket = KiPacket.Sequence;
        Taken->Context = &KiPacket;
        Taken->Packet = KiPacket.Packet;
    }
    KiUnmaskInterrupts(Block);
    return Any;
}

static VOID KiSetDone(PKPRCB Target, PKIPI_CONTEXT Context)
{
    UNREFERENCED_PARAMETER(Context);
    __atomic_store_n(&KiPacket.Done[Target->Number], TRUE, __ATOMIC_RELEASE);
    if (__atomic_sub_fetch(&KiPacket.Pending, 1, __ATOMIC_ACQ_REL) == 0) {
        KiFreePacketLock();
    }
}

const KI_IPI_ROUTINES KiFlagsIpiRoutines = {
    .Initialize = KiInitializeFlags,
    .PostRequests = KiPostCommands,
    .TakeRequests = KiTakeCommands,
    .BeginPacket = KiTakePacketLock,
    .SendPacket = KiSendByFlags,
    .IsPacketDone = KiIsPacketLockLost,
    .TakePacket = KiTakeBySequence,
    .IsPacketWaiting = KiIsTarget,
    .SignalDone = KiSetDone,
};
