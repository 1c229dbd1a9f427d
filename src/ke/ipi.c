/*
 * ipi.c - inter-processor interrupts: request bits and packets, by the protocol of NT 4.0.
 *
 *   word             written by                                             read by                 ordering
 *   RequestSummary   senders OR bits; the target takes all by exchange      the target              seq_cst, before and after
 *                                                                                                   Request's IPI bit
 *   SignalDone       a sender, NULL -> its KPRCB by compare-exchange;       the target, sender      release / acquire: carries
 *                    the target, -> NULL by exchange, as it takes the packet                        the packet
 *   CurrentPacket,   the sender, while none of its TargetSets has a bit     the targets
 *   WorkerRoutine
 *   TargetSets       the sender sets the bits before it sends; each target  the sender              the target's release pairs
 *                    clears its own, by AND                                                         with the sender's acquire
 *   ReverseStall     the sender                                             stalling targets        release / acquire
 *
 * A target is claimed by SignalDone, so packets of several senders queue up behind one another, each sender polling
 * meanwhile. A target takes the sender out of SignalDone before it runs the worker; the worker's end is told by
 * TargetSets alone.
 *
 * Deviation: TargetSets has a word for each group; NT's TargetSet is its first. IPI_FREEZE and IPI_SYNCH_REQUEST are
 * defined and not sent by this library.
 *
 * Tests: tests/ke/test_ipi.c, tests/stress/stress_ipi.c.
 */
#include "ki.h"

#define KI_PRESS_NS 1000000
#define KI_STALL_SPINS 2000

static VOID KiRunPacket(KPRCB_THREAD_BLOCK *Block, PKPRCB Sender)
{
    KIRQL OldIrql = Block->Irql;

    Block->Thread->ServedPacket = Sender;
    Block->RaisedFrom[IPI_LEVEL] = OldIrql;
    Block->Irql = IPI_LEVEL;
    KiPublishIrql(Block, IPI_LEVEL);
    Sender->WorkerRoutine(Sender, Sender->CurrentPacket[0], Sender->CurrentPacket[1], Sender->CurrentPacket[2]);
    Block->Irql = OldIrql;
    KiPublishIrql(Block, OldIrql);
}

static KAFFINITY volatile *KiTargetSet(PKPRCB Sender, PKPRCB Target)
{
    return &Sender->TargetSets[Target->Group];
}

static VOID KiTellSender(KPRCB_THREAD_BLOCK *Block, PKPRCB Sender)
{
    PKPRCB Prcb = Block->Pcr->Prcb;

    Block->Thread->ServedPacket = NULL;
    __atomic_fetch_and(KiTargetSet(Sender, Prcb), ~Prcb->GroupSetMember, __ATOMIC_RELEASE);
}

VOID KiTellServedSender(KPRCB_THREAD_BLOCK *Block)
{
    KiTellSender(Block, Block->Thread->ServedPacket);
}

/*
 * As KiRunPacket, for a bug check in the worker that somebody will catch: the sender must not wait for ever. Where
 * this thread catches nothing the bug check is delivered before the sender, who may be the one to take it, is told.
 */
static VOID KiRunPacketFramed(KPRCB_THREAD_BLOCK *Block, PKPRCB Sender)
{
    KI_FRAME Frame;

    KiEnterFrame(Block, &Frame, KiFindCatchFrame(Block->Thread) == NULL ? KiDiscardFrame : KiCleanupFrame);
    if (setjmp(Frame.Jump) == 0) {
        KiRunPacket(Block, Sender);
        KiLeaveFrame(&KprcbThread, &Frame);
        return;
    }
    if (KprcbThread.Thread->ServedPacket == Sender) {
        KiTellSender(&KprcbThread, Sender);
    }
    KiLeaveFrame(&KprcbThread, &Frame);
    if (Frame.Kind == KiCleanupFrame) {
        KiPassBugCheck(&Frame.BugCheck);
    }
}

