/*
 * prcb.c - `kprcb prcb [N]`: the KPRCB of processor N, or of every processor, member by member.
 *
 * The values are those of another process (--pid), or of a machine that this command starts: what runs on it is the
 * command itself, hopping from processor to processor. Tests: tests/kd/test_command.c, tests/kd/test_live.c.
 */
#include "target.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NAME_WIDTH 37
#define VALUE_WIDTH 20
#define MEANING_COLUMN (2 + 6 + 2 + NAME_WIDTH + 1 + VALUE_WIDTH + 1)

/* LONGs are the signed members. */
static BOOLEAN KdIsSigned(const KD_MEMBER *Member)
{
    return strcmp(Member->Type, "LONG") == 0;
}

static const CACHE_DESCRIPTOR *KdCacheAt(const KD_MEMBER *Member, const void *Structure, ULONG Element)
{
    return (const CACHE_DESCRIPTOR *)(const void *)((const UCHAR *)Structure + Member->Offset) + Element;
}

static void KdFormat(const KD_MEMBER *Member, const void *Structure, ULONG Element, char *Text, size_t Size)
{
    ULONGLONG Value = 0;

    if (Member->Format != KdText) {
        Value = KdReadMember(Member, Structure, Element);
    }
    switch (Member->Format) {
    case KdNumber:
        if (KdIsSigned(Member)) {
            snprintf(Text, Size, "%" PRId32, (int32_t)Value);
        } else {
            snprintf(Text, Size, "%" PRIu64, Value);
        }
        break;
    case KdBoolean:
        snprintf(Text, Size, "%s", Value != 0 ? "TRUE" : "FALSE");
        break;
    case KdText:
        snprintf(Text, Size, "\"%.*s\"", (int)Member->Count, (const char *)Structure + Member->Offset);
        KdMakePrintable(Text);
        break;
    case KdCache:
        KdNameCache(KdCacheAt(Member, Structure, Element), Text, Size);
        break;
    case KdLockQueue:
        snprintf(Text, Size, "0x%" PRIx64, Value & ~(ULONGLONG)(LOCK_QUEUE_WAIT | LOCK_QUEUE_OWNER));
        break;
    default:
        snprintf(Text, Size, "0x%" PRIx64, Value);
        break;
    }
}

static void KdPrintElement(const KD_MEMBER *Member, const void *Structure, ULONG Element)
{
    char Name[64];
    char Value[64];
    char More[512] = "";
    char Text[640];
    char Line[256];
    int Printed;

    if (Member->Count > 1 && Member->Format != KdText) {
        snprintf(Name, sizeof(Name), "%s[%lu]", Member->Name, (unsigned long)Element);
    } else {
        snprintf(Name, sizeof(Name), "%s", Member->Name);
    }
    KdFormat(Member, Structure, Element, Value, sizeof(Value));
    if (Member->Explain != NULL) {
        Member->Explain(KdReadMember(Member, Structure, Element), Element, More, sizeof(More));
    } else if (Member->Format == KdCache) {
        KdExplainCache(KdCacheAt(Member, Structure, Element), 0, More, sizeof(More));
    }
    snprintf(Text, sizeof(Text), "%s%s%s", Element == 0 || Member->Format == KdLockQueue ? Member->Meaning : "",
             Member->Meaning[0] != 0 && More[0] != 0 ? " " : "", More);
    Printed = snprintf(Line, sizeof(Line), "  0x%04lx  %-*s %s",
                       (unsigned long)(Member->Offset + Element * Member->Size), NAME_WIDTH, Name, Value);
    KdPrint("%s", Line);
    if (Text[0] == 0) {
        KdPrint("\n");
        return;
    }
    if (Printed >= MEANING_COLUMN) {
        KdPrint("\n");
        Printed = 0;
    }
    KdPrint("%*s", MEANING_COLUMN - Printed, "");
    KdWrap(MEANING_COLUMN, MEANING_COLUMN, Text);
}

/* Of an array of masks the first and what is not empty; of the caches those that there are. */
static BOOLEAN KdIsShown(const KD_MEMBER *Member, const void *Structure, ULONG Element)
{
    if (Member->Format != KdCache && (Member->Format != KdHex || Element == 0)) {
        return TRUE;
    }
    return KdReadMember(Member, Structure, Element) != 0;
}

