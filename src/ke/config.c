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

static const struct {
    const char *Name;
    ULONG Flag;
} KiFlagNames[] = {
    {"NO_PINNING", KPRCB_NO_PINNING},
    {"FREE_BUILD", KPRCB_FREE_BUILD},
    {"NO_SIGNALS", KPRCB_NO_SIGNALS},
    {"NO_MEMBARRIER", KPRCB_NO_MEMBARRIER},
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

    if (Version != NULL && *Version != '\0') {
        Config->Version = Version;
    }
    return KiReadNumber("KPRCB_PROCESSORS", &Config->ProcessorCount) &&
           KiReadNumber("KPRCB_GROUP_SIZE", &Config->GroupSize) &&
           KiReadNumber("KPRCB_TIME_INCREMENT", &Config->TimeIncrement) && KiReadFlags(&Config->Flags);
}

NTSTATUS KiReadConfig(const KPRCB_CONFIG *Config, KI_MACHINE *Machine)
{
    KPRCB_CONFIG Default = {.Size = sizeof(KPRCB_CONFIG)};

    if (Config == NULL) {
        Config = &Default;
        if (!KiReadEnvironment(&Default)) {
            return STATUS_INVALID_PARAMETER;
        }
    }
    if (Config->Size != sizeof(KPRCB_CONFIG) || Config->ProcessorCount > KPRCB_MAXIMUM_PROCESSORS ||
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
    Machine->ProcessorCount = Config->ProcessorCount != 0 ? Config->ProcessorCount : Machine->HostProcessors;
    Machine->GroupSize = Config->GroupSize != 0 ? Config->GroupSize : KPRCB_GROUP_SIZE;
    Machine->GroupCount = (Machine->ProcessorCount + Machine->GroupSize - 1) / Machine->GroupSize;
    Machine->Flags = Config->Flags;
    Machine->TimeIncrement = Config->TimeIncrement != 0 ? Config->TimeIncrement : KI_DEFAULT_INCREMENT;
    Machine->Checked = (Config->Flags & KPRCB_FREE_BUILD) == 0;
    Machine->Crowded = Machine->ProcessorCount > Machine->HostProcessors;
    return Machine->GroupCount <= KPRCB_MAXIMUM_GROUPS ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}
