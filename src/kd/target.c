/*
 * target.c - opening a machine in another process, and reading its memory.
 *
 * The kernel reads for this command (process_vm_readv): the target is not stopped, and no fault of ours can touch it. The
 * debugger data block is read into a copy, which is checked before anything of it is used. Test: tests/kd/test_target.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAXIMUM_ENTRIES 1024
#define MAXIMUM_MAPPINGS 131072 /* more than the host lets a process have */
#define LONGEST_LINE 4608       /* of /proc/PID/maps */

typedef struct _KD_NAME {
    const char *Name;
    BOOLEAN Needed;
    KD_STRUCTURE_INDEX Structure;
} KD_NAME;

#define STRUCTURE_NAME(Structure, Largest) #Structure,
static const char *const KdStructureNames[] = {KD_STRUCTURES(STRUCTURE_NAME)};
#define STRUCTURE_LARGEST(Structure, Largest) Largest,
static const ULONG KdLargest[] = {KD_STRUCTURES(STRUCTURE_LARGEST)};
#define NEEDED_NAME(Structure, Member) {#Structure "." #Member, TRUE, KdSizeOf##Structure},
#define OPTIONAL_NAME(Structure, Member) {#Structure "." #Member, FALSE, KdSizeOf##Structure},
static const KD_NAME KdFieldNames[] = {KD_FIELDS(NEEDED_NAME, OPTIONAL_NAME)};
#define VALUE_NAME(Name) #Name,
static const char *const KdValueNames[] = {KD_VALUES(VALUE_NAME)};

BOOLEAN KdReadTarget(const KD_TARGET *Target, ULONGLONG Address, void *Buffer, size_t Size)
{
    struct iovec Local = {.iov_base = Buffer, .iov_len = Size};
    struct iovec Remote = {.iov_base = (void *)(ULONG_PTR)Address, .iov_len = Size};

    /* An end beyond the address space is the kernel's to refuse; one that wraps is not. */
    if (Address == 0 || Address != (ULONG_PTR)Address || Address + Size < Address) {
        return FALSE;
    }
    return process_vm_readv((pid_t)Target->Pid, &Local, 1, &Remote, 1, 0) == (ssize_t)Size;
}

void KdMakePrintable(char *Text)
{
    for (; *Text != 0; Text++) {
        if (*Text < 0x20 || *Text > 0x7E) {
            *Text = '?';
        }
    }
}

void KdReadTargetText(const KD_TARGET *Target, ULONGLONG Address, char *Text, size_t Size)
{
    size_t Length = 0;

    /* In short pieces: the string may end just before memory that is not there. */
    while (Length < Size - 1) {
        size_t Piece = 16 - (size_t)((Address + Length) % 16);

        if (Piece > Size - 1 - Length) {
            Piece = Size - 1 - Length;
        }
        if (!KdReadTarget(Target, Address + Length, Text + Length, Piece)) {
            break;
        }
        Text[Length + Piece] = 0;
        if (memchr(Text + Length, 0, Piece) != NULL) {
            Length += strlen(Text + Length);
            break;
        }
        Length += Piece;
    }
    Text[Length] = 0;
    KdMakePrintable(Text);
}

ULONGLONG KdGet(const KD_TARGET *Target, const UCHAR *Structure, KD_FIELD_INDEX Index)
{
    const KD_FIELD *Field = &Target->Fields[Index];
    ULONGLONG Value = 0;
    KD_MEMBER Member = {.Offset = Field->Offset, .Size = Field->Size, .Format = KdNumber};

    if (Field->Size == 0) {
        return 0;
    }
    /* Of a structure or an array, its first word. */
    if (Member.Size > sizeof(ULONG_PTR) && Member.Size != sizeof(Value)) {
        Member.Size = sizeof(ULONG_PTR);
    }
    Value = KdReadMember(&Member, Structure, 0);
    return Value;
}

BOOLEAN KdReadProcLine(ULONG Pid, const char *File, char *Text, size_t Size)
{
    char Path[64];
    FILE *Stream;
    BOOLEAN Read;

    snprintf(Path, sizeof(Path), "/proc/%lu/%s", (unsigned long)Pid, File);
    Stream = fopen(Path, "re");
    if (Stream == NULL) {
        return FALSE;
    }
    Read = fgets(Text, (int)Size, Stream) != NULL;
    fclose(Stream);
    if (Read) {
        Text[strcspn(Text, "\n")] = 0;
        KdMakePrintable(Text);
    }
    return Read;
}