BOOLEAN KiServiceIpi(KPRCB_THREAD_BLOCK *Block)
{
    PKPCR Pcr = Block->Pcr;
    PKPRCB Prcb = &Pcr->PrcbData;
    ULONG Summary;

    /* The bit first: who sends later sets it again. */
    __atomic_fetch_and(&Pcr->Request, ~(ULONG)KPCR_REQUEST_IPI, __ATOMIC_SEQ_CST);
    Summary = __atomic_exchange_n(&Prcb->RequestSummary, 0, __ATOMIC_SEQ_CST);
    if (Summary == 0) {
        return FALSE;
    }
    Prcb->InterruptCount += 1;
    if ((Summary & IPI_APC) != 0) {
        KiRequestApcInterrupt(Block);
    }
    if ((Summary & IPI_DPC) != 0) {
        Block->Fast = NULL;
        __atomic_fetch_or(&Pcr->Request, KPCR_REQUEST_DISPATCH, __ATOMIC_SEQ_CST);
    }
    if ((Summary & IPI_PACKET_READY) != 0) {
        PKPRCB Sender = __atomic_exchange_n(&Prcb->SignalDone, NULL, __ATOMIC_ACQ_REL);

        if (Sender != NULL && __atomic_load_n(&KiCatchers, __ATOMIC_RELAXED) != 0) {
            KiRunPacketFramed(Block, Sender);
        } else if (Sender != NULL) {
            KiRunPacket(Block, Sender);
        }
    }
    return TRUE;
}

BOOLEAN KiIpiServiceRoutine(PKTRAP_FRAME TrapFrame, PKEXCEPTION_FRAME ExceptionFrame)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    UNREFERENCED_PARAMETER(TrapFrame);
    UNREFERENCED_PARAMETER(ExceptionFrame);
    if (Block->Irql < DISPATCH_LEVEL) {
        KeBugCheckEx(IRQL_NOT_GREATER_OR_EQUAL, Block->Irql, DISPATCH_LEVEL, 0, 0);
    }
    return KiServiceIpi(Block);
}

static VOID KiSendBits(PKPCR Target, ULONG Bits)
{
    __atomic_fetch_or(&Target->PrcbData.RequestSummary, Bits, __ATOMIC_SEQ_CST);
    KiRequest(Target, KPCR_REQUEST_IPI);
}

/* The processors of Mask in the caller's group that are active. */
static KAFFINITY KiActiveTargets(KPRCB_THREAD_BLOCK *Block, KAFFINITY Mask)
{
    return Mask & KiGroupMask(Block->Pcr->PrcbData.Group);
}

static PKPCR KiNextTarget(KPRCB_THREAD_BLOCK *Block, KAFFINITY *Mask)
{
    ULONG Index = (ULONG)__builtin_ctzll(*Mask);

    *Mask &= *Mask - 1;
    return KiProcessor(Block->Pcr->PrcbData.Group * KiMachine.GroupSize + Index);
}

VOID KiIpiSend(KAFFINITY TargetProcessors, ULONG IpiRequest)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    KAFFINITY Mask = KiActiveTargets(Block, TargetProcessors);

    while (Mask != 0) {
        KiSendBits(KiNextTarget(Block, &Mask), IpiRequest & (IPI_APC | IPI_DPC));
    }
    KiPoll(Block);
}

VOID HalRequestIpi(KAFFINITY TargetProcessors)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    KAFFINITY Mask = KiActiveTargets(Block, TargetProcessors);

    while (Mask != 0) {
        PKPCR Target = KiNextTarget(Block, &Mask);

        KiRequest(Target, KPCR_REQUEST_IPI);
        KiArmClock(Target);
    }
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

    KiMaskInterrupts(Block);
    while (!KiClaimTarget(Block->Pcr->Prcb, Target)) {
        KiUnmaskInterrupts(Block);
        KiSpin(&Spin);
        if (Spin.Steps % KI_STALL_SPINS == 0) {
            KiPress(Target);
        }
        KiMaskInterrupts(Block);
    }
    KiSendBits(Target, IPI_PACKET_READY);
    KiUnmaskInterrupts(Block);
    KiEndSpin(&Spin);
}

static BOOLEAN KiTargetsDone(PKPRCB Prcb)
{
    for (ULONG Group = 0; Group < KiMachine.MaximumGroups; Group += 1) {
        if (__atomic_load_n(&Prcb->TargetSets[Group], __ATOMIC_ACQUIRE) != 0) {
            return FALSE;
        }
    }
    return TRUE;
}

static VOID KiPressTargets(PKPRCB Prcb)
{
    for (ULONG Group = 0; Group < KiMachine.MaximumGroups; Group += 1) {
        KAFFINITY Mask = __atomic_load_n(&Prcb->TargetSets[Group], __ATOMIC_RELAXED);

        for (; Mask != 0; Mask &= Mask - 1) {
            KiPress(KiProcessor(Group * KiMachine.GroupSize + (ULONG)__builtin_ctzll(Mask)));
        }
    }
}

