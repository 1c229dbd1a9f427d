/*
 * kprcb_memory.h - copying, filling and comparing memory, empty strings, pages and alignment (WDK: wdm.h). Any IRQL.
 * Lengths are in bytes. A page has 4,096 bytes, as in NT on these processors, whatever the host's size.
 *
 * Test: tests/nt/test_memory.c.
 */
#ifndef KPRCB_NT_MEMORY_H
#define KPRCB_NT_MEMORY_H

#include <kprcb/nt/ntdef.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RtlZeroMemory(Destination, Length) memset((Destination), 0, (Length))
#define RtlFillMemory(Destination, Length, Fill) memset((Destination), (Fill), (Length))
#define RtlCopyMemory(Destination, Source, Length) memcpy((Destination), (Source), (Length))
#define RtlCopyMemoryNonTemporal(Destination, Source, Length) memcpy((Destination), (Source), (Length))
#define RtlMoveMemory(Destination, Source, Length) memmove((Destination), (Source), (Length))
#define RtlEqualMemory(Destination, Source, Length) (memcmp((Destination), (Source), (Length)) == 0)
#define RtlCopyBytes RtlCopyMemory
#define RtlZeroBytes RtlZeroMemory
#define RtlFillBytes RtlFillMemory

/* RtlCompareMemory (WDK: same). The number of leading bytes that are equal. */
FORCEINLINE SIZE_T RtlCompareMemory(const VOID *Source1, const VOID *Source2, SIZE_T Length)
{
    const UCHAR *Bytes1 = (const UCHAR *)Source1;
    const UCHAR *Bytes2 = (const UCHAR *)Source2;
    SIZE_T Equal = 0;

    while (Equal < Length && Bytes1[Equal] == Bytes2[Equal]) {
        Equal++;
    }
    return Equal;
}

/* RtlSecureZeroMemory (WDK: same). Zeroes what nobody reads any more; the compiler does not drop it. */
FORCEINLINE PVOID RtlSecureZeroMemory(PVOID Pointer, SIZE_T Length)
{
    memset(Pointer, 0, Length);
    __asm__ __volatile__("" : : "r"(Pointer) : "memory");
    return Pointer;
}

/* RtlInitEmptyUnicodeString, RtlInitEmptyAnsiString (WDK: same). Length 0 in a buffer of BufferSize bytes. */
FORCEINLINE VOID RtlInitEmptyUnicodeString(PUNICODE_STRING String, PWCHAR Buffer, USHORT BufferSize)
{
    String->Length = 0;
    String->MaximumLength = BufferSize;
    String->Buffer = Buffer;
}

FORCEINLINE VOID RtlInitEmptyAnsiString(PANSI_STRING String, PCHAR Buffer, USHORT BufferSize)
{
    String->Length = 0;
    String->MaximumLength = BufferSize;
    String->Buffer = Buffer;
}

/* --- Alignment, by a power of two --- */

#define ALIGN_DOWN_BY(Length, Alignment) ((ULONG_PTR)(Length) & ~((ULONG_PTR)(Alignment)-1))
#define ALIGN_UP_BY(Length, Alignment) ALIGN_DOWN_BY((ULONG_PTR)(Length) + (Alignment)-1, Alignment)
#define ALIGN_DOWN(Length, Type) ALIGN_DOWN_BY(Length, sizeof(Type))
#define ALIGN_UP(Length, Type) ALIGN_UP_BY(Length, sizeof(Type))
#define ALIGN_DOWN_POINTER_BY(Address, Alignment) ((PVOID)ALIGN_DOWN_BY(Address, Alignment))
#define ALIGN_UP_POINTER_BY(Address, Alignment) ((PVOID)ALIGN_UP_BY(Address, Alignment))
#define ALIGN_DOWN_POINTER(Address, Type) ((PVOID)ALIGN_DOWN(Address, Type))
#define ALIGN_UP_POINTER(Address, Type) ((PVOID)ALIGN_UP(Address, Type))
#define IS_ALIGNED(Address, Alignment) (((ULONG_PTR)(Address) & ((ULONG_PTR)(Alignment)-1)) == 0)
#define ROUND_TO_SIZE(Length, Alignment) ALIGN_UP_BY(Length, Alignment)

/* --- Pages --- */

#ifndef PAGE_SIZE
#define PAGE_SIZE 0x1000
#endif
#ifndef PAGE_SHIFT
#define PAGE_SHIFT 12
#endif
#define ROUND_TO_PAGES(Size) ALIGN_UP_BY(Size, PAGE_SIZE)
#define BYTES_TO_PAGES(Size) (((Size) >> PAGE_SHIFT) + (((Size) & (PAGE_SIZE - 1)) != 0))
#define BYTE_OFFSET(Address) ((ULONG)((ULONG_PTR)(Address) & (PAGE_SIZE - 1)))
#define PAGE_ALIGN(Address) ((PVOID)ALIGN_DOWN_BY(Address, PAGE_SIZE))
#define ADDRESS_AND_SIZE_TO_SPAN_PAGES(Address, Size)                                                                  \
    ((ULONG)((BYTE_OFFSET(Address) + (SIZE_T)(Size) + (PAGE_SIZE - 1)) >> PAGE_SHIFT))

#ifdef __cplusplus
}
#endif

#endif
