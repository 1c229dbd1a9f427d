/*
 * test_config.c - the members of KPRCB_CONFIG and the variables of the environment, good and bad.
 */
#include "support/child.h"

#include "ki.h"

/* --- Members --- */

static void Refused(const KPRCB_CONFIG *Config, NTSTATUS Status)
{
    assert_int_equal(KprcbStart(Config), Status);
    assert_int_equal(KprcbStop(), STATUS_DEVICE_NOT_READY);
}

static void test_members_out_of_range_are_refused(void **State)
{
    static const ULONG BadFlags[] = {0x2, 0x80, 0x80000000};
    static const ULONG BadIncrements[] = {1, 999, 10000001, 0xFFFFFFFF};
    static const char *const BadVersions[] = {"", "5.2", "2004 ", "newest"};
    KPRCB_CONFIG Config = Configuration(1, 0, 0);

    (void)State;
    Config.Size = 0;
    Refused(&Config, STATUS_INVALID_PARAMETER);
    Config.Size = sizeof(Config) - 1;
    Refused(&Config, STATUS_INVALID_PARAMETER);
    Config.Size = 0xFFFFFFFF;
    Refused(&Config, STATUS_INVALID_PARAMETER);
    Config = Configuration(KPRCB_MAXIMUM_PROCESSORS + 1, 0, 0);
    Refused(&Config, STATUS_INVALID_PARAMETER);
    Config = Configuration(0xFFFFFFFF, 0, 0);
    Refused(&Config, STATUS_INVALID_PARAMETER);
    Config = Configuration(3, 0, 0);
    Config.MaximumProcessorCount = 2;
    Refused(&Config, STATUS_INVALID_PARAMETER);
    Config.MaximumProcessorCount = KPRCB_MAXIMUM_PROCESSORS + 1;
    Refused(&Config, STATUS_INVALID_PARAMETER);
    Config = Configuration(1, 3, 0);
    Config.MaximumProcessorCount = KPRCB_MAXIMUM_GROUPS * 3 + 1;
    Refused(&Config, STATUS_INVALID_PARAMETER);
    Config = Configuration(1, KPRCB_GROUP_SIZE + 1, 0);
    Refused(&Config, STATUS_INVALID_PARAMETER);
    Config = Configuration(KPRCB_MAXIMUM_GROUPS * 3 + 1, 3, 0);
    Refused(&Config, STATUS_INVALID_PARAMETER);
    for (ULONG Index = 0; Index < ARRAYSIZE(BadFlags); Index += 1) {
        Config = Configuration(1, 0, BadFlags[Index]);
        Refused(&Config, STATUS_INVALID_PARAMETER);
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(BadIncrements); Index += 1) {
        Config = Configuration(1, 0, 0);
        Config.TimeIncrement = BadIncrements[Index];
        Refused(&Config, STATUS_INVALID_PARAMETER);
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(BadVersions); Index += 1) {
        Config = Configuration(1, 0, 0);
        Config.Version = BadVersions[Index];
        Refused(&Config, STATUS_NOT_SUPPORTED);
    }
}

static void test_members_at_their_limits_are_taken(void **State)
{
    static const ULONG Increments[] = {0, 1000, 10000000};
    KPRCB_CONFIG Config = Configuration(1, 0, 0);

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Increments); Index += 1) {
        Config.TimeIncrement = Increments[Index];
        Config.Version = "2004";
        assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
        StopMachine();
    }
    Config = Configuration(KPRCB_MAXIMUM_GROUPS, 1, KPRCB_VALID_FLAGS & ~KPRCB_UNIPROCESSOR);
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KeQueryActiveGroupCount(), KPRCB_MAXIMUM_GROUPS);
    StopMachine();
}

