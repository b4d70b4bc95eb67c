"""The command line: parse, call, print. Each module holds the commands of one subject."""
