/* CPython's own module, without the sockets that it takes another library's headers for. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#undef HAVE_BLUETOOTH_BLUETOOTH_H
#undef HAVE_BLUETOOTH_H
#include "_ssl.c"
