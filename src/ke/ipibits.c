/*
 * ipibits.c - the protocol of NT 4.0 to 6.3: bits of RequestSummary; each processor sends one packet at a time.
 *
 *   word             written by                                             read by                 ordering
 *   RequestSummary   senders OR bits; the target takes all by exchange,     the target              seq_cst, before and after
 *                    or one by AND                                                                  Request's IPI bit
 *   SignalDone       a sender, NULL -> its KPRCB by compare-exchange;       the target, sender      release / acquire: carries
 *                    the target, -> NULL by exchange, as it takes the packet                        the packet
 *   CurrentPacket,   the sender, while none of its TargetSets has a bit     the targets
 *   WorkerRoutine
 *   TargetSets       the sender sets the bits before it sends; each target  the sender              the target's release pairs
 *                    clears its own, by AND                                                         with the sender's acquire
 *
 * A target is claimed by SignalDone, so packets of several senders queue up behind one another, each sender polling
 * meanwhile. A target takes the sender out of SignalDone before it runs the worker; the worker's end is told by
 * TargetSets alone.
 *
 * Deviation: TargetSets has a word for each group; NT's TargetSet is its first.
 *
 * Tests: tests/ke/test_ipi.c, tests/ke/test_ipiprotocol.c, tests/stress/stress_ipi.c.
 */
#include "ipiprotocol.h"

#define KI_STALL_SPINS 2000

static BOOLEAN KiAreTargetsDone(PKPRCB Sender)
{
    for (ULONG Group = 0; Group < KiMachine.MaximumGroups; Group += 1) {
        if (__atomic_load_n(&Sender->TargetSets[Group], __ATOMIC_ACQUIRE) != 0) {
            return FALSE;
        }
    }
    return TRUE;
}

static BOOLEAN KiClaimTarget(PKPRCB Sender, PKPCR Target)
{
    PKPRCB Nobody = NULL;

    return __atomic_compare_exchange_n(&Target->PrcbData.SignalDone, &Nobody, Sender, FALSE, __ATOMIC_RELEASE,
                                       __ATOMIC_RELAXED);
}

/*
 * Claims the target for the caller's packet and interrupts it. Masked from the claim until the target knows: what the
 * host's interrupt would run in between may wait for a sender that waits for this target.
 */
static VOID KiSendPacketTo(KPRCB_THREAD_BLOCK *Block, PKPCR Target)
{
    KI_SPIN Spin = {.Reason = "a processor to take the packet of another", .Object = Target, .Holding = TRUE};

    while (!KiClaimTarget(Block->Pcr->Prcb, Target)) {
        KiUnmaskInterrupts(Block);
        KiSpin(&Spin);
        if (Spin.Steps % KI_STALL_SPINS == 0) {
            KiPress(Target);
        }
        KiMaskInterrupts(Block);
    }
    KiPostSummaryBits(&Target->PrcbData, IPI_PACKET_READY);
    KiRequest(Target, KPCR_REQUEST_IPI);
    KiEndSpin(&Spin);
}

static VOID KiSendByBits(KPRCB_THREAD_BLOCK *Block, const KREQUEST_PACKET *Packet, const KI_TARGETS *Targets)
{
    PKPRCB Sender = Block->Pcr->Prcb;

    KiFillPacket(Sender, Packet);
    for (ULONG Group = 0; Group < Targets->Groups; Group += 1) {
        __atomic_store_n(&Sender->TargetSets[Group], Targets->Sets[Group], __ATOMIC_RELEASE);
    }
    for (ULONG Group = 0; Group < Targets->Groups; Group += 1) {
        for (KAFFINITY Mask = Targets->Sets[Group]; Mask != 0;) {
            KiSendPacketTo(Block, KiNextTarget(Group, &Mask));
        }
    }
}

static BOOLEAN KiTakeBySignalDone(PKPRCB Prcb, BOOLEAN New, PKI_TAKEN_PACKET Taken)
{
    PKPRCB Sender = NULL;

    if (New && __atomic_load_n(&Prcb->SignalDone, __ATOMIC_RELAXED) != NULL) {
        Sender = __atomic_exchange_n(&Prcb->SignalDone, NULL, __ATOMIC_ACQ_REL);
    }
    if (Sender == NULL) {
        return FALSE;
    }
    Taken->Context = Sender;
    Taken->Packet.CurrentPacket[0] = Sender->CurrentPacket[0];
    Taken->Packet.CurrentPacket[1] = Sender->CurrentPacket[1];
    Taken->Packet.CurrentPacket[2] = Sender->CurrentPacket[2];
    Taken->Packet.WorkerRoutine = Sender->WorkerRoutine;
    return TRUE;
}

static BOOLEAN KiIsClaimed(PKPRCB Prcb)
{
    return __atomic_load_n(&Prcb->SignalDone, __ATOMIC_ACQUIRE) != NULL;
}

static VOID KiLeaveTargetSet(PKPRCB Target, PKIPI_CONTEXT Context)
{
    PKPRCB Sender = Context;

    __atomic_fetch_and(&Sender->TargetSets[Target->Group], ~Target->GroupSetMember, __ATOMIC_RELEASE);
}

const KI_IPI_ROUTINES KiBitsIpiRoutines = {
    .PostRequests = KiPostSummaryBits,
    .TakeRequests = KiTakeSummaryBits,
    .BeginPacket = KiAreTargetsDone,
    .SendPacket = KiSendByBits,
    .IsPacketDone = KiAreTargetsDone,
    .TakePacket = KiTakeBySignalDone,
    .IsPacketWaiting = KiIsClaimed,
    .SignalDone = KiLeaveTargetSet,
};
