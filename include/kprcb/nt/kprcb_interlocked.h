/*
 * kprcb_interlocked.h - InterlockedXxx and their kin (WDK: wdm.h; Visual C++: intrin.h). Any IRQL.
 *
 * The width belongs to the name: no suffix is 32 bits, then 8, 16, 64, Pointer and SizeT. Each is a macro that takes a
 * pointer to any object of that width, whatever its type (PKTHREAD * for Pointer, ULONG * for 32 bits), and does not
 * compile for another width. Two exceptions: void * fits all, and the host's long fits 32 bits even where it has 64,
 * since drivers cast to (volatile long *). Of a variable that was declared long, only the lower half is worked on
 * there, and LONG64, which is long there too, is not refused.
 *
 * Without a suffix for the order, the operation is a full barrier, on every processor. Acquire, Release and NoFence
 * are what they say; the suffix may stand before or after the width, as both spellings are in use.
 *
 * Results: Increment, Decrement and Add the new value; And, Or, Xor, Exchange, ExchangeAdd and CompareExchange the old
 * one; BitTestAndSet, BitTestAndReset and BitTestAndComplement the old bit. A bit number may lie outside the first
 * word. 64 bits must be aligned to 8 bytes on i386 too.
 *
 * Test: tests/nt/test_interlocked.c.
 */
#ifndef KPRCB_NT_INTERLOCKED_H
#define KPRCB_NT_INTERLOCKED_H

#include <kprcb/nt/kprcb_atomic.h>

/* --- 32 bits --- */

#define InterlockedAnd(Destination, Value) KprcbAnd32(KPRCB_AT32(Destination), Value)
#define InterlockedAndAcquire(Destination, Value) KprcbAnd32Acquire(KPRCB_AT32(Destination), Value)
#define InterlockedAndRelease(Destination, Value) KprcbAnd32Release(KPRCB_AT32(Destination), Value)
#define InterlockedAndNoFence(Destination, Value) KprcbAnd32NoFence(KPRCB_AT32(Destination), Value)
#define InterlockedOr(Destination, Value) KprcbOr32(KPRCB_AT32(Destination), Value)
#define InterlockedOrAcquire(Destination, Value) KprcbOr32Acquire(KPRCB_AT32(Destination), Value)
#define InterlockedOrRelease(Destination, Value) KprcbOr32Release(KPRCB_AT32(Destination), Value)
#define InterlockedOrNoFence(Destination, Value) KprcbOr32NoFence(KPRCB_AT32(Destination), Value)
#define InterlockedXor(Destination, Value) KprcbXor32(KPRCB_AT32(Destination), Value)
#define InterlockedXorAcquire(Destination, Value) KprcbXor32Acquire(KPRCB_AT32(Destination), Value)
#define InterlockedXorRelease(Destination, Value) KprcbXor32Release(KPRCB_AT32(Destination), Value)
#define InterlockedXorNoFence(Destination, Value) KprcbXor32NoFence(KPRCB_AT32(Destination), Value)
#define InterlockedAdd(Addend, Value) KprcbAdd32(KPRCB_AT32(Addend), Value)
#define InterlockedAddAcquire(Addend, Value) KprcbAdd32Acquire(KPRCB_AT32(Addend), Value)
#define InterlockedAddRelease(Addend, Value) KprcbAdd32Release(KPRCB_AT32(Addend), Value)
#define InterlockedAddNoFence(Addend, Value) KprcbAdd32NoFence(KPRCB_AT32(Addend), Value)
#define InterlockedIncrement(Addend) KprcbIncrement32(KPRCB_AT32(Addend))
#define InterlockedIncrementAcquire(Addend) KprcbIncrement32Acquire(KPRCB_AT32(Addend))
#define InterlockedIncrementRelease(Addend) KprcbIncrement32Release(KPRCB_AT32(Addend))
#define InterlockedIncrementNoFence(Addend) KprcbIncrement32NoFence(KPRCB_AT32(Addend))
#define InterlockedDecrement(Addend) KprcbDecrement32(KPRCB_AT32(Addend))
#define InterlockedDecrementAcquire(Addend) KprcbDecrement32Acquire(KPRCB_AT32(Addend))
#define InterlockedDecrementRelease(Addend) KprcbDecrement32Release(KPRCB_AT32(Addend))
#define InterlockedDecrementNoFence(Addend) KprcbDecrement32NoFence(KPRCB_AT32(Addend))
#define InterlockedExchange(Target, Value) KprcbExchange32(KPRCB_AT32(Target), Value)
#define InterlockedExchangeAcquire(Target, Value) KprcbExchange32Acquire(KPRCB_AT32(Target), Value)
#define InterlockedExchangeRelease(Target, Value) KprcbExchange32Release(KPRCB_AT32(Target), Value)
#define InterlockedExchangeNoFence(Target, Value) KprcbExchange32NoFence(KPRCB_AT32(Target), Value)
#define InterlockedExchangeAdd(Addend, Value) KprcbExchangeAdd32(KPRCB_AT32(Addend), Value)
#define InterlockedExchangeAddAcquire(Addend, Value) KprcbExchangeAdd32Acquire(KPRCB_AT32(Addend), Value)
#define InterlockedExchangeAddRelease(Addend, Value) KprcbExchangeAdd32Release(KPRCB_AT32(Addend), Value)
#define InterlockedExchangeAddNoFence(Addend, Value) KprcbExchangeAdd32NoFence(KPRCB_AT32(Addend), Value)
#define InterlockedCompareExchange(Destination, Exchange, Comparand)                                                   \
    KprcbCompareExchange32(KPRCB_AT32(Destination), Exchange, Comparand)
