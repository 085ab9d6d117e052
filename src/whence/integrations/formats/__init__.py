"""How providers write requests and answers: one module a form of their API.

A form is pure data work: decoded JSON comes in, keyword arguments of `record_generation` go out.
Nothing here knows a client library, a socket or a span. To add one: a module with a `Form`, and the
path it answers at in the module of the client library.
"""
