/*
 * test_segment.c - __readfsdword knows of each member of KPCR and KPRCB whether it is as wide as a pointer: the table of
 * members is the witness.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "kd.h"

#include <kprcb/nt/kprcb_segment.h>

static BOOLEAN IsPointerLike(const KD_MEMBER *Member)
{
    return Member->Size == sizeof(PVOID) && strcmp(Member->Type, "ULONGLONG") != 0 &&
           strcmp(Member->Type, "LARGE_INTEGER") != 0;
}

static void AssertWidths(const KD_MEMBER *Members, ULONG Count, ULONG Base)
{
    for (ULONG Index = 0; Index < Count; Index++) {
        const KD_MEMBER *Member = &Members[Index];

        for (ULONG Element = 0; Element < Member->Count; Element++) {
            ULONG Offset = Base + Member->Offset + Element * Member->Size;
            BOOLEAN Wide = IsPointerLike(Member) || Member->Format == KdLockQueue;

            if (KprcbIsWide(Offset) != Wide) {
                fail_msg("kprcb_segment.h, KprcbIsWide: %s is %sas wide as a pointer", Member->Name,
                         Wide ? "" : "not ");
            }
        }
    }
}

static void TestTheWidthOfEveryMemberIsKnown(void **State)
{
    (void)State;
#ifdef __LP64__
    AssertWidths(KdPcrMembers, KdPcrMemberCount, 0);
    AssertWidths(KdPrcbMembers, KdPrcbMemberCount, offsetof(KPCR, PrcbData));
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(TestTheWidthOfEveryMemberIsKnown),
    };

    return cmocka_run_group_tests(Tests, NULL, NULL);
}