static void KdPrintMembers(const KD_MEMBER *Members, ULONG Count, const void *Structure)
{
    const char *Group = "";

    for (ULONG Index = 0; Index < Count; Index++) {
        const KD_MEMBER *Member = &Members[Index];
        ULONG Elements = Member->Format == KdText ? 1 : Member->Count;

        if (strcmp(Group, Member->Group) != 0) {
            Group = Member->Group;
            KdPrint("\n %s\n", Group);
        }
        for (ULONG Element = 0; Element < Elements; Element++) {
            if (KdIsShown(Member, Structure, Element)) {
                KdPrintElement(Member, Structure, Element);
            }
        }
    }
}

static void KdJsonValue(const char *Name, const KD_MEMBER *Member, const void *Structure, ULONG Element)
{
    ULONGLONG Value = KdReadMember(Member, Structure, Element);

    switch (Member->Format) {
    case KdNumber:
        if (KdIsSigned(Member)) {
            KdJsonSigned(Name, (int32_t)Value);
        } else {
            KdJsonNumber(Name, Value);
        }
        break;
    case KdBoolean:
        KdJsonBoolean(Name, Value != 0);
        break;
    case KdCache:
        KdJsonCache(Name, KdCacheAt(Member, Structure, Element));
        break;
    case KdLockQueue: {
        KSPIN_LOCK_QUEUE Queue;

        memcpy(&Queue, (const UCHAR *)Structure + Member->Offset + (size_t)Element * Member->Size, sizeof(Queue));
        KdJsonOpen(Name, '{');
        KdJsonHex("Next", (ULONG_PTR)Queue.Next);
        KdJsonHex("Lock", (ULONG_PTR)Queue.Lock);
        KdJsonClose('}');
        break;
    }
    default:
        KdJsonHex(Name, Value);
        break;
    }
}

static void KdJsonMembers(const char *Name, const KD_MEMBER *Members, ULONG Count, const void *Structure)
{
    KdJsonOpen(Name, '[');
    for (ULONG Index = 0; Index < Count; Index++) {
        const KD_MEMBER *Member = &Members[Index];

        KdJsonOpen(NULL, '{');
        KdJsonString("name", Member->Name);
        KdJsonString("group", Member->Group);
        KdJsonNumber("offset", Member->Offset);
        KdJsonString("type", Member->Type);
        if (Member->Format == KdText) {
            char Text[64];

            snprintf(Text, sizeof(Text), "%.*s", (int)Member->Count, (const char *)Structure + Member->Offset);
            KdJsonString("value", Text);
        } else if (Member->Count > 1) {
            KdJsonOpen("value", '[');
            for (ULONG Element = 0; Element < Member->Count; Element++) {
                KdJsonValue(NULL, Member, Structure, Element);
            }
            KdJsonClose(']');
        } else {
            char More[512] = "";

            KdJsonValue("value", Member, Structure, 0);
            if (Member->Explain != NULL) {
                Member->Explain(KdReadMember(Member, Structure, 0), 0, More, sizeof(More));
                KdJsonString("text", More);
            }
        }
        KdJsonClose('}');
    }
    KdJsonClose(']');
}

/* Address: of the KPCR, in whichever process it is. */
static void KdShowProcessor(const KPCR *Copy, ULONGLONG Address, ULONG Index, BOOLEAN Json)
{
    if (Json) {
        KdJsonOpen(NULL, '{');
        KdJsonNumber("index", Index);
        KdJsonNumber("group", Copy->PrcbData.Group);
        KdJsonNumber("number", Copy->PrcbData.GroupIndex);
        KdJsonHex("pcr", Address);
        KdJsonHex("prcb", (ULONG_PTR)Copy->Prcb);
        KdJsonMembers("pcrMembers", KdPcrMembers, KdPcrMemberCount, Copy);
        KdJsonMembers("prcbMembers", KdPrcbMembers, KdPrcbMemberCount, &Copy->PrcbData);
        KdJsonClose('}');
        return;
    }
    KdPrint("Processor %lu (group %u, number %u): KPCR at 0x%" PRIx64 ", KPRCB at %p, %zu bytes\n",
            (unsigned long)Index, Copy->PrcbData.Group, Copy->PrcbData.GroupIndex, Address, (void *)Copy->Prcb,
            sizeof(KPRCB));
    KdPrintMembers(KdPcrMembers, KdPcrMemberCount, Copy);
    KdPrintMembers(KdPrcbMembers, KdPrcbMemberCount, &Copy->PrcbData);
    KdPrint("\n");
}

