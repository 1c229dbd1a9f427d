/*
 * ipi.c - inter-processor interrupts: sending requests and packets, and serving them.
 *
 * What the version of NT decides, the words in which requests and packets travel, is in ipiflags.c, ipibits.c and
 * ipimailbox.c, behind the table of ipiprotocol.h. Shared by all three:
 *
 *   word                     written by                                     read by           ordering
 *   KPCR_REQUEST_IPI         set by whoever has posted something; cleared   the target        seq_cst both: the target clears it,
 *                            by the target                                                    then takes what was posted
 *   KiMachine.Ipi            KprcbStart                                     everyone          constant
 *   ReverseStall             the sender                                     stalling targets  release / acquire
 *   IpiSend...Count          the owner; KiIpiSend takes the processor       display           relaxed
 *   NestingLevel, IpiFrame,  the owner, also from the host's interrupt      display
 *   InterruptCount
 *
 * A request is served by the owner of the target when it polls, by its idle thread if nobody owns it, or in the host's
 * interrupt. HalRequestIpi is NT's door to the interrupt controller; what it asks of the host, a wake-up or an interrupt
 * of a thread, is behind hal.h (HalWake, HalInterruptThread), and whom to ask is decided in request.c.
 *
 * Deviation: IPI_SYNCH_REQUEST is defined and not sent by this library.
 *
 * Tests: tests/ke/test_ipi.c, tests/stress/stress_ipi.c.
 */
#include "ipiprotocol.h"

#define KI_PRESS_NS 1000000
#define KI_STALL_SPINS 2000

NTSTATUS KiInitializeIpi(VOID)
{
    static const KI_IPI_ROUTINES *const Protocols[] = {
        [KiIpiFlags] = &KiFlagsIpiRoutines,
        [KiIpiBits] = &KiBitsIpiRoutines,
        [KiIpiMailbox] = &KiMailboxIpiRoutines,
    };

    KiMachine.Ipi = Protocols[KiMachine.Profile->IpiProtocol];
    return KiMachine.Ipi->Initialize != NULL ? KiMachine.Ipi->Initialize() : STATUS_SUCCESS;
}

VOID KiInitializeProcessorIpi(PKPRCB Prcb)
{
    if (KiMachine.Ipi->InitializeProcessor != NULL) {
        KiMachine.Ipi->InitializeProcessor(Prcb);
    }
}

VOID KiFreeIpi(VOID)
{
    if (KiMachine.Ipi != NULL && KiMachine.Ipi->Free != NULL) {
        KiMachine.Ipi->Free();
    }
}

VOID KiPostSummaryBits(PKPRCB Target, ULONG Bits)
{
    __atomic_fetch_or(&Target->RequestSummary, Bits, __ATOMIC_SEQ_CST);
}

ULONG KiTakeSummaryBits(PKPRCB Prcb, ULONG Bits)
{
    /* What was posted before Request's bit was set is visible since that was cleared. */
    if ((__atomic_load_n(&Prcb->RequestSummary, __ATOMIC_RELAXED) & Bits) == 0) {
        return 0;
    }
    return __atomic_fetch_and(&Prcb->RequestSummary, ~Bits, __ATOMIC_SEQ_CST) & Bits;
}

VOID KiFillPacket(PKPRCB Sender, const KREQUEST_PACKET *Packet)
{
    Sender->CurrentPacket[0] = Packet->CurrentPacket[0];
    Sender->CurrentPacket[1] = Packet->CurrentPacket[1];
    Sender->CurrentPacket[2] = Packet->CurrentPacket[2];
    Sender->WorkerRoutine = Packet->WorkerRoutine;
}

/* --- Serving --- */

static VOID KiTellSender(KPRCB_THREAD_BLOCK *Block, PKIPI_CONTEXT Context)
{
    Block->Thread->ServedPacket = NULL;
    KiMachine.Ipi->SignalDone(Block->Pcr->Prcb, Context);
}

VOID KiTellServedSender(KPRCB_THREAD_BLOCK *Block)
{
    KiTellSender(Block, Block->Thread->ServedPacket);
}

VOID KiEndAtWrongLevel(KPRCB_THREAD_BLOCK *Block, PKPCR Pcr, PVOID Routine, PVOID Context)
{
    KIRQL Irql = Block->Irql;

    if (Irql < DISPATCH_LEVEL) {
        KiTakeThisProcessor(Block, Pcr);
    }
    Block->Irql = IPI_LEVEL;
    KiPublishIrql(Block, IPI_LEVEL);
    if (Block->Checked) {
        KeBugCheckEx(IRQL_UNEXPECTED_VALUE, (ULONG_PTR)Irql << 16 | IPI_LEVEL << 8, (ULONG_PTR)Routine,
                     (ULONG_PTR)Context, 0);
    }
}

