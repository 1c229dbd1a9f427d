/*
 * profile.c - the behaviour profiles of 3.10 to Windows 10 version 2004, as data.
 *
 * A label stands for the last service pack of its layout; identifyrules.c says which those are. The watchdog's limits are
 * those that bug checks and reports of these versions show; what 6.0 and 6.1 had is not known, and taken for that of 6.2,
 * for a thread too.
 *
 * Tests: tests/ke/test_profile.c.
 */
#include "profile.h"

#include <string.h>

#define NT_3 .IpiProtocol = KiIpiFlags, .DpcActive = KiDpcActiveStack
#define NT_351 NT_3, .BypassCounts = TRUE, .DpcTuning = TRUE
#define NT_51 .IpiProtocol = KiIpiBits, .DpcActive = KiDpcActiveStack, .DpcTuning = TRUE
#define NT_4 NT_51, .BypassCounts = TRUE
#define NT_52 .IpiProtocol = KiIpiBits, .DpcActive = KiDpcActiveByte, .ThreadedDpcs = TRUE, .DpcTuning = TRUE
#define NT_6_ALL .DpcActive = KiDpcActiveWord, .ThreadedDpcs = TRUE, .DpcTuning = TRUE, .DpcTimeout = 20000
#define NT_6                                                                                                           \
    .IpiProtocol = KiIpiBits, NT_6_ALL, .DpcWatchdog = KiDpcWatchdogReports, .DpcWatchdogPeriod = 30000,               \
    .ThreadWatchdogPeriod = 30000
#define NT_62 .IpiProtocol = KiIpiBits, NT_6_ALL, .DpcWatchdog = KiDpcWatchdogStops, .DpcWatchdogPeriod = 30000
#define NT_10 .IpiProtocol = KiIpiMailbox, NT_6_ALL, .DpcWatchdog = KiDpcWatchdogStops, .DpcWatchdogPeriod = 120000
#define NT_1703 NT_10, .DpcCaptures = TRUE

const KI_PROFILE KiProfiles[] = {
    {.Version = "3.10", NT_3},       {.Version = "3.50", NT_3},       {.Version = "3.51", NT_351},
    {.Version = "4.0-early", NT_4},  {.Version = "4.0-sp4", NT_4},    {.Version = "4.0-late", NT_4},
    {.Version = "5.0", NT_4},        {.Version = "5.1-early", NT_51}, {.Version = "5.1-late", NT_51},
    {.Version = "5.2-early", NT_52}, {.Version = "5.2-late", NT_52},  {.Version = "6.0-early", NT_6},
    {.Version = "6.0-late", NT_6},   {.Version = "6.1", NT_6},        {.Version = "6.2", NT_62},
    {.Version = "6.3", NT_62},       {.Version = "10.0", NT_10},      {.Version = "1511", NT_10},
    {.Version = "1607", NT_10},      {.Version = "1703", NT_1703},      {.Version = "1709", NT_1703},
    {.Version = "1803", NT_1703},      {.Version = "1809", NT_1703},      {.Version = "1903", NT_1703},
    {.Version = "2004", NT_1703},
};
const ULONG KiProfileCount = ARRAYSIZE(KiProfiles);

const KI_PROFILE *KiFindProfile(const char *Version)
{
    if (Version == NULL) {
        return &KiProfiles[ARRAYSIZE(KiProfiles) - 1];
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(KiProfiles); Index += 1) {
        if (strcmp(KiProfiles[Index].Version, Version) == 0) {
            return &KiProfiles[Index];
        }
    }
    return NULL;
}
