"""
Commands: the only room that starts processes.

    space     the directory of one job: limited, removed whatever happens
    files     what lies in it, by descriptors alone: no link is followed
    keeper    the process between the worker and a program: it ends the program and all that it started
    native    starts a program under a keeper
    docker    the arguments of `docker run`
    streams   standard input, output and error
    run       one program from its start to its end, within its limits
"""
