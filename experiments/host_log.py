"""Passes on what the libraries of a process print, but for the entries of their log.

Those of a lost connection are pages, and every process that notices it writes them.

A process of its own, as those libraries end the one that they are in. Run by `hosts`, with two
sentences to say when they do so: before and after the line "connected". The line "lost" has the
second one said, too; in all it is said once.
"""

import re
import sys

_GOES_ON = r"\s*$|:|RPC:|Additional GRPC|=== Source Location Trace: ===|external/"


def main() -> None:
    not_all_came, ended = sys.argv[1:]
    sentence = not_all_came
    in_log = said = ending = False
    sys.stdin.reconfigure(errors="replace")
    for line in sys.stdin:
        fatal = re.match(r"F\d{4} .*distributed service", line)
        if ending:
            pass  # stack traces
        elif line == "connected\n":
            sentence = ended
        elif line == "lost\n" or fatal:
            in_log, ending = True, bool(fatal)
            if not said:
                print(f"Error: {sentence}", file=sys.stderr, flush=True)
            said = True
        elif re.match(r"[IWE]\d{4} \d\d:\d\d:\d\d", line):
            in_log = True
        elif in_log and re.match(_GOES_ON, line):
            pass  # an entry of the log goes on
        else:
            in_log = False
            print(line, end="", file=sys.stderr, flush=True)


main()
