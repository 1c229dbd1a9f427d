/*
 * kprcb_readwrite.h - ReadXxx and WriteXxx: single loads and stores with an order (WDK: wdm.h). Any IRQL.
 *
 * Acquire: nothing that follows the load moves before it. Release: nothing that precedes the store moves behind it.
 * NoFence and Raw: one access, neither torn nor repeated, in no order. An object has the width of the name; see
 * kprcb_interlocked.h.
 *
 * Test: tests/nt/test_interlocked.c.
 */
#ifndef KPRCB_NT_READWRITE_H
#define KPRCB_NT_READWRITE_H

#include <kprcb/nt/kprcb_atomic.h>

#define ReadAcquire(Source) __atomic_load_n(KPRCB_AT32(Source), __ATOMIC_ACQUIRE)
#define ReadNoFence(Source) __atomic_load_n(KPRCB_AT32(Source), __ATOMIC_RELAXED)
#define ReadRaw(Source) __atomic_load_n(KPRCB_AT32(Source), __ATOMIC_RELAXED)
#define WriteRelease(Destination, Value) __atomic_store_n(KPRCB_AT32(Destination), (LONG)(Value), __ATOMIC_RELEASE)
#define WriteNoFence(Destination, Value) __atomic_store_n(KPRCB_AT32(Destination), (LONG)(Value), __ATOMIC_RELAXED)
#define WriteRaw(Destination, Value) __atomic_store_n(KPRCB_AT32(Destination), (LONG)(Value), __ATOMIC_RELAXED)

#define ReadAcquire8(Source) __atomic_load_n(KPRCB_AT8(Source), __ATOMIC_ACQUIRE)
#define ReadNoFence8(Source) __atomic_load_n(KPRCB_AT8(Source), __ATOMIC_RELAXED)
#define ReadRaw8(Source) __atomic_load_n(KPRCB_AT8(Source), __ATOMIC_RELAXED)
#define WriteRelease8(Destination, Value) __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELEASE)
#define WriteNoFence8(Destination, Value) __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELAXED)
#define WriteRaw8(Destination, Value) __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELAXED)

#define ReadAcquire16(Source) __atomic_load_n(KPRCB_AT16(Source), __ATOMIC_ACQUIRE)
#define ReadNoFence16(Source) __atomic_load_n(KPRCB_AT16(Source), __ATOMIC_RELAXED)
#define ReadRaw16(Source) __atomic_load_n(KPRCB_AT16(Source), __ATOMIC_RELAXED)
#define WriteRelease16(Destination, Value) __atomic_store_n(KPRCB_AT16(Destination), (SHORT)(Value), __ATOMIC_RELEASE)
#define WriteNoFence16(Destination, Value) __atomic_store_n(KPRCB_AT16(Destination), (SHORT)(Value), __ATOMIC_RELAXED)
#define WriteRaw16(Destination, Value) __atomic_store_n(KPRCB_AT16(Destination), (SHORT)(Value), __ATOMIC_RELAXED)

#define ReadAcquire64(Source) __atomic_load_n(KPRCB_AT64(Source), __ATOMIC_ACQUIRE)
#define ReadNoFence64(Source) __atomic_load_n(KPRCB_AT64(Source), __ATOMIC_RELAXED)
#define ReadRaw64(Source) __atomic_load_n(KPRCB_AT64(Source), __ATOMIC_RELAXED)
#define WriteRelease64(Destination, Value) __atomic_store_n(KPRCB_AT64(Destination), (LONG64)(Value), __ATOMIC_RELEASE)
#define WriteNoFence64(Destination, Value) __atomic_store_n(KPRCB_AT64(Destination), (LONG64)(Value), __ATOMIC_RELAXED)
#define WriteRaw64(Destination, Value) __atomic_store_n(KPRCB_AT64(Destination), (LONG64)(Value), __ATOMIC_RELAXED)

#define ReadBooleanAcquire(Source) ((BOOLEAN)__atomic_load_n(KPRCB_AT8(Source), __ATOMIC_ACQUIRE))
#define ReadBooleanNoFence(Source) ((BOOLEAN)__atomic_load_n(KPRCB_AT8(Source), __ATOMIC_RELAXED))
#define ReadBooleanRaw(Source) ((BOOLEAN)__atomic_load_n(KPRCB_AT8(Source), __ATOMIC_RELAXED))
#define WriteBooleanRelease(Destination, Value)                                                                        \
    __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELEASE)
#define WriteBooleanNoFence(Destination, Value)                                                                        \
    __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELAXED)
#define WriteBooleanRaw(Destination, Value) __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELAXED)

