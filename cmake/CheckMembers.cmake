# cmake -D SOURCE=<project> -P CheckMembers.cmake
#
# Every member of KPCR and KPRCB in include/kprcb/prcb.h has a row in src/kd/members.c, but for padding and for the
# second names of a union.
cmake_minimum_required(VERSION 3.25)

set(no_row Reserved PrcbPad0 PrcbData CpuStep TargetSet ResidentWord DpcRequestSlot NormalDpcState ThreadDpcState)

file(READ ${SOURCE}/include/kprcb/prcb.h header)
file(READ ${SOURCE}/src/kd/members.c rows)

# A semicolon is CMake's own separator.
string(REPLACE ";" "$" header "${header}")
string(REGEX REPLACE "/\\*[^*]*\\*+([^/*][^*]*\\*+)*/" "" header "${header}")
foreach(structure IN ITEMS KPCR KPRCB)
    if(NOT header MATCHES "struct [^{$]*_${structure} {(.*)} ${structure},")
        message(FATAL_ERROR "prcb.h: no structure ${structure}")
    endif()
    string(REGEX MATCHALL "[A-Za-z_][A-Za-z0-9_]*(\\[[^]]*\\])?[ \n]*\\$" members "${CMAKE_MATCH_1}")
    set(count 0)
    foreach(member IN LISTS members)
        string(REGEX REPLACE "[^A-Za-z0-9_].*" "" member "${member}")
        if(NOT member IN_LIST no_row)
            math(EXPR count "${count} + 1")
            if(NOT rows MATCHES "(ROW|ARRAY)\\(${structure}, ${member}[^A-Za-z0-9_]")
                message(SEND_ERROR "src/kd/members.c has no row for ${structure}.${member}")
            endif()
        endif()
    endforeach()
    if(count LESS 10)
        message(SEND_ERROR "${structure}: only ${count} members found")
    endif()
    message(STATUS "${structure}: ${count} members")
endforeach()
