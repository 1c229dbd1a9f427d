/*
 * cpuid.c - `kprcb cpuid`: what a version of NT makes of this CPU, or of a recorded one, in the KPRCB.
 *
 * No machine is started: the identification is asked directly. Test: tests/kd/test_cpuid.c.
 */
#include "cpuiddump.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define NAME_WIDTH 37
#define VALUE_WIDTH 20
#define MEANING_COLUMN (2 + NAME_WIDTH + 1 + VALUE_WIDTH + 1)

typedef struct _KD_CPUID_MEMBER {
    const char *Name;
    ULONG Member; /* KI_MEMBER bit; 0: every version has it */
    KD_FORMAT Format;
    ULONG Offset;
    ULONG Size;
} KD_CPUID_MEMBER;

#define ROW(Name, Member, Format)                                                                                      \
    {                                                                                                                  \
#Name, Member, Format, offsetof(KPRCB, Name), sizeof(((KPRCB *)0)->Name)                                       \
    }

static const KD_CPUID_MEMBER KdCpuidMembers[] = {
    ROW(CpuType, 0, KdNumber),
    ROW(CpuModel, 0, KdNumber),
    ROW(CpuStepping, 0, KdNumber),
    ROW(CpuID, 0, KdNumber),
    ROW(CpuVendor, KI_MEMBER_CPU_VENDOR, KdNumber),
    ROW(VendorString, KI_MEMBER_VENDOR_STRING, KdText),
    ROW(CFlushSize, KI_MEMBER_CFLUSH_SIZE, KdNumber),
    ROW(CoresPerPhysicalProcessor, KI_MEMBER_CORES, KdNumber),
    ROW(LogicalProcessorsPerCore, KI_MEMBER_CORES, KdNumber),
    ROW(LogicalProcessorsPerPhysicalProcessor, KI_MEMBER_LOGICAL_PROCESSORS, KdNumber),
    ROW(InitialApicId, KI_MEMBER_INITIAL_APIC_ID, KdNumber),
    ROW(ProcessorSignature, KI_MEMBER_PROCESSOR_SIGNATURE, KdHex),
    ROW(UpdateSignature, KI_MEMBER_UPDATE_SIGNATURE, KdHex),
    ROW(FeatureBits, KI_MEMBER_FEATURE_BITS, KdHex),
};

static ULONGLONG KdCpuidValue(const KD_CPUID_MEMBER *Member, const KPRCB *Prcb)
{
    const UCHAR *Address = (const UCHAR *)Prcb + Member->Offset;
    ULONG Word;
    ULONGLONG Long;

    switch (Member->Size) {
    case 1:
        return *Address;
    case 4:
        memcpy(&Word, Address, sizeof(Word));
        return Word;
    default:
        memcpy(&Long, Address, sizeof(Long));
        return Long;
    }
}

static void KdNameFeatures(ULONGLONG Bits, const KI_IDENTIFY_RULES *Rules,
                           void (*Routine)(const char *Name, char *Text), char *Text)
{
    for (ULONG Bit = 0; Bit < 64; Bit++) {
        const char *Name = (Bits >> Bit & 1) != 0 ? KiFeatureName(Rules, 1ULL << Bit) : NULL;

        if (Name != NULL) {
            Routine(Name, Text);
        }
    }
}

static void KdAppendName(const char *Name, char *Text)
{
    strcat(Text, Text[0] != 0 ? " " : "");
    strcat(Text, Name);
}

static void KdJsonName(const char *Name, char *Text)
{
    UNREFERENCED_PARAMETER(Text);
    KdJsonString(NULL, Name);
}

static void KdExplainMember(const KD_CPUID_MEMBER *Member, const KPRCB *Prcb, const KI_IDENTIFY_RULES *Rules,
                            char *Text)
{
    if ((Rules->Members & Member->Member) != Member->Member) {
        strcpy(Text, Member->Member == KI_MEMBER_FEATURE_BITS && Prcb->FeatureBits != 0
                         ? "not in this version's KPRCB, but kept elsewhere: "
                         : "not in this version's KPRCB");
    }
    if (Member->Member == KI_MEMBER_FEATURE_BITS) {
        KdNameFeatures(Prcb->FeatureBits, Rules, KdAppendName, Text);
    } else if ((Rules->Members & Member->Member) == 0) {
        return;
    } else if (Member->Member == KI_MEMBER_CPU_VENDOR) {
        strcpy(Text, KdVendorName(Prcb->CpuVendor));
    } else if (Member->Member == KI_MEMBER_UPDATE_SIGNATURE && Prcb->UpdateSignature.QuadPart == 0) {
        strcpy(Text, "not known");
    }
}

