/*
 * bugcheck.c - KeBugCheckEx, KprcbCatchBugCheck, and unwinding.
 *
 * A bug check unwinds the thread by longjmp to its innermost frame. A catch frame ends it. A cleanup frame finishes
 * what the library has begun and passes it on. A discard frame, on a thread that catches nothing itself (the idle
 * thread, or any thread on which a DPC or an IPI worker happens to run, or a host's interrupt, which may not be left
 * otherwise), drops what ran and delivers the bug check to the thread's own catch frame, else to the one that was
 * entered last on any thread; that thread takes it the next time it spins, waits or returns from the caught routine.
 * If nobody catches, the report and abort().
 *
 * Unwinding releases the locks taken since the frame was entered, takes back the level, and lets the processor go if
 * the frame was entered without one.
 *
 *   KiCatchFrames, a frame's place in it, KTHREAD.Delivery from NULL to a frame      under KiCatchLock
 *   KTHREAD.Delivery, frame -> NULL                                                  by its thread, under KiCatchLock
 *   KiCatchers       written under KiCatchLock; read relaxed, as a hint to enter frames: a frame that was not entered
 *                    because of an old value means an abort instead of a catch
 *
 * Deviation: NT stops all processors, and for good. A bug check of the thread that has frozen the others lets them go
 * on, back to where its frame was entered. Tests: tests/ke/test_bugcheck.c.
 */
#include "ki.h"

ULONG volatile KiCatchers;

static HAL_MUTEX KiCatchLock;
static LIST_ENTRY KiCatchFrames = {&KiCatchFrames, &KiCatchFrames}; /* in order of entry */

/* At any level: an interrupt whose worker has a bug check would wait for its own thread. */
static VOID KiLockCatches(VOID)
{
    KiMaskInterrupts(&KprcbThread);
    HalAcquireMutex(&KiCatchLock);
}

static VOID KiUnlockCatches(VOID)
{
    HalReleaseMutex(&KiCatchLock);
    KiUnmaskInterrupts(&KprcbThread);
}

VOID KiEnterFrame(KPRCB_THREAD_BLOCK *Block, PKI_FRAME Frame, KI_FRAME_KIND Kind)
{
    PKTHREAD Thread = Block->Thread;

    Frame->Kind = (UCHAR)Kind;
    Frame->Thread = Thread;
    Frame->HeldCount = Block->HeldCount;
    Frame->HeldSurplus = Block->HeldSurplus;
    Frame->Irql = Block->Irql;
    for (ULONG Level = 0; Level <= HIGH_LEVEL; Level += 1) {
        Frame->RaisedFrom[Level] = Block->RaisedFrom[Level];
    }
    Frame->Masked = Block->Masked;
    Frame->Pcr = Block->Irql >= DISPATCH_LEVEL ? Block->Pcr : NULL;
    Frame->DpcRoutineActive = Frame->Pcr != NULL && Frame->Pcr->PrcbData.DpcRoutineActive;
    Frame->NestingLevel = Frame->Pcr != NULL ? Frame->Pcr->PrcbData.NestingLevel : 0;
    Frame->IpiFrame = Frame->Pcr != NULL ? Frame->Pcr->PrcbData.IpiFrame : NULL;
    Frame->FreezeDepth = KiFreezeDepthHere(Block);
    Frame->Previous = Thread->Frame;
    if (Kind == KiCatchFrame) {
        HalAcquireMutex(&KiCatchLock);
        Frame->CatchListEntry.Flink = &KiCatchFrames;
        Frame->CatchListEntry.Blink = KiCatchFrames.Blink;
        KiCatchFrames.Blink->Flink = &Frame->CatchListEntry;
        KiCatchFrames.Blink = &Frame->CatchListEntry;
        __atomic_store_n(&KiCatchers, KiCatchers + 1, __ATOMIC_RELAXED);
        HalReleaseMutex(&KiCatchLock);
    }
    Thread->Frame = Frame;
}

VOID KiLeaveFrame(KPRCB_THREAD_BLOCK *Block, PKI_FRAME Frame)
{
    PKTHREAD Thread = Block->Thread;

    if (Thread != Frame->Thread) {
        return; /* the child of a fork inside the frame: the thread is not attached, or anew */
    }
    Thread->Frame = Frame->Previous;
    if (Frame->Kind == KiCatchFrame) {
        HalAcquireMutex(&KiCatchLock);
        Frame->CatchListEntry.Blink->Flink = Frame->CatchListEntry.Flink;
        Frame->CatchListEntry.Flink->Blink = Frame->CatchListEntry.Blink;
        __atomic_store_n(&KiCatchers, KiCatchers - 1, __ATOMIC_RELAXED);
        if (Thread->Delivery == Frame) {
            __atomic_store_n(&Thread->Delivery, NULL, __ATOMIC_RELAXED);
            Frame->Delivered = TRUE;
        }
        HalReleaseMutex(&KiCatchLock);
    }
}