VOID KiStallOnTargets(KPRCB_THREAD_BLOCK *Block, const char *Reason)
{
    PKPRCB Prcb = Block->Pcr->Prcb;
    KI_SPIN Spin = {.Reason = Reason, .Object = Prcb, .Holding = TRUE};
    ULONGLONG Pressed = 0;

    while (!KiTargetsDone(Prcb)) {
        KiSpin(&Spin);
        if (Spin.Steps % KI_STALL_SPINS == 0) {
            ULONGLONG Now = HalMonotonicTime();

            if (Pressed == 0) {
                Pressed = Now;
            } else if (Now - Pressed >= KI_PRESS_NS) {
                KiPressTargets(Prcb);
                Pressed = Now;
            }
            HalYield();
        }
    }
    KiEndSpin(&Spin);
}

BOOLEAN KiPacketOutstanding(PKPCR Pcr)
{
    return !KiTargetsDone(&Pcr->PrcbData) || __atomic_load_n(&Pcr->PrcbData.SignalDone, __ATOMIC_ACQUIRE) != NULL;
}

static VOID KiFillPacket(PKPRCB Prcb, PKIPI_WORKER Worker, PVOID Parameter1, PVOID Parameter2, PVOID Parameter3)
{
    Prcb->CurrentPacket[0] = Parameter1;
    Prcb->CurrentPacket[1] = Parameter2;
    Prcb->CurrentPacket[2] = Parameter3;
    Prcb->WorkerRoutine = Worker;
}

VOID KiSendPacketToAll(KPRCB_THREAD_BLOCK *Block, PKIPI_WORKER Worker, PVOID Parameter1, PVOID Parameter2,
                       PVOID Parameter3)
{
    PKPRCB Prcb = Block->Pcr->Prcb;

    KiStallOnTargets(Block, "the targets of the former IPI packet");
    KiFillPacket(Prcb, Worker, Parameter1, Parameter2, Parameter3);
    for (USHORT Group = 0; Group < KiMachine.MaximumGroups; Group += 1) {
        KAFFINITY Mask = KiGroupMask(Group) & ~(Group == Prcb->Group ? Prcb->GroupSetMember : 0);

        __atomic_store_n(&Prcb->TargetSets[Group], Mask, __ATOMIC_RELEASE);
    }
    for (ULONG Index = 0; Index < KiProcessorCount(); Index += 1) {
        if (Index != Prcb->Number) {
            KiSendPacketTo(Block, KiProcessor(Index));
        }
    }
}

static VOID KiRequireOwner(KPRCB_THREAD_BLOCK *Block)
{
    if (Block->Irql < DISPATCH_LEVEL) {
        KeBugCheckEx(IRQL_NOT_GREATER_OR_EQUAL, Block->Irql, DISPATCH_LEVEL, 0, 0);
    }
}

VOID KiIpiSendPacket(KAFFINITY TargetProcessors, PKIPI_WORKER WorkerFunction, PKIPI_BROADCAST_WORKER BroadcastFunction,
                     ULONG_PTR Context, PULONG Count)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    PKPRCB Prcb = Block->Pcr->Prcb;
    KAFFINITY Mask;

    KiRequireOwner(Block);
    Mask = KiActiveTargets(Block, TargetProcessors) & ~Prcb->GroupSetMember;
    KiStallOnTargets(Block, "the targets of the former IPI packet");
    KiFillPacket(Prcb, WorkerFunction, (PVOID)BroadcastFunction, (PVOID)Context, Count);
    __atomic_store_n(&Prcb->TargetSets[Prcb->Group], Mask, __ATOMIC_RELEASE);
    while (Mask != 0) {
        PKPCR Target = KiNextTarget(Block, &Mask);

        KiSendPacketTo(Block, Target);
        if (KiQueryOwner(Target) != NULL) {
            KiArmClock(Target);
        }
    }
}

VOID KiIpiStallOnPacketTargets(KAFFINITY TargetProcessors)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    UNREFERENCED_PARAMETER(TargetProcessors);
    KiRequireOwner(Block);
    KiStallOnTargets(Block, "the targets of an IPI packet");
}

VOID KiIpiSignalPacketDone(PKIPI_CONTEXT PacketContext)
{
    KiTellSender(KiEnter(), PacketContext);
}

VOID KiIpiSignalPacketDoneAndStall(PKIPI_CONTEXT PacketContext, ULONG volatile *ReverseStall)
{
    KI_SPIN Spin = {.Reason = "the sender of an IPI packet to change ReverseStall",
                    .Object = (const void *)ReverseStall};
    ULONG Before = __atomic_load_n(ReverseStall, __ATOMIC_RELAXED);

    KiIpiSignalPacketDone(PacketContext);
    while (__atomic_load_n(ReverseStall, __ATOMIC_ACQUIRE) == Before) {
        KiSpin(&Spin);
    }
    KiEndSpin(&Spin);
}
