/* dpchistory.h - what dpcs.c needs of dpchistory.c. */
#ifndef KD_DPCHISTORY_H
#define KD_DPCHISTORY_H

#include "target.h"

#define KD_HISTORY_ROWS 16
#define KD_LARGEST_HISTORY 4096

/* ns */
typedef struct _KD_HISTORY_ROW {
    ULONGLONG Routine;
    ULONGLONG Count;
    double Total;
    double Longest;
} KD_HISTORY_ROW;

typedef struct _KD_HISTORY {
    ULONG Found; /* routines */
    ULONG Lost;  /* runs that found no memory */
    ULONG Count; /* of Rows: those that took the most time, in this order */
    KD_HISTORY_ROW Rows[KD_HISTORY_ROWS];
} KD_HISTORY;

/* FALSE: it is off, or cannot be read. */
BOOLEAN KdReadHistory(const KD_TARGET *Target, const KD_SAMPLE *Sample, ULONG Processor, KD_HISTORY *History);
/* Nothing if it is off. */
void KdPrintHistory(PKD_TARGET Target, const KD_SAMPLE *Sample, ULONG Processor);
/* The member "history", null if it is off. */
void KdJsonHistory(PKD_TARGET Target, const KD_SAMPLE *Sample, ULONG Processor);

#endif