PKI_FRAME KiFindCatchFrame(PKTHREAD Thread)
{
    PKI_FRAME Frame = Thread->Frame;

    while (Frame != NULL && Frame->Kind != KiCatchFrame) {
        Frame = Frame->Previous;
    }
    return Frame;
}

/*
 * Gives the bug check to the thread's own catch frame, else to the one that was entered last; one that has one
 * already keeps the first. FALSE: there is no frame.
 */
static BOOLEAN KiDeliver(const KPRCB_BUGCHECK *BugCheck)
{
    PKTHREAD Thread = KprcbThread.Thread;
    PKI_FRAME Frame = Thread != NULL ? KiFindCatchFrame(Thread) : NULL;

    KiLockCatches();
    if (Frame == NULL && KiCatchFrames.Blink != &KiCatchFrames) {
        Frame = CONTAINING_RECORD(KiCatchFrames.Blink, KI_FRAME, CatchListEntry);
    }
    if (Frame == NULL) {
        KiUnlockCatches();
        return FALSE;
    }
    if (Frame->Thread->Delivery == NULL) {
        Frame->Delivery = *BugCheck;
        __atomic_store_n(&Frame->Thread->Delivery, Frame, __ATOMIC_RELEASE);
    }
    KiUnlockCatches();
    return TRUE;
}

VOID KiAbandonCatches(VOID)
{
    KiCatchers = 0;
    KiCatchLock = (HAL_MUTEX){0};
    KiCatchFrames.Flink = KiCatchFrames.Blink = &KiCatchFrames;
}

static VOID KiForgetDpc(PKPRCB Prcb)
{
    Prcb->DpcData[DPC_NORMAL].ActiveDpc = NULL;
    Prcb->DpcStack = NULL;
    KiSetNormalDpcState(Prcb, 0);
    __atomic_store_n(&Prcb->CurrentDpcStartTime, 0, __ATOMIC_RELAXED);
}

/* Lets go of the processor that the frame does not have. */
static VOID KiLetGoUnwound(KPRCB_THREAD_BLOCK *Block, KIRQL Irql)
{
    PKPCR Pcr = Block->Pcr;
    PKPRCB Prcb = &Pcr->PrcbData;

    KiForgetDpc(Prcb);
    Prcb->NestingLevel = 0;
    Prcb->IpiFrame = NULL;
    __atomic_store_n(&Prcb->DpcRoutineActive, FALSE, __ATOMIC_SEQ_CST);
    KiLetGoProcessor(Block, Irql);
    KiLookAgain(Block, Pcr, 0);
    if (KiDpcsQueued(Pcr)) {
        KiRequest(Pcr, KPCR_REQUEST_DISPATCH);
    }
    KiNudge(Pcr);
}

static DECLSPEC_NORETURN VOID KiUnwind(PKI_FRAME Frame)
{
    KPRCB_THREAD_BLOCK *Block = &KprcbThread;

    if (Block->Thread->ServedPacket != NULL) {
        KiTellServedSender(Block);
    }
    __atomic_store_n(&Block->Thread->WaitReason, NULL, __ATOMIC_RELEASE);
    KiThawUnwound(Block, Frame->FreezeDepth);
    KiReleaseHeldLocks(Block, Frame->HeldCount, Frame->HeldSurplus);
    Block->Masked = Frame->Masked;
    if (Frame->Pcr == NULL && Block->Thread->Retiring != NULL) {
        PKPCR Retiring = Block->Thread->Retiring;

        Block->Thread->Retiring = NULL;
        if (Block->Irql < DISPATCH_LEVEL) {
            KiTakeThisProcessor(Block, Retiring); /* the DPC routine had let it go */
            Block->Irql = DISPATCH_LEVEL;
            KiPublishIrql(Block, DISPATCH_LEVEL);
        }
    }
    if (Block->Irql >= DISPATCH_LEVEL && Frame->Pcr == NULL) {
        KiLetGoUnwound(Block, Frame->Irql);
    } else if (Frame->Pcr != NULL) {
        if (Block->Irql < DISPATCH_LEVEL) {
            KiTakeThisProcessor(Block, Frame->Pcr);
        }
        Block->Irql = Frame->Irql;
        KiPublishIrql(Block, Frame->Irql);
        Frame->Pcr->PrcbData.NestingLevel = Frame->NestingLevel;
        Frame->Pcr->PrcbData.IpiFrame = Frame->IpiFrame;
        if (!Frame->DpcRoutineActive) {
            KiForgetDpc(&Frame->Pcr->PrcbData);
        }
        __atomic_store_n(&Frame->Pcr->PrcbData.DpcRoutineActive, Frame->DpcRoutineActive, __ATOMIC_SEQ_CST);
    }
    Block->Irql = Frame->Irql;
    for (ULONG Level = 0; Level <= HIGH_LEVEL; Level += 1) {
        Block->RaisedFrom[Level] = Frame->RaisedFrom[Level];
    }
    if (Block->Thread->MovePending) {
        Block->Fast = NULL;
    }
    Block->Thread->Frame = Frame;
    longjmp(Frame->Jump, 1);
}

