"""The Model Context Protocol: the catalogue as tools, objects as resources, for agents.

It stands on the official SDK's low-level server. A tool is made from an operation of the catalogue
and calls it, so nothing about an operation is written here. To learn the package: ``tools`` says
what a tool looks like, ``profiles`` which of them a client is shown, ``calls`` how one is called,
``results`` how its answer is told, ``protocol`` which handlers the server has; ``stdio`` and
``http`` are the two ways to reach it.
"""