#define ReadUCharAcquire(Source) ((UCHAR)__atomic_load_n(KPRCB_AT8(Source), __ATOMIC_ACQUIRE))
#define ReadUCharNoFence(Source) ((UCHAR)__atomic_load_n(KPRCB_AT8(Source), __ATOMIC_RELAXED))
#define ReadUCharRaw(Source) ((UCHAR)__atomic_load_n(KPRCB_AT8(Source), __ATOMIC_RELAXED))
#define WriteUCharRelease(Destination, Value) __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELEASE)
#define WriteUCharNoFence(Destination, Value) __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELAXED)
#define WriteUCharRaw(Destination, Value) __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELAXED)

#define ReadInt8Acquire(Source) ((INT8)__atomic_load_n(KPRCB_AT8(Source), __ATOMIC_ACQUIRE))
#define ReadInt8NoFence(Source) ((INT8)__atomic_load_n(KPRCB_AT8(Source), __ATOMIC_RELAXED))
#define ReadInt8Raw(Source) ((INT8)__atomic_load_n(KPRCB_AT8(Source), __ATOMIC_RELAXED))
#define WriteInt8Release(Destination, Value) __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELEASE)
#define WriteInt8NoFence(Destination, Value) __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELAXED)
#define WriteInt8Raw(Destination, Value) __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELAXED)

#define ReadUInt8Acquire(Source) ((UINT8)__atomic_load_n(KPRCB_AT8(Source), __ATOMIC_ACQUIRE))
#define ReadUInt8NoFence(Source) ((UINT8)__atomic_load_n(KPRCB_AT8(Source), __ATOMIC_RELAXED))
#define ReadUInt8Raw(Source) ((UINT8)__atomic_load_n(KPRCB_AT8(Source), __ATOMIC_RELAXED))
#define WriteUInt8Release(Destination, Value) __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELEASE)
#define WriteUInt8NoFence(Destination, Value) __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELAXED)
#define WriteUInt8Raw(Destination, Value) __atomic_store_n(KPRCB_AT8(Destination), (CHAR)(Value), __ATOMIC_RELAXED)

#define ReadUShortAcquire(Source) ((USHORT)__atomic_load_n(KPRCB_AT16(Source), __ATOMIC_ACQUIRE))
#define ReadUShortNoFence(Source) ((USHORT)__atomic_load_n(KPRCB_AT16(Source), __ATOMIC_RELAXED))
#define ReadUShortRaw(Source) ((USHORT)__atomic_load_n(KPRCB_AT16(Source), __ATOMIC_RELAXED))
#define WriteUShortRelease(Destination, Value)                                                                         \
    __atomic_store_n(KPRCB_AT16(Destination), (SHORT)(Value), __ATOMIC_RELEASE)
#define WriteUShortNoFence(Destination, Value)                                                                         \
    __atomic_store_n(KPRCB_AT16(Destination), (SHORT)(Value), __ATOMIC_RELAXED)
#define WriteUShortRaw(Destination, Value) __atomic_store_n(KPRCB_AT16(Destination), (SHORT)(Value), __ATOMIC_RELAXED)

#define ReadInt16Acquire(Source) ((SHORT)__atomic_load_n(KPRCB_AT16(Source), __ATOMIC_ACQUIRE))
#define ReadInt16NoFence(Source) ((SHORT)__atomic_load_n(KPRCB_AT16(Source), __ATOMIC_RELAXED))
#define ReadInt16Raw(Source) ((SHORT)__atomic_load_n(KPRCB_AT16(Source), __ATOMIC_RELAXED))
#define WriteInt16Release(Destination, Value)                                                                          \
    __atomic_store_n(KPRCB_AT16(Destination), (SHORT)(Value), __ATOMIC_RELEASE)
#define WriteInt16NoFence(Destination, Value)                                                                          \
    __atomic_store_n(KPRCB_AT16(Destination), (SHORT)(Value), __ATOMIC_RELAXED)
#define WriteInt16Raw(Destination, Value) __atomic_store_n(KPRCB_AT16(Destination), (SHORT)(Value), __ATOMIC_RELAXED)

#define ReadUInt16Acquire(Source) ((USHORT)__atomic_load_n(KPRCB_AT16(Source), __ATOMIC_ACQUIRE))
#define ReadUInt16NoFence(Source) ((USHORT)__atomic_load_n(KPRCB_AT16(Source), __ATOMIC_RELAXED))
#define ReadUInt16Raw(Source) ((USHORT)__atomic_load_n(KPRCB_AT16(Source), __ATOMIC_RELAXED))
#define WriteUInt16Release(Destination, Value)                                                                         \
    __atomic_store_n(KPRCB_AT16(Destination), (SHORT)(Value), __ATOMIC_RELEASE)
