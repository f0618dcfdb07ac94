/* CPython with the module `_ssl` inside, and OpenSSL inside that. */
#include <Python.h>

PyMODINIT_FUNC PyInit__ssl(void);

int main(int argc, char **argv)
{
    if (PyImport_AppendInittab("_ssl", PyInit__ssl))
        return 1;
    return Py_BytesMain(argc, argv);
}