#define InterlockedCompareExchangeAcquire(Destination, Exchange, Comparand)                                            \
    KprcbCompareExchange32Acquire(KPRCB_AT32(Destination), Exchange, Comparand)
#define InterlockedCompareExchangeRelease(Destination, Exchange, Comparand)                                            \
    KprcbCompareExchange32Release(KPRCB_AT32(Destination), Exchange, Comparand)
#define InterlockedCompareExchangeNoFence(Destination, Exchange, Comparand)                                            \
    KprcbCompareExchange32NoFence(KPRCB_AT32(Destination), Exchange, Comparand)
#define InterlockedBitTestAndSet(Base, Bit) KprcbBitTestAndSet32(KPRCB_AT32(Base), Bit)
#define InterlockedBitTestAndSetAcquire(Base, Bit) KprcbBitTestAndSet32Acquire(KPRCB_AT32(Base), Bit)
#define InterlockedBitTestAndSetRelease(Base, Bit) KprcbBitTestAndSet32Release(KPRCB_AT32(Base), Bit)
#define InterlockedBitTestAndSetNoFence(Base, Bit) KprcbBitTestAndSet32NoFence(KPRCB_AT32(Base), Bit)
#define InterlockedBitTestAndReset(Base, Bit) KprcbBitTestAndReset32(KPRCB_AT32(Base), Bit)
#define InterlockedBitTestAndResetAcquire(Base, Bit) KprcbBitTestAndReset32Acquire(KPRCB_AT32(Base), Bit)
#define InterlockedBitTestAndResetRelease(Base, Bit) KprcbBitTestAndReset32Release(KPRCB_AT32(Base), Bit)
#define InterlockedBitTestAndResetNoFence(Base, Bit) KprcbBitTestAndReset32NoFence(KPRCB_AT32(Base), Bit)
#define InterlockedBitTestAndComplement(Base, Bit) KprcbBitTestAndComplement32(KPRCB_AT32(Base), Bit)
#define InterlockedBitTestAndComplementAcquire(Base, Bit) KprcbBitTestAndComplement32Acquire(KPRCB_AT32(Base), Bit)
#define InterlockedBitTestAndComplementRelease(Base, Bit) KprcbBitTestAndComplement32Release(KPRCB_AT32(Base), Bit)
#define InterlockedBitTestAndComplementNoFence(Base, Bit) KprcbBitTestAndComplement32NoFence(KPRCB_AT32(Base), Bit)

/* --- 64 bits --- */

