# Registers programs with ctest: label, timeout, and what the sanitizers need.

# The shadow memory of AddressSanitizer and ThreadSanitizer does not fit every randomised address space ("unexpected
# memory mapping" on kernels with vm.mmap_rnd_bits > 28). Without randomisation it always does.
set(KPRCB_TEST_LAUNCHER "")
if(KPRCB_SANITIZE MATCHES "address|thread")
    execute_process(COMMAND setarch ${CMAKE_HOST_SYSTEM_PROCESSOR} -R true
        RESULT_VARIABLE result OUTPUT_QUIET ERROR_QUIET)
    if(result EQUAL 0)
        set(KPRCB_TEST_LAUNCHER setarch ${CMAKE_HOST_SYSTEM_PROCESSOR} -R)
    else()
        message(STATUS "setarch -R is refused here: sanitized tests run with address space randomisation")
    endif()
endif()

# A fake stack (use after return) would hide the addresses that the library compares with a thread's stack.
set(KPRCB_TEST_ENVIRONMENT "")
if(KPRCB_SANITIZE MATCHES "address")
    list(APPEND KPRCB_TEST_ENVIRONMENT
        "ASAN_OPTIONS=halt_on_error=1:detect_leaks=1:detect_stack_use_after_return=0:strict_string_checks=1")
endif()
if(KPRCB_SANITIZE MATCHES "undefined")
    list(APPEND KPRCB_TEST_ENVIRONMENT "UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1")
endif()
if(KPRCB_SANITIZE MATCHES "thread")
    set(options "halt_on_error=1:second_deadlock_stack=1:history_size=4:die_after_fork=0")
    if(EXISTS ${PROJECT_SOURCE_DIR}/tests/tsan.supp)
        string(APPEND options ":suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp")
    endif()
    list(APPEND KPRCB_TEST_ENVIRONMENT "TSAN_OPTIONS=${options}")
endif()

# kprcb_test(NAME target [LABEL quick|stress] [TIMEOUT seconds])
function(kprcb_test name target)
    cmake_parse_arguments(PARSE_ARGV 2 arg "" "LABEL;TIMEOUT" "")
    if(NOT arg_LABEL)
        set(arg_LABEL quick)
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 120)
    endif()
    if(KPRCB_TEST_LAUNCHER)
        add_test(NAME ${name} COMMAND ${KPRCB_TEST_LAUNCHER} $<TARGET_FILE:${target}>)
    else()
        add_test(NAME ${name} COMMAND ${target}) # a cross build's CMAKE_CROSSCOMPILING_EMULATOR runs targets only
    endif()
    set_tests_properties(${name} PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT}
        ENVIRONMENT "${KPRCB_TEST_ENVIRONMENT}")
    if(arg_LABEL STREQUAL "stress")
        set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
    endif()
endfunction()