/* Nobody but the worker may tell the sender, who would wait for ever. */
static __attribute__((noinline)) VOID KiEndWithoutDone(KPRCB_THREAD_BLOCK *Block, PVOID Routine)
{
    if (Block->Checked) {
        KeBugCheckEx(INVALID_SOFTWARE_INTERRUPT, (ULONG_PTR)Block->Thread->ServedPacket, 0, (ULONG_PTR)Routine, 0);
    }
    KiTellServedSender(Block);
}

static VOID KiRunPacket(KPRCB_THREAD_BLOCK *Block, const KI_TAKEN_PACKET *Taken)
{
    const KREQUEST_PACKET *Packet = &Taken->Packet;
    PKIPI_CONTEXT Outer = Block->Thread->ServedPacket;
    PKPCR Pcr = Block->Pcr;
    KIRQL OldIrql = Block->Irql;

    Block->Thread->ServedPacket = Taken->Context;
    Block->RaisedFrom[IPI_LEVEL] = OldIrql < IPI_LEVEL ? OldIrql : Block->RaisedFrom[IPI_LEVEL];
    Block->Irql = IPI_LEVEL;
    KiPublishIrql(Block, IPI_LEVEL);
    Packet->WorkerRoutine(Taken->Context, Packet->CurrentPacket[0], Packet->CurrentPacket[1], Packet->CurrentPacket[2]);
    KiEndAtIpiLevel(Block, Pcr, (PVOID)Packet->WorkerRoutine, Packet->CurrentPacket[0]);
    if (__builtin_expect(Block->Thread->ServedPacket != NULL, 0)) {
        KiEndWithoutDone(Block, (PVOID)Packet->WorkerRoutine);
    }
    Block->Irql = OldIrql;
    KiPublishIrql(Block, OldIrql);
    Block->Thread->ServedPacket = Outer;
}

/*
 * As KiRunPacket, for a bug check in the worker that somebody will catch: the sender must not wait for ever. Where
 * this thread catches nothing the bug check is delivered before the sender, who may be the one to take it, is told.
 */
static VOID KiRunPacketFramed(KPRCB_THREAD_BLOCK *Block, const KI_TAKEN_PACKET *Taken)
{
    PKIPI_CONTEXT Outer = Block->Thread->ServedPacket;
    KI_FRAME Frame;

    KiEnterFrame(Block, &Frame, KiFindCatchFrame(Block->Thread) == NULL ? KiDiscardFrame : KiCleanupFrame);
    if (setjmp(Frame.Jump) == 0) {
        KiRunPacket(Block, Taken);
        KiLeaveFrame(&KprcbThread, &Frame);
        return;
    }
    if (KprcbThread.Thread->ServedPacket == Taken->Context) {
        KiTellSender(&KprcbThread, Taken->Context);
    }
    KprcbThread.Thread->ServedPacket = Outer;
    KiLeaveFrame(&KprcbThread, &Frame);
    if (Frame.Kind == KiCleanupFrame) {
        /* Other packets may have been taken with this one: the next poll finds them. */
        __atomic_fetch_or(&KprcbThread.Pcr->Request, KPCR_REQUEST_IPI, __ATOMIC_SEQ_CST);
        KiPassBugCheck(&Frame.BugCheck);
    }
}

static VOID KiServeRequests(KPRCB_THREAD_BLOCK *Block, ULONG Bits)
{
    if ((Bits & IPI_APC) != 0) {
        KiRequestApcInterrupt(Block);
    }
    if ((Bits & IPI_DPC) != 0) {
        Block->Fast = NULL;
        __atomic_fetch_or(&Block->Pcr->Request, KPCR_REQUEST_DISPATCH, __ATOMIC_SEQ_CST);
    }
}

/*
 * Takes the requests, and serves a freeze at once: who freezes waits for it, and an interrupt between the two might run
 * a packet that waits for who freezes.
 */
static ULONG KiTakeRequests(KPRCB_THREAD_BLOCK *Block, PKPRCB Prcb)
{
    ULONG Bits;

    KiMaskInterrupts(Block);
    Bits = KiMachine.Ipi->TakeRequests(Prcb, ~0u);
    if (__builtin_expect((Bits & IPI_FREEZE) != 0, 0)) {
        KiFreezeTargetExecution(Block);
    }
    KiUnmaskInterrupts(Block);
    return Bits;
}

