/* permit.h - what queuedlock.c needs of permit.c. */
#ifndef PERMIT_H
#define PERMIT_H

#include "ki.h"

typedef struct _KI_PERMIT *PKI_PERMIT;

/* Waits, a bounded time, for the permit of the CPU of the calling thread's processor. NULL: time is up, or there is none. */
PKI_PERMIT KiTakePermit(KPRCB_THREAD_BLOCK *Block);
VOID KiGivePermit(PKI_PERMIT Permit);

#endif
