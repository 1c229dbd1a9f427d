# Installs libraries, headers, programs, pkg-config files and the CMake package. The result may be moved as a whole.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/kprcb)

install(TARGETS kprcb-shared kprcb-static kprcb-nt EXPORT kprcbTargets)
install(DIRECTORY include/kprcb DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

# The programs find the library beside them wherever the tree lies.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_BINDIR}")
    set(rpath "${CMAKE_INSTALL_FULL_LIBDIR}")
else()
    file(RELATIVE_PATH rpath "/p/${CMAKE_INSTALL_BINDIR}" "/p/${CMAKE_INSTALL_LIBDIR}")
    string(PREPEND rpath "\$ORIGIN/")
endif()
foreach(program IN ITEMS kprcb kprcb-bench)
    if(TARGET ${program})
        set_target_properties(${program} PROPERTIES INSTALL_RPATH "${rpath}")
        install(TARGETS ${program})
    endif()
endforeach()

install(EXPORT kprcbTargets NAMESPACE kprcb:: DESTINATION ${package_dir})
configure_package_config_file(cmake/kprcbConfig.cmake.in ${PROJECT_BINARY_DIR}/kprcbConfig.cmake
    INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/kprcbConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/kprcbConfig.cmake ${PROJECT_BINARY_DIR}/kprcbConfigVersion.cmake
    cmake/FindLiburcu.cmake DESTINATION ${package_dir})

# pkg-config: directories relative to the .pc file where they are relative to the prefix.
set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    set(pc_libdir "${CMAKE_INSTALL_LIBDIR}")
else()
    file(RELATIVE_PATH pc_prefix "/p/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/p")
    string(REGEX REPLACE "/$" "" pc_prefix "\${pcfiledir}/${pc_prefix}")
endif()
if(IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
    set(pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
endif()
foreach(pc IN ITEMS kprcb kprcb-nt)
    configure_file(cmake/${pc}.pc.in ${PROJECT_BINARY_DIR}/${pc}.pc @ONLY)
    install(FILES ${PROJECT_BINARY_DIR}/${pc}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
