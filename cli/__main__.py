"""`python -m ethos.cli`."""

from ethos.cli import main

main()
