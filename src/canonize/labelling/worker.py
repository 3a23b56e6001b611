"""The engine in a process of its own, which is run as a file and needs canonaut alone: labels what comes in, until the end."""

import marshal
import sys


def main() -> None:
    """Read sys.path, then graph after graph; write an answer to each."""
    sys.path[:] = marshal.load(sys.stdin.buffer)
    from canonaut import raw

    while True:
        try:
            inputs, options = marshal.load(sys.stdin.buffer)
        except EOFError:
            return
        found = raw.canonize(*inputs, **options)
        generators = [list(one) for one in found.generators]
        answer = list(found.labeling), list(found.orbits), found.num_orbits, generators, found.canonical_bytes()
        marshal.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
