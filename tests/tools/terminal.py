"""Runs a command whose descriptors FDS (such as 012, or 2) are a terminal, plays a script on it, and
writes what came to that terminal to standard output. Ends with the command's exit status, or 99.

    terminal.py FDS SCRIPT COMMAND...

SCRIPT has a line for each step: `expect TEXT` waits until TEXT has come behind what was waited for
before; `type TEXT` types it; `do COMMAND` is for the shell. Escapes in TEXT are Python's. Where lines
are edited the prompt comes before the terminal hands on single keys: what is typed waits for that.
"""
import os
import pty
import select
import subprocess
import sys
import termios


def main():
    fds, script, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    master, slave = pty.openpty()
    names = {'0': 'stdin', '1': 'stdout', '2': 'stderr'}
    child = subprocess.Popen(command, close_fds=False, start_new_session=True,
                             **{names[fd]: slave for fd in fds})
    os.close(slave)
    came, at, status = b'', 0, 0
    is_edited = os.environ.get('HAVE_LIBEDIT') == 'yes' and '0' in fds and '2' in fds

    def more(seconds):
        nonlocal came
        if not select.select([master], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(master, 65536)
        except OSError:  # Linux, when nobody has the other side open
            piece = b''
        came += piece
        return piece != b''

    with open(script, encoding='ascii') as steps:
        for step in steps:
            verb, _, text = step.rstrip('\n').partition(' ')
            if verb == 'do':
                subprocess.check_call(text, shell=True)
                continue
            text = text.encode('ascii').decode('unicode_escape').encode('latin-1')
            if verb == 'type':
                tries = 6000 if is_edited else 0
                while tries and termios.tcgetattr(master)[3] & termios.ICANON:
                    more(0.01)
                    tries -= 1
                os.write(master, text)
                continue
            while status == 0 and text not in came[at:]:
                if not more(60):
                    sys.stderr.write('%r did not come\n' % text)
                    status = 99
            at = came.find(text, at) + len(text)
    while status == 0 and more(60):
        pass
    if status:
        child.kill()
    sys.stdout.buffer.write(came)
    sys.exit(child.wait() if status == 0 else status)


main()