#define InterlockedAnd64(Destination, Value) KprcbAnd64(KPRCB_AT64(Destination), Value)
#define InterlockedAndAcquire64(Destination, Value) KprcbAnd64Acquire(KPRCB_AT64(Destination), Value)
#define InterlockedAnd64Acquire(Destination, Value) InterlockedAndAcquire64(Destination, Value)
#define InterlockedAndRelease64(Destination, Value) KprcbAnd64Release(KPRCB_AT64(Destination), Value)
#define InterlockedAnd64Release(Destination, Value) InterlockedAndRelease64(Destination, Value)
#define InterlockedAndNoFence64(Destination, Value) KprcbAnd64NoFence(KPRCB_AT64(Destination), Value)
#define InterlockedAnd64NoFence(Destination, Value) InterlockedAndNoFence64(Destination, Value)
#define InterlockedOr64(Destination, Value) KprcbOr64(KPRCB_AT64(Destination), Value)
#define InterlockedOrAcquire64(Destination, Value) KprcbOr64Acquire(KPRCB_AT64(Destination), Value)
#define InterlockedOr64Acquire(Destination, Value) InterlockedOrAcquire64(Destination, Value)
#define InterlockedOrRelease64(Destination, Value) KprcbOr64Release(KPRCB_AT64(Destination), Value)
#define InterlockedOr64Release(Destination, Value) InterlockedOrRelease64(Destination, Value)
#define InterlockedOrNoFence64(Destination, Value) KprcbOr64NoFence(KPRCB_AT64(Destination), Value)
#define InterlockedOr64NoFence(Destination, Value) InterlockedOrNoFence64(Destination, Value)
#define InterlockedXor64(Destination, Value) KprcbXor64(KPRCB_AT64(Destination), Value)
#define InterlockedXorAcquire64(Destination, Value) KprcbXor64Acquire(KPRCB_AT64(Destination), Value)
#define InterlockedXor64Acquire(Destination, Value) InterlockedXorAcquire64(Destination, Value)
#define InterlockedXorRelease64(Destination, Value) KprcbXor64Release(KPRCB_AT64(Destination), Value)
#define InterlockedXor64Release(Destination, Value) InterlockedXorRelease64(Destination, Value)
#define InterlockedXorNoFence64(Destination, Value) KprcbXor64NoFence(KPRCB_AT64(Destination), Value)
#define InterlockedXor64NoFence(Destination, Value) InterlockedXorNoFence64(Destination, Value)
#define InterlockedAdd64(Addend, Value) KprcbAdd64(KPRCB_AT64(Addend), Value)
#define InterlockedAddAcquire64(Addend, Value) KprcbAdd64Acquire(KPRCB_AT64(Addend), Value)
#define InterlockedAdd64Acquire(Addend, Value) InterlockedAddAcquire64(Addend, Value)
#define InterlockedAddRelease64(Addend, Value) KprcbAdd64Release(KPRCB_AT64(Addend), Value)
#define InterlockedAdd64Release(Addend, Value) InterlockedAddRelease64(Addend, Value)
#define InterlockedAddNoFence64(Addend, Value) KprcbAdd64NoFence(KPRCB_AT64(Addend), Value)
#define InterlockedAdd64NoFence(Addend, Value) InterlockedAddNoFence64(Addend, Value)
#define InterlockedIncrement64(Addend) KprcbIncrement64(KPRCB_AT64(Addend))
#define InterlockedIncrementAcquire64(Addend) KprcbIncrement64Acquire(KPRCB_AT64(Addend))
#define InterlockedIncrement64Acquire(Addend) InterlockedIncrementAcquire64(Addend)
#define InterlockedIncrementRelease64(Addend) KprcbIncrement64Release(KPRCB_AT64(Addend))
#define InterlockedIncrement64Release(Addend) InterlockedIncrementRelease64(Addend)
#define InterlockedIncrementNoFence64(Addend) KprcbIncrement64NoFence(KPRCB_AT64(Addend))
#define InterlockedIncrement64NoFence(Addend) InterlockedIncrementNoFence64(Addend)
#define InterlockedDecrement64(Addend) KprcbDecrement64(KPRCB_AT64(Addend))
#define InterlockedDecrementAcquire64(Addend) KprcbDecrement64Acquire(KPRCB_AT64(Addend))
#define InterlockedDecrement64Acquire(Addend) InterlockedDecrementAcquire64(Addend)
#define InterlockedDecrementRelease64(Addend) KprcbDecrement64Release(KPRCB_AT64(Addend))
#define InterlockedDecrement64Release(Addend) InterlockedDecrementRelease64(Addend)
#define InterlockedDecrementNoFence64(Addend) KprcbDecrement64NoFence(KPRCB_AT64(Addend))
#define InterlockedDecrement64NoFence(Addend) InterlockedDecrementNoFence64(Addend)
#define InterlockedExchange64(Target, Value) KprcbExchange64(KPRCB_AT64(Target), Value)
#define InterlockedExchangeAcquire64(Target, Value) KprcbExchange64Acquire(KPRCB_AT64(Target), Value)
#define InterlockedExchange64Acquire(Target, Value) InterlockedExchangeAcquire64(Target, Value)
#define InterlockedExchangeRelease64(Target, Value) KprcbExchange64Release(KPRCB_AT64(Target), Value)
#define InterlockedExchange64Release(Target, Value) InterlockedExchangeRelease64(Target, Value)
#define InterlockedExchangeNoFence64(Target, Value) KprcbExchange64NoFence(KPRCB_AT64(Target), Value)
#define InterlockedExchange64NoFence(Target, Value) InterlockedExchangeNoFence64(Target, Value)
#define InterlockedExchangeAdd64(Addend, Value) KprcbExchangeAdd64(KPRCB_AT64(Addend), Value)
#define InterlockedExchangeAddAcquire64(Addend, Value) KprcbExchangeAdd64Acquire(KPRCB_AT64(Addend), Value)
#define InterlockedExchangeAdd64Acquire(Addend, Value) InterlockedExchangeAddAcquire64(Addend, Value)
#define InterlockedExchangeAddRelease64(Addend, Value) KprcbExchangeAdd64Release(KPRCB_AT64(Addend), Value)
#define InterlockedExchangeAdd64Release(Addend, Value) InterlockedExchangeAddRelease64(Addend, Value)
#define InterlockedExchangeAddNoFence64(Addend, Value) KprcbExchangeAdd64NoFence(KPRCB_AT64(Addend), Value)
#define InterlockedExchangeAdd64NoFence(Addend, Value) InterlockedExchangeAddNoFence64(Addend, Value)
#define InterlockedCompareExchange64(Destination, Exchange, Comparand)                                                 \
    KprcbCompareExchange64(KPRCB_AT64(Destination), Exchange, Comparand)
#define InterlockedCompareExchangeAcquire64(Destination, Exchange, Comparand)                                          \
    KprcbCompareExchange64Acquire(KPRCB_AT64(Destination), Exchange, Comparand)
#define InterlockedCompareExchange64Acquire(Destination, Exchange, Comparand)                                          \
    InterlockedCompareExchangeAcquire64(Destination, Exchange, Comparand)
#define InterlockedCompareExchangeRelease64(Destination, Exchange, Comparand)                                          \
    KprcbCompareExchange64Release(KPRCB_AT64(Destination), Exchange, Comparand)
#define InterlockedCompareExchange64Release(Destination, Exchange, Comparand)                                          \
    InterlockedCompareExchangeRelease64(Destination, Exchange, Comparand)
#define InterlockedCompareExchangeNoFence64(Destination, Exchange, Comparand)                                          \
    KprcbCompareExchange64NoFence(KPRCB_AT64(Destination), Exchange, Comparand)
#define InterlockedCompareExchange64NoFence(Destination, Exchange, Comparand)                                          \
    InterlockedCompareExchangeNoFence64(Destination, Exchange, Comparand)
