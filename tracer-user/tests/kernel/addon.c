// A module with functions of the form of a TLS library, as large as such modules are.
#include "form.h"

const volatile char what_else_is_inside[1 << 20] = {1};
