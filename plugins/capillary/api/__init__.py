"""The platform: everything that knows its addresses, words and replies. No Airflow, no ledger.

In reading order:

- ``settings``: what a connection to the platform says
- ``settings_fields``: what each field of it takes
- ``account``: who an account is, in one spelling
- ``request_workflow``: workflow requests: words, the body we send, the replies
- ``badges``: badges, enrolments, and the lines of the wrapped call
- ``codes``: every code of the platform, and what it means
- ``errors``: what can go wrong, and whether to try again
- ``client``: what can be asked of the platform
- ``calls``: single calls, and reads that are paced and repeated
- ``response``: one reply, parsed, and the error that it becomes
- ``classify``: what a reply means: body code first, HTTP status second
- ``retries``: pauses before a read is repeated, and after HTTP 429
- ``credential``: the till's Basic value, or an OAuth token
- ``transport``: how one call leaves the machine
- ``tls``: which servers a call trusts
- ``envelope``: the platform's error envelope, in every shape
- ``issued_id``: an enrolment's id, or what has not the form of one
- ``line_trouble``: signs of an error in a customer's line, where no page names them
- ``json_body``: a body as JSON, where one damaged row costs only itself
- ``json_pieces``: large bodies, parsed piece by piece
- ``json_fields``: single values of uncertain type
- ``outside_text``: text from outside, made harmless
"""