#define WriteUInt16NoFence(Destination, Value)                                                                         \
    __atomic_store_n(KPRCB_AT16(Destination), (SHORT)(Value), __ATOMIC_RELAXED)
#define WriteUInt16Raw(Destination, Value) __atomic_store_n(KPRCB_AT16(Destination), (SHORT)(Value), __ATOMIC_RELAXED)

#define ReadULongAcquire(Source) ((ULONG)__atomic_load_n(KPRCB_AT32(Source), __ATOMIC_ACQUIRE))
#define ReadULongNoFence(Source) ((ULONG)__atomic_load_n(KPRCB_AT32(Source), __ATOMIC_RELAXED))
#define ReadULongRaw(Source) ((ULONG)__atomic_load_n(KPRCB_AT32(Source), __ATOMIC_RELAXED))
#define WriteULongRelease(Destination, Value) __atomic_store_n(KPRCB_AT32(Destination), (LONG)(Value), __ATOMIC_RELEASE)
#define WriteULongNoFence(Destination, Value) __atomic_store_n(KPRCB_AT32(Destination), (LONG)(Value), __ATOMIC_RELAXED)
#define WriteULongRaw(Destination, Value) __atomic_store_n(KPRCB_AT32(Destination), (LONG)(Value), __ATOMIC_RELAXED)

#define ReadInt32Acquire(Source) ((INT32)__atomic_load_n(KPRCB_AT32(Source), __ATOMIC_ACQUIRE))
#define ReadInt32NoFence(Source) ((INT32)__atomic_load_n(KPRCB_AT32(Source), __ATOMIC_RELAXED))
#define ReadInt32Raw(Source) ((INT32)__atomic_load_n(KPRCB_AT32(Source), __ATOMIC_RELAXED))
#define WriteInt32Release(Destination, Value) __atomic_store_n(KPRCB_AT32(Destination), (LONG)(Value), __ATOMIC_RELEASE)
#define WriteInt32NoFence(Destination, Value) __atomic_store_n(KPRCB_AT32(Destination), (LONG)(Value), __ATOMIC_RELAXED)
#define WriteInt32Raw(Destination, Value) __atomic_store_n(KPRCB_AT32(Destination), (LONG)(Value), __ATOMIC_RELAXED)

#define ReadUInt32Acquire(Source) ((UINT32)__atomic_load_n(KPRCB_AT32(Source), __ATOMIC_ACQUIRE))
#define ReadUInt32NoFence(Source) ((UINT32)__atomic_load_n(KPRCB_AT32(Source), __ATOMIC_RELAXED))
#define ReadUInt32Raw(Source) ((UINT32)__atomic_load_n(KPRCB_AT32(Source), __ATOMIC_RELAXED))
#define WriteUInt32Release(Destination, Value)                                                                         \
    __atomic_store_n(KPRCB_AT32(Destination), (LONG)(Value), __ATOMIC_RELEASE)
#define WriteUInt32NoFence(Destination, Value)                                                                         \
    __atomic_store_n(KPRCB_AT32(Destination), (LONG)(Value), __ATOMIC_RELAXED)
#define WriteUInt32Raw(Destination, Value) __atomic_store_n(KPRCB_AT32(Destination), (LONG)(Value), __ATOMIC_RELAXED)

#define ReadULong64Acquire(Source) ((ULONG64)__atomic_load_n(KPRCB_AT64(Source), __ATOMIC_ACQUIRE))
#define ReadULong64NoFence(Source) ((ULONG64)__atomic_load_n(KPRCB_AT64(Source), __ATOMIC_RELAXED))
#define ReadULong64Raw(Source) ((ULONG64)__atomic_load_n(KPRCB_AT64(Source), __ATOMIC_RELAXED))
#define WriteULong64Release(Destination, Value)                                                                        \
    __atomic_store_n(KPRCB_AT64(Destination), (LONG64)(Value), __ATOMIC_RELEASE)
#define WriteULong64NoFence(Destination, Value)                                                                        \
    __atomic_store_n(KPRCB_AT64(Destination), (LONG64)(Value), __ATOMIC_RELAXED)
#define WriteULong64Raw(Destination, Value) __atomic_store_n(KPRCB_AT64(Destination), (LONG64)(Value), __ATOMIC_RELAXED)

