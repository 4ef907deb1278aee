"""`python -m cvtrainer`."""

from cvtrainer.cli.program import main

if __name__ == "__main__":
    raise SystemExit(main())
