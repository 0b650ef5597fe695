"""What a project's CMake files say about where a library goes."""

from wheelsmith.cmake.extensions import read_extensions


def test_a_library_that_is_installed_under_another_name_is_known_by_its_path(tmp_path):
    (tmp_path / "CMakeLists.txt").write_text("""
Python_add_library(_deep_C MODULE WITH_SOABI "${deep_SOURCE_DIR}/csrc/python_api.cpp")
set_target_properties(_deep_C PROPERTIES OUTPUT_NAME "_C")
install(TARGETS _deep_C LIBRARY DESTINATION toy/third_party/deep COMPONENT _deep_C)
Python_add_library(_gpu_C MODULE kernels.cu)
install(TARGETS _gpu_C LIBRARY DESTINATION ${SOMEWHERE})
""")
    found = {item.name: (item.installed, item.gpu) for item in read_extensions(tmp_path, {})}
    assert found == {"_deep_C": ("toy/third_party/deep/_C", False), "_gpu_C": ("", True)}
