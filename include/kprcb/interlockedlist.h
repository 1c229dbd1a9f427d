/*
 * interlockedlist.h - lists under a spin lock that the routine takes itself: ExInterlockedInsertHeadList and its kin.
 *
 * The list is touched by these routines alone, and its lock by nobody else: not by KeAcquireSpinLock, nor may the caller
 * hold it. KeInitializeSpinLock makes the lock; a LIST_ENTRY head starts as a ring of itself (InitializeListHead), a
 * SINGLE_LIST_ENTRY head with Next NULL. No interrupt of the machine is served while the lock is held, so every routine
 * may be called at any IRQL. They raise nothing and need no attached thread.
 *
 * Misuse, on a checked build: a lock that the caller holds by KeAcquireSpinLock is bug check SPIN_LOCK_ALREADY_OWNED
 * (0x0F), its first parameter the lock; a free build spins until the hang report. On either build, neighbours that do not
 * point to each other are bug check KERNEL_SECURITY_CHECK_FAILURE (0x139) with 3, a corrupt list entry, before anything
 * is written.
 *
 * Deviation from NT: threads below DISPATCH_LEVEL run beside each other, so a thread may lose its host CPU while it holds
 * the lock; those who wait for it yield. A machine of KPRCB_UNIPROCESSOR takes the lock nevertheless.
 */
#ifndef KPRCB_INTERLOCKEDLIST_H
#define KPRCB_INTERLOCKEDLIST_H

#include <kprcb/spinlock.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ExInterlockedInsertHeadList (WDK: same). Any IRQL. Returns the entry that was the first; NULL: the list was empty. */
KPRCB_API PLIST_ENTRY ExInterlockedInsertHeadList(PLIST_ENTRY ListHead, PLIST_ENTRY ListEntry, PKSPIN_LOCK Lock);

/* ExInterlockedInsertTailList (WDK: same). Any IRQL. Returns the entry that was the last; NULL: the list was empty. */
KPRCB_API PLIST_ENTRY ExInterlockedInsertTailList(PLIST_ENTRY ListHead, PLIST_ENTRY ListEntry, PKSPIN_LOCK Lock);

/* ExInterlockedRemoveHeadList (WDK: same). Any IRQL. Returns the entry removed; NULL: the list is empty. */
KPRCB_API PLIST_ENTRY ExInterlockedRemoveHeadList(PLIST_ENTRY ListHead, PKSPIN_LOCK Lock);

/* ExInterlockedPushEntryList (WDK: same). Any IRQL. Returns the entry that was the first; NULL: the list was empty. */
KPRCB_API PSINGLE_LIST_ENTRY ExInterlockedPushEntryList(PSINGLE_LIST_ENTRY ListHead, PSINGLE_LIST_ENTRY ListEntry,
                                                        PKSPIN_LOCK Lock);

/* ExInterlockedPopEntryList (WDK: same). Any IRQL. Returns the entry removed; NULL: the list is empty. */
KPRCB_API PSINGLE_LIST_ENTRY ExInterlockedPopEntryList(PSINGLE_LIST_ENTRY ListHead, PKSPIN_LOCK Lock);

#ifdef __cplusplus
}
#endif

#endif