static void test_topologies(void **State)
{
    static const char *const Bad[] = {
        "",        "1",       "1:1:1",      "1:1:1:",    "1:1:1:1:",  "1:1:1:1:1",       "0:1:1:1",
        "1:0:1:1", "1:1:1:0", ":1:1:1",     "1::1:1",    "1:1:1:1 ",  " 1:1:1:1",        "1:1:-1:1",
        "a:1:1:1", "1,1,1,1", "1281:1:1:1", "1:1:641:2", "36:36:1:1", "65536:65536:1:1", "4294967297:1:1:1",
    };
    static const char *const Good[] = {"1:1:1:1", "2:1:4:2", "01:1:1:0003", "1280:1:1:1", "1:1:1:1280", "5:8:8:4"};
    KPRCB_CONFIG Config = Configuration(1, 0, 0);

    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Bad); Index += 1) {
        Config.Topology = Bad[Index];
        Refused(&Config, STATUS_INVALID_PARAMETER);
    }
    for (ULONG Index = 0; Index < ARRAYSIZE(Good); Index += 1) {
        Config.Topology = Good[Index];
        assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
        StopMachine();
    }
    /* It says how many processors there are, or at least for how many there is room. */
    Config = Configuration(0, 0, 0);
    Config.Topology = "1:1:3:2";
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KeQueryActiveProcessorCount(NULL), 6);
    StopMachine();
    Config.ProcessorCount = 7;
    Refused(&Config, STATUS_INVALID_PARAMETER);
    Config.ProcessorCount = 2;
    Config.MaximumProcessorCount = 7;
    Refused(&Config, STATUS_INVALID_PARAMETER);
    Config.MaximumProcessorCount = 6;
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KeQueryMaximumProcessorCount(), 6);
    StopMachine();
}

/* --- Sizes --- */

/* A config as programs were compiled with: as far as the member after which it ended. */
#define SIZE_THROUGH(Member) (offsetof(KPRCB_CONFIG, Member) + sizeof(((KPRCB_CONFIG *)0)->Member))

static void test_a_smaller_config_of_old_counts_as_zero_beyond(void **State)
{
    KPRCB_CONFIG Config = Configuration(2, 0, 0);

    (void)State;
    Config.Version = "no such version";
    Config.MaximumProcessorCount = 0xFFFFFFFF;
    Config.Size = SIZE_THROUGH(TimeIncrement);
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KeQueryMaximumProcessorCount(), 2);
    StopMachine();
    Config.Size = SIZE_THROUGH(Version);
    Refused(&Config, STATUS_NOT_SUPPORTED);
    Config.Version = "5.0";
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_string_equal(KiMachine.Profile->Version, "5.0");
    StopMachine();
    Config.MaximumProcessorCount = 3;
    Config.Topology = "no topology";
    Config.Size = offsetof(KPRCB_CONFIG, Topology);
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KeQueryMaximumProcessorCount(), 3);
    StopMachine();
    Config.Version = "6.1";
    Config.Topology = NULL;
    Config.ThreadWatchdogPeriod = 7;
    Config.Size = SIZE_THROUGH(Topology);
    assert_int_equal(KprcbStart(&Config), STATUS_SUCCESS);
    assert_int_equal(KiMachine.ThreadWatchdogPeriod, 30000);
    StopMachine();
    for (ULONG Size = 0; Size < sizeof(Config); Size += 1) {
        if (Size != SIZE_THROUGH(TimeIncrement) && Size != SIZE_THROUGH(Version) &&
            Size != offsetof(KPRCB_CONFIG, Topology) && Size != SIZE_THROUGH(Topology)) {
            Config.Size = Size;
            Refused(&Config, STATUS_INVALID_PARAMETER);
        }
    }
}

static void test_a_larger_config_of_the_future_must_be_zero_beyond(void **State)
{
    union {
        KPRCB_CONFIG Config;
        UCHAR Bytes[5000];
    } Future = {.Config = Configuration(2, 0, 0)};

    (void)State;
    for (ULONG Size = sizeof(KPRCB_CONFIG); Size <= 4096; Size += Size < 64 ? 1 : 509) {
        Future.Config.Size = Size;
        Future.Bytes[Size] = 1; /* beyond even that */
        assert_int_equal(KprcbStart(&Future.Config), STATUS_SUCCESS);
        StopMachine();
        Future.Bytes[Size] = 0;
        if (Size > sizeof(KPRCB_CONFIG)) {
            Future.Bytes[Size - 1] = 1;
            Refused(&Future.Config, STATUS_INVALID_PARAMETER);
            Future.Bytes[Size - 1] = 0;
        }
    }
}

