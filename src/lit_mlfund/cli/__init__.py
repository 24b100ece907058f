"""Implements the command line `mlfund VERB [overrides]`; imports nothing heavy before a verb needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

LONGEST_LINE = 2000  # characters of a message
DONE, WRONG_INPUT, FAILED = 0, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done; 1 code crashed in a run, which can be resumed; 2 the user's input is wrong, reported in one message; 3
    training failed; 130 stopped by Ctrl-C and 143 by a scheduler, after saving. `MLFUND_TRACEBACK=1` shows where an
    error came from.
    """
    from lit_mlfund.startup.left_threads import end_process
    from lit_mlfund.startup.signals import REQUEST

    with REQUEST.installed(ends_process=arguments is None):
        code = _main(arguments)
    return end_process(code) if arguments is None else code


def _main(arguments: Sequence[str] | None) -> int:
    from lit_mlfund.startup.signals import INTERRUPTED, Stopped, unmasked
    from lit_mlfund.startup.streams import prepare_streams, warn

    prepare_streams()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    os.environ.setdefault(
        "OMP_NUM_THREADS", "1"
    )  # torch reads it when imported: one thread is best for small models
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # classes of the user's own, as in `_target_: my_losses.Tilted`
    try:
        with unmasked():
            return _dispatch(arguments)
    except Stopped as stopped:
        warn(f"mlfund: {stopped}")
        return int(str(stopped.code))
    except KeyboardInterrupt:
        warn("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # `mlfund list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        from lit_mlfund.config.errors import problems_of
        from lit_mlfund.memory import is_refused_allocation
        from lit_mlfund.runs.execution.workers import WorkerError

        if isinstance(error, WorkerError):  # has told which worker failed, and where
            warn(f"mlfund: failed: {error}")
            return FAILED
        if problems_of(error) is None or os.environ.get("MLFUND_TRACEBACK", "0") not in ("", "0"):
            if is_refused_allocation(error) and not os.environ.get("MLFUND_TRACEBACK"):
                warn(f"mlfund: out of memory: {' '.join(str(error).split()) or 'the system gives no more'}")
                return FAILED
            import traceback

            warn(traceback.format_exc().rstrip())
        if problems_of(error) is None:
            return FAILED
        from lit_mlfund.startup.environment import is_first_process

        if is_first_process():
            lines = f"mlfund: {error}".splitlines()  # a cell of megabytes may be quoted in one
            warn(
                "\n".join(line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…" for line in lines)
            )
        return WRONG_INPUT


def _dispatch(arguments: list[str]) -> int:
    from lit_mlfund.cli.help import VERBS, help_text
    from lit_mlfund.startup.streams import not_utf8

    verb, *rest = arguments or ["--help"]
    if problems := not_utf8([*arguments, os.getcwd()]):
        from lit_mlfund.config.errors import ConfigError

        raise ConfigError(problems)
    if verb in ("--version", "-V"):
        from lit_mlfund import __version__

        print(f"lit_mlfund {__version__}")
        return DONE
    if verb in ("--help", "-h", "help"):
        print(help_text(rest[0] if rest and rest[0] in VERBS else None))
        return DONE
    if verb not in VERBS:
        from lit_mlfund.config.errors import ConfigError, suggestion

        raise ConfigError(f"{verb}: no such command; {suggestion(verb, VERBS)}")
    if "--help" in rest or "-h" in rest:
        print(help_text(verb))
        return DONE
    if verb == "list":  # which has no result but its text
        return _run(verb, rest)
    from lit_mlfund.cli.keys import take_output
    from lit_mlfund.startup.screen import is_terminal
    from lit_mlfund.startup.streams import OUTPUT

    rest, given = take_output(rest)
    with OUTPUT.set(**given | {"json": given["json"] or not is_terminal(sys.stdout)}):
        return _run(verb, rest)


def _run(verb: str, arguments: list[str]) -> int:
    if verb == "train":
        from lit_mlfund.cli.train import run
    elif verb == "evaluate":
        from lit_mlfund.cli.evaluate import run
    elif verb == "doctor":
        from lit_mlfund.cli.doctor import run
    elif verb == "predict":
        from lit_mlfund.cli.predict import run
    elif verb == "lr-find":
        from lit_mlfund.cli.lr_find import run
    else:
        from lit_mlfund.cli.listing import run
    return run(arguments)
