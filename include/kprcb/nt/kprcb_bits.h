/*
 * kprcb_bits.h - bit scans, bit tests, counts, rotations, byte order, prefetch and compiler barriers (WDK: wdm.h;
 * Visual C++: intrin.h). Any IRQL.
 *
 * BitScanXxx stores the index through whatever type Index points to: drivers pass unsigned long *, which has 64 bits
 * on a 64-bit host. The macros also stand before clang's intrinsics of the same names, so that both compilers do the
 * same.
 *
 * Test: tests/nt/test_bits.c.
 */
#ifndef KPRCB_NT_BITS_H
#define KPRCB_NT_BITS_H

#include <kprcb/nt/kprcb_atomic.h>
#include <kprcb/processor.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * --- Scans: 1 and *Index the number of the lowest (Forward) or highest (Reverse) set bit; 0, *Index untouched, for 0
 * ---
 */

/* A bit number, or -1 for 0. */
FORCEINLINE INT KprcbLowestBit(ULONG64 Mask)
{
    return Mask == 0 ? -1 : __builtin_ctzll(Mask);
}

FORCEINLINE INT KprcbHighestBit(ULONG64 Mask)
{
    return Mask == 0 ? -1 : 63 - __builtin_clzll(Mask);
}

#define KPRCB_SCAN(Index, Bit)                                                                                         \
    (__extension__({                                                                                                   \
        INT KprcbScannedBit = (Bit);                                                                                   \
        if (KprcbScannedBit >= 0) {                                                                                    \
            *(Index) = (__typeof__(*(Index)))KprcbScannedBit;                                                          \
        }                                                                                                              \
        (UCHAR)(KprcbScannedBit >= 0);                                                                                 \
    }))

#define BitScanForward(Index, Mask) KPRCB_SCAN(Index, KprcbLowestBit((ULONG)(Mask)))
#define BitScanReverse(Index, Mask) KPRCB_SCAN(Index, KprcbHighestBit((ULONG)(Mask)))
#define BitScanForward64(Index, Mask) KPRCB_SCAN(Index, KprcbLowestBit((ULONG64)(Mask)))
#define BitScanReverse64(Index, Mask) KPRCB_SCAN(Index, KprcbHighestBit((ULONG64)(Mask)))
#define _BitScanForward(Index, Mask) BitScanForward(Index, Mask)
#define _BitScanReverse(Index, Mask) BitScanReverse(Index, Mask)
#define _BitScanForward64(Index, Mask) BitScanForward64(Index, Mask)
#define _BitScanReverse64(Index, Mask) BitScanReverse64(Index, Mask)

/* --- Tests, not interlocked: the old bit. The number may lie outside the first word. --- */

FORCEINLINE UCHAR KprcbBitTest(KPRCB_ANY32 const *Base, LONG Bit)
{
    return ((ULONG)Base[Bit >> 5] >> (Bit & 31)) & 1;
}

FORCEINLINE UCHAR KprcbBitTestAndChange(KPRCB_ANY32 *Base, LONG Bit, ULONG Keep, ULONG Flip)
{
    ULONG Mask = (ULONG)1 << (Bit & 31);
    ULONG Old = (ULONG)Base[Bit >> 5];

    Base[Bit >> 5] = (LONG)((Old & ~(Mask & ~Keep)) ^ (Mask & Flip));
    return (Old & Mask) != 0;
}

FORCEINLINE UCHAR KprcbBitTest64(KPRCB_ANY64 const *Base, LONG64 Bit)
{
    return ((ULONG64)Base[Bit >> 6] >> (Bit & 63)) & 1;
}

FORCEINLINE UCHAR KprcbBitTestAndChange64(KPRCB_ANY64 *Base, LONG64 Bit, ULONG64 Keep, ULONG64 Flip)
{
    ULONG64 Mask = (ULONG64)1 << (Bit & 63);
    ULONG64 Old = (ULONG64)Base[Bit >> 6];

    Base[Bit >> 6] = (LONG64)((Old & ~(Mask & ~Keep)) ^ (Mask & Flip));
    return (Old & Mask) != 0;
}

#define KPRCB_ALL_BITS (~(ULONG64)0)
#define BitTest(Base, Bit) KprcbBitTest((KPRCB_ANY32 const *)(Base), Bit)
#define BitTestAndSet(Base, Bit) KprcbBitTestAndChange((KPRCB_ANY32 *)(Base), Bit, 0, (ULONG)KPRCB_ALL_BITS)
#define BitTestAndReset(Base, Bit) KprcbBitTestAndChange((KPRCB_ANY32 *)(Base), Bit, 0, 0)
#define BitTestAndComplement(Base, Bit)                                                                                \
    KprcbBitTestAndChange((KPRCB_ANY32 *)(Base), Bit, (ULONG)KPRCB_ALL_BITS, (ULONG)KPRCB_ALL_BITS)
