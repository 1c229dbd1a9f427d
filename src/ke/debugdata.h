/*
 * debugdata.h - the debugger data block: what a running machine says of itself to a reader in another process.
 *
 * A header and entries, in pages named KI_DEBUG_NAME. docs/live.md is the format; the header looks the same whatever
 * the word size. An entry is found by its name, so that entries may come and go: the format changes only if one of
 * them changes its meaning.
 */
#ifndef KE_DEBUGDATA_H
#define KE_DEBUGDATA_H

#include <kprcb/base.h>

#define KI_DEBUG_NAME "kprcb-debugger-data"
#define KI_DEBUG_SIGNATURE "KPRCBDBG"
#define KI_DEBUG_FORMAT 1

/* KI_DEBUG_HEADER.State */
#define KI_DEBUG_RUNNING 1

typedef struct _KI_DEBUG_HEADER {
    UCHAR Signature[8]; /* KI_DEBUG_SIGNATURE without a NUL */
    ULONG Format;
    ULONG HeaderSize; /* the entries follow */
    ULONG EntrySize;
    ULONG EntryCount;
    ULONG WordSize;       /* bytes of a pointer */
    ULONG volatile State; /* stored last, erased first */
    ULONGLONG Instance;   /* another one with each start */
    char Library[32];     /* KprcbVersion */
    char Version[32];     /* the label of what the machine behaves like */
} KI_DEBUG_HEADER, *PKI_DEBUG_HEADER;

/*
 * "KPCR"           Value: the size of the structure
 * "KPCR.Request"   Value: the offset of the member, Size: its size
 * "KiProcessors"   Value: an address, a count or a constant
 */
typedef struct _KI_DEBUG_ENTRY {
    char Name[48];
    ULONGLONG Value;
    ULONG Size;
    ULONG Reserved;
} KI_DEBUG_ENTRY, *PKI_DEBUG_ENTRY;

KPRCB_STATIC_ASSERT(sizeof(KI_DEBUG_HEADER) == 104, "the header is the same for each word size");
KPRCB_STATIC_ASSERT(sizeof(KI_DEBUG_ENTRY) == 64, "so is an entry");

/* While the block is filled. */
typedef struct _KI_DEBUG_WRITER {
    PKI_DEBUG_ENTRY Entries;
    ULONG Count; /* asked for; beyond Limit they are left out, and the block is not published */
    ULONG Limit;
} KI_DEBUG_WRITER, *PKI_DEBUG_WRITER;

VOID KiDescribe(PKI_DEBUG_WRITER Writer, const char *Name, ULONGLONG Value, ULONG Size);

#define KI_DESCRIBE_SIZE(Writer, Structure) KiDescribe(Writer, #Structure, sizeof(Structure), 0)
#define KI_DESCRIBE_MEMBER(Writer, Structure, Member)                                                                  \
    KiDescribe(Writer, #Structure "." #Member, offsetof(Structure, Member), sizeof(((Structure *)0)->Member))
#define KI_DESCRIBE_ADDRESS(Writer, Name, Address) KiDescribe(Writer, Name, (ULONG_PTR)(Address), 0)

/*
 * Publishes the machine, which is complete; where the host gives no names, nobody can look into it. KiMachineLock held.
 */
VOID KiPublishDebuggerData(VOID);
/* KiMachineLock held. */
VOID KiWithdrawDebuggerData(VOID);
/* For the child of a fork, which has no block. */
VOID KiAbandonDebuggerData(VOID);

/* What the files add that own the words: contention.c, dpchistory.c, dpcqueue.c, thread.c. */
VOID KiDescribeHotLocks(PKI_DEBUG_WRITER Writer);
VOID KiDescribeDpcHistory(PKI_DEBUG_WRITER Writer);
VOID KiDescribeDpcInbox(PKI_DEBUG_WRITER Writer);
VOID KiDescribeThreads(PKI_DEBUG_WRITER Writer);

#endif
