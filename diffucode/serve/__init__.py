"""An OpenAI-compatible server over the decoding engine.

::

    HTTP ──app──> body ──> ask ──> prepared ──> Batcher (one thread, one batch) ──> answers ──> HTTP

limits      what the server takes on          failures    errors in OpenAI's form
ask         what a body asks for, checked     prepared    what it asks for as jobs
batcher     rows of all requests in one batch settled     text that cannot change any more
answers     the JSON that goes back           app         routes      server    a process
"""
