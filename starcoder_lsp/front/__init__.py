"""The process that the editor talks to. It relays messages to the session, and answers when the session does not.

It runs no grammar and no pattern of a user or a workspace, and imports Python's standard library alone. So no content
of a file, a workspace or a message can stop it.
"""
