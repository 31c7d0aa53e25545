"""Documents that are no plain text: PDF and Word, read in a process of their own.

Their parsers meet whatever people upload, so they run with a limit on time and memory, apart from
the app: a broken or hostile file costs a message, nothing more.
"""
