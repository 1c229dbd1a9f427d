# Liburcu::Liburcu: liburcu's hash table (liburcu-cds) and its flavour urcu-bp. Installed with the package, for those who
# link kprcb::static.
find_path(LIBURCU_INCLUDE_DIR urcu/urcu-bp.h)
find_library(LIBURCU_CDS_LIBRARY urcu-cds)
find_library(LIBURCU_BP_LIBRARY urcu-bp)
find_library(LIBURCU_COMMON_LIBRARY urcu-common)
mark_as_advanced(LIBURCU_INCLUDE_DIR LIBURCU_CDS_LIBRARY LIBURCU_BP_LIBRARY LIBURCU_COMMON_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Liburcu
    REQUIRED_VARS LIBURCU_CDS_LIBRARY LIBURCU_BP_LIBRARY LIBURCU_COMMON_LIBRARY LIBURCU_INCLUDE_DIR
    REASON_FAILURE_MESSAGE "libkprcb needs Userspace RCU 0.12 or later: liburcu-dev on Debian, userspace-rcu-devel on Fedora")
if(Liburcu_FOUND AND NOT TARGET Liburcu::Liburcu)
    add_library(Liburcu::Liburcu INTERFACE IMPORTED)
    target_include_directories(Liburcu::Liburcu INTERFACE ${LIBURCU_INCLUDE_DIR})
    target_link_libraries(Liburcu::Liburcu INTERFACE
        ${LIBURCU_CDS_LIBRARY} ${LIBURCU_BP_LIBRARY} ${LIBURCU_COMMON_LIBRARY})
endif()