#define ReadInt64Acquire(Source) ((INT64)__atomic_load_n(KPRCB_AT64(Source), __ATOMIC_ACQUIRE))
#define ReadInt64NoFence(Source) ((INT64)__atomic_load_n(KPRCB_AT64(Source), __ATOMIC_RELAXED))
#define ReadInt64Raw(Source) ((INT64)__atomic_load_n(KPRCB_AT64(Source), __ATOMIC_RELAXED))
#define WriteInt64Release(Destination, Value)                                                                          \
    __atomic_store_n(KPRCB_AT64(Destination), (LONG64)(Value), __ATOMIC_RELEASE)
#define WriteInt64NoFence(Destination, Value)                                                                          \
    __atomic_store_n(KPRCB_AT64(Destination), (LONG64)(Value), __ATOMIC_RELAXED)
#define WriteInt64Raw(Destination, Value) __atomic_store_n(KPRCB_AT64(Destination), (LONG64)(Value), __ATOMIC_RELAXED)

#define ReadUInt64Acquire(Source) ((UINT64)__atomic_load_n(KPRCB_AT64(Source), __ATOMIC_ACQUIRE))
#define ReadUInt64NoFence(Source) ((UINT64)__atomic_load_n(KPRCB_AT64(Source), __ATOMIC_RELAXED))
#define ReadUInt64Raw(Source) ((UINT64)__atomic_load_n(KPRCB_AT64(Source), __ATOMIC_RELAXED))
#define WriteUInt64Release(Destination, Value)                                                                         \
    __atomic_store_n(KPRCB_AT64(Destination), (LONG64)(Value), __ATOMIC_RELEASE)
#define WriteUInt64NoFence(Destination, Value)                                                                         \
    __atomic_store_n(KPRCB_AT64(Destination), (LONG64)(Value), __ATOMIC_RELAXED)
#define WriteUInt64Raw(Destination, Value) __atomic_store_n(KPRCB_AT64(Destination), (LONG64)(Value), __ATOMIC_RELAXED)

#define ReadPointerAcquire(Source) ((PVOID)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_ACQUIRE))
#define ReadPointerNoFence(Source) ((PVOID)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_RELAXED))
#define ReadPointerRaw(Source) ((PVOID)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_RELAXED))
#define WritePointerRelease(Destination, Value)                                                                        \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELEASE)
#define WritePointerNoFence(Destination, Value)                                                                        \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELAXED)
#define WritePointerRaw(Destination, Value)                                                                            \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELAXED)

#define ReadHandleAcquire(Source) ((HANDLE)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_ACQUIRE))
#define ReadHandleNoFence(Source) ((HANDLE)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_RELAXED))
#define ReadHandleRaw(Source) ((HANDLE)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_RELAXED))
#define WriteHandleRelease(Destination, Value)                                                                         \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELEASE)
#define WriteHandleNoFence(Destination, Value)                                                                         \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELAXED)
#define WriteHandleRaw(Destination, Value)                                                                             \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELAXED)

#define ReadULongPtrAcquire(Source) ((ULONG_PTR)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_ACQUIRE))
#define ReadULongPtrNoFence(Source) ((ULONG_PTR)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_RELAXED))
#define ReadULongPtrRaw(Source) ((ULONG_PTR)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_RELAXED))
#define WriteULongPtrRelease(Destination, Value)                                                                       \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELEASE)
#define WriteULongPtrNoFence(Destination, Value)                                                                       \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELAXED)
#define WriteULongPtrRaw(Destination, Value)                                                                           \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELAXED)

#define ReadLongPtrAcquire(Source) ((LONG_PTR)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_ACQUIRE))
#define ReadLongPtrNoFence(Source) ((LONG_PTR)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_RELAXED))
#define ReadLongPtrRaw(Source) ((LONG_PTR)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_RELAXED))
#define WriteLongPtrRelease(Destination, Value)                                                                        \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELEASE)
#define WriteLongPtrNoFence(Destination, Value)                                                                        \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELAXED)
#define WriteLongPtrRaw(Destination, Value)                                                                            \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELAXED)

#define ReadSizeTAcquire(Source) ((SIZE_T)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_ACQUIRE))
#define ReadSizeTNoFence(Source) ((SIZE_T)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_RELAXED))
#define ReadSizeTRaw(Source) ((SIZE_T)__atomic_load_n(KPRCB_AT_POINTER(Source), __ATOMIC_RELAXED))
#define WriteSizeTRelease(Destination, Value)                                                                          \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELEASE)
#define WriteSizeTNoFence(Destination, Value)                                                                          \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELAXED)
#define WriteSizeTRaw(Destination, Value)                                                                              \
    __atomic_store_n(KPRCB_AT_POINTER(Destination), (PVOID)(Value), __ATOMIC_RELAXED)

#endif
