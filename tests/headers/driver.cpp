/*
 * driver.cpp - wdm.h in C++, beside the C++ library: the macros that are templates or casts there. Compiled, not run.
 */
#include <kprcb/nt/ntifs.h>
#include <kprcb/nt/initguid.h>

#include <algorithm>
#include <map>
#include <regex>
#include <string>

DEFINE_GUID(GUID_KPRCB_CXX, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);

enum class COLOUR : int { Red, Green };

struct OBJECT {
    PKTHREAD Thread;
    LONG Count;
    ULONG64 Mask;
    SHORT Short;
    BOOLEAN Flag;
    LIST_ENTRY Links;
};

LONG UseMacros(OBJECT *Object);

_IRQL_requires_max_(DISPATCH_LEVEL)
LONG UseMacros(_Inout_ OBJECT *Object)
{
    static const ANSI_STRING Name = RTL_CONSTANT_STRING("name");
    unsigned long Index = 0;
    LIST_ENTRY Head;
    LONG Sum = std::max(1, 2);

    C_ASSERT(sizeof(GUID) == 16);
    PAGED_CODE();
    InterlockedExchangePointer(&Object->Thread, nullptr);
    Sum += InterlockedIncrement(&Object->Count) + InterlockedIncrement((volatile long *)&Object->Count);
    Sum += (LONG)InterlockedOr64(&Object->Mask, 1) + InterlockedIncrement16(&Object->Short);
    Sum += InterlockedBitTestAndSet64(&Object->Mask, 3) + ReadBooleanAcquire(&Object->Flag);
    WritePointerRelease(&Object->Thread, KeGetCurrentThread());
    Sum += BitScanForward(&Index, 8) + BitScanForward64(&Index, Object->Mask) + (LONG)Index;
    InitializeListHead(&Head);
    InsertTailList(&Head, &Object->Links);
    Sum += NT_VERIFY(RemoveHeadList(&Head) == &Object->Links);
    NT_ASSERT(Sum != 0);
    ASSERT(IsListEmpty(&Head));
    Sum += IsEqualGUID(GUID_KPRCB_CXX, GUID_KPRCB_CXX) + Name.Length;
    Sum += CONTAINING_RECORD(&Object->Links, OBJECT, Links)->Count;
    return Sum + (LONG)RtlCompareMemory(&Sum, &Sum, sizeof(Sum));
}