/* --- finding the block --- */

static int KdComplainOfPermission(ULONG Pid)
{
    char Scope[16] = "0";
    FILE *File = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");

    if (File != NULL) {
        if (fgets(Scope, sizeof(Scope), File) == NULL) {
            Scope[0] = '0';
        }
        fclose(File);
    }
    if (geteuid() == 0) {
        KdComplain("process %lu may not be looked into, not even by root: this needs the capability CAP_SYS_PTRACE",
                   (unsigned long)Pid);
    } else if (Scope[0] != '0') {
        KdComplain("process %lu may not be looked into: /proc/sys/kernel/yama/ptrace_scope is %c; run this as root, or "
                   "set it to 0",
                   (unsigned long)Pid, Scope[0]);
    } else {
        KdComplain(
            "process %lu may not be looked into: it belongs to another user, or protects itself; run this as root",
            (unsigned long)Pid);
    }
    return KD_FAILED;
}

static BOOLEAN KdIsBlockName(const char *Line)
{
    return strstr(Line, "/memfd:" KI_DEBUG_NAME " ") != NULL || strstr(Line, "[anon:" KI_DEBUG_NAME "]") != NULL;
}

typedef enum _KD_FOUND { KdFound, KdFoundNothing, KdFoundOther, KdDenied } KD_FOUND;

/* Found other: pages of the name that hold no block that runs. */
static KD_FOUND KdLookAtMapping(PKD_TARGET Target, const char *Line)
{
    char *End;

    errno = 0;
    Target->BlockAddress = strtoull(Line, &End, 16);
    if (*End != '-') {
        return KdFoundNothing;
    }
    if (!KdReadTarget(Target, Target->BlockAddress, &Target->Header, sizeof(Target->Header))) {
        return errno == EPERM ? KdDenied : KdFoundOther;
    }
    if (memcmp(Target->Header.Signature, KI_DEBUG_SIGNATURE, sizeof(Target->Header.Signature)) != 0 ||
        Target->Header.State != KI_DEBUG_RUNNING) {
        return KdFoundOther;
    }
    Target->Header.Library[sizeof(Target->Header.Library) - 1] = 0;
    Target->Header.Version[sizeof(Target->Header.Version) - 1] = 0;
    KdMakePrintable(Target->Header.Library);
    KdMakePrintable(Target->Header.Version);
    return KdFound;
}

static KD_FOUND KdFindBlock(PKD_TARGET Target, FILE *Mappings)
{
    char Line[LONGEST_LINE];
    KD_FOUND Found = KdFoundNothing;

    for (ULONG Count = 0; Count < MAXIMUM_MAPPINGS && fgets(Line, sizeof(Line), Mappings) != NULL; Count++) {
        if (KdIsBlockName(Line)) {
            Found = KdLookAtMapping(Target, Line);
            if (Found == KdFound || Found == KdDenied) {
                return Found;
            }
        }
    }
    if (ferror(Mappings)) {
        return errno == EACCES || errno == EPERM ? KdDenied : Found;
    }
    return Found;
}

static int KdOpenBlock(PKD_TARGET Target)
{
    char Path[32];
    FILE *Mappings;
    KD_FOUND Found;

    snprintf(Path, sizeof(Path), "/proc/%lu/maps", (unsigned long)Target->Pid);
    Mappings = fopen(Path, "re");
    if (Mappings == NULL) {
        if (errno == EACCES || errno == EPERM) {
            return KdComplainOfPermission(Target->Pid);
        }
        KdComplain("there is no process %lu", (unsigned long)Target->Pid);
        return KD_FAILED;
    }
    Found = KdFindBlock(Target, Mappings);
    fclose(Mappings);
    switch (Found) {
    case KdFound:
        return KD_OK;
    case KdDenied:
        return KdComplainOfPermission(Target->Pid);
    case KdFoundOther:
        KdComplain("process %lu has a debugger data block that is not valid, or its machine is starting or stopping",
                   (unsigned long)Target->Pid);
        return KD_FAILED;
    default:
        KdComplain("process %lu runs no machine of libkprcb", (unsigned long)Target->Pid);
        return KD_FAILED;
    }
}

/* --- believing it --- */

static int KdRefuse(const KD_TARGET *Target, const char *What)
{
    KdComplain("process %lu (libkprcb %s) has another layout than this command understands: %s",
               (unsigned long)Target->Pid, Target->Header.Library, What);
    return KD_FAILED;
}