static void KdPrintCpuid(const KPRCB *Prcb, const KI_IDENTIFY_RULES *Rules)
{
    for (ULONG Index = 0; Index < ARRAYSIZE(KdCpuidMembers); Index++) {
        const KD_CPUID_MEMBER *Member = &KdCpuidMembers[Index];
        BOOLEAN Has = (Rules->Members & Member->Member) == Member->Member;
        char Value[32] = "-";
        char Text[512] = "";

        if (Has && Member->Format == KdText) {
            snprintf(Value, sizeof(Value), "\"%s\"", (const char *)Prcb->VendorString);
        } else if (Has || (Member->Member == KI_MEMBER_FEATURE_BITS && Prcb->FeatureBits != 0)) {
            snprintf(Value, sizeof(Value), Member->Format == KdHex ? "0x%" PRIx64 : "%" PRIu64,
                     KdCpuidValue(Member, Prcb));
        }
        KdExplainMember(Member, Prcb, Rules, Text);
        if (Text[0] == 0) {
            printf("  %-*s %s\n", NAME_WIDTH, Member->Name, Value);
        } else {
            printf("  %-*s %-*s ", NAME_WIDTH, Member->Name, VALUE_WIDTH, Value);
            KdWrap(MEANING_COLUMN, MEANING_COLUMN, Text);
        }
    }
    if ((Rules->Members & KI_MEMBER_CACHE) == 0) {
        printf("  %-*s %-*s not in this version's KPRCB\n", NAME_WIDTH, "CacheCount", VALUE_WIDTH, "-");
        return;
    }
    printf("  %-*s %lu\n", NAME_WIDTH, "CacheCount", (unsigned long)Prcb->CacheCount);
    for (ULONG Index = 0; Index < Prcb->CacheCount; Index++) {
        char Name[32];
        char Value[32];
        char Text[128];

        snprintf(Name, sizeof(Name), "Cache[%lu]", (unsigned long)Index);
        KdNameCache(&Prcb->Cache[Index], Value, sizeof(Value));
        KdExplainCache(&Prcb->Cache[Index], KiCacheSharing(Prcb, Index), Text, sizeof(Text));
        printf("  %-*s %-*s ", NAME_WIDTH, Name, VALUE_WIDTH, Value);
        KdWrap(MEANING_COLUMN, MEANING_COLUMN, Text);
    }
}

static void KdJsonCaches(const KPRCB *Prcb)
{
    KdJsonOpen("Cache", '[');
    for (ULONG Index = 0; Index < Prcb->CacheCount; Index++) {
        KdJsonCache(NULL, &Prcb->Cache[Index]);
    }
    KdJsonClose(']');
    KdJsonNumber("CacheCount", Prcb->CacheCount);
    KdJsonOpen("CacheSharing", '[');
    for (ULONG Index = 0; Index < Prcb->CacheCount; Index++) {
        KdJsonNumber(NULL, KiCacheSharing(Prcb, Index));
    }
    KdJsonClose(']');
}

static void KdJsonCpuid(const KPRCB *Prcb, const KI_IDENTIFY_RULES *Rules)
{
    KdJsonOpen("members", '{');
    for (ULONG Index = 0; Index < ARRAYSIZE(KdCpuidMembers); Index++) {
        const KD_CPUID_MEMBER *Member = &KdCpuidMembers[Index];

        if ((Rules->Members & Member->Member) != Member->Member && Member->Member != KI_MEMBER_FEATURE_BITS) {
            continue;
        }
        if (Member->Format == KdText) {
            KdJsonString(Member->Name, (const char *)Prcb->VendorString);
        } else if (Member->Format == KdHex) {
            KdJsonHex(Member->Name, KdCpuidValue(Member, Prcb));
        } else {
            KdJsonNumber(Member->Name, KdCpuidValue(Member, Prcb));
        }
    }
    if ((Rules->Members & KI_MEMBER_CACHE) != 0) {
        KdJsonCaches(Prcb);
    }
    KdJsonClose('}');
    KdJsonOpen("features", '[');
    KdNameFeatures(Prcb->FeatureBits, Rules, KdJsonName, NULL);
    KdJsonClose(']');
}

/* Record: NULL for this CPU. */
static int KdShowCpuid(const KD_OPTIONS *Options, const KI_IDENTIFY_RULES *Rules, KD_CPUID_RECORD *Record)
{
    KPRCB Prcb = {0};
    BOOLEAN Cpuid = TRUE;

    if (Record != NULL) {
        KiIdentifyProcessorAs(&Prcb, KdRecordCpuid, Record, Rules);
    } else {
        HalPinThread(HalCurrentProcessor());
        Cpuid = KiIdentifyHostAs(&Prcb, Rules);
    }
    if (Options->Json) {
        KdJsonOpen(NULL, '{');
        KdJsonString("processor", Record != NULL ? Record->Processor : "host");
        KdJsonBoolean("cpuid", Cpuid);
        KdJsonString("rules", Rules->Version);
        KdJsonCpuid(&Prcb, Rules);
        KdJsonOpen("notInDump", '[');
        for (ULONG Index = 0; Record != NULL && Index < Record->MissingCount; Index++) {
            KdJsonHex(NULL, Record->Missing[Index]);
        }
        KdJsonClose(']');
        KdJsonClose('}');
        return KD_OK;
    }
    printf("%s, by the rules of version %s\n", Record != NULL ? Record->Processor : "This CPU", Rules->Version);
    if (!Cpuid) {
        printf("It has no cpuid; this is what the host tells of it. --dump=FILE shows a CPU that has.\n");
    }
    KdPrintCpuid(&Prcb, Rules);
    for (ULONG Index = 0; Record != NULL && Index < Record->MissingCount; Index++) {
        printf("Leaf 0x%lx is not in the dump and counts as zeros.\n", (unsigned long)Record->Missing[Index]);
    }
    return KD_OK;
}

