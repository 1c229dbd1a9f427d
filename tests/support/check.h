/*
 * check.h - assertions of threads other than the test's, on which cmocka's may not be used: Check notes the line of the
 * first that fails, and the test asserts in the end that WrongLine is 0.
 */
#ifndef TEST_CHECK_H
#define TEST_CHECK_H

#include "support/support.h"

static ULONG volatile WrongLine;

#define Check(Condition) CheckAt((Condition) ? TRUE : FALSE, __LINE__)

static inline void CheckAt(BOOLEAN Condition, ULONG Line)
{
    ULONG None = 0;

    if (!Condition) {
        __atomic_compare_exchange_n(&WrongLine, &None, Line, FALSE, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
}

#endif