static int KdCheckHeader(const KD_TARGET *Target)
{
    const KI_DEBUG_HEADER *Header = &Target->Header;

    if (Header->WordSize != sizeof(void *)) {
        KdComplain("process %lu has words of %lu bits, this command of %zu: use the kprcb of its libkprcb",
                   (unsigned long)Target->Pid, (unsigned long)Header->WordSize * 8, sizeof(void *) * 8);
        return KD_FAILED;
    }
    if (Header->Format != KI_DEBUG_FORMAT) {
        KdComplain("process %lu describes itself in format %lu, this command reads format %d: use the kprcb of its "
                   "libkprcb, %s",
                   (unsigned long)Target->Pid, (unsigned long)Header->Format, KI_DEBUG_FORMAT, Header->Library);
        return KD_FAILED;
    }
    if (Header->HeaderSize < sizeof(*Header) || Header->HeaderSize > 4096 ||
        Header->EntrySize < sizeof(KI_DEBUG_ENTRY) || Header->EntrySize > 4096 ||
        Header->EntryCount > MAXIMUM_ENTRIES) {
        return KdRefuse(Target, "the sizes in the header of its debugger data block");
    }
    return KD_OK;
}

static int KdReadEntries(PKD_TARGET Target, UCHAR **Entries)
{
    size_t Size = (size_t)Target->Header.EntrySize * Target->Header.EntryCount;

    *Entries = malloc(Size + 1);
    if (*Entries == NULL) {
        KdComplain("no memory");
        return KD_FAILED;
    }
    if (!KdReadTarget(Target, Target->BlockAddress + Target->Header.HeaderSize, *Entries, Size)) {
        free(*Entries);
        return KdRefuse(Target, "its debugger data block is cut off");
    }
    return KD_OK;
}

