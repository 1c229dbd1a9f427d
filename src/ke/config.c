/*
 * config.c - what the caller of KprcbStart, or the environment, asks for, checked.
 *
 * Tests: tests/ke/test_config.c.
 */
#include <stdlib.h>
#include <string.h>

#include "ki.h"

#define KI_DEFAULT_INCREMENT 10000
#define KI_MINIMUM_INCREMENT 1000
#define KI_MAXIMUM_INCREMENT 10000000
#define KI_LARGEST_CONFIG 4096
#define KI_SIZE_THROUGH(Member) (offsetof(KPRCB_CONFIG, Member) + sizeof(((KPRCB_CONFIG *)0)->Member))

static const struct {
    const char *Name;
    ULONG Flag;
} KiFlagNames[] = {
    {"NO_PINNING", KPRCB_NO_PINNING},
    {"FREE_BUILD", KPRCB_FREE_BUILD},
    {"UNIPROCESSOR", KPRCB_UNIPROCESSOR},
    {"NO_SIGNALS", KPRCB_NO_SIGNALS},
    {"NO_MEMBARRIER", KPRCB_NO_MEMBARRIER},
    {"NO_THREADED_DPCS", KPRCB_NO_THREADED_DPCS},
};

/* A decimal variable of the environment. FALSE: it is there and is not a number. */
static BOOLEAN KiReadNumber(const char *Name, ULONG *Value)
{
    const char *Text = HalEnvironment(Name);
    char *End;
    unsigned long long Number;

    if (Text == NULL || *Text == '\0') {
        return TRUE;
    }
    Number = strtoull(Text, &End, 10);
    if (*Text < '0' || *Text > '9' || *End != '\0' || Number > 0xFFFFFFFF) {
        HalPrint("kprcb: %s=%s is not a number\n", Name, Text);
        return FALSE;
    }
    *Value = (ULONG)Number;
    return TRUE;
}

static ULONG KiFindFlag(const char *Text, size_t Length)
{
    for (size_t Index = 0; Index < ARRAYSIZE(KiFlagNames); Index += 1) {
        if (strlen(KiFlagNames[Index].Name) == Length && memcmp(KiFlagNames[Index].Name, Text, Length) == 0) {
            return KiFlagNames[Index].Flag;
        }
    }
    return 0;
}

static BOOLEAN KiReadFlags(ULONG *Flags)
{
    const char *Text = HalEnvironment("KPRCB_FLAGS");

    while (Text != NULL && *Text != '\0') {
        size_t Length = strcspn(Text, ",");
        ULONG Flag = KiFindFlag(Text, Length);

        if (Flag == 0) {
            HalPrint("kprcb: KPRCB_FLAGS: no flag is named %.*s\n", (int)Length, Text);
            return FALSE;
        }
        *Flags |= Flag;
        Text += Length + (Text[Length] == ',');
    }
    return TRUE;
}

static BOOLEAN KiReadEnvironment(KPRCB_CONFIG *Config)
{
    const char *Version = HalEnvironment("KPRCB_VERSION");
    const char *Topology = HalEnvironment("KPRCB_TOPOLOGY");

    if (Version != NULL && *Version != '\0') {
        Config->Version = Version;
    }
    if (Topology != NULL && *Topology != '\0') {
        Config->Topology = Topology;
    }
    return KiReadNumber("KPRCB_PROCESSORS", &Config->ProcessorCount) &&
           KiReadNumber("KPRCB_MAXIMUM_PROCESSORS", &Config->MaximumProcessorCount) &&
           KiReadNumber("KPRCB_GROUP_SIZE", &Config->GroupSize) &&
           KiReadNumber("KPRCB_TIME_INCREMENT", &Config->TimeIncrement) &&
           KiReadNumber("KPRCB_DPC_TIMEOUT", &Config->DpcTimeout) &&
           KiReadNumber("KPRCB_DPC_WATCHDOG_PERIOD", &Config->DpcWatchdogPeriod) &&
           KiReadNumber("KPRCB_THREAD_WATCHDOG_PERIOD", &Config->ThreadWatchdogPeriod) &&
           KiReadNumber("KPRCB_DPC_WATCHDOG_PROFILE_SINGLE_DPC_THRESHOLD",
                        &Config->DpcWatchdogProfileSingleDpcThreshold) &&
           KiReadNumber("KPRCB_DPC_WATCHDOG_PROFILE_CUMULATIVE_DPC_THRESHOLD",
                        &Config->DpcWatchdogProfileCumulativeDpcThreshold) &&
           KiReadFlags(&Config->Flags);
}

/* Ticks, rounded up; 0: no limit. */
static ULONG KiDpcLimit(const KI_MACHINE *Machine, ULONG Asked, ULONG Default)
{
    ULONGLONG Ticks;

    if (Asked == KPRCB_NO_DPC_TIMEOUT || Machine->Profile->DpcWatchdog == KiDpcWatchdogNone) {
        return 0;
    }
    Ticks = ((Asked != 0 ? Asked : Default) * 10000ull + Machine->TimeIncrement - 1) / Machine->TimeIncrement;
    return Ticks < 0x7FFFFFFF ? (ULONG)Ticks : 0x7FFFFFFF;
}

/* Ticks; 0: none. Limit: in ticks, half of which is the default. */
static ULONG KiDpcThreshold(const KI_MACHINE *Machine, ULONG Asked, ULONG Limit)
{
    if (!Machine->Profile->DpcCaptures) {
        return 0;
    }
    return Asked != 0 ? KiDpcLimit(Machine, Asked, 0) : Limit / 2 + Limit % 2;
}

