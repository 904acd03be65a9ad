"""Does what systemd does for a service with sockets: binds them, and starts the program when something comes for it.

    activate.py UNIX-SOCKET PROGRAM [ARGUMENT...]

It binds a TCP socket, `web`, and a Unix socket, `local`, says `bound PORT`, and runs the program in its own place as
soon as its standard input ends.
"""

import fcntl
import os
import socket
import sys

web = socket.create_server(("127.0.0.1", 0))
local = socket.socket(socket.AF_UNIX)
local.bind(sys.argv[1])
local.listen()
print("bound", web.getsockname()[1], flush=True)
sys.stdin.read()
# Out of the way first: 3 and 4 may be these very sockets.
for target, passed in enumerate([fcntl.fcntl(s, fcntl.F_DUPFD, 10) for s in (web, local)], 3):
    os.dup2(passed, target)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="web:local")
os.execv(sys.argv[2], sys.argv[2:])