#define InterlockedBitTestAndSet64(Base, Bit) KprcbBitTestAndSet64(KPRCB_AT64(Base), Bit)
#define InterlockedBitTestAndSetAcquire64(Base, Bit) KprcbBitTestAndSet64Acquire(KPRCB_AT64(Base), Bit)
#define InterlockedBitTestAndSet64Acquire(Base, Bit) InterlockedBitTestAndSetAcquire64(Base, Bit)
#define InterlockedBitTestAndSetRelease64(Base, Bit) KprcbBitTestAndSet64Release(KPRCB_AT64(Base), Bit)
#define InterlockedBitTestAndSet64Release(Base, Bit) InterlockedBitTestAndSetRelease64(Base, Bit)
#define InterlockedBitTestAndSetNoFence64(Base, Bit) KprcbBitTestAndSet64NoFence(KPRCB_AT64(Base), Bit)
#define InterlockedBitTestAndSet64NoFence(Base, Bit) InterlockedBitTestAndSetNoFence64(Base, Bit)
#define InterlockedBitTestAndReset64(Base, Bit) KprcbBitTestAndReset64(KPRCB_AT64(Base), Bit)
#define InterlockedBitTestAndResetAcquire64(Base, Bit) KprcbBitTestAndReset64Acquire(KPRCB_AT64(Base), Bit)
#define InterlockedBitTestAndReset64Acquire(Base, Bit) InterlockedBitTestAndResetAcquire64(Base, Bit)
#define InterlockedBitTestAndResetRelease64(Base, Bit) KprcbBitTestAndReset64Release(KPRCB_AT64(Base), Bit)
#define InterlockedBitTestAndReset64Release(Base, Bit) InterlockedBitTestAndResetRelease64(Base, Bit)
#define InterlockedBitTestAndResetNoFence64(Base, Bit) KprcbBitTestAndReset64NoFence(KPRCB_AT64(Base), Bit)
#define InterlockedBitTestAndReset64NoFence(Base, Bit) InterlockedBitTestAndResetNoFence64(Base, Bit)
#define InterlockedBitTestAndComplement64(Base, Bit) KprcbBitTestAndComplement64(KPRCB_AT64(Base), Bit)
#define InterlockedBitTestAndComplementAcquire64(Base, Bit) KprcbBitTestAndComplement64Acquire(KPRCB_AT64(Base), Bit)
#define InterlockedBitTestAndComplement64Acquire(Base, Bit) InterlockedBitTestAndComplementAcquire64(Base, Bit)
#define InterlockedBitTestAndComplementRelease64(Base, Bit) KprcbBitTestAndComplement64Release(KPRCB_AT64(Base), Bit)
#define InterlockedBitTestAndComplement64Release(Base, Bit) InterlockedBitTestAndComplementRelease64(Base, Bit)
#define InterlockedBitTestAndComplementNoFence64(Base, Bit) KprcbBitTestAndComplement64NoFence(KPRCB_AT64(Base), Bit)
#define InterlockedBitTestAndComplement64NoFence(Base, Bit) InterlockedBitTestAndComplementNoFence64(Base, Bit)

/* --- 16 bits --- */