/* --- The environment --- */

typedef struct _SETTING {
    const char *Name, *Value;
    NTSTATUS Status;
} SETTING;

static const SETTING Settings[] = {
    {"KPRCB_PROCESSORS", "5", STATUS_SUCCESS},
    {"KPRCB_PROCESSORS", "1280", STATUS_SUCCESS},
    {"KPRCB_PROCESSORS", "0", STATUS_SUCCESS},
    {"KPRCB_PROCESSORS", "", STATUS_SUCCESS},
    {"KPRCB_PROCESSORS", "007", STATUS_SUCCESS},
    {"KPRCB_PROCESSORS", "1281", STATUS_INVALID_PARAMETER},
    {"KPRCB_PROCESSORS", "-1", STATUS_INVALID_PARAMETER},
    {"KPRCB_PROCESSORS", " 4", STATUS_INVALID_PARAMETER},
    {"KPRCB_PROCESSORS", "4 ", STATUS_INVALID_PARAMETER},
    {"KPRCB_PROCESSORS", "0x4", STATUS_INVALID_PARAMETER},
    {"KPRCB_PROCESSORS", "four", STATUS_INVALID_PARAMETER},
    {"KPRCB_PROCESSORS", "4294967298", STATUS_INVALID_PARAMETER},
    {"KPRCB_PROCESSORS", "99999999999999999999999", STATUS_INVALID_PARAMETER},
    {"KPRCB_MAXIMUM_PROCESSORS", "1280", STATUS_SUCCESS},
    {"KPRCB_MAXIMUM_PROCESSORS", "1281", STATUS_INVALID_PARAMETER},
    {"KPRCB_MAXIMUM_PROCESSORS", "some", STATUS_INVALID_PARAMETER},
    {"KPRCB_TOPOLOGY", "1:2:3:4", STATUS_SUCCESS},
    {"KPRCB_TOPOLOGY", "", STATUS_SUCCESS},
    {"KPRCB_TOPOLOGY", "1:2:3", STATUS_INVALID_PARAMETER},
    {"KPRCB_GROUP_SIZE", "1", STATUS_SUCCESS},
    {"KPRCB_GROUP_SIZE", "129", STATUS_INVALID_PARAMETER},
    {"KPRCB_GROUP_SIZE", "x", STATUS_INVALID_PARAMETER},
    {"KPRCB_TIME_INCREMENT", "1000", STATUS_SUCCESS},
    {"KPRCB_TIME_INCREMENT", "10000000", STATUS_SUCCESS},
    {"KPRCB_TIME_INCREMENT", "999", STATUS_INVALID_PARAMETER},
    {"KPRCB_TIME_INCREMENT", "10000001", STATUS_INVALID_PARAMETER},
    {"KPRCB_TIME_INCREMENT", "1ms", STATUS_INVALID_PARAMETER},
    {"KPRCB_FLAGS", "", STATUS_SUCCESS},
    {"KPRCB_FLAGS", "FREE_BUILD", STATUS_SUCCESS},
    {"KPRCB_FLAGS", "NO_PINNING,FREE_BUILD,UNIPROCESSOR,NO_SIGNALS,NO_MEMBARRIER,NO_THREADED_DPCS", STATUS_SUCCESS},
    {"KPRCB_FLAGS", "UNIPROCESSOR", STATUS_SUCCESS},
    {"KPRCB_FLAGS", "NO_PINNING,,FREE_BUILD", STATUS_INVALID_PARAMETER},
    {"KPRCB_FLAGS", "KPRCB_FREE_BUILD", STATUS_INVALID_PARAMETER},
    {"KPRCB_FLAGS", "free_build", STATUS_INVALID_PARAMETER},
    {"KPRCB_FLAGS", "FREE", STATUS_INVALID_PARAMETER},
    {"KPRCB_FLAGS", "FREE_BUILDX", STATUS_INVALID_PARAMETER},
    {"KPRCB_FLAGS", "FREE_BUILD NO_PINNING", STATUS_INVALID_PARAMETER},
};

