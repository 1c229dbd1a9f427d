/*
 * kiframe.h - the part of the door ki.h that is about bug checks and where they unwind to; ki.h includes it.
 */
#ifndef KIFRAME_H
#define KIFRAME_H

#include <setjmp.h>

/* --- bugcheck.c, hang.c --- */

/*
 * A place to which a bug check unwinds. KiCatchFrame: KprcbCatchBugCheck. KiDiscardFrame: the machine's work on a
 * thread that has no catcher, or in a host's interrupt; the bug check is delivered to a catcher. KiCleanupFrame:
 * finishes something and passes the bug check on.
 */
typedef enum _KI_FRAME_KIND { KiCatchFrame, KiDiscardFrame, KiCleanupFrame } KI_FRAME_KIND;

typedef struct _KI_FRAME {
    struct _KI_FRAME *Previous;
    LIST_ENTRY CatchListEntry; /* KiCatchLock; catch frames only */
    KPRCB_BUGCHECK BugCheck;   /* that unwound to it */
    KPRCB_BUGCHECK Delivery;   /* of another thread, or another place; KiCatchLock */
    PKTHREAD Thread;
    UCHAR Kind;
    BOOLEAN Delivered; /* Delivery came, and the routine had returned by then */
    ULONG HeldCount;
    ULONG HeldSurplus;
    KIRQL Irql;
    KIRQL RaisedFrom[HIGH_LEVEL + 1];
    BOOLEAN DpcRoutineActive;
    UCHAR NestingLevel;
    ULONG Masked;
    ULONG FreezeDepth;
    PVOID IpiFrame;
    PKPCR Pcr; /* owned when the frame was entered, or NULL */
    jmp_buf Jump;
} KI_FRAME, *PKI_FRAME;

/* Catch frames of all threads. Zero: no frame of another kind is needed, since a bug check aborts. */
extern ULONG volatile KiCatchers;

/* Fills and links a frame; the caller calls setjmp(Frame->Jump) next, and KiLeaveFrame when it is done. */
VOID KiEnterFrame(KPRCB_THREAD_BLOCK *Block, PKI_FRAME Frame, KI_FRAME_KIND Kind);
VOID KiLeaveFrame(KPRCB_THREAD_BLOCK *Block, PKI_FRAME Frame);
/* The innermost catch frame of a thread, or NULL. */
PKI_FRAME KiFindCatchFrame(PKTHREAD Thread);
/* For a thread that is not attached: delivers a bug check to a catcher, or reports and aborts. */
VOID KiBugCheckElsewhere(const KPRCB_BUGCHECK *BugCheck);
/* Forgets all catchers: for the child of a fork. */
VOID KiAbandonCatches(VOID);
/* For a frame that has been unwound to and left: goes on to the next. */
DECLSPEC_NORETURN VOID KiPassBugCheck(const KPRCB_BUGCHECK *BugCheck);
/* Unwinds the caller if another thread's bug check was delivered to it. */
VOID KiTakeDelivery(KPRCB_THREAD_BLOCK *Block);

static inline BOOLEAN KiDeliveryPending(KPRCB_THREAD_BLOCK *Block)
{
    return Block->Thread != NULL && __atomic_load_n(&Block->Thread->Delivery, __ATOMIC_RELAXED) != NULL;
}

/* ms; see KprcbSetHangReport. */
extern ULONG volatile KiHangPeriod;
VOID KiReadHangPeriod(VOID);
VOID KiReportBugCheck(const KPRCB_BUGCHECK *BugCheck);
VOID KiReportHang(PKI_SPIN Spin, ULONGLONG Milliseconds);
/* Processors, their owners, levels, and the locks of each thread, to stderr. */
VOID KiPrintMachine(VOID);

#endif
