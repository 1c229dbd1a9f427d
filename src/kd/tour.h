/*
 * tour.h - what the tour does and finds, between tour.c, which does it, and tourtext.c, which tells it.
 */
#ifndef KD_TOUR_H
#define KD_TOUR_H

#include "kd.h"

#define KD_TOUR_QUEUE 8 /* processors in the hand-over at most */
#define KD_TOUR_LOCK LockQueueMasterLock
#define KD_NOWHERE 0xFFFFFFFF

/* A processor as it identified itself. */
typedef struct _KD_TOUR_PROCESSOR {
    PKPRCB Prcb;
    ULONG Number;
    USHORT Group;
    UCHAR GroupIndex;
    ULONG HostProcessor;
    char VendorString[13];
    UCHAR CpuVendor, CpuType, CpuModel, CpuStepping, CpuID;
    ULONG MHz, CFlushSize;
    UCHAR Cores, InitialApicId;
} KD_TOUR_PROCESSOR;

/* The visited processor's words before the raise, at DISPATCH_LEVEL with a DPC waiting, and after the lower. */
typedef struct _KD_TOUR_LEVEL {
    KIRQL Irql;
    BOOLEAN Current; /* KPRCB.CurrentThread is the caller */
    BOOLEAN Idle;    /* it is IdleThread */
    ULONG DpcCount;
    ULONG Ran; /* of the DPC's routine */
} KD_TOUR_LEVEL;

/* What the DPC of one processor found there. Written by the DPC, read after KeFlushQueuedDpcs. */
typedef struct _KD_TOUR_DPC {
    KDPC Dpc;
    ULONG RanOn;
    KIRQL Irql;
    BOOLEAN Active; /* DpcRoutineActive */
    BOOLEAN Own;    /* DpcData[0].ActiveDpc is this DPC */
    BOOLEAN Idle;   /* KPRCB.CurrentThread is IdleThread */
    ULONG DpcCount;
    PVOID DpcStack;
} KD_TOUR_DPC;

/* What the broadcast found on one processor. Written by that processor, read after the call. */
typedef struct _KD_TOUR_IPI {
    ULONG Number;
    KIRQL Irql;
    ULONG Arrival; /* its turn in the broadcast */
} KD_TOUR_IPI;

/* One processor's part of the hand-over. */
typedef struct _KD_TOUR_WAITER {
    KDPC Dpc;
    ULONG Processor;
    ULONG_PTR LockBits; /* of its LockQueue entry, as the owner saw them while all waited */
    ULONG Successor;    /* whose entry Next led to then */
    ULONG Owned;        /* its turn at the lock, 0 first */
} KD_TOUR_WAITER;

typedef struct _KD_TOUR {
    ULONG Processors, Groups;
    USHORT BuildType;
    KD_TOUR_PROCESSOR *Block;

    ULONG Home; /* the processor of the first demonstration */
    KD_TOUR_LEVEL Before, Raised, After;
    ULONG volatile Ran;
    KDPC HomeDpc;

    KD_TOUR_DPC *Dpc;

    KD_TOUR_IPI *Ipi;
    ULONG volatile Arrivals;
    ULONG_PTR IpiResult;

    ULONG Waiters; /* the owner, Waiter[0], included; 0: nothing to hand over with one processor */
    KD_TOUR_WAITER Waiter[KD_TOUR_QUEUE];
    ULONG volatile Turns;
} KD_TOUR, *PKD_TOUR;

/* tourtext.c */
void KdTellTour(const KD_TOUR *Tour);
void KdTellTourJson(const KD_TOUR *Tour);

#endif
