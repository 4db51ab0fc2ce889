"""`python -m kinema` is `kinema`."""

from kinema.cli.app import main

main()