static VOID KiReadDpcLimits(const KPRCB_CONFIG *Config, KI_MACHINE *Machine)
{
    Machine->DpcTimeLimit = KiDpcLimit(Machine, Config->DpcTimeout, Machine->Profile->DpcTimeout);
    Machine->DpcWatchdogPeriod = KiDpcLimit(Machine, Config->DpcWatchdogPeriod, Machine->Profile->DpcWatchdogPeriod);
    if (Machine->Profile->ThreadWatchdogPeriod != 0) {
        Machine->ThreadWatchdogPeriod =
            KiDpcLimit(Machine, Config->ThreadWatchdogPeriod, Machine->Profile->ThreadWatchdogPeriod);
    }
    Machine->SingleDpcThreshold =
        KiDpcThreshold(Machine, Config->DpcWatchdogProfileSingleDpcThreshold, Machine->DpcTimeLimit);
    Machine->CumulativeDpcThreshold =
        KiDpcThreshold(Machine, Config->DpcWatchdogProfileCumulativeDpcThreshold, Machine->DpcWatchdogPeriod);
}

/*
 * The caller's config, whatever its size, as one of today: members that an older one does not have are zero, and
 * members that this library does not know must be.
 */
static BOOLEAN KiCopyConfig(const KPRCB_CONFIG *Config, KPRCB_CONFIG *Copy)
{
    static const ULONG OlderSizes[] = {
        KI_SIZE_THROUGH(TimeIncrement),
        KI_SIZE_THROUGH(Version),
        offsetof(KPRCB_CONFIG, Topology),
        KI_SIZE_THROUGH(Topology),
    };
    const UCHAR *Bytes = (const UCHAR *)Config;
    BOOLEAN Known = Config->Size >= sizeof(*Copy) && Config->Size <= KI_LARGEST_CONFIG;

    for (ULONG Index = 0; Index < ARRAYSIZE(OlderSizes); Index += 1) {
        Known = Known || Config->Size == OlderSizes[Index];
    }
    if (!Known) {
        return FALSE;
    }
    for (ULONG Index = sizeof(*Copy); Index < Config->Size; Index += 1) {
        if (Bytes[Index] != 0) {
            return FALSE;
        }
    }
    memcpy(Copy, Config, Config->Size < sizeof(*Copy) ? Config->Size : sizeof(*Copy));
    return TRUE;
}

/* Config.ProcessorCount and what depends on it. */
static BOOLEAN KiReadCounts(const KPRCB_CONFIG *Config, KI_MACHINE *Machine)
{
    ULONG Default = Machine->HostProcessors;
    ULONG Room = KPRCB_MAXIMUM_PROCESSORS;

    if (Config->Topology != NULL) {
        if (!KiReadShape(Config->Topology, &Machine->Shape)) {
            HalPrint("kprcb: %s is no topology\n", Config->Topology);
            return FALSE;
        }
        Default = Room = KiShapeSize(&Machine->Shape);
    }
    Machine->Uniprocessor = (Config->Flags & KPRCB_UNIPROCESSOR) != 0;
    if (Machine->Uniprocessor) {
        Default = Room = 1;
    }
    Machine->ProcessorCount = Config->ProcessorCount != 0 ? Config->ProcessorCount : Default;
    Machine->MaximumProcessors =
        Config->MaximumProcessorCount != 0 ? Config->MaximumProcessorCount : Machine->ProcessorCount;
    Machine->GroupSize = Config->GroupSize != 0 ? Config->GroupSize : KPRCB_GROUP_SIZE;
    Machine->MaximumGroups = (Machine->MaximumProcessors + Machine->GroupSize - 1) / Machine->GroupSize;
    Machine->Crowded = Machine->ProcessorCount > Machine->HostProcessors;
    return Machine->MaximumProcessors >= Machine->ProcessorCount && Machine->MaximumProcessors <= Room &&
           Machine->MaximumGroups <= KPRCB_MAXIMUM_GROUPS;
}

NTSTATUS KiReadConfig(const KPRCB_CONFIG *Caller, KI_MACHINE *Machine)
{
    KPRCB_CONFIG Copy = {.Size = sizeof(KPRCB_CONFIG)};
    const KPRCB_CONFIG *Config = &Copy;

    if (Caller == NULL ? !KiReadEnvironment(&Copy) : !KiCopyConfig(Caller, &Copy)) {
        return STATUS_INVALID_PARAMETER;
    }
    if (Config->ProcessorCount > KPRCB_MAXIMUM_PROCESSORS || Config->MaximumProcessorCount > KPRCB_MAXIMUM_PROCESSORS ||
        Config->GroupSize > KPRCB_GROUP_SIZE || (Config->Flags & ~(ULONG)KPRCB_VALID_FLAGS) != 0) {
        return STATUS_INVALID_PARAMETER;
    }
    if (Config->TimeIncrement != 0 &&
        (Config->TimeIncrement < KI_MINIMUM_INCREMENT || Config->TimeIncrement > KI_MAXIMUM_INCREMENT)) {
        return STATUS_INVALID_PARAMETER;
    }
    Machine->Profile = KiFindProfile(Config->Version);
    if (Machine->Profile == NULL) {
        HalPrint("kprcb: there is no version %s\n", Config->Version);
        return STATUS_NOT_SUPPORTED;
    }
    Machine->HostProcessors = HalInitializeProcessors();
    Machine->Flags = Config->Flags;
    Machine->TimeIncrement = Config->TimeIncrement != 0 ? Config->TimeIncrement : KI_DEFAULT_INCREMENT;
    KiReadDpcLimits(Config, Machine);
    Machine->Checked = (Config->Flags & KPRCB_FREE_BUILD) == 0;
    Machine->ThreadedDpcs = Machine->Profile->ThreadedDpcs && (Config->Flags & KPRCB_NO_THREADED_DPCS) == 0;
    return KiReadCounts(Config, Machine) ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}