#define InterlockedAnd16(Destination, Value) KprcbAnd16(KPRCB_AT16(Destination), Value)
#define InterlockedAndAcquire16(Destination, Value) KprcbAnd16Acquire(KPRCB_AT16(Destination), Value)
#define InterlockedAnd16Acquire(Destination, Value) InterlockedAndAcquire16(Destination, Value)
#define InterlockedAndRelease16(Destination, Value) KprcbAnd16Release(KPRCB_AT16(Destination), Value)
#define InterlockedAnd16Release(Destination, Value) InterlockedAndRelease16(Destination, Value)
#define InterlockedAndNoFence16(Destination, Value) KprcbAnd16NoFence(KPRCB_AT16(Destination), Value)
#define InterlockedAnd16NoFence(Destination, Value) InterlockedAndNoFence16(Destination, Value)
#define InterlockedOr16(Destination, Value) KprcbOr16(KPRCB_AT16(Destination), Value)
#define InterlockedOrAcquire16(Destination, Value) KprcbOr16Acquire(KPRCB_AT16(Destination), Value)
#define InterlockedOr16Acquire(Destination, Value) InterlockedOrAcquire16(Destination, Value)
#define InterlockedOrRelease16(Destination, Value) KprcbOr16Release(KPRCB_AT16(Destination), Value)
#define InterlockedOr16Release(Destination, Value) InterlockedOrRelease16(Destination, Value)
#define InterlockedOrNoFence16(Destination, Value) KprcbOr16NoFence(KPRCB_AT16(Destination), Value)
#define InterlockedOr16NoFence(Destination, Value) InterlockedOrNoFence16(Destination, Value)
#define InterlockedXor16(Destination, Value) KprcbXor16(KPRCB_AT16(Destination), Value)
#define InterlockedXorAcquire16(Destination, Value) KprcbXor16Acquire(KPRCB_AT16(Destination), Value)
#define InterlockedXor16Acquire(Destination, Value) InterlockedXorAcquire16(Destination, Value)
#define InterlockedXorRelease16(Destination, Value) KprcbXor16Release(KPRCB_AT16(Destination), Value)
#define InterlockedXor16Release(Destination, Value) InterlockedXorRelease16(Destination, Value)
#define InterlockedXorNoFence16(Destination, Value) KprcbXor16NoFence(KPRCB_AT16(Destination), Value)
#define InterlockedXor16NoFence(Destination, Value) InterlockedXorNoFence16(Destination, Value)
#define InterlockedAdd16(Addend, Value) KprcbAdd16(KPRCB_AT16(Addend), Value)
#define InterlockedAddAcquire16(Addend, Value) KprcbAdd16Acquire(KPRCB_AT16(Addend), Value)
#define InterlockedAdd16Acquire(Addend, Value) InterlockedAddAcquire16(Addend, Value)
#define InterlockedAddRelease16(Addend, Value) KprcbAdd16Release(KPRCB_AT16(Addend), Value)
#define InterlockedAdd16Release(Addend, Value) InterlockedAddRelease16(Addend, Value)
#define InterlockedAddNoFence16(Addend, Value) KprcbAdd16NoFence(KPRCB_AT16(Addend), Value)
#define InterlockedAdd16NoFence(Addend, Value) InterlockedAddNoFence16(Addend, Value)
#define InterlockedIncrement16(Addend) KprcbIncrement16(KPRCB_AT16(Addend))
#define InterlockedIncrementAcquire16(Addend) KprcbIncrement16Acquire(KPRCB_AT16(Addend))
#define InterlockedIncrement16Acquire(Addend) InterlockedIncrementAcquire16(Addend)
#define InterlockedIncrementRelease16(Addend) KprcbIncrement16Release(KPRCB_AT16(Addend))
#define InterlockedIncrement16Release(Addend) InterlockedIncrementRelease16(Addend)
#define InterlockedIncrementNoFence16(Addend) KprcbIncrement16NoFence(KPRCB_AT16(Addend))
#define InterlockedIncrement16NoFence(Addend) InterlockedIncrementNoFence16(Addend)
#define InterlockedDecrement16(Addend) KprcbDecrement16(KPRCB_AT16(Addend))
#define InterlockedDecrementAcquire16(Addend) KprcbDecrement16Acquire(KPRCB_AT16(Addend))
#define InterlockedDecrement16Acquire(Addend) InterlockedDecrementAcquire16(Addend)
#define InterlockedDecrementRelease16(Addend) KprcbDecrement16Release(KPRCB_AT16(Addend))
#define InterlockedDecrement16Release(Addend) InterlockedDecrementRelease16(Addend)
#define InterlockedDecrementNoFence16(Addend) KprcbDecrement16NoFence(KPRCB_AT16(Addend))
#define InterlockedDecrement16NoFence(Addend) InterlockedDecrementNoFence16(Addend)
#define InterlockedExchange16(Target, Value) KprcbExchange16(KPRCB_AT16(Target), Value)
#define InterlockedExchangeAcquire16(Target, Value) KprcbExchange16Acquire(KPRCB_AT16(Target), Value)
#define InterlockedExchange16Acquire(Target, Value) InterlockedExchangeAcquire16(Target, Value)
#define InterlockedExchangeRelease16(Target, Value) KprcbExchange16Release(KPRCB_AT16(Target), Value)
#define InterlockedExchange16Release(Target, Value) InterlockedExchangeRelease16(Target, Value)
#define InterlockedExchangeNoFence16(Target, Value) KprcbExchange16NoFence(KPRCB_AT16(Target), Value)
#define InterlockedExchange16NoFence(Target, Value) InterlockedExchangeNoFence16(Target, Value)
#define InterlockedExchangeAdd16(Addend, Value) KprcbExchangeAdd16(KPRCB_AT16(Addend), Value)
#define InterlockedExchangeAddAcquire16(Addend, Value) KprcbExchangeAdd16Acquire(KPRCB_AT16(Addend), Value)
#define InterlockedExchangeAdd16Acquire(Addend, Value) InterlockedExchangeAddAcquire16(Addend, Value)
#define InterlockedExchangeAddRelease16(Addend, Value) KprcbExchangeAdd16Release(KPRCB_AT16(Addend), Value)
#define InterlockedExchangeAdd16Release(Addend, Value) InterlockedExchangeAddRelease16(Addend, Value)
#define InterlockedExchangeAddNoFence16(Addend, Value) KprcbExchangeAdd16NoFence(KPRCB_AT16(Addend), Value)
#define InterlockedExchangeAdd16NoFence(Addend, Value) InterlockedExchangeAddNoFence16(Addend, Value)
#define InterlockedCompareExchange16(Destination, Exchange, Comparand)                                                 \
    KprcbCompareExchange16(KPRCB_AT16(Destination), Exchange, Comparand)
#define InterlockedCompareExchangeAcquire16(Destination, Exchange, Comparand)                                          \
    KprcbCompareExchange16Acquire(KPRCB_AT16(Destination), Exchange, Comparand)
#define InterlockedCompareExchange16Acquire(Destination, Exchange, Comparand)                                          \
    InterlockedCompareExchangeAcquire16(Destination, Exchange, Comparand)
#define InterlockedCompareExchangeRelease16(Destination, Exchange, Comparand)                                          \
    KprcbCompareExchange16Release(KPRCB_AT16(Destination), Exchange, Comparand)
#define InterlockedCompareExchange16Release(Destination, Exchange, Comparand)                                          \
    InterlockedCompareExchangeRelease16(Destination, Exchange, Comparand)
#define InterlockedCompareExchangeNoFence16(Destination, Exchange, Comparand)                                          \
    KprcbCompareExchange16NoFence(KPRCB_AT16(Destination), Exchange, Comparand)
#define InterlockedCompareExchange16NoFence(Destination, Exchange, Comparand)                                          \
    InterlockedCompareExchangeNoFence16(Destination, Exchange, Comparand)

/* --- 8 bits --- */

