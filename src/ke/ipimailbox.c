/*
 * ipimailbox.c - the protocol from NT 10.0: a mailbox for each sender, TargetCount answers.
 *
 * Each processor has a mailbox for each processor that may ever send to it. A sender writes its mailbox at the target
 * and pushes it onto the target's list Mailbox; the target takes the whole list. Senders never wait for one another.
 *
 *   word             written by                                             read by        ordering
 *   a mailbox        its sender, while its TargetCount is 0; Next also by   its target     the push (release) hands it to the
 *                    the target, from the take until it is done                            target (acquire), TargetCount back
 *   Mailbox          senders push by compare-exchange (release), then set   the target     acquire
 *                    Request's IPI bit; the target takes all by exchange
 *   TakenMailbox     the owner of the processor, interrupts masked          its owner
 *   TargetCount      the sender, when it is 0, before it pushes; each       the sender     the target's release pairs with the
 *                    target subtracts itself, once                                         sender's acquire
 *   TargetSets,      the sender, with the packet: to whom, and what, for    display
 *   CurrentPacket,   the reader of the block
 *   WorkerRoutine
 *   RequestSummary   as in ipibits.c, without IPI_PACKET_READY
 *
 * No mailbox is pushed a second time before its sender has seen TargetCount 0, which its target subtracts from after
 * it has taken the mailbox off the list: so a push that finds the same head again finds the same list.
 *
 * Deviation: NT has Mailbox in the KPRCB, on a line of its own; here it is on that of Request, which who sends and who
 * serves must have anyway. NT has the array at the end of each KPRCB; here it lies by itself and RequestMailbox points to it. Pages
 * that no packet has used are not backed by memory: the array of a target costs a page for each 64 numbers of senders.
 * NT's mailbox can have targets counted by node first; here they all subtract from TargetCount.
 *
 * Tests: tests/ke/test_ipi.c, tests/ke/test_ipiprotocol.c, tests/stress/stress_ipi.c. Benchmark: ipi.hot.
 */
#include "ipiprotocol.h"

/* Mailbox [T * KiMailboxStride + S] is that of S at T. Written at the start of the machine. */
static REQUEST_MAILBOX *KiMailboxes;
static SIZE_T KiMailboxStride;

KPRCB_STATIC_ASSERT(sizeof(REQUEST_MAILBOX) % KPRCB_CACHE_LINE == 0, "no two mailboxes share a line");

static SIZE_T KiMailboxBytes(VOID)
{
    return KiMailboxStride * KiMailboxStride * sizeof(REQUEST_MAILBOX);
}

