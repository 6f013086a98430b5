"""`python -m batchmeter` is the `batchmeter` command."""

from .cli import main

main()