#define InterlockedAnd8(Destination, Value) KprcbAnd8(KPRCB_AT8(Destination), Value)
#define InterlockedAndAcquire8(Destination, Value) KprcbAnd8Acquire(KPRCB_AT8(Destination), Value)
#define InterlockedAnd8Acquire(Destination, Value) InterlockedAndAcquire8(Destination, Value)
#define InterlockedAndRelease8(Destination, Value) KprcbAnd8Release(KPRCB_AT8(Destination), Value)
#define InterlockedAnd8Release(Destination, Value) InterlockedAndRelease8(Destination, Value)
#define InterlockedAndNoFence8(Destination, Value) KprcbAnd8NoFence(KPRCB_AT8(Destination), Value)
#define InterlockedAnd8NoFence(Destination, Value) InterlockedAndNoFence8(Destination, Value)
#define InterlockedOr8(Destination, Value) KprcbOr8(KPRCB_AT8(Destination), Value)
#define InterlockedOrAcquire8(Destination, Value) KprcbOr8Acquire(KPRCB_AT8(Destination), Value)
#define InterlockedOr8Acquire(Destination, Value) InterlockedOrAcquire8(Destination, Value)
#define InterlockedOrRelease8(Destination, Value) KprcbOr8Release(KPRCB_AT8(Destination), Value)
#define InterlockedOr8Release(Destination, Value) InterlockedOrRelease8(Destination, Value)
#define InterlockedOrNoFence8(Destination, Value) KprcbOr8NoFence(KPRCB_AT8(Destination), Value)
#define InterlockedOr8NoFence(Destination, Value) InterlockedOrNoFence8(Destination, Value)
#define InterlockedXor8(Destination, Value) KprcbXor8(KPRCB_AT8(Destination), Value)
#define InterlockedXorAcquire8(Destination, Value) KprcbXor8Acquire(KPRCB_AT8(Destination), Value)
#define InterlockedXor8Acquire(Destination, Value) InterlockedXorAcquire8(Destination, Value)
#define InterlockedXorRelease8(Destination, Value) KprcbXor8Release(KPRCB_AT8(Destination), Value)
#define InterlockedXor8Release(Destination, Value) InterlockedXorRelease8(Destination, Value)
#define InterlockedXorNoFence8(Destination, Value) KprcbXor8NoFence(KPRCB_AT8(Destination), Value)
#define InterlockedXor8NoFence(Destination, Value) InterlockedXorNoFence8(Destination, Value)
#define InterlockedAdd8(Addend, Value) KprcbAdd8(KPRCB_AT8(Addend), Value)
#define InterlockedAddAcquire8(Addend, Value) KprcbAdd8Acquire(KPRCB_AT8(Addend), Value)
#define InterlockedAdd8Acquire(Addend, Value) InterlockedAddAcquire8(Addend, Value)
#define InterlockedAddRelease8(Addend, Value) KprcbAdd8Release(KPRCB_AT8(Addend), Value)
#define InterlockedAdd8Release(Addend, Value) InterlockedAddRelease8(Addend, Value)
#define InterlockedAddNoFence8(Addend, Value) KprcbAdd8NoFence(KPRCB_AT8(Addend), Value)
#define InterlockedAdd8NoFence(Addend, Value) InterlockedAddNoFence8(Addend, Value)
#define InterlockedIncrement8(Addend) KprcbIncrement8(KPRCB_AT8(Addend))
#define InterlockedIncrementAcquire8(Addend) KprcbIncrement8Acquire(KPRCB_AT8(Addend))
#define InterlockedIncrement8Acquire(Addend) InterlockedIncrementAcquire8(Addend)
#define InterlockedIncrementRelease8(Addend) KprcbIncrement8Release(KPRCB_AT8(Addend))
#define InterlockedIncrement8Release(Addend) InterlockedIncrementRelease8(Addend)
#define InterlockedIncrementNoFence8(Addend) KprcbIncrement8NoFence(KPRCB_AT8(Addend))
#define InterlockedIncrement8NoFence(Addend) InterlockedIncrementNoFence8(Addend)
#define InterlockedDecrement8(Addend) KprcbDecrement8(KPRCB_AT8(Addend))
#define InterlockedDecrementAcquire8(Addend) KprcbDecrement8Acquire(KPRCB_AT8(Addend))
#define InterlockedDecrement8Acquire(Addend) InterlockedDecrementAcquire8(Addend)
#define InterlockedDecrementRelease8(Addend) KprcbDecrement8Release(KPRCB_AT8(Addend))
#define InterlockedDecrement8Release(Addend) InterlockedDecrementRelease8(Addend)
#define InterlockedDecrementNoFence8(Addend) KprcbDecrement8NoFence(KPRCB_AT8(Addend))
#define InterlockedDecrement8NoFence(Addend) InterlockedDecrementNoFence8(Addend)
#define InterlockedExchange8(Target, Value) KprcbExchange8(KPRCB_AT8(Target), Value)
#define InterlockedExchangeAcquire8(Target, Value) KprcbExchange8Acquire(KPRCB_AT8(Target), Value)
#define InterlockedExchange8Acquire(Target, Value) InterlockedExchangeAcquire8(Target, Value)
#define InterlockedExchangeRelease8(Target, Value) KprcbExchange8Release(KPRCB_AT8(Target), Value)
#define InterlockedExchange8Release(Target, Value) InterlockedExchangeRelease8(Target, Value)
#define InterlockedExchangeNoFence8(Target, Value) KprcbExchange8NoFence(KPRCB_AT8(Target), Value)
#define InterlockedExchange8NoFence(Target, Value) InterlockedExchangeNoFence8(Target, Value)
#define InterlockedExchangeAdd8(Addend, Value) KprcbExchangeAdd8(KPRCB_AT8(Addend), Value)
#define InterlockedExchangeAddAcquire8(Addend, Value) KprcbExchangeAdd8Acquire(KPRCB_AT8(Addend), Value)
#define InterlockedExchangeAdd8Acquire(Addend, Value) InterlockedExchangeAddAcquire8(Addend, Value)
#define InterlockedExchangeAddRelease8(Addend, Value) KprcbExchangeAdd8Release(KPRCB_AT8(Addend), Value)
#define InterlockedExchangeAdd8Release(Addend, Value) InterlockedExchangeAddRelease8(Addend, Value)
#define InterlockedExchangeAddNoFence8(Addend, Value) KprcbExchangeAdd8NoFence(KPRCB_AT8(Addend), Value)
#define InterlockedExchangeAdd8NoFence(Addend, Value) InterlockedExchangeAddNoFence8(Addend, Value)
#define InterlockedCompareExchange8(Destination, Exchange, Comparand)                                                  \
    KprcbCompareExchange8(KPRCB_AT8(Destination), Exchange, Comparand)
