/*
 * bugcheckname.c - the names of bug check codes.
 *
 * Tests: tests/ke/test_bugcheck.c.
 */
#include "ki.h"

#define KI_CODE(Name)                                                                                                  \
    {                                                                                                                  \
        Name, #Name                                                                                                    \
    }

static const struct {
    ULONG Code;
    const char *Name;
} KiBugCheckNames[] = {
    KI_CODE(INVALID_SOFTWARE_INTERRUPT),     KI_CODE(IRQL_NOT_DISPATCH_LEVEL),
    KI_CODE(IRQL_NOT_GREATER_OR_EQUAL),      KI_CODE(IRQL_NOT_LESS_OR_EQUAL),
    KI_CODE(SPIN_LOCK_ALREADY_OWNED),        KI_CODE(SPIN_LOCK_NOT_OWNED),
    KI_CODE(KERNEL_APC_PENDING_DURING_EXIT), KI_CODE(KMODE_EXCEPTION_NOT_HANDLED),
    KI_CODE(PHASE0_INITIALIZATION_FAILED),   KI_CODE(SPIN_LOCK_INIT_FAILURE),
    KI_CODE(ATTEMPTED_SWITCH_FROM_DPC),      KI_CODE(TIMER_OR_DPC_INVALID),
    KI_CODE(IRQL_UNEXPECTED_VALUE),          KI_CODE(MANUALLY_INITIATED_CRASH),
    KI_CODE(DPC_WATCHDOG_VIOLATION),         KI_CODE(KERNEL_SECURITY_CHECK_FAILURE),
};

const char *KprcbBugCheckName(ULONG Code)
{
    for (size_t Index = 0; Index < ARRAYSIZE(KiBugCheckNames); Index += 1) {
        if (KiBugCheckNames[Index].Code == Code) {
            return KiBugCheckNames[Index].Name;
        }
    }
    return NULL;
}
