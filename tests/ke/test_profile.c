/*
 * test_profile.c - the behaviour profiles, and how a machine gets one.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "ki.h"

static const KI_PROFILE *Find(const char *Version)
{
    const KI_PROFILE *Profile = KiFindProfile(Version);

    assert_non_null(Profile);
    return Profile;
}

static void TestEachVersionThatIdentifiesHasAProfile(void **State)
{
    (void)State;
    assert_int_equal(KiProfileCount, KiIdentifyRulesCount);
    for (ULONG Index = 0; Index < KiProfileCount; Index += 1) {
        assert_string_equal(KiProfiles[Index].Version, KiIdentifyRules[Index].Version);
        assert_ptr_equal(Find(KiProfiles[Index].Version), &KiProfiles[Index]);
    }
}

static void TestTheNewestIsTheDefault(void **State)
{
    (void)State;
    assert_string_equal(Find(NULL)->Version, "2004");
    assert_null(KiFindProfile(""));
    assert_null(KiFindProfile("5.2"));
}

static void TestSwitchesTurnAtTheirVersions(void **State)
{
    (void)State;
    assert_int_equal(Find("3.51")->IpiProtocol, KiIpiFlags);
    assert_int_equal(Find("4.0-early")->IpiProtocol, KiIpiBits);
    assert_int_equal(Find("6.3")->IpiProtocol, KiIpiBits);
    assert_int_equal(Find("10.0")->IpiProtocol, KiIpiMailbox);
    assert_int_equal(Find("5.1-late")->DpcActive, KiDpcActiveStack);
    assert_int_equal(Find("5.2-early")->DpcActive, KiDpcActiveByte);
    assert_int_equal(Find("5.2-late")->DpcActive, KiDpcActiveByte);
    assert_int_equal(Find("6.0-early")->DpcActive, KiDpcActiveWord);
    assert_false(Find("5.1-late")->ThreadedDpcs);
    assert_true(Find("5.2-early")->ThreadedDpcs);
    assert_false(Find("3.50")->BypassCounts);
    assert_true(Find("3.51")->BypassCounts);
    assert_true(Find("5.0")->BypassCounts);
    assert_false(Find("5.1-early")->BypassCounts);
    assert_false(Find("3.50")->DpcTuning);
    assert_true(Find("3.51")->DpcTuning);
    assert_true(Find("2004")->DpcTuning);
    assert_int_equal(Find("5.2-late")->DpcWatchdog, KiDpcWatchdogNone);
    assert_int_equal(Find("6.0-early")->DpcWatchdog, KiDpcWatchdogReports);
    assert_int_equal(Find("6.1")->DpcWatchdog, KiDpcWatchdogReports);
    assert_int_equal(Find("6.2")->DpcWatchdog, KiDpcWatchdogStops);
    assert_int_equal(Find("2004")->DpcWatchdog, KiDpcWatchdogStops);
    assert_int_equal(Find("5.2-late")->ThreadWatchdogPeriod, 0);
    assert_int_equal(Find("6.0-early")->ThreadWatchdogPeriod, 30000);
    assert_int_equal(Find("6.1")->ThreadWatchdogPeriod, 30000);
    assert_int_equal(Find("6.2")->ThreadWatchdogPeriod, 0);
    assert_false(Find("1607")->DpcCaptures);
    assert_true(Find("1703")->DpcCaptures);
    assert_true(Find("2004")->DpcCaptures);
}

static void TestEachVersionStarts(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < KiProfileCount; Index += 1) {
        StartMachineAs(KiProfiles[Index].Version, 2, 0);
        assert_ptr_equal(KiMachine.Profile, &KiProfiles[Index]);
        StopMachine();
    }
}

static void TestTheProcessorIsIdentifiedByTheVersionsRules(void **State)
{
    (void)State;
    StartMachineAs("3.10", 1, 0);
    assert_int_equal(KeGetCurrentPrcb()->VendorString[0], 0); /* 3.10 has no member for it */
    StopMachine();
}

static void TestTheEnvironmentChoosesAVersion(void **State)
{
    (void)State;
    setenv("KPRCB_VERSION", "5.0", 1);
    assert_int_equal(KprcbStart(NULL), STATUS_SUCCESS);
    assert_string_equal(KiMachine.Profile->Version, "5.0");
    StopMachine();
    setenv("KPRCB_VERSION", "5.05", 1);
    assert_int_equal(KprcbStart(NULL), STATUS_NOT_SUPPORTED);
    unsetenv("KPRCB_VERSION");
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestEachVersionThatIdentifiesHasAProfile),
        cmocka_unit_test(TestTheNewestIsTheDefault),
        cmocka_unit_test(TestSwitchesTurnAtTheirVersions),
        cmocka_unit_test(TestEachVersionStarts),
        cmocka_unit_test(TestTheProcessorIsIdentifiedByTheVersionsRules),
        cmocka_unit_test(TestTheEnvironmentChoosesAVersion),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