static BOOLEAN KdFindEntry(const KD_TARGET *Target, const UCHAR *Entries, const char *Name, PKI_DEBUG_ENTRY Entry)
{
    for (ULONG Index = 0; Index < Target->Header.EntryCount; Index++) {
        memcpy(Entry, Entries + (size_t)Index * Target->Header.EntrySize, sizeof(*Entry));
        if (strncmp(Entry->Name, Name, sizeof(Entry->Name)) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static int KdResolveFields(PKD_TARGET Target, const UCHAR *Entries)
{
    KI_DEBUG_ENTRY Entry;

    for (ULONG Index = 0; Index < KdStructureCount; Index++) {
        if (!KdFindEntry(Target, Entries, KdStructureNames[Index], &Entry) || Entry.Value == 0 ||
            Entry.Value > KdLargest[Index]) {
            return KdRefuse(Target, KdStructureNames[Index]);
        }
        Target->Sizes[Index] = (ULONG)Entry.Value;
    }
    for (ULONG Index = 0; Index < KdFieldCount; Index++) {
        ULONG Structure = Target->Sizes[KdFieldNames[Index].Structure];
        BOOLEAN There = KdFindEntry(Target, Entries, KdFieldNames[Index].Name, &Entry);

        if (!There && !KdFieldNames[Index].Needed) {
            continue;
        }
        if (!There || Entry.Size == 0 || Entry.Size > Structure || Entry.Value > Structure - Entry.Size ||
            (Entry.Size < sizeof(ULONG_PTR) && Entry.Size != 1 && Entry.Size != 2 && Entry.Size != 4)) {
            return KdRefuse(Target, KdFieldNames[Index].Name);
        }
        Target->Fields[Index] = (KD_FIELD){.Offset = (ULONG)Entry.Value, .Size = Entry.Size};
    }
    for (ULONG Index = 0; Index < KdValueCount; Index++) {
        if (!KdFindEntry(Target, Entries, KdValueNames[Index], &Entry)) {
            return KdRefuse(Target, KdValueNames[Index]);
        }
        Target->Values[Index] = Entry.Value;
    }
    return KD_OK;
}

ULONG KdTargetProcessors(const KD_TARGET *Target)
{
    ULONG Count;

    if (!KdReadTarget(Target, Target->Values[KdKiProcessorCount], &Count, sizeof(Count)) ||
        Count > Target->Values[KdKiMaximumProcessors]) {
        return 0;
    }
    return Count;
}

/* What is indexed must have room for it. */
static int KdCheckSizes(const KD_TARGET *Target)
{
    ULONG Word = sizeof(ULONG_PTR);

    if (Target->Fields[KdKPCR_PrcbData].Size != Target->Sizes[KdSizeOfKPRCB]) {
        return KdRefuse(Target, "KPCR.PrcbData");
    }
    if (Target->Fields[KdKTHREAD_ThreadListEntry].Size != 2 * Word) {
        return KdRefuse(Target, "KTHREAD.ThreadListEntry");
    }
    if (Target->Fields[KdKDPC_DATA_DpcList].Size < Word || Target->Fields[KdKDPC_DpcListEntry].Size < Word) {
        return KdRefuse(Target, "the lists of DPCs");
    }
    if (Target->Values[KdKiMaximumProcessors] == 0 ||
        Target->Values[KdKiMaximumProcessors] > KPRCB_MAXIMUM_PROCESSORS || KdTargetProcessors(Target) == 0) {
        return KdRefuse(Target, "its number of processors");
    }
    if (Target->Values[KdKiSlotCount] > 4096) {
        return KdRefuse(Target, "KiSlotCount");
    }
    if (Target->Values[KdKiInboxOne] == 0) {
        return KdRefuse(Target, "KiInboxOne");
    }
    return KD_OK;
}

/* Whether this command's own prcb.h describes the target: what it wants of the two structures lies where it does here. */
static BOOLEAN KdIsSameLayout(const KD_TARGET *Target)
{
#define SAME_FIELD(Structure, Member)                                                                                  \
    {                                                                                                                  \
        Kd##Structure##_##Member, offsetof(Structure, Member), sizeof(((Structure *)0)->Member)                        \
    }
    static const struct {
        KD_FIELD_INDEX Index;
        ULONG Offset, Size;
    } Own[] = {
        SAME_FIELD(KPCR, Irql),        SAME_FIELD(KPRCB, ResidentIrql),
        SAME_FIELD(KPCR, Request),     SAME_FIELD(KPCR, DpcInbox),
        SAME_FIELD(KPCR, Owner),       SAME_FIELD(KPCR, TokenHeir),
        SAME_FIELD(KPCR, PrcbData),    SAME_FIELD(KPRCB, Number),
        SAME_FIELD(KPRCB, LockQueue),  SAME_FIELD(KPRCB, InterruptCount),
        SAME_FIELD(KPRCB, DpcData),    SAME_FIELD(KPRCB, RequestSummary),
        SAME_FIELD(KPRCB, SignalDone),
    };

    if (strcmp(Target->Header.Library, KprcbVersion()) != 0 || Target->Sizes[KdSizeOfKPCR] != sizeof(KPCR) ||
        Target->Sizes[KdSizeOfKPRCB] != sizeof(KPRCB)) {
        return FALSE;
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(Own); Index++) {
        const KD_FIELD *Field = &Target->Fields[Own[Index].Index];

        if (Field->Offset != Own[Index].Offset || Field->Size != Own[Index].Size) {
            return FALSE;
        }
    }
    return TRUE;
}

int KdOpenTarget(ULONG Pid, PKD_TARGET Target)
{
    UCHAR *Entries;
    int Result;

    memset(Target, 0, sizeof(*Target));
    Target->Pid = Pid;
    Result = KdOpenBlock(Target);
    if (Result == KD_OK) {
        Result = KdCheckHeader(Target);
    }
    if (Result == KD_OK) {
        Result = KdReadEntries(Target, &Entries);
    }
    if (Result != KD_OK) {
        return Result;
    }
    Result = KdResolveFields(Target, Entries);
    free(Entries);
    if (Result == KD_OK) {
        Result = KdCheckSizes(Target);
    }
    if (Result == KD_OK) {
        Target->SameLayout = KdIsSameLayout(Target);
        KdReadProcLine(Pid, "comm", Target->Process, sizeof(Target->Process));
    }
    return Result;
}

void KdCloseTarget(PKD_TARGET Target)
{
    KdFreeSymbols(Target);
}

BOOLEAN KdTargetRuns(const KD_TARGET *Target)
{
    KI_DEBUG_HEADER Header;

    return KdReadTarget(Target, Target->BlockAddress, &Header, sizeof(Header)) &&
           memcmp(Header.Signature, KI_DEBUG_SIGNATURE, sizeof(Header.Signature)) == 0 &&
           Header.State == KI_DEBUG_RUNNING && Header.Instance == Target->Header.Instance;
}

const char *KdTargetEnd(const KD_TARGET *Target)
{
    char State[256];

    if (!KdReadProcLine(Target->Pid, "stat", State, sizeof(State)) || strstr(State, ") Z ") != NULL) {
        return "the process has ended";
    }
    return "its machine has stopped";
}
