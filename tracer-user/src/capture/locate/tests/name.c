// A library that exports one function.
int NAME(void) { return 1; }