static NTSTATUS KiInitializeMailboxes(VOID)
{
    KiMailboxStride = KiMachine.MaximumProcessors;
    KiMailboxes = HalAllocateSparsePages(KiMailboxBytes());
    return KiMailboxes != NULL ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

static VOID KiPlaceMailboxes(PKPRCB Prcb)
{
    Prcb->RequestMailbox = &KiMailboxes[Prcb->Number * KiMailboxStride];
}

static VOID KiFreeMailboxes(VOID)
{
    HalFreeSparsePages(KiMailboxes, KiMailboxBytes());
    KiMailboxes = NULL;
}

static BOOLEAN KiIsTargetCountZero(PKPRCB Sender)
{
    return __atomic_load_n(&Sender->TargetCount, __ATOMIC_ACQUIRE) == 0;
}

static VOID KiPushMailbox(PKPRCB Sender, PKPCR Target, const KREQUEST_PACKET *Packet)
{
    REQUEST_MAILBOX *Mailbox = &KiMailboxes[KiNumberOfTarget(Target) * KiMailboxStride + Sender->Number];
    REQUEST_MAILBOX *Head;

    /* Both lines are the target's, and come at the same time, the second one once: the load would fetch it to read. */
    HalPrefetchForWrite(Mailbox);
    HalPrefetchForWrite(&Target->Mailbox);
    Mailbox->RequestPacket = *Packet;
    Mailbox->RequestSummary = IPI_PACKET_READY;
    Head = __atomic_load_n(&Target->Mailbox, __ATOMIC_RELAXED);
    do {
        Mailbox->Next = Head;
    } while (!__atomic_compare_exchange_n(&Target->Mailbox, &Head, Mailbox, FALSE, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    KiRequest(Target, KPCR_REQUEST_IPI);
}

static VOID KiSendByMailbox(KPRCB_THREAD_BLOCK *Block, const KREQUEST_PACKET *Packet, const KI_TARGETS *Targets)
{
    PKPRCB Sender = Block->Pcr->Prcb;

    KiFillPacket(Sender, Packet);
    __atomic_store_n(&Sender->TargetCount, Targets->Count, __ATOMIC_RELAXED);
    for (ULONG Group = 0; Group < Targets->Groups; Group += 1) {
        Sender->TargetSets[Group] = Targets->Sets[Group];
    }
    for (ULONG Group = 0; Group < Targets->Groups; Group += 1) {
        for (KAFFINITY Mask = Targets->Sets[Group]; Mask != 0;) {
            KiPushMailbox(Sender, KiNextTarget(Group, &Mask), Packet);
        }
    }
}

/* Takes what has come, the oldest first. */
static REQUEST_MAILBOX *KiTakeMailboxes(PKPCR Pcr)
{
    REQUEST_MAILBOX *Mailbox = NULL;
    REQUEST_MAILBOX *Taken = NULL;

    if (__atomic_load_n(&Pcr->Mailbox, __ATOMIC_RELAXED) != NULL) {
        Mailbox = __atomic_exchange_n(&Pcr->Mailbox, NULL, __ATOMIC_ACQUIRE);
    }
    if (Mailbox == NULL || Mailbox->Next == NULL) {
        return Mailbox;
    }
    while (Mailbox != NULL) {
        REQUEST_MAILBOX *Next = Mailbox->Next;

        Mailbox->Next = Taken;
        Taken = Mailbox;
        Mailbox = Next;
    }
    return Taken;
}

/* Behind those that an earlier take has left: the request that announced the new ones is gone. */
static REQUEST_MAILBOX *KiAppendMailboxes(REQUEST_MAILBOX *Left, REQUEST_MAILBOX *Taken)
{
    REQUEST_MAILBOX *Last = Left;

    if (Left == NULL) {
        return Taken;
    }
    while (Last->Next != NULL) {
        Last = Last->Next;
    }
    Last->Next = Taken;
    return Left;
}

static BOOLEAN KiTakeFromMailbox(PKPRCB Prcb, BOOLEAN New, PKI_TAKEN_PACKET Taken)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;
    REQUEST_MAILBOX *Mailbox;

    KiMaskInterrupts(Block); /* an interrupt takes mailboxes, too */
    Mailbox = Prcb->TakenMailbox;
    if (New) {
        Mailbox = KiAppendMailboxes(Mailbox, KiTakeMailboxes(Block->Pcr));
    }
    if (Mailbox != NULL) {
        if (Prcb->TakenMailbox != Mailbox->Next) {
            __atomic_store_n(&Prcb->TakenMailbox, Mailbox->Next, __ATOMIC_RELAXED);
        }
        Taken->Context = KiProcessor((ULONG)(Mailbox - Prcb->RequestMailbox))->Prcb;
        Taken->Packet = Mailbox->RequestPacket;
    }
    KiUnmaskInterrupts(Block);
    return Mailbox != NULL;
}

static BOOLEAN KiIsMailboxFilled(PKPRCB Prcb)
{
    return __atomic_load_n(&CONTAINING_RECORD(Prcb, KPCR, PrcbData)->Mailbox, __ATOMIC_ACQUIRE) != NULL ||
           __atomic_load_n(&Prcb->TakenMailbox, __ATOMIC_RELAXED) != NULL;
}

static VOID KiSubtractTarget(PKPRCB Target, PKIPI_CONTEXT Context)
{
    PKPRCB Sender = Context;

    UNREFERENCED_PARAMETER(Target);
    __atomic_fetch_sub(&Sender->TargetCount, 1, __ATOMIC_RELEASE);
}

const KI_IPI_ROUTINES KiMailboxIpiRoutines = {
    .Initialize = KiInitializeMailboxes,
    .InitializeProcessor = KiPlaceMailboxes,
    .PostRequests = KiPostSummaryBits,
    .TakeRequests = KiTakeSummaryBits,
    .BeginPacket = KiIsTargetCountZero,
    .SendPacket = KiSendByMailbox,
    .IsPacketDone = KiIsTargetCountZero,
    .TakePacket = KiTakeFromMailbox,
    .IsPacketWaiting = KiIsMailboxFilled,
    .SignalDone = KiSubtractTarget,
    .Free = KiFreeMailboxes,
};