static BOOLEAN KdShowOwnProcessor(const KD_OPTIONS *Options, ULONG Index)
{
    PKPCR Address = NULL;
    PKPCR Copy = KdSnapshot(Index, &Address);

    if (Copy == NULL) {
        KdComplain("no memory to copy processor %lu", (unsigned long)Index);
        return FALSE;
    }
    KdShowProcessor(Copy, (ULONG_PTR)Address, Index, Options->Json);
    free(Copy);
    return TRUE;
}

static void KdShowTargetProcessors(const KD_TARGET *Target, const KD_SAMPLE *Sample, const KD_VIEW *View, BOOLEAN Json)
{
    static KPCR Copy;

    for (ULONG Index = View->First; Index <= View->Last; Index++) {
        memcpy(&Copy, KdPcr(Target, Sample, Index), sizeof(Copy));
        KdShowProcessor(&Copy, KdPcrAddress(Target, Index), Index, Json);
    }
}

static void KdPrcbText(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous, const KD_VIEW *View)
{
    (void)Previous;
    KdShowTargetProcessors(Target, Sample, View, FALSE);
}

static void KdPrcbJson(PKD_TARGET Target, const KD_SAMPLE *Sample, const KD_SAMPLE *Previous, const KD_VIEW *View)
{
    (void)Previous;
    KdJsonOpen("processors", '[');
    KdShowTargetProcessors(Target, Sample, View, TRUE);
    KdJsonClose(']');
}

static int KdRunPrcb(const KD_OPTIONS *Options, int Count, char **Arguments)
{
    ULONG First = 0;
    ULONG Last;
    ULONG Processors;
    int Result;
    int Stopped;

    if (Options->Pid != 0) {
        static const KD_VIEW View = {
            .Name = "prcb", .Text = KdPrcbText, .Json = KdPrcbJson, .OneProcessor = TRUE, .OwnLayout = TRUE};

        return KdRunView(Options, Count, Arguments, &View);
    }
    if (Count > 1 || (Count == 1 && !KdParseNumber(Arguments[0], KPRCB_MAXIMUM_PROCESSORS - 1, &First))) {
        KdComplain(Count > 1 ? "prcb takes one processor at most" : "prcb: '%s' is not the number of a processor",
                   Arguments[0]);
        return KD_USAGE;
    }
    Result = KdStartMachine(Options, 0);
    if (Result != KD_OK) {
        return Result;
    }
    Processors = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    Last = Count == 1 ? First : Processors - 1;
    if (First >= Processors) {
        KdComplain("prcb: there is no processor %lu; this machine has processors 0 to %lu (--processors makes more)",
                   (unsigned long)First, (unsigned long)(Processors - 1));
        KdStopMachine();
        return KD_USAGE;
    }
    if (Options->Json) {
        KdJsonOpen(NULL, '{');
        KdJsonString("version", KprcbVersion());
        KdJsonNumber("processorCount", Processors);
        KdJsonOpen("processors", '[');
    }
    for (ULONG Index = First; Index <= Last && Result == KD_OK; Index++) {
        Result = KdShowOwnProcessor(Options, Index) ? KD_OK : KD_FAILED;
    }
    if (Options->Json) {
        KdJsonClose(']');
        KdJsonClose('}');
    }
    Stopped = KdStopMachine();
    return Result != KD_OK ? Result : Stopped;
}

const KD_COMMAND KdPrcbCommand = {
    .Name = "prcb",
    .Arguments = "[N]",
    .Summary = "the processor block (KPCR, KPRCB) of processor N, or of all",
    .Help = "Prints each member of the KPCR and the KPRCB of processor N, or of every processor: offset, name,\n"
            "value, meaning, grouped as the public descriptions of the KPRCB group them.\n"
            "--pid=N looks at the machine of a process, without stopping it; else the command starts one of its\n"
            "own.\n"
            "With --json: an object whose array \"processors\" has an object for each processor; its \"pcrMembers\"\n"
            "and \"prcbMembers\" list name, group, offset, type and value of each member. With --pid it has\n"
            "\"process\" too.\n",
    .Routine = KdRunPrcb,
    .Looks = TRUE,
};
