/*
 * test_cpu.c - the CPUs that the process may use, and pinning. The reference is the affinity mask itself.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hal.h"

#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static cpu_set_t ProcessMask;

static void every_cpu_of_the_mask_once(void **State)
{
    ULONG Count = HalInitializeProcessors();
    ULONG Index = 0;

    (void)State;
    assert_int_equal(Count, CPU_COUNT(&ProcessMask));
    assert_int_equal(HalProcessorCount(), Count);
    for (ULONG Host = 0; Host < CPU_SETSIZE; Host++) {
        if (CPU_ISSET(Host, &ProcessMask)) {
            assert_true(Index < Count);
            assert_int_equal(HalProcessor(Index)->HostProcessor, Host);
            Index++;
        }
    }
    assert_int_equal(Index, Count);
}

static void topology_is_that_of_sysfs(void **State)
{
    static const char *const Names[] = {"physical_package_id", "core_id"};

    (void)State;
    for (ULONG Index = 0; Index < HalInitializeProcessors(); Index++) {
        const HAL_CPU *Cpu = HalProcessor(Index);
        const ULONG Values[] = {Cpu->Package, Cpu->Core};
        const ULONG Defaults[] = {0, Cpu->HostProcessor};

        for (ULONG Which = 0; Which < 2; Which++) {
            char Path[128];
            long Expected = -1;
            FILE *File;

            snprintf(Path, sizeof(Path), "/sys/devices/system/cpu/cpu%u/topology/%s", (unsigned)Cpu->HostProcessor,
                     Names[Which]);
            File = fopen(Path, "r");
            if (File != NULL) {
                if (fscanf(File, "%ld", &Expected) != 1)
                    Expected = -1;
                fclose(File);
            }
            assert_int_equal(Values[Which], Expected < 0 ? (long)Defaults[Which] : Expected);
        }
    }
}

/* What `taskset -c N` does, for each N, in a child. */
static void one_cpu_under_taskset(void **State)
{
    (void)State;
    for (ULONG Host = 0; Host < CPU_SETSIZE; Host++) {
        cpu_set_t One;
        int Status;
        pid_t Child;

        if (!CPU_ISSET(Host, &ProcessMask))
            continue;
        Child = fork();
        assert_true(Child >= 0);
        if (Child == 0) {
            CPU_ZERO(&One);
            CPU_SET(Host, &One);
            if (sched_setaffinity(0, sizeof(One), &One) != 0)
                _exit(1);
            if (HalInitializeProcessors() != 1 || HalProcessorCount() != 1)
                _exit(2);
            if (HalProcessor(0)->HostProcessor != Host)
                _exit(3);
            HalUnpinThread();
            if (sched_getaffinity(0, sizeof(One), &One) != 0 || CPU_COUNT(&One) != 1)
                _exit(4);
            _exit(0);
        }
        assert_int_equal(waitpid(Child, &Status, 0), Child);
        assert_true(WIFEXITED(Status));
        assert_int_equal(WEXITSTATUS(Status), 0);
    }
}

static void pin_and_unpin(void **State)
{
    ULONG Count = HalInitializeProcessors();
    cpu_set_t Now;

    (void)State;
    for (ULONG Index = 0; Index < Count; Index++) {
        ULONG Host = HalProcessor(Index)->HostProcessor;

        assert_true(HalPinThread(Host));
        assert_int_equal(HalCurrentProcessor(), Host);
        assert_int_equal(sched_getaffinity(0, sizeof(Now), &Now), 0);
        assert_int_equal(CPU_COUNT(&Now), 1);
        assert_true(CPU_ISSET(Host, &Now));
    }
    HalUnpinThread();
    assert_int_equal(sched_getaffinity(0, sizeof(Now), &Now), 0);
    assert_true(CPU_EQUAL(&Now, &ProcessMask));
}

static void pin_to_nowhere_is_refused(void **State)
{
    cpu_set_t Now;

    (void)State;
    (void)HalInitializeProcessors();
    assert_false(HalPinThread(60000));
    assert_false(HalPinThread(0xFFFFFFFF));
    assert_int_equal(sched_getaffinity(0, sizeof(Now), &Now), 0);
    assert_true(CPU_EQUAL(&Now, &ProcessMask));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(every_cpu_of_the_mask_once), cmocka_unit_test(topology_is_that_of_sysfs),
        cmocka_unit_test(one_cpu_under_taskset),      cmocka_unit_test(pin_and_unpin),
        cmocka_unit_test(pin_to_nowhere_is_refused),
    };

    if (sched_getaffinity(0, sizeof(ProcessMask), &ProcessMask) != 0)
        return 77; /* more than 1,024 CPUs: this test's own mask is too short */
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