#define InterlockedCompareExchangeAcquire8(Destination, Exchange, Comparand)                                           \
    KprcbCompareExchange8Acquire(KPRCB_AT8(Destination), Exchange, Comparand)
#define InterlockedCompareExchange8Acquire(Destination, Exchange, Comparand)                                           \
    InterlockedCompareExchangeAcquire8(Destination, Exchange, Comparand)
#define InterlockedCompareExchangeRelease8(Destination, Exchange, Comparand)                                           \
    KprcbCompareExchange8Release(KPRCB_AT8(Destination), Exchange, Comparand)
#define InterlockedCompareExchange8Release(Destination, Exchange, Comparand)                                           \
    InterlockedCompareExchangeRelease8(Destination, Exchange, Comparand)
#define InterlockedCompareExchangeNoFence8(Destination, Exchange, Comparand)                                           \
    KprcbCompareExchange8NoFence(KPRCB_AT8(Destination), Exchange, Comparand)
#define InterlockedCompareExchange8NoFence(Destination, Exchange, Comparand)                                           \
    InterlockedCompareExchangeNoFence8(Destination, Exchange, Comparand)

/* --- Pointers, handles, sizes --- */

#define InterlockedExchangePointer(Target, Value) KprcbExchangePointer(KPRCB_AT_POINTER(Target), (PVOID)(Value))
#define InterlockedExchangePointerAcquire(Target, Value)                                                               \
    KprcbExchangePointerAcquire(KPRCB_AT_POINTER(Target), (PVOID)(Value))
#define InterlockedExchangePointerRelease(Target, Value)                                                               \
    KprcbExchangePointerRelease(KPRCB_AT_POINTER(Target), (PVOID)(Value))
#define InterlockedExchangePointerNoFence(Target, Value)                                                               \
    KprcbExchangePointerNoFence(KPRCB_AT_POINTER(Target), (PVOID)(Value))
#define InterlockedCompareExchangePointer(Destination, Exchange, Comparand)                                            \
    KprcbCompareExchangePointer(KPRCB_AT_POINTER(Destination), (PVOID)(Exchange), (PVOID)(Comparand))
#define InterlockedCompareExchangePointerAcquire(Destination, Exchange, Comparand)                                     \
    KprcbCompareExchangePointerAcquire(KPRCB_AT_POINTER(Destination), (PVOID)(Exchange), (PVOID)(Comparand))
#define InterlockedCompareExchangePointerRelease(Destination, Exchange, Comparand)                                     \
    KprcbCompareExchangePointerRelease(KPRCB_AT_POINTER(Destination), (PVOID)(Exchange), (PVOID)(Comparand))
#define InterlockedCompareExchangePointerNoFence(Destination, Exchange, Comparand)                                     \
    KprcbCompareExchangePointerNoFence(KPRCB_AT_POINTER(Destination), (PVOID)(Exchange), (PVOID)(Comparand))

#ifdef __LP64__
#define InterlockedIncrementSizeT(Addend) ((SIZE_T)InterlockedIncrement64(Addend))
#define InterlockedDecrementSizeT(Addend) ((SIZE_T)InterlockedDecrement64(Addend))
#define InterlockedExchangeAddSizeT(Addend, Value) ((SIZE_T)InterlockedExchangeAdd64(Addend, (LONG64)(Value)))
#define InterlockedAndAffinity(Destination, Value) ((KAFFINITY)InterlockedAnd64(Destination, (LONG64)(Value)))
#define InterlockedOrAffinity(Destination, Value) ((KAFFINITY)InterlockedOr64(Destination, (LONG64)(Value)))
#else
#define InterlockedIncrementSizeT(Addend) ((SIZE_T)InterlockedIncrement(Addend))
#define InterlockedDecrementSizeT(Addend) ((SIZE_T)InterlockedDecrement(Addend))
#define InterlockedExchangeAddSizeT(Addend, Value) ((SIZE_T)InterlockedExchangeAdd(Addend, (LONG)(Value)))
#define InterlockedAndAffinity(Destination, Value) ((KAFFINITY)InterlockedAnd(Destination, (LONG)(Value)))
#define InterlockedOrAffinity(Destination, Value) ((KAFFINITY)InterlockedOr(Destination, (LONG)(Value)))
#endif

#if defined(__x86_64__) || defined(__aarch64__)
/*
 * Compares 16 bytes, aligned to 16, with ComparandResult[0..1] and stores ExchangeLow and ExchangeHigh if they are
 * equal.
 */
#define InterlockedCompareExchange128(Destination, ExchangeHigh, ExchangeLow, ComparandResult)                         \
    KprcbCompareExchange128((LONG64 volatile *)(Destination), ExchangeHigh, ExchangeLow, (LONG64 *)(ComparandResult))
