"""Processes: starting them, joining them, wrapping networks, reducing over ranks, ending together.

Each file has one of these concerns. Nothing here knows the trainer; which rank serves which samples
is the stream's business. Only this room and the command line read the environment.
"""