static int KdListVersions(const KD_OPTIONS *Options)
{
    if (Options->Json) {
        KdJsonOpen(NULL, '[');
    }
    for (ULONG Index = 0; Index < KiIdentifyRulesCount; Index++) {
        if (Options->Json) {
            KdJsonString(NULL, KiIdentifyRules[Index].Version);
        } else {
            puts(KiIdentifyRules[Index].Version);
        }
    }
    if (Options->Json) {
        KdJsonClose(']');
    }
    return KD_OK;
}

static int KdListProcessors(const KD_OPTIONS *Options, const KD_CPUID_DUMP *Dump)
{
    if (Options->Json) {
        KdJsonOpen(NULL, '[');
    }
    for (const char *Name = KdNextProcessor(Dump, NULL); Name != NULL; Name = KdNextProcessor(Dump, Name)) {
        if (Options->Json) {
            KdJsonString(NULL, Name);
        } else {
            puts(Name);
        }
    }
    if (Options->Json) {
        KdJsonClose(']');
    }
    return KD_OK;
}

static int KdCheckCpuidOptions(const KD_OPTIONS *Options, int Count, char **Arguments)
{
    if (Count > 0) {
        KdComplain("cpuid: '%s' is one argument too many; 'kprcb help cpuid' tells its options", Arguments[0]);
    } else if (Options->Processors != 0) {
        KdComplain("cpuid: --processors is for machines, and cpuid starts none; --processor chooses one of a dump");
    } else if (Options->Processor != NULL && Options->Dump == NULL) {
        KdComplain("cpuid: --processor chooses one of a dump, and --dump=FILE is missing");
    } else if (Options->List && (Options->Processor != NULL || Options->Version != NULL)) {
        KdComplain("cpuid: --list goes with neither --processor nor --as");
    } else {
        return KD_OK;
    }
    return KD_USAGE;
}

static int KdRunCpuid(const KD_OPTIONS *Options, int Count, char **Arguments)
{
    const KI_IDENTIFY_RULES *Rules = &KiIdentifyRules[KiIdentifyRulesCount - 1];
    KD_CPUID_DUMP Dump;
    KD_CPUID_RECORD Record;
    int Result = KdCheckCpuidOptions(Options, Count, Arguments);

    if (Result != KD_OK) {
        return Result;
    }
    if (Options->Version != NULL && (Rules = KiFindIdentifyRules(Options->Version)) == NULL) {
        KdComplain("cpuid: there is no version '%s'; 'kprcb cpuid --list' lists them", Options->Version);
        return KD_USAGE;
    }
    if (Options->Dump == NULL) {
        return Options->List ? KdListVersions(Options) : KdShowCpuid(Options, Rules, NULL);
    }
    Result = KdReadDump(Options->Dump, &Dump);
    if (Result != KD_OK) {
        return Result;
    }
    if (Options->List) {
        Result = KdListProcessors(Options, &Dump);
    } else {
        Result = KdChooseProcessor(&Dump, Options->Processor, &Record);
        if (Result == KD_OK) {
            Result = KdShowCpuid(Options, Rules, &Record);
        }
    }
    KdFreeDump(&Dump);
    return Result;
}

const KD_COMMAND KdCpuidCommand = {
    .Name = "cpuid",
    .Arguments = "",
    .Summary = "what a version of NT makes of this CPU, or of a recorded one",
    .Help = "Prints the members of the KPRCB that NT fills by cpuid, for this CPU or for one of a dump, by the\n"
            "rules of any version of NT from 3.10 on. It starts no machine.\n\n"
            "  --dump=FILE        read cpuid from this file, not from the CPU. The file's lines have seven fields\n"
            "                     that tabs part: processor, leaf, subleaf, eax, ebx, ecx, edx, the numbers\n"
            "                     hexadecimal; the first line is these names.\n"
            "  --processor=NAME   the processor of the dump; not needed if there is only one\n"
            "  --as=VERSION       by the rules of this version; without it, of the newest\n"
            "  --list             list the versions, or with --dump the processors of the dump\n\n"
            "With --json: an object with \"processor\", \"rules\", the \"members\" that the version has, the names of\n"
            "the set \"features\", the leaves \"notInDump\" and \"cpuid\": a CPU without cpuid, as ARM's, is shown as\n"
            "the host tells of it, and \"cpuid\" is false. FeatureBits of 3.50 and 3.51 are what these versions\n"
            "work out, though their KPRCB does not keep it. UpdateSignature is what the host says, 0 for a dump.\n",
    .Routine = KdRunCpuid,
};