#define _InterlockedCompareExchange128(Destination, ExchangeHigh, ExchangeLow, ComparandResult)                        \
    InterlockedCompareExchange128(Destination, ExchangeHigh, ExchangeLow, ComparandResult)
#endif

/* --- Flags (WDK: RtlInterlockedXxxBits) --- */

#define RtlInterlockedSetBits(Flags, Flag) InterlockedOr(Flags, (LONG)(Flag))
#define RtlInterlockedAndBits(Flags, Flag) InterlockedAnd(Flags, (LONG)(Flag))
#define RtlInterlockedClearBits(Flags, Flag) InterlockedAnd(Flags, (LONG)~(Flag))
#define RtlInterlockedXorBits(Flags, Flag) InterlockedXor(Flags, (LONG)(Flag))
#define RtlInterlockedSetBitsDiscardReturn(Flags, Flag) ((VOID)RtlInterlockedSetBits(Flags, Flag))
#define RtlInterlockedAndBitsDiscardReturn(Flags, Flag) ((VOID)RtlInterlockedAndBits(Flags, Flag))
#define RtlInterlockedClearBitsDiscardReturn(Flags, Flag) ((VOID)RtlInterlockedClearBits(Flags, Flag))

/* --- The intrinsics' own names --- */

#define _InterlockedAnd(Destination, Value) InterlockedAnd(Destination, Value)
#define _InterlockedOr(Destination, Value) InterlockedOr(Destination, Value)
#define _InterlockedXor(Destination, Value) InterlockedXor(Destination, Value)
#define _InterlockedAdd(Addend, Value) InterlockedAdd(Addend, Value)
#define _InterlockedIncrement(Addend) InterlockedIncrement(Addend)
#define _InterlockedDecrement(Addend) InterlockedDecrement(Addend)
#define _InterlockedExchange(Target, Value) InterlockedExchange(Target, Value)
#define _InterlockedExchangeAdd(Addend, Value) InterlockedExchangeAdd(Addend, Value)
#define _InterlockedCompareExchange(Destination, Exchange, Comparand)                                                  \
    InterlockedCompareExchange(Destination, Exchange, Comparand)
#define _InterlockedAnd64(Destination, Value) InterlockedAnd64(Destination, Value)
#define _InterlockedOr64(Destination, Value) InterlockedOr64(Destination, Value)
#define _InterlockedXor64(Destination, Value) InterlockedXor64(Destination, Value)
#define _InterlockedAdd64(Addend, Value) InterlockedAdd64(Addend, Value)
#define _InterlockedIncrement64(Addend) InterlockedIncrement64(Addend)
#define _InterlockedDecrement64(Addend) InterlockedDecrement64(Addend)
#define _InterlockedExchange64(Target, Value) InterlockedExchange64(Target, Value)
#define _InterlockedExchangeAdd64(Addend, Value) InterlockedExchangeAdd64(Addend, Value)
#define _InterlockedCompareExchange64(Destination, Exchange, Comparand)                                                \
    InterlockedCompareExchange64(Destination, Exchange, Comparand)
#define _InterlockedAnd16(Destination, Value) InterlockedAnd16(Destination, Value)
#define _InterlockedOr16(Destination, Value) InterlockedOr16(Destination, Value)
#define _InterlockedXor16(Destination, Value) InterlockedXor16(Destination, Value)
#define _InterlockedIncrement16(Addend) InterlockedIncrement16(Addend)
#define _InterlockedDecrement16(Addend) InterlockedDecrement16(Addend)
#define _InterlockedExchange16(Target, Value) InterlockedExchange16(Target, Value)
#define _InterlockedExchangeAdd16(Addend, Value) InterlockedExchangeAdd16(Addend, Value)
#define _InterlockedCompareExchange16(Destination, Exchange, Comparand)                                                \
    InterlockedCompareExchange16(Destination, Exchange, Comparand)
#define _InterlockedAnd8(Destination, Value) InterlockedAnd8(Destination, Value)
#define _InterlockedOr8(Destination, Value) InterlockedOr8(Destination, Value)
#define _InterlockedXor8(Destination, Value) InterlockedXor8(Destination, Value)
#define _InterlockedIncrement8(Addend) InterlockedIncrement8(Addend)
#define _InterlockedDecrement8(Addend) InterlockedDecrement8(Addend)
#define _InterlockedExchange8(Target, Value) InterlockedExchange8(Target, Value)
#define _InterlockedExchangeAdd8(Addend, Value) InterlockedExchangeAdd8(Addend, Value)
#define _InterlockedCompareExchange8(Destination, Exchange, Comparand)                                                 \
    InterlockedCompareExchange8(Destination, Exchange, Comparand)
#define _interlockedbittestandset(Base, Bit) InterlockedBitTestAndSet(Base, Bit)
#define _interlockedbittestandset64(Base, Bit) InterlockedBitTestAndSet64(Base, Bit)
#define _interlockedbittestandreset(Base, Bit) InterlockedBitTestAndReset(Base, Bit)
#define _interlockedbittestandreset64(Base, Bit) InterlockedBitTestAndReset64(Base, Bit)
#define _InterlockedExchangePointer(Target, Value) InterlockedExchangePointer(Target, Value)
#define _InterlockedCompareExchangePointer(Destination, Exchange, Comparand)                                           \
    InterlockedCompareExchangePointer(Destination, Exchange, Comparand)

#endif