BOOLEAN KiServiceIpi(KPRCB_THREAD_BLOCK *Block)
{
    const KI_IPI_ROUTINES *Ipi = KiMachine.Ipi;
    PKPRCB Prcb = &Block->Pcr->PrcbData;
    KI_TAKEN_PACKET Taken;
    BOOLEAN Packet;
    ULONG Bits;

    /* Posted before the bit, and soon to be written here: its line comes while the bit's does. */
    HalPrefetchForWrite(&Prcb->RequestSummary);
    /* The bit first: who sends later sets it again. */
    __atomic_fetch_and(&Block->Pcr->Request, ~(ULONG)KPCR_REQUEST_IPI, __ATOMIC_SEQ_CST);
    Bits = KiTakeRequests(Block, Prcb);
    Packet = Ipi->TakePacket(Prcb, TRUE, &Taken);
    if (Bits == 0 && !Packet) {
        return FALSE;
    }
    Prcb->InterruptCount += 1;
    Prcb->NestingLevel += 1;
    KiServeRequests(Block, Bits);
    for (; Packet; Packet = Ipi->TakePacket(Prcb, FALSE, &Taken)) {
        if (__atomic_load_n(&KiCatchers, __ATOMIC_RELAXED) != 0) {
            KiRunPacketFramed(Block, &Taken);
        } else {
            KiRunPacket(Block, &Taken);
        }
    }
    Prcb->NestingLevel -= 1;
    return TRUE;
}

BOOLEAN KiIpiServiceRoutine(PKTRAP_FRAME TrapFrame, PKEXCEPTION_FRAME ExceptionFrame)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    PKPRCB Prcb;
    PVOID Outer;
    BOOLEAN Any;

    UNREFERENCED_PARAMETER(ExceptionFrame);
    if (Block->Irql < DISPATCH_LEVEL) {
        KeBugCheckEx(IRQL_NOT_GREATER_OR_EQUAL, Block->Irql, DISPATCH_LEVEL, 0, 0);
    }
    Prcb = &Block->Pcr->PrcbData;
    Outer = Prcb->IpiFrame;
    Prcb->IpiFrame = TrapFrame;
    Any = KiServiceIpi(Block);
    Prcb->IpiFrame = Outer;
    return Any;
}

/* --- Requests --- */

/* The processors of Mask in the caller's group that are active. */
static KAFFINITY KiActiveTargets(KPRCB_THREAD_BLOCK *Block, KAFFINITY Mask)
{
    return Mask & KiGroupMask(Block->Pcr->PrcbData.Group);
}

VOID KiIpiSend(KAFFINITY TargetProcessors, ULONG IpiRequest)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    KIRQL OldIrql = Block->Irql < DISPATCH_LEVEL ? KeRaiseIrqlToDpcLevel() : Block->Irql;
    PKPRCB Prcb = Block->Pcr->Prcb;
    KAFFINITY Mask = KiActiveTargets(Block, TargetProcessors);

    KiCountSend(&Prcb->IpiSendSoftwareInterruptCount, (ULONG)__builtin_popcountll(Mask));
    while (Mask != 0) {
        PKPCR Target = KiNextTarget(Prcb->Group, &Mask);

        KiMachine.Ipi->PostRequests(&Target->PrcbData, IpiRequest & (IPI_APC | IPI_DPC));
        KiRequest(Target, KPCR_REQUEST_IPI);
    }
    KiPoll(Block);
    if (OldIrql < DISPATCH_LEVEL) {
        KeLowerIrql(OldIrql);
    }
}

VOID HalRequestIpi(KAFFINITY TargetProcessors)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    KAFFINITY Mask = KiActiveTargets(Block, TargetProcessors);

    while (Mask != 0) {
        PKPCR Target = KiNextTarget(Block->Pcr->PrcbData.Group, &Mask);

        KiRequest(Target, KPCR_REQUEST_IPI);
        KiArmClock(Target);
    }
}

/* --- Packets --- */

VOID KiPressTargets(PKPRCB Prcb)
{
    ULONG Count = KiProcessorCount();

    for (ULONG Index = 0; Index < Count; Index += 1) {
        PKPCR Pcr = KiProcessor(Index);

        if ((__atomic_load_n(&Pcr->Request, __ATOMIC_RELAXED) & KPCR_REQUEST_IPI) != 0 && Pcr->Prcb != Prcb) {
            KiPress(Pcr);
        }
    }
}

VOID KiSpinForTargets(PKPRCB Prcb, PKI_SPIN Spin, ULONGLONG *Pressed)
{
    ULONGLONG Now;

    KiSpin(Spin);
    if (Spin->Steps % KI_STALL_SPINS != 0) {
        return;
    }
    Now = HalMonotonicTime();
    if (*Pressed == 0) {
        *Pressed = Now;
    } else if (Now - *Pressed >= KI_PRESS_NS) {
        KiPressTargets(Prcb);
        *Pressed = Now;
    }
    HalYield();
}