#define BitTest64(Base, Bit) KprcbBitTest64((KPRCB_ANY64 const *)(Base), Bit)
#define BitTestAndSet64(Base, Bit) KprcbBitTestAndChange64((KPRCB_ANY64 *)(Base), Bit, 0, KPRCB_ALL_BITS)
#define BitTestAndReset64(Base, Bit) KprcbBitTestAndChange64((KPRCB_ANY64 *)(Base), Bit, 0, 0)
#define BitTestAndComplement64(Base, Bit)                                                                              \
    KprcbBitTestAndChange64((KPRCB_ANY64 *)(Base), Bit, KPRCB_ALL_BITS, KPRCB_ALL_BITS)
#define _bittest(Base, Bit) BitTest(Base, Bit)
#define _bittestandset(Base, Bit) BitTestAndSet(Base, Bit)
#define _bittestandreset(Base, Bit) BitTestAndReset(Base, Bit)
#define _bittestandcomplement(Base, Bit) BitTestAndComplement(Base, Bit)
#define _bittest64(Base, Bit) BitTest64(Base, Bit)
#define _bittestandset64(Base, Bit) BitTestAndSet64(Base, Bit)
#define _bittestandreset64(Base, Bit) BitTestAndReset64(Base, Bit)
#define _bittestandcomplement64(Base, Bit) BitTestAndComplement64(Base, Bit)

/* --- Counts: bits of the width that the name says; leading and trailing zeros of 0 are the width --- */

FORCEINLINE ULONG KprcbCountZeros(INT Bit, INT Width, BOOLEAN Leading)
{
    return (ULONG)(Bit < 0 ? Width : Leading ? Width - 1 - Bit : Bit);
}

#define __popcnt16(Value) ((USHORT)__builtin_popcount((USHORT)(Value)))
#define __popcnt(Value) ((ULONG)__builtin_popcount((ULONG)(Value)))
#define __popcnt64(Value) ((ULONG64)__builtin_popcountll((ULONG64)(Value)))
#define PopulationCount64(Value) __popcnt64(Value)
#define _CountLeadingZeros(Value) KprcbCountZeros(KprcbHighestBit((ULONG)(Value)), 32, TRUE)
#define _CountLeadingZeros64(Value) KprcbCountZeros(KprcbHighestBit((ULONG64)(Value)), 64, TRUE)
#define _CountTrailingZeros(Value) KprcbCountZeros(KprcbLowestBit((ULONG)(Value)), 32, FALSE)
#define _CountTrailingZeros64(Value) KprcbCountZeros(KprcbLowestBit((ULONG64)(Value)), 64, FALSE)

/* --- Rotations, by any count --- */

FORCEINLINE ULONG KprcbRotateLeft32(ULONG Value, INT Count)
{
    return (Value << (Count & 31)) | (Value >> (-Count & 31));
}

FORCEINLINE ULONG64 KprcbRotateLeft64(ULONG64 Value, INT Count)
{
    return (Value << (Count & 63)) | (Value >> (-Count & 63));
}

#define RotateLeft32(Value, Count) KprcbRotateLeft32(Value, Count)
#define RotateLeft64(Value, Count) KprcbRotateLeft64(Value, Count)
#define RotateRight32(Value, Count) KprcbRotateLeft32(Value, -(Count))
#define RotateRight64(Value, Count) KprcbRotateLeft64(Value, -(Count))
#ifndef _rotl
#define _rotl(Value, Count) KprcbRotateLeft32(Value, Count)
#endif
#ifndef _rotr
#define _rotr(Value, Count) KprcbRotateLeft32(Value, -(Count))
#endif
#define _rotl64(Value, Count) KprcbRotateLeft64(Value, Count)
#define _rotr64(Value, Count) KprcbRotateLeft64(Value, -(Count))

/* --- Byte order --- */

#define RtlUshortByteSwap(Value) __builtin_bswap16((USHORT)(Value))
#define RtlUlongByteSwap(Value) ((ULONG)__builtin_bswap32((ULONG)(Value)))
#define RtlUlonglongByteSwap(Value) __builtin_bswap64((ULONGLONG)(Value))
#define _byteswap_ushort(Value) RtlUshortByteSwap(Value)
#define _byteswap_ulong(Value) RtlUlongByteSwap(Value)
#define _byteswap_uint64(Value) RtlUlonglongByteSwap(Value)

/* --- Prefetch and barriers. KeMemoryBarrier is in processor.h. --- */

#define PrefetchForWrite(Address) __builtin_prefetch((const void *)(Address), 1)
#define PreFetchCacheLine(Level, Address) __builtin_prefetch((const void *)(Address), 0)
#define PF_TEMPORAL_LEVEL_1 1
#define PF_TEMPORAL_LEVEL_2 2
#define PF_TEMPORAL_LEVEL_3 3
#define PF_NON_TEMPORAL_LEVEL_ALL 0

#define MemoryBarrier() KeMemoryBarrier()
#define KeMemoryBarrierWithoutFence() __atomic_signal_fence(__ATOMIC_SEQ_CST)
#define _ReadWriteBarrier() __atomic_signal_fence(__ATOMIC_SEQ_CST)
#define _ReadBarrier() __atomic_signal_fence(__ATOMIC_ACQUIRE)
#define _WriteBarrier() __atomic_signal_fence(__ATOMIC_RELEASE)

#ifdef __cplusplus
}
#endif

#endif
