"""Programs that cannot be changed hand mail over by rename() instead of link() and unlink().

`maildir-safe run -- PROGRAM` starts a program under a filter (`filter`) that stops it in link() and
unlink() and asks this process, the supervisor, for the answer. The parts:

* `calls`      which system calls are caught, and where their arguments are
* `filter`     the filter, and how it is installed
* `listener`   the kernel's questions and our answers
* `caller`     who asks: its memory, its directories, its credentials
* `pairs`      which two directories are a hand-off; everything else is left to the kernel
* `handover`   link, or rename where the mount refuses links, or the truth about a lost reply
* `ghosts`     names that were renamed away and that the program will still unlink
* `actor`      does it, in this process or in one that has the caller's credentials (`helpers`)
* `answers`    takes a caught call apart, and answers it as `decisions` has it
* `decisions`  what is done, and what the program is told
* `supervisor` the threads that answer
* `launch`     starts the program, passes signals on, waits for the last process of its tree

Two sentences rule all of it. **A lock must never become a rename**: only a link between two
different directories that are a known pair is changed. **Nobody gains a right**: whatever is done
for a caller is done with the caller's own credentials, and what cannot be done so is left to the kernel.
"""