VOID KiStallOnTargets(KPRCB_THREAD_BLOCK *Block, const char *Reason)
{
    PKPRCB Prcb = Block->Pcr->Prcb;
    KI_SPIN Spin = {.Reason = Reason, .Object = Prcb, .Holding = TRUE};
    ULONGLONG Pressed = 0;

    while (!KiMachine.Ipi->IsPacketDone(Prcb)) {
        KiSpinForTargets(Prcb, &Spin, &Pressed);
    }
    KiEndSpin(&Spin);
}

VOID KiBeginPacket(KPRCB_THREAD_BLOCK *Block)
{
    PKPRCB Prcb = Block->Pcr->Prcb;
    KI_SPIN Spin = {.Reason = "the targets of the former IPI packet", .Object = Prcb, .Holding = TRUE};
    ULONGLONG Pressed = 0;

    KiMaskInterrupts(Block);
    while (!KiMachine.Ipi->BeginPacket(Prcb)) {
        KiUnmaskInterrupts(Block);
        KiSpinForTargets(Prcb, &Spin, &Pressed);
        KiMaskInterrupts(Block);
    }
    KiEndSpin(&Spin);
}

BOOLEAN KiPacketOutstanding(PKPCR Pcr)
{
    PKPRCB Prcb = &Pcr->PrcbData;

    return !KiMachine.Ipi->IsPacketDone(Prcb) || KiMachine.Ipi->IsPacketWaiting(Prcb);
}

/* All active processors. */
static VOID KiNameTargets(KI_TARGETS *Targets)
{
    ULONG Count = KiProcessorCount();

    Targets->Groups = 0;
    Targets->Count = (LONG)Count;
    for (ULONG Base = 0; Base < Count; Base += KiMachine.GroupSize) {
        ULONG Here = Count - Base < KiMachine.GroupSize ? Count - Base : KiMachine.GroupSize;

        Targets->Sets[Targets->Groups] = ~(KAFFINITY)0 >> (8 * sizeof(KAFFINITY) - Here);
        Targets->Groups += 1;
    }
}

VOID KiBroadcastPacket(KPRCB_THREAD_BLOCK *Block, PKIPI_WORKER Worker, PVOID Parameter1, PVOID Parameter2)
{
    PKPRCB Prcb = Block->Pcr->Prcb;
    KREQUEST_PACKET Packet = {{Parameter1, Parameter2, (PVOID)&Prcb->PacketBarrier}, Worker};
    KI_TARGETS Targets;

    KiNameTargets(&Targets);
    Targets.Sets[Prcb->Group] &= ~Prcb->GroupSetMember;
    Targets.Count -= 1;
    KiCountSend(&Prcb->IpiSendRequestBroadcastCount, 1);
    __atomic_store_n(&Prcb->PacketBarrier, Targets.Count + 1, __ATOMIC_RELAXED);
    KiMachine.Ipi->SendPacket(Block, &Packet, &Targets);
    KiUnmaskInterrupts(Block);
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
    KREQUEST_PACKET Packet = {{(PVOID)BroadcastFunction, (PVOID)Context, Count}, WorkerFunction};
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    PKPRCB Prcb = Block->Pcr->Prcb;
    KI_TARGETS Targets;
    KAFFINITY Mask;

    KiRequireOwner(Block);
    if (WorkerFunction == NULL) {
        KeBugCheckEx(INVALID_SOFTWARE_INTERRUPT, 0, 0, 0, (ULONG_PTR)__builtin_return_address(0));
    }
    KiNameTargets(&Targets);
    Mask = Targets.Sets[Prcb->Group] & TargetProcessors & ~Prcb->GroupSetMember;
    for (ULONG Group = 0; Group < Targets.Groups; Group += 1) {
        Targets.Sets[Group] = Group == Prcb->Group ? Mask : 0;
    }
    Targets.Count = __builtin_popcountll(Mask);
    KiCountSend(&Prcb->IpiSendRequestRoutineCount, 1);
    KiBeginPacket(Block);
    KiMachine.Ipi->SendPacket(Block, &Packet, &Targets);
    KiUnmaskInterrupts(Block);
    while (Mask != 0) {
        PKPCR Target = KiNextTarget(Prcb->Group, &Mask);

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

/* A sender that is told twice would take another target's answer for this one's. */
VOID KiIpiSignalPacketDone(PKIPI_CONTEXT PacketContext)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();

    if (__builtin_expect(PacketContext == NULL || Block->Thread->ServedPacket != PacketContext, 0)) {
        if (Block->Checked) {
            KeBugCheckEx(INVALID_SOFTWARE_INTERRUPT, (ULONG_PTR)PacketContext, (ULONG_PTR)Block->Thread->ServedPacket,
                         0, (ULONG_PTR)__builtin_return_address(0));
        }
        return;
    }
    KiTellSender(Block, PacketContext);
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
