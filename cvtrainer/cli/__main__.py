"""`python -m cvtrainer.cli`, the form that torchrun starts."""

from cvtrainer.cli.program import main

if __name__ == "__main__":
    raise SystemExit(main())