/* TRUE: some frame of this thread, or of another, will end the bug check. */
static BOOLEAN KiWillBeCaught(PKTHREAD Thread)
{
    PKI_FRAME Frame = Thread != NULL ? Thread->Frame : NULL;

    for (; Frame != NULL; Frame = Frame->Previous) {
        if (Frame->Kind == KiCatchFrame) {
            return TRUE;
        }
        if (Frame->Kind == KiDiscardFrame) {
            return __atomic_load_n(&KiCatchers, __ATOMIC_RELAXED) != 0;
        }
    }
    return FALSE;
}

static DECLSPEC_NORETURN VOID KiHalt(const KPRCB_BUGCHECK *BugCheck)
{
    static ULONG volatile Halting;

    if (__atomic_exchange_n(&Halting, 1, __ATOMIC_ACQ_REL) == 0) {
        KiReportBugCheck(BugCheck);
    }
    HalAbort();
}

DECLSPEC_NORETURN VOID KiPassBugCheck(const KPRCB_BUGCHECK *BugCheck)
{
    PKTHREAD Thread = KprcbThread.Thread;
    PKI_FRAME Frame;

    if (!KiWillBeCaught(Thread)) {
        KiHalt(BugCheck);
    }
    Frame = Thread->Frame;
    if (Frame->Kind == KiDiscardFrame && !KiDeliver(BugCheck)) {
        KiHalt(BugCheck);
    }
    Frame->BugCheck = *BugCheck;
    KiUnwind(Frame);
}

VOID KiBugCheckElsewhere(const KPRCB_BUGCHECK *BugCheck)
{
    if (!KiDeliver(BugCheck)) {
        KiHalt(BugCheck);
    }
}

VOID KiTakeDelivery(KPRCB_THREAD_BLOCK *Block)
{
    PKTHREAD Thread = Block->Thread;
    KPRCB_BUGCHECK BugCheck;

    KiLockCatches();
    BugCheck = Thread->Delivery->Delivery;
    __atomic_store_n(&Thread->Delivery, NULL, __ATOMIC_RELAXED);
    KiUnlockCatches();
    KiPassBugCheck(&BugCheck);
}

DECLSPEC_NORETURN VOID KeBugCheckEx(ULONG BugCheckCode, ULONG_PTR BugCheckParameter1, ULONG_PTR BugCheckParameter2,
                                    ULONG_PTR BugCheckParameter3, ULONG_PTR BugCheckParameter4)
{
    KPRCB_BUGCHECK BugCheck = {
        .Code = BugCheckCode,
        .Parameter = {BugCheckParameter1, BugCheckParameter2, BugCheckParameter3, BugCheckParameter4},
    };

    KiPassBugCheck(&BugCheck);
}

DECLSPEC_NORETURN VOID KeBugCheck(ULONG BugCheckCode)
{
    KeBugCheckEx(BugCheckCode, 0, 0, 0, 0);
}

BOOLEAN KprcbCatchBugCheck(VOID (*Routine)(PVOID), PVOID Context, KPRCB_BUGCHECK *Result)
{
    KPRCB_THREAD_BLOCK *Block = KiEnter();
    KI_FRAME Frame = {.Delivered = FALSE};
    BOOLEAN Caught = TRUE;

    if (Block->Irql >= DISPATCH_LEVEL) {
        KeBugCheckEx(IRQL_NOT_LESS_OR_EQUAL, Block->Irql, APC_LEVEL, 0, (ULONG_PTR)__builtin_return_address(0));
    }
    KiEnterFrame(Block, &Frame, KiCatchFrame);
    if (setjmp(Frame.Jump) == 0) {
        Routine(Context);
        if (KprcbThread.Thread == Frame.Thread && KiDeliveryPending(&KprcbThread)) {
            KiTakeDelivery(&KprcbThread);
        }
        KiLeaveFrame(&KprcbThread, &Frame);
        Caught = Frame.Delivered;
        Frame.BugCheck = Frame.Delivery;
    } else {
        KiLeaveFrame(&KprcbThread, &Frame);
    }
    if (Caught && Result != NULL) {
        *Result = Frame.BugCheck;
    }
    return Caught;
}
