"""The process that the editor talks to. It relays messages to the session, and answers when the session does not.

It runs no grammar, no pattern of others and no library but Python's own, so nothing that a file, a workspace or a
message holds can stop it.
"""
