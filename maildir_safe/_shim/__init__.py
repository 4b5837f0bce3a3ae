"""Lets unmodified programs hand mail over by rename() instead of link() and unlink().

`maildir-safe run -- PROGRAM` starts a program under a filter (`filter`) that stops it in link() and
unlink() and asks this process, the supervisor, for the answer. The parts:

* `calls`      which system calls are caught, and where their arguments are
* `filter`     the filter, and how it is installed
* `listener`   the kernel's questions and our answers
* `caller`     the stopped thread: its memory, its directories, its credentials
* `needless`   the mounts on which a link needs no help, so that nobody asks who the caller is
* `pairs`      which two directories form a handoff; all other calls are left to the kernel
* `handoff`    a link, or a rename if the mount refuses links; resolves lost replies
* `ghosts`     names that were renamed away and that the program will still unlink
* `actor`      carries out calls, in this process or in one with the caller's credentials (`helpers`)
* `turns`      limits each user's calls, and lets each thread make one at a time
* `answers`    decodes a caught call, and answers it according to `decisions`
* `decisions`  decides what is done, and what the program is told
* `supervisor` chooses the actor for a caller
* `threads`    receive calls, and let none hold up the others
* `launch`     starts the program, passes signals on, and waits for the last process of its tree

Two rules govern all of it. **A lock must never become a rename**: only a link between two different
directories that form a known pair is changed. **No program gains a right**: each call for a caller is made
with the caller's own credentials; if that is not possible, the call is left to the kernel.
"""