static void StartWithSetting(void *Context)
{
    const SETTING *Setting = Context;
    ULONG Number = (ULONG)strtoul(Setting->Value, NULL, 10);
    KPRCB_CONFIG Config = Configuration(2, 0, 0);

    CHILD_CHECK(setenv(Setting->Name, Setting->Value, 1) == 0);
    /* A config of the caller's own is not touched by the environment. */
    CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    CHILD_CHECK(KiMachine.ProcessorCount == 2 && KiMachine.Flags == 0 && KiMachine.GroupSize == KPRCB_GROUP_SIZE);
    CHILD_CHECK(KprcbStop() == STATUS_SUCCESS);

    CHILD_CHECK(KprcbStart(NULL) == Setting->Status);
    if (Setting->Status != STATUS_SUCCESS) {
        CHILD_CHECK(KprcbStop() == STATUS_DEVICE_NOT_READY);
        CHILD_CHECK(KprcbAttachThread(0) == Setting->Status);
        CHILD_CHECK(KprcbThread.Thread == NULL);
        CHILD_CHECK(KprcbStart(&Config) == STATUS_SUCCESS);
    } else if (Number != 0) {
        CHILD_CHECK(strcmp(Setting->Name, "KPRCB_PROCESSORS") != 0 || KiMachine.ProcessorCount == Number);
        CHILD_CHECK(strcmp(Setting->Name, "KPRCB_MAXIMUM_PROCESSORS") != 0 || KiMachine.MaximumProcessors == Number);
        CHILD_CHECK(strcmp(Setting->Name, "KPRCB_GROUP_SIZE") != 0 || KiMachine.GroupSize == Number);
        CHILD_CHECK(strcmp(Setting->Name, "KPRCB_TIME_INCREMENT") != 0 || KiMachine.TimeIncrement == Number);
    } else if (strcmp(Setting->Value, "FREE_BUILD") == 0) {
        CHILD_CHECK(KiMachine.Flags == KPRCB_FREE_BUILD && KeGetCurrentPrcb()->BuildType == 0);
    } else if (strncmp(Setting->Value, "NO_PINNING", 10) == 0) {
        CHILD_CHECK(KiMachine.Flags == KPRCB_VALID_FLAGS);
    }
    CHILD_CHECK(KprcbStop() == STATUS_SUCCESS);
}

static void test_environment(void **State)
{
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Settings); Index += 1) {
        ChildSucceeds(StartWithSetting, (void *)&Settings[Index]);
    }
}

static void FirstCallWithBadEnvironment(void *Context)
{
    (void)Context;
    setenv("KPRCB_PROCESSORS", "many", 1);
    (void)KeGetCurrentThread();
}

static void test_first_call_in_a_bad_environment_is_a_bug_check(void **State)
{
    (void)State;
    ChildAborts(FirstCallWithBadEnvironment, NULL, "PHASE0_INITIALIZATION_FAILED");
    ChildAborts(FirstCallWithBadEnvironment, NULL, "KPRCB_PROCESSORS=many");
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(test_members_out_of_range_are_refused),
        cmocka_unit_test(test_members_at_their_limits_are_taken),
        cmocka_unit_test(test_topologies),
        cmocka_unit_test(test_a_smaller_config_of_old_counts_as_zero_beyond),
        cmocka_unit_test(test_a_larger_config_of_the_future_must_be_zero_beyond),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_first_call_in_a_bad_environment_is_a_bug_check),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
