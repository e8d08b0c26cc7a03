"""Exit codes: one meaning each, for every command."""

# The answer is no: nothing found, something is wrong, refused, or answered with no.
NOTHING_FOUND = 1
# Wrong usage or settings; click's own code for it.
USAGE = 2
# The database or Recall gave no answer.
AWAY = 3
# EX_SOFTWARE of sysexits.h
BUG = 70
# As a shell says it of a program that SIGINT or SIGPIPE ended.
INTERRUPTED = 130
READER_GONE = 141
