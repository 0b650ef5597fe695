"""The pages for people: which wheel runs on my GPU, with my driver, and how do I install it.

In: an index directory: its JSON pages and wheels. Out: HTML files in the same directory that work from any
static server and without JavaScript, and the same pages with an answer to one question for the server. What is
in a wheel is read once, with `wheelsmith.wheel.inspect_path`, and kept beside its record. Fails with
`StoreError` on a directory that cannot be written.

Rooms within: `card` is what is known of one wheel, `advice` says where it runs, `site` writes the pages.
"""
